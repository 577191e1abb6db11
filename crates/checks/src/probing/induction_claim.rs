//! `induction_claim`: a prediction about a model that is measured afterwards.

use std::collections::BTreeMap;

use answer::{Numbers, answer};
use anyhow::{Result, ensure};
use candle_core::{D, DType as CandleDType, Tensor};
use candle_nn::ops;
use models::{
    Gpt,
    hook::{Hook, Place},
};
use protocol::{DType, Value};

use super::{
    claim_oracle::{Ablation, NAMES, RIGHT, Slips},
    siblings::{Sibling, repeated_tokens, siblings, trained_siblings},
};
use crate::{
    Alternative, Array, Check, Generator, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial,
    args,
};

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        answer!(|shown: &Gpt, other: &Gpt, tokens: &Tensor| {
            Slips { $($field: $value,)* ..RIGHT }.claim(shown, other, tokens)
        })
    };
}

pub(super) const INDUCTION_CLAIM: Part = Part {
    name: "induction_claim",
    rule: None,
    checks: &[
        Check {
            name: "planted_head_is_named",
            promise: "In compiled models, the head that looks at the position before is named.",
            kind: Kind::Property,
            run: planted_head_is_named,
        },
        Check {
            name: "order_of_sequences_is_nothing",
            promise: "The same sequences in another order give the same claim.",
            kind: Kind::Property,
            run: order_of_sequences_is_nothing,
        },
        Check {
            name: "drops_are_measured",
            promise: "Both drops are those of the contract, each model's own head ablated.",
            kind: Kind::Reference,
            run: drops_are_measured,
        },
        Check {
            name: "claim_beats_ignorance",
            promise: "Measured afterwards, hidden models bear the claims out, a compiled one and a \
                      trained one: the score is at most half of that of who knows no model.",
            kind: Kind::Property,
            run: claim_beats_ignorance,
        },
        Check {
            name: "odd_tokens_are_refused",
            promise: "Tokens of an odd length, or too few to repeat, give an error.",
            kind: Kind::Errors,
            run: odd_tokens_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "head_at_its_own_position",
            diagnosis: "the head that looks at its own position is named; it must look one before",
            caught_by: "planted_head_is_named",
            answer: slip!(offset: 0),
        },
        Impostor {
            name: "layer_and_head_exchanged",
            diagnosis: "the number of the head is given as its layer, and the other way round",
            caught_by: "planted_head_is_named",
            answer: slip!(exchanged: true),
        },
        Impostor {
            name: "first_sequence_alone",
            diagnosis: "the drop is measured on the first sequence only",
            caught_by: "order_of_sequences_is_nothing",
            answer: slip!(first_only: true),
        },
        Impostor {
            name: "same_place_in_other",
            diagnosis: "the other model is ablated where the first has its head; find each \
                        model's own",
            caught_by: "drops_are_measured",
            answer: slip!(same_place: true),
        },
        Impostor {
            name: "ablated_by_zero",
            diagnosis: "`hook_z` becomes 0, which the model never sees; the contract asks for the \
                        mean",
            caught_by: "drops_are_measured",
            answer: slip!(ablation: Ablation::Zero),
        },
        Impostor {
            name: "mean_by_sequence",
            diagnosis: "the mean is taken over the positions of each sequence by itself, so it \
                        still tells what the sequence is about",
            caught_by: "drops_are_measured",
            answer: slip!(ablation: Ablation::MeanOfSequence),
        },
        Impostor {
            name: "mean_by_position",
            diagnosis: "the mean is taken over the sequences at each position by itself, so it \
                        still tells the position",
            caught_by: "drops_are_measured",
            answer: slip!(ablation: Ablation::MeanOfPosition),
        },
        Impostor {
            name: "layer_ablated",
            diagnosis: "all heads of the layer are ablated, not the one that was found",
            caught_by: "drops_are_measured",
            answer: slip!(whole_layer: true),
        },
        Impostor {
            name: "gain_for_drop",
            diagnosis: "the sign is wrong: a drop is plain less ablated",
            caught_by: "drops_are_measured",
            answer: slip!(sign: -1.0),
        },
        Impostor {
            name: "first_half_counted",
            diagnosis: "the first half is counted too, where nobody can know the next token",
            caught_by: "drops_are_measured",
            answer: slip!(whole_sequence: true),
        },
        Impostor {
            name: "vague",
            diagnosis: "the spread is so wide that no measurement could embarrass the claim, nor \
                        bear it out",
            caught_by: "claim_beats_ignorance",
            answer: slip!(spread: 1e3),
        },
        Impostor {
            name: "no_loss_claimed",
            diagnosis: "the claim is that nothing is lost, although the models that are shown \
                        lose a lot",
            caught_by: "claim_beats_ignorance",
            answer: slip!(claimed: 0.0),
        },
        Impostor {
            name: "infinitely_sure",
            diagnosis: "the spread is 0 or below, which is no distribution: two models that agree \
                        prove nothing about a third",
            caught_by: "claim_beats_ignorance",
            answer: slip!(spread: 0.0),
        },
        Impostor {
            name: "odd_tokens_cut",
            diagnosis: "an odd length is cut in half as well as it goes; it is no sequence twice",
            caught_by: "odd_tokens_are_refused",
            answer: slip!(checks: false),
        },
    ],
    alternatives: &[Alternative {
        name: "by_masks",
        answer: answer!(|shown: &Gpt, other: &Gpt, tokens: &Tensor| by_masks(shown, other, tokens)),
    }],
};

