//! `get_batch`: windows of a long text, each beside what comes next.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

/// An answer that differs from the honest one in where a window starts.
macro_rules! starting {
    (|$noise:ident, $n_tokens:ident, $seq:ident| $start:expr) => {
        answer!(|tokens: &Tensor, noise: &Tensor, seq: usize| {
            windows(tokens, noise, seq, 1, |$noise, $n_tokens, $seq| $start)
        })
    };
}

pub(super) const GET_BATCH: Part = Part {
    name: "get_batch",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "every_start_is_reachable",
            promise: "Evenly spaced noise reaches every start once, the first and the last \
                      included.",
            kind: Kind::Property,
            run: every_start_is_reachable,
        },
        Check {
            name: "shortest_text_has_one_window",
            promise: "A text of `seq` + 1 tokens has one window, and every noise finds it.",
            kind: Kind::Property,
            run: shortest_text_has_one_window,
        },
        Check {
            name: "matches_definition",
            promise: "Every row is the window that its noise picks, up to the very edges of `[0, \
                      1)`, and its targets stand one later.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "what_does_not_fit_is_refused",
            promise: "Windows of 0, a text that is not longer than `seq`, and noise outside `[0, \
                      1)` give an error.",
            kind: Kind::Errors,
            run: what_does_not_fit_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "targets_not_shifted",
            diagnosis: "`y` is `x` itself, so the model only learns to repeat its input",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, noise: &Tensor, seq: usize| {
                windows(tokens, noise, seq, 0, honest)
            }),
        },
        Impostor {
            name: "targets_are_the_next_window",
            diagnosis: "`y` is the window behind `x`; it is `x` moved by one token",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, noise: &Tensor, seq: usize| {
                windows(tokens, noise, seq, seq, honest)
            }),
        },
        Impostor {
            name: "results_swapped",
            diagnosis: "the result is `(y, x)`; it is `(x, y)`",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, noise: &Tensor, seq: usize| {
                let (x, y) = windows(tokens, noise, seq, 1, honest)?;
                Ok::<_, candle_core::Error>((y, x))
            }),
        },
        Impostor {
            name: "rounded_to_the_nearest",
            diagnosis: "the start is rounded to the nearest number; rounded down, each start is \
                        equally likely",
            caught_by: "documented_example",
            answer: starting!(|noise, n_tokens, seq| (noise * (n_tokens - seq) as f64).round()),
        },
        Impostor {
            name: "targets_beyond_the_end",
            diagnosis: "off by one at the end: there is one start more than windows with a token \
                        behind them",
            caught_by: "documented_example",
            answer: starting!(|noise, n_tokens, seq| noise * (n_tokens - seq + 1) as f64),
        },
        Impostor {
            name: "last_start_never_drawn",
            diagnosis: "off by one at the end: the last start is never drawn, so the last token is \
                        never a target",
            caught_by: "every_start_is_reachable",
            answer: starting!(|noise, n_tokens, seq| noise * (n_tokens - seq - 1) as f64),
        },
        Impostor {
            name: "shortest_text_refused",
            diagnosis: "a text of `seq` + 1 tokens is refused, though a window and the token \
                        behind it fit",
            caught_by: "shortest_text_has_one_window",
            answer: answer!(|tokens: &Tensor, noise: &Tensor, seq: usize| {
                // So that the text is too short by one when it is just long enough.
                tokens.narrow(0, seq, 2)?;
                windows(tokens, noise, seq, 1, honest)
            }),
        },
        Impostor {
            name: "noise_in_f32",
            diagnosis: "the noise is rounded to `f32`: what is just below a border falls over it",
            caught_by: "matches_definition",
            answer: starting!(|noise, n_tokens, seq| {
                f64::from(noise as f32) * (n_tokens - seq) as f64
            }),
        },
        Impostor {
            name: "noise_clamped",
            diagnosis: "noise outside `[0, 1)` is moved to the nearest start without an error",
            caught_by: "what_does_not_fit_is_refused",
            answer: answer!(|tokens: &Tensor, noise: &Tensor, seq: usize| {
                windows(tokens, &noise.clamp(0.0, 1.0 - f64::EPSILON / 2.0)?, seq, 1, honest)
            }),
        },
        Impostor {
            name: "windows_shortened",
            diagnosis: "windows are shortened to what the text has, so that they have another \
                        length than was asked for",
            caught_by: "what_does_not_fit_is_refused",
            answer: answer!(|tokens: &Tensor, noise: &Tensor, seq: usize| {
                let seq = seq.min(tokens.dim(0)?.saturating_sub(1));
                windows(tokens, noise, seq, 1, honest)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_one_lookup",
        answer: answer!(|tokens: &Tensor, noise: &Tensor, seq: usize| {
            by_one_lookup(tokens, noise, seq)
        }),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let tokens = ids(&[5], &[10., 11., 12., 13., 14.]);
    let noise = Array::vector(&[0.5, 0.2]);
    let [x, y] = trial.arrays(args![tokens: &tokens, noise: &noise, seq: 2usize])?;
    trial.close("x", &x, &ids(&[2, 2], &[11., 12., 10., 11.]), Tolerance::EXACT)?;
    trial.close("y", &y, &ids(&[2, 2], &[12., 13., 11., 12.]), Tolerance::EXACT)
}

fn every_start_is_reachable(trial: &mut Trial) -> Outcome {
    let (n_tokens, seq) = (trial.rng.between(8, 12), trial.rng.between(2, 4));
    // Each token names its own place in the text.
    let tokens = Array::from_fn(&[n_tokens], |at| at[0] as f64).to(DType::U32);
    let n_starts = n_tokens - seq;
    let noise = Array::from_fn(&[n_starts], |at| (at[0] as f64 + 0.5) / n_starts as f64);
    let [x, y] = trial.arrays(args![tokens: &tokens, noise: &noise, seq: seq])?;
    let starts = Array::from_fn(&[n_starts, 1], |at| at[0] as f64).to(DType::U32);
    trial.has_shape("x", &x, &[n_starts, seq])?;
    trial.close("first token of each window", &x.narrow(1, 0, 1), &starts, Tolerance::EXACT)?;
    trial.has_shape("y", &y, &[n_starts, seq])?;
    let last = y.narrow(1, seq - 1, 1);
    let expected = starts.map(|start| start + seq as f64);
    trial.close("last target of each window", &last, &expected, Tolerance::EXACT)
}

fn shortest_text_has_one_window(trial: &mut Trial) -> Outcome {
    let tokens = random_text(trial, 5);
    let noise = trial.rng.uniform_array(&[3], 0.0, 1.0).to(DType::F64);
    let [x, y] = trial.arrays(args![tokens: &tokens, noise: &noise, seq: 4usize])?;
    let all =
        |start: usize| Array::from_fn(&[3, 4], |at| tokens.at(&[start + at[1]])).to(DType::U32);
    trial.close("x", &x, &all(0), Tolerance::EXACT)?;
    trial.close("y", &y, &all(1), Tolerance::EXACT)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (n_tokens, batch, seq) in [(40, 6, 7), (11, 1, 1), (6, 5, 2)] {
        let tokens = random_text(trial, n_tokens);
        let n_starts = (n_tokens - seq) as f64;
        let mut noise: Vec<f64> = (0..batch).map(|_| trial.rng.uniform()).collect();
        // Just below a border, and the largest number below 1.
        noise.push((trial.rng.below(3) as f64 + 1.0) / n_starts - 1e-12);
        noise.push(1.0 - f64::EPSILON / 2.0);
        noise.push(0.0);
        let row = Array::vector(&noise);
        let [x, y] = trial.arrays(args![tokens: &tokens, noise: &row, seq: seq])?;
        let window = |later: usize| {
            let starts = noise.iter().map(|noise| (noise * n_starts).floor() as usize);
            let starts: Vec<usize> = starts.collect();
            Array::from_fn(&[noise.len(), seq], |at| tokens.at(&[starts[at[0]] + at[1] + later]))
                .to(DType::U32)
        };
        trial.close("x", &x, &window(0), Tolerance::EXACT)?;
        trial.close("y", &y, &window(1), Tolerance::EXACT)?;
    }
    Ok(())
}

fn what_does_not_fit_is_refused(trial: &mut Trial) -> Outcome {
    let tokens = random_text(trial, 4);
    let noise = Array::vector(&[0.5]);
    for seq in [0usize, 4, 6] {
        let case = format!("`seq` is {seq} and the text has 4 tokens");
        trial.refuses(&case, args![tokens: &tokens, noise: &noise, seq: seq])?;
    }
    for number in [1.0, -0.1] {
        let noise = Array::vector(&[0.5, number]);
        let case = format!("a noise is {number}");
        trial.refuses(&case, args![tokens: &tokens, noise: &noise, seq: 2usize])?;
    }
    Ok(())
}

fn ids(shape: &[usize], values: &[f64]) -> Array {
    Array::new(shape, values.to_vec()).to(DType::U32)
}

fn random_text(trial: &mut Trial, n_tokens: usize) -> Array {
    Array::from_fn(&[n_tokens], |_| trial.rng.below(50_257) as f64).to(DType::U32)
}

fn honest(noise: f64, n_tokens: usize, seq: usize) -> f64 {
    noise * (n_tokens - seq) as f64
}

/// Windows that start where `start` says, rounded down, and targets so many tokens later.
fn windows(
    tokens: &Tensor,
    noise: &Tensor,
    seq: usize,
    later: usize,
    start: fn(f64, usize, usize) -> f64,
) -> Result<(Tensor, Tensor)> {
    let n_tokens = tokens.dim(0)?;
    if seq == 0 || n_tokens <= seq {
        bail!("{n_tokens} tokens have no window of {seq}");
    }
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for noise in noise.to_vec1::<f64>()? {
        if !(0.0..1.0).contains(&noise) {
            bail!("{noise} is no noise");
        }
        let start = start(noise, n_tokens, seq) as usize;
        x.push(tokens.narrow(0, start, seq)?);
        y.push(tokens.narrow(0, start + later, seq)?);
    }
    Ok((Tensor::stack(&x, 0)?, Tensor::stack(&y, 0)?))
}

/// A table of positions, start plus step, looked up at once.
fn by_one_lookup(tokens: &Tensor, noise: &Tensor, seq: usize) -> Result<(Tensor, Tensor)> {
    let (n_tokens, batch) = (tokens.dim(0)?, noise.dim(0)?);
    let wrong = (noise.lt(0.0)? + noise.ge(1.0)?)?.to_dtype(CandleDType::F64)?.sum_all()?;
    if seq == 0 || seq >= n_tokens || wrong.to_scalar::<f64>()? > 0.0 {
        bail!("no window of {seq} in {n_tokens}");
    }
    let starts = (noise * (n_tokens - seq) as f64)?.floor()?.to_dtype(CandleDType::U32)?;
    let steps = Tensor::arange(0, seq as u32, tokens.device())?.unsqueeze(0)?;
    let places = starts.unsqueeze(1)?.broadcast_add(&steps)?.flatten_all()?;
    let look_up = |places: &Tensor| tokens.index_select(places, 0)?.reshape((batch, seq));
    Ok((look_up(&places)?, look_up(&(&places + places.ones_like()?)?)?))
}
