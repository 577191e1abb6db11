//! `next_token_loss`: how surprised the logits are by what comes next.

use answer::answer;
use candle_core::{D, DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use super::steps::in_single;
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

/// An answer to `next_token_loss`.
macro_rules! loss {
    (|$logits:ident, $targets:ident, $ignore:ident| $body:expr) => {
        answer!(|logits: &Tensor, targets: &Tensor, ignore: Option<u32>| {
            fn loss($logits: &Tensor, $targets: &Tensor, $ignore: Option<u32>) -> Result<Tensor> {
                $body
            }
            loss(logits, targets, ignore)
        })
    };
}

pub(super) const NEXT_TOKEN_LOSS: Part = Part {
    name: "next_token_loss",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "positions_count_alike",
            promise: "Every position that counts has the same weight, in whatever sequences they \
                      are arranged.",
            kind: Kind::Property,
            run: positions_count_alike,
        },
        Check {
            name: "ignored_positions_do_not_matter",
            promise: "Whatever the logits of an ignored position are, the loss stays.",
            kind: Kind::Property,
            run: ignored_positions_do_not_matter,
        },
        Check {
            name: "matches_definition",
            promise: "The loss is what its definition says, with and without something to ignore.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "large_logits_stay_finite",
            promise: "Logits of ±10⁴ give the loss that they should.",
            kind: Kind::Reference,
            run: large_logits_stay_finite,
        },
        Check {
            name: "gradient_reaches_logits",
            promise: "The gradient reaches `logits`, is 0 where a position is ignored, and is the \
                      right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_logits,
        },
        Check {
            name: "what_has_no_loss_is_refused",
            promise: "Targets that are all ignored, beyond the vocabulary, or of another shape \
                      give an error.",
            kind: Kind::Errors,
            run: what_has_no_loss_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "padding_counts",
            diagnosis: "the sum is divided by the number of all positions; ignored ones do not \
                        count",
            caught_by: "documented_example",
            answer: loss!(|logits, targets, ignore| {
                let Kept { surprises, .. } = kept(logits, targets, ignore)?;
                surprises.sum_all()? / targets.elem_count() as f64
            }),
        },
        Impostor {
            name: "sum_instead_of_mean",
            diagnosis: "the surprises are added up and not divided by their number",
            caught_by: "documented_example",
            answer: loss!(|logits, targets, ignore| {
                kept(logits, targets, ignore)?.surprises.sum_all()
            }),
        },
        Impostor {
            name: "in_bits",
            diagnosis: "the surprise is in bits; the loss is in nats, by the natural logarithm",
            caught_by: "documented_example",
            answer: loss!(|logits, targets, ignore| {
                kept(logits, targets, ignore)?.surprises.mean_all()? / 2f64.ln()
            }),
        },
        Impostor {
            name: "predicts_itself",
            diagnosis: "each position is asked for its own token; `targets` holds what follows, at \
                        the same place",
            caught_by: "documented_example",
            answer: loss!(|logits, targets, ignore| {
                let last = logits.dim(1)? - 1;
                if last == 0 {
                    return kept(logits, targets, ignore)?.surprises.mean_all();
                }
                let (logits, targets) = (logits.narrow(1, 1, last)?, targets.narrow(1, 0, last)?);
                kept(&logits, &targets, ignore)?.surprises.mean_all()
            }),
        },
        Impostor {
            name: "shifted_again",
            diagnosis: "the targets are shifted once more, so each position is asked for the token \
                        after the next",
            caught_by: "documented_example",
            answer: loss!(|logits, targets, ignore| {
                let last = logits.dim(1)? - 1;
                if last == 0 {
                    return kept(logits, targets, ignore)?.surprises.mean_all();
                }
                let (logits, targets) = (logits.narrow(1, 0, last)?, targets.narrow(1, 1, last)?);
                kept(&logits, &targets, ignore)?.surprises.mean_all()
            }),
        },
        Impostor {
            name: "softmax_over_positions",
            diagnosis: "the softmax runs over the positions; it has to run over the vocabulary",
            caught_by: "documented_example",
            answer: loss!(|logits, targets, ignore| {
                let logs = candle_nn::ops::log_softmax(logits, 1)?;
                picked(&logs, targets, ignore)?.surprises.mean_all()
            }),
        },
        Impostor {
            name: "sequences_count_alike",
            diagnosis: "each sequence is averaged first, so a position of a short one counts more; \
                        all positions count alike",
            caught_by: "positions_count_alike",
            answer: loss!(|logits, targets, ignore| {
                kept(logits, targets, ignore)?;
                let mut means = Vec::new();
                for row in 0..logits.dim(0)? {
                    let (logits, targets) = (logits.narrow(0, row, 1)?, targets.narrow(0, row, 1)?);
                    if let Ok(kept) = kept(&logits, &targets, ignore) {
                        means.push(kept.surprises.mean_all()?);
                    }
                }
                Tensor::stack(&means, 0)?.mean_all()
            }),
        },
        Impostor {
            name: "multiplied_by_zero",
            diagnosis: "ignored positions are multiplied by 0, and 0 times NaN or ∞ is NaN; leave \
                        them out instead",
            caught_by: "ignored_positions_do_not_matter",
            answer: loss!(|logits, targets, ignore| {
                let n_counted = kept(logits, targets, ignore)?.surprises.elem_count();
                let (batch, seq, d_vocab) = logits.dims3()?;
                let counts = match ignore {
                    Some(ignore) => targets.ne(ignore)?,
                    None => targets.ones_like()?.to_dtype(CandleDType::U8)?,
                };
                let harmless = counts.where_cond(targets, &targets.zeros_like()?)?;
                let logits = logits.reshape((batch * seq, d_vocab))?;
                let logs = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
                let picked = logs.gather(&harmless.reshape((batch * seq, 1))?, 1)?.squeeze(1)?;
                let counts = counts.flatten_all()?.to_dtype(logits.dtype())?;
                (picked * counts)?.sum_all()? / -(n_counted as f64)
            }),
        },
        Impostor {
            name: "zero_is_always_padding",
            diagnosis: "token 0 is left out even if nothing is to be ignored",
            caught_by: "matches_definition",
            answer: loss!(|logits, targets, ignore| {
                kept(logits, targets, ignore)?;
                kept(logits, targets, ignore.or(Some(0)))?.surprises.mean_all()
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the loss is computed in `f32` whatever the logits are",
            caught_by: "matches_definition",
            answer: loss!(|logits, targets, ignore| {
                in_single(|t| kept(&t[0], targets, ignore)?.surprises.mean_all(), &[logits])
            }),
        },
        Impostor {
            name: "logarithm_of_softmax",
            diagnosis: "the softmax is taken before the logarithm: a probability of 0 has none",
            caught_by: "large_logits_stay_finite",
            answer: loss!(|logits, targets, ignore| {
                let logs = candle_nn::ops::softmax(logits, D::Minus1)?.log()?;
                picked(&logs, targets, ignore)?.surprises.mean_all()
            }),
        },
        Impostor {
            name: "largest_not_subtracted",
            diagnosis: "the largest logit is not subtracted first, so the exponentials overflow",
            caught_by: "large_logits_stay_finite",
            answer: loss!(|logits, targets, ignore| {
                let sum = logits.exp()?.sum_keepdim(D::Minus1)?.log()?;
                picked(&logits.broadcast_sub(&sum)?, targets, ignore)?.surprises.mean_all()
            }),
        },
        Impostor {
            name: "normaliser_detached",
            diagnosis: "the logarithm of the sum is taken out of the graph, so no logit is ever \
                        pushed down",
            caught_by: "gradient_reaches_logits",
            answer: loss!(|logits, targets, ignore| {
                let largest = logits.max_keepdim(D::Minus1)?;
                let moved = logits.broadcast_sub(&largest)?.exp()?;
                let sum = (moved.sum_keepdim(D::Minus1)?.log()? + largest)?.detach();
                picked(&logits.broadcast_sub(&sum)?, targets, ignore)?.surprises.mean_all()
            }),
        },
        Impostor {
            name: "nothing_counts_as_zero",
            diagnosis: "a batch in which nothing counts has a loss of 0, as if the model knew it \
                        all",
            caught_by: "what_has_no_loss_is_refused",
            answer: loss!(|logits, targets, ignore| {
                let flat = targets.flatten_all()?.to_vec1::<u32>()?;
                if flat.iter().all(|&target| Some(target) == ignore) {
                    return Tensor::zeros((), logits.dtype(), logits.device());
                }
                kept(logits, targets, ignore)?.surprises.mean_all()
            }),
        },
        Impostor {
            name: "axes_not_compared",
            diagnosis: "logits and targets are flattened without comparing their axes, so `(2, 3)` \
                        is scored against `(3, 2)`",
            caught_by: "what_has_no_loss_is_refused",
            answer: loss!(|logits, targets, ignore| {
                let (batch, seq, _) = logits.dims3()?;
                let targets = targets.reshape((batch, seq))?;
                kept(logits, &targets, ignore)?.surprises.mean_all()
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_one_hot",
        answer: loss!(|logits, targets, ignore| by_one_hot(logits, targets, ignore)),
    }],
};

/// Roundings of an honest `f32` answer: a sum over the vocabulary, and one over the positions.
const TOLERANCE: Tolerance = Tolerance::roundings(64.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let logits = Array::new(&[1, 3, 2], vec![0., 3f64.ln(), 0., 0., 7., -7.]).to(DType::F32);
    let targets = Array::matrix(&[[1., 0., 9.]]).to(DType::U32);
    let loss = trial.array(args![logits: &logits, targets: &targets, ignore: Some(9i64)])?;
    let expected = f64::midpoint(-(0.75f64.ln()), 2f64.ln());
    trial.close("loss", &loss, &scalar(expected).to(DType::F32), TOLERANCE)
}

fn positions_count_alike(trial: &mut Trial) -> Outcome {
    let logits = trial.rng.normal_array(&[1, 12, 5]).map(|x| 2.0 * x);
    // The padding falls on some of the sequences only, however they are cut.
    let targets = [0., 3., 1., 4., 2., 2., 9., 0., 1., 9., 9., 9.];
    let targets = Array::new(&[1, 12], targets.to_vec()).to(DType::U32);
    let together = trial.array(args![logits: &logits, targets: &targets, ignore: Some(9i64)])?;
    for [batch, seq] in [[2, 6], [3, 4], [12, 1]] {
        let (logits, targets) = (logits.reshape(&[batch, seq, 5]), targets.reshape(&[batch, seq]));
        let loss = trial.array(args![logits: &logits, targets: &targets, ignore: Some(9i64)])?;
        let name = format!("loss of the same positions as {batch} sequences");
        trial.close(&name, &loss, &together, TOLERANCE.at_scale(4.0))?;
    }
    let expected = oracle(&logits, &targets, Some(9)).to(DType::F32);
    trial.close("loss", &together, &expected, TOLERANCE.at_scale(4.0))
}

fn ignored_positions_do_not_matter(trial: &mut Trial) -> Outcome {
    let logits = trial.rng.normal_array(&[2, 3, 4]);
    let targets = Array::matrix(&[[3., 7., 0.], [1., 2., 7.]]).to(DType::U32);
    let before = trial.array(args![logits: &logits, targets: &targets, ignore: Some(7i64)])?;
    for number in [50.0, f64::INFINITY, f64::NAN] {
        let changed = Array::from_fn(&[2, 3, 4], |at| {
            if targets.at(&at[..2]) as u32 == 7 { number } else { logits.at(at) }
        });
        let changed = changed.to(DType::F32);
        let after = trial.array(args![logits: &changed, targets: &targets, ignore: Some(7i64)])?;
        let name = format!("loss with all logits of ignored positions {number}");
        trial.close(&name, &after, &before, TOLERANCE.at_scale(4.0))?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for ([batch, seq, d_vocab], ignore) in
        [([2, 3, 5], None), ([3, 4, 6], Some(2u32)), ([1, 1, 1], None), ([2, 5, 3], Some(9))]
    {
        let mut targets = super::drawing::tokens(trial, [batch, seq], d_vocab);
        // Token 0 comes, and something that counts does.
        targets.set(&[0, 0], 0.0);
        if let Some(ignore) = ignore {
            targets.set(&[batch - 1, seq - 1], f64::from(ignore));
        }
        for dtype in [DType::F64, DType::F32] {
            let logits = trial.rng.normal_array(&[batch, seq, d_vocab]).map(|x| 3.0 * x).to(dtype);
            let loss = trial.array(args![
                logits: &logits.laid_out(&[2, 0, 1]),
                targets: &targets.laid_out(&[1, 0]),
                ignore: ignore.map(i64::from),
            ])?;
            let expected = oracle(&logits, &targets, ignore).to(dtype);
            let tolerance = TOLERANCE.at_scale(8.0).in_double(1e-10);
            trial.close("loss", &loss, &expected, tolerance)?;
        }
    }
    Ok(())
}

fn large_logits_stay_finite(trial: &mut Trial) -> Outcome {
    let logits = Array::new(&[1, 2, 2], vec![1e4, -1e4, 1e4, 1e4]).to(DType::F32);
    for (target, expected) in [(0.0, 0.5 * 2f64.ln()), (1.0, 1e4 + 0.5 * 2f64.ln())] {
        let targets = Array::matrix(&[[target, 1.]]).to(DType::U32);
        let loss = trial.array(args![logits: &logits, targets: &targets, ignore: None::<i64>])?;
        let expected = scalar(expected).to(DType::F32);
        // The logarithm of the sum stands beside the largest logit, if it is added to it.
        let tolerance = Tolerance::roundings(8.0).at_scale(1e4);
        trial.close("loss", &loss, &expected, tolerance)?;
    }
    Ok(())
}

fn gradient_reaches_logits(trial: &mut Trial) -> Outcome {
    let logits = trial.rng.normal_array(&[2, 3, 4]);
    let targets = Array::matrix(&[[3., 7., 0.], [1., 2., 7.]]).to(DType::U32);
    let args = args![logits: &logits, targets: &targets, ignore: Some(7i64)];
    trial.gradient_matches(args, |at| oracle(at.get("logits"), &targets, Some(7)))
}

fn what_has_no_loss_is_refused(trial: &mut Trial) -> Outcome {
    let logits = trial.rng.normal_array(&[2, 3, 4]);
    let all = |shape: &[usize], token: f64| Array::full(shape, token).to(DType::U32);
    let cases = [
        ("every target is ignored", all(&[2, 3], 9.0), Some(9i64)),
        ("a target is 4 and the vocabulary has 4", all(&[2, 3], 4.0), None),
        ("a target is 9 and 8 is to be ignored", all(&[2, 3], 9.0), Some(8)),
        ("`targets` is (3, 2) and `logits` (2, 3, 4)", all(&[3, 2], 1.0), None),
    ];
    for (case, targets, ignore) in cases {
        trial.refuses(case, args![logits: &logits, targets: &targets, ignore: ignore])?;
    }
    Ok(())
}

fn scalar(number: f64) -> Array {
    Array::new(&[], vec![number])
}

/// The mean of `ln Σ exp(logits) − logits[target]` over the positions that count.
fn oracle(logits: &Array, targets: &Array, ignore: Option<u32>) -> Array {
    let rows = logits.values().chunks(logits.dim(2)).zip(targets.values());
    let counted = rows.filter(|(_, target)| ignore.is_none_or(|ignore| **target as u32 != ignore));
    let surprises: Vec<f64> = counted
        .map(|(row, &target)| {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|logit| (logit - largest).exp()).sum();
            largest + sum.ln() - row[target as usize]
        })
        .collect();
    scalar(surprises.iter().sum::<f64>() / surprises.len() as f64)
}

/// What is left once ignored positions are gone.
struct Kept {
    surprises: Tensor,
}

fn kept(logits: &Tensor, targets: &Tensor, ignore: Option<u32>) -> Result<Kept> {
    let (batch, seq, d_vocab) = logits.dims3()?;
    let (places, wanted) = counted(logits, targets, ignore)?;
    let rows = logits.reshape((batch * seq, d_vocab))?.index_select(&places, 0)?;
    let logs = candle_nn::ops::log_softmax(&rows, D::Minus1)?;
    Ok(Kept { surprises: logs.gather(&wanted, 1)?.neg()? })
}

/// As [`kept`], of logarithms that are there already.
fn picked(logs: &Tensor, targets: &Tensor, ignore: Option<u32>) -> Result<Kept> {
    let (batch, seq, d_vocab) = logs.dims3()?;
    let (places, wanted) = counted(logs, targets, ignore)?;
    let rows = logs.reshape((batch * seq, d_vocab))?.index_select(&places, 0)?;
    Ok(Kept { surprises: rows.gather(&wanted, 1)?.neg()? })
}

/// Where the targets are that count, and which they are.
fn counted(logits: &Tensor, targets: &Tensor, ignore: Option<u32>) -> Result<(Tensor, Tensor)> {
    let (batch, seq, d_vocab) = logits.dims3()?;
    if targets.dims() != [batch, seq] {
        bail!("{:?} against {:?}", targets.dims(), logits.dims());
    }
    let flat = targets.flatten_all()?.to_vec1::<u32>()?;
    let places = (0..flat.len()).filter(|&place| Some(flat[place]) != ignore);
    let places: Vec<u32> = places.map(|place| place as u32).collect();
    let wanted: Vec<u32> = places.iter().map(|&place| flat[place as usize]).collect();
    let n = wanted.len();
    if n == 0 || wanted.iter().any(|&target| target as usize >= d_vocab) {
        bail!("{wanted:?} of {d_vocab}");
    }
    let device = logits.device();
    Ok((Tensor::from_vec(places, n, device)?, Tensor::from_vec(wanted, (n, 1), device)?))
}

/// Rows picked one by one; the target's logit by a product with zeros and a one.
fn by_one_hot(logits: &Tensor, targets: &Tensor, ignore: Option<u32>) -> Result<Tensor> {
    counted(logits, targets, ignore)?;
    let targets = targets.to_vec2::<u32>()?;
    let mut surprises = Vec::new();
    for (row, sequence) in targets.iter().enumerate() {
        for (place, &target) in sequence.iter().enumerate() {
            if Some(target) != ignore {
                let logits = logits.get(row)?.get(place)?;
                let vocabulary = Tensor::arange(0, logits.dim(0)? as u32, logits.device())?;
                let wanted = vocabulary.eq(target)?.to_dtype(logits.dtype())?;
                surprises.push((logits.log_sum_exp(0)? - (&logits * wanted)?.sum(0)?)?);
            }
        }
    }
    Tensor::stack(&surprises, 0)?.mean_all()
}