/// Two forward passes through a few small blocks, and their logarithms.
const TOLERANCE: Tolerance = Tolerance::roundings(65536.0).in_double(1e-7);

fn planted_head_is_named(trial: &mut Trial) -> Outcome {
    for _ in 0..3 {
        let [shown, other] = siblings(&mut trial.rng);
        let tokens = repeated_tokens(&mut trial.rng, 3, shown.d_vocab.min(other.d_vocab));
        for (first, second) in [(&shown, &other), (&other, &shown)] {
            let claim = ask(trial, first, second, &tokens)?;
            let named = [claim["layer"], claim["head"]];
            let planted = [first.layer as f64, first.head as f64];
            let same = named.iter().zip(planted).all(|(a, b)| (a - b).abs() < 0.5);
            trial.ensure(same, || {
                format!(
                    "The head that looks at the position before was planted at layer {}, head {}; \
                     you named layer {}, head {}.",
                    planted[0], planted[1], named[0], named[1]
                )
            })?;
        }
    }
    Ok(())
}

fn order_of_sequences_is_nothing(trial: &mut Trial) -> Outcome {
    let (shown, other, tokens) = told_apart(trial, DType::F64);
    let turned = tokens.select(0, &[2, 0, 1]);
    let before = ask(trial, &shown, &other, &tokens)?;
    let after = ask(trial, &shown, &other, &turned)?;
    let moved = ["shown", "other", "mean", "spread"]
        .map(|name| (before[name] - after[name]).abs())
        .iter()
        .fold(0.0, |most: f64, moved| most.max(*moved));
    trial.ensure(moved < 1e-7, || {
        format!(
            "The same three sequences in another order change the claim by {moved:.3}; all of \
             them count alike."
        )
    })
}

fn drops_are_measured(trial: &mut Trial) -> Outcome {
    for dtype in [DType::F64, DType::F32] {
        let (shown, other, tokens) = told_apart(trial, dtype);
        let claim = ask(trial, &shown, &other, &tokens)?;
        for (name, sibling) in [("shown", &shown), ("other", &other)] {
            let exact = RIGHT.drop(sibling, &tokens);
            let (got, exact) = (Array::vector(&[claim[name]]), Array::vector(&[exact]));
            // The models round in their own dtype, whatever dtype the number then has.
            let tolerance = match dtype {
                DType::F64 => TOLERANCE,
                _ => Tolerance::relative(2e-3),
            };
            trial.close(name, &got, &exact, tolerance.at_scale(10.0))?;
        }
    }
    Ok(())
}

fn claim_beats_ignorance(trial: &mut Trial) -> Outcome {
    let (shown, other, tokens) = told_apart(trial, DType::F64);
    let claim = claim(trial, &shown, &other, &tokens)?;
    // Only now the hidden sibling is compiled and measured.
    let hidden = siblings_for(trial, &tokens);
    let of_compiled = score(trial, "compiled", claim, &hidden, &tokens)?;
    let ([shown, other, hidden], tokens) = trained_siblings(&mut trial.rng)?;
    let claim = self::claim(trial, &shown, &other, &tokens)?;
    let of_trained = score(trial, "trained", claim, &hidden, &tokens)?;
    trial.show_text("the claims and the measurements", format!("{of_compiled}\n{of_trained}"));
    Ok(())
}

/// Asks for a claim, as mean and spread.
fn claim(
    trial: &mut Trial,
    shown: &Sibling,
    other: &Sibling,
    tokens: &Array,
) -> Result<(f64, f64), Stop> {
    let claim = ask(trial, shown, other, tokens)?;
    let (mean, spread) = (claim["mean"], claim["spread"]);
    trial.ensure(spread > 0.0 && mean.is_finite() && spread.is_finite(), || {
        format!("The claim is {mean} ± {spread}; a spread is finite and above 0.")
    })?;
    Ok((mean, spread))
}

/// Measures the hidden model and scores the claim; tells both numbers.
fn score(
    trial: &mut Trial,
    make: &str,
    (mean, spread): (f64, f64),
    hidden: &Sibling,
    tokens: &Array,
) -> Result<String, Stop> {
    let measured = RIGHT.drop(hidden, tokens);
    let range = (hidden.d_vocab as f64).ln();
    let (score, ignorant) =
        (crps(mean, spread, measured), crps(range / 2.0, range / 12f64.sqrt(), measured));
    trial.ensure(score <= 0.5 * ignorant, || {
        format!(
            "You claimed that the hidden {make} model loses {mean:.3} ± {spread:.3} nats. \
             Measured afterwards, it loses {measured:.3}. The score of your claim is {score:.3} (0 \
             is best), and that of who knows no model {ignorant:.3}; at most half of it is asked \
             for."
        )
    })?;
    Ok(format!(
        "models that were {make}\n\
         claimed   {mean:.3} ± {spread:.3} nats\n\
         measured  {measured:.3} nats, on the hidden model, after the claim\n\
         score     {score:.3}; who knows no model has {ignorant:.3}\n"
    ))
}

fn odd_tokens_are_refused(trial: &mut Trial) -> Outcome {
    let (shown, other, tokens) = told_apart(trial, DType::F64);
    for (case, seq) in [("`tokens` has 7 positions", 7), ("`tokens` has 2 positions", 2)] {
        let tokens = tokens.narrow(1, 0, seq);
        trial.refuses(case, args![shown: &shown.gpt, other: &other.gpt, tokens: &tokens])?;
    }
    Ok(())
}

fn ask(
    trial: &mut Trial,
    shown: &Sibling,
    other: &Sibling,
    tokens: &Array,
) -> Result<BTreeMap<&'static str, f64>, Stop> {
    let args = args![shown: &shown.gpt, other: &other.gpt, tokens: tokens];
    let values = trial.values(args)?;
    let [Value::Numbers(numbers)] = values.as_slice() else {
        return Err(trial.wrong("It did not return numbers.".to_owned()));
    };
    let found = NAMES.iter().map(|&name| Some((name, *numbers.get(name)?)));
    found.collect::<Option<_>>().ok_or_else(|| {
        trial.wrong(format!("A number is missing; there must be {}.", NAMES.join(", ")))
    })
}

/// The continuous ranked probability score of a normal distribution.
fn crps(mean: f64, spread: f64, measured: f64) -> f64 {
    let z = (measured - mean) / spread;
    let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    let below = normal_share(z);
    spread * (z * (2.0 * below - 1.0) + 2.0 * density - 1.0 / std::f64::consts::PI.sqrt())
}

/// The share of a standard normal below `z`: the density summed by Simpson's rule.
fn normal_share(z: f64) -> f64 {
    if z.abs() > 10.0 {
        return f64::from(u8::from(z > 0.0));
    }
    let n = 400;
    let step = z / f64::from(n);
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let weigh = |k: i32| match k {
        0 => 1.0,
        k if k == n => 1.0,
        k if k % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let sum: f64 = (0..=n).map(|k| weigh(k) * density(f64::from(k) * step)).sum();
    0.5 + sum * step / 3.0
}

/// Two models and sequences by which every slip shows.
fn told_apart(trial: &mut Trial, dtype: DType) -> (Sibling, Sibling, Array) {
    let draw = |rng: &mut Generator| {
        let [shown, other] = siblings(rng);
        let tokens = repeated_tokens(rng, 3, shown.d_vocab.min(other.d_vocab));
        (shown, other, tokens)
    };
    let mut drawn = draw(&mut trial.rng);
    for _ in 0..60 {
        let (shown, other, tokens) = &drawn;
        if is_telling(shown, other, tokens) {
            break;
        }
        drawn = draw(&mut trial.rng);
    }
    let (shown, other, tokens) = drawn;
    (shown.to(dtype), other.to(dtype), tokens)
}

fn is_telling(shown: &Sibling, other: &Sibling, tokens: &Array) -> bool {
    let elsewhere = (shown.layer, shown.head) != (other.layer, other.head)
        && other.gpt.n_layers() > shown.layer
        && other.gpt.n_heads() > shown.head;
    if !elsewhere {
        return false;
    }
    let exact = RIGHT.drop(shown, tokens);
    let slips = [
        Slips { ablation: Ablation::Zero, ..RIGHT },
        Slips { ablation: Ablation::MeanOfSequence, ..RIGHT },
        Slips { ablation: Ablation::MeanOfPosition, ..RIGHT },
        Slips { whole_layer: true, ..RIGHT },
        Slips { first_only: true, ..RIGHT },
    ];
    slips.iter().all(|slips| (slips.drop(shown, tokens) - exact).abs() > 1e-3)
}

/// A hidden model that reads such tokens.
fn siblings_for(trial: &mut Trial, tokens: &Array) -> Sibling {
    let largest = tokens.max_abs() as usize;
    let mut drawn = siblings(&mut trial.rng);
    while drawn[0].d_vocab <= largest {
        drawn = siblings(&mut trial.rng);
    }
    let [hidden, _] = drawn;
    hidden
}

/// A right answer that weighs patterns and values with masks, and bets a little wider.
fn by_masks(shown: &Gpt, other: &Gpt, tokens: &Tensor) -> Result<Numbers> {
    let seq = tokens.dim(1)?;
    ensure!(seq % 2 == 0 && seq >= 4, "no tokens twice");
    let (layer, head, of_shown) = measured(shown, tokens)?;
    let (.., of_other) = measured(other, tokens)?;
    let mean = f64::midpoint(of_shown, of_other);
    let spread = (of_shown - of_other).abs() + 0.1 * mean.abs() + 0.01;
    let numbers = [layer as f64, head as f64, of_shown, of_other, mean, spread];
    let mut claim = Numbers::new();
    NAMES.iter().zip(numbers).for_each(|(name, number)| claim.insert(name, number));
    Ok(claim)
}

fn measured(model: &Gpt, tokens: &Tensor) -> Result<(usize, usize, f64)> {
    let seq = tokens.dim(1)?;
    let before: Vec<f32> =
        (0..seq * seq).map(|at| f32::from(u8::from(at / seq == at % seq + 1))).collect();
    let before = Tensor::from_vec(before, (seq, seq), tokens.device())?;
    let mut means: Vec<Vec<f64>> = Vec::new();
    let mut look = |hook: Hook, value: Tensor| {
        if hook.place == Place::Pattern {
            let weighed = value.broadcast_mul(&before.to_dtype(value.dtype())?)?;
            let by_head = weighed.sum((0, 2, 3))?.to_dtype(CandleDType::F64)?;
            means.push(by_head.to_vec1()?);
        }
        Ok(value)
    };
    let plain = model.forward(tokens, &mut look)?;
    let places = means.iter().enumerate().flat_map(|(layer, row)| {
        row.iter().enumerate().map(move |(head, mean)| (*mean, layer, head))
    });
    let best = places.max_by(|a, b| a.0.total_cmp(&b.0));
    let (_, layer, head) = best.unwrap_or_default();
    let mut ablate = |hook: Hook, z: Tensor| {
        if hook != Hook::in_block(Place::Z, layer) {
            return Ok(z);
        }
        let (batch, seq, n_heads, d_head) = z.dims4()?;
        let mut heads = Vec::new();
        for at in 0..n_heads {
            let own = z.narrow(2, at, 1)?;
            heads.push(if at == head {
                let mean = (own.sum_keepdim((0, 1))? / (batch * seq) as f64)?;
                mean.broadcast_as((batch, seq, 1, d_head))?
            } else {
                own
            });
        }
        Tensor::cat(&heads, 2)
    };
    let ablated = model.forward(tokens, &mut ablate)?;
    let known = |logits: &Tensor| -> Result<f64> {
        let half = seq / 2;
        let log_p = ops::softmax(&logits.to_dtype(CandleDType::F64)?, D::Minus1)?.log()?;
        let next = tokens.narrow(1, half + 1, half - 1)?.contiguous()?.unsqueeze(2)?;
        let chosen = log_p.narrow(1, half, half - 1)?.contiguous()?.gather(&next, 2)?;
        Ok(chosen.mean_all()?.to_scalar()?)
    };
    Ok((layer, head, known(&plain)? - known(&ablated)?))
}
