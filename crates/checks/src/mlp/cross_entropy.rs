//! `cross_entropy`: the mean surprise of the right classes.

use answer::answer;
use candle_core::{D, Result, Tensor, bail};
use candle_nn::ops;
use protocol::DType;

use super::steps::in_single;
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, SourceRule, Tolerance, Trial, args,
};

pub(super) const CROSS_ENTROPY: Part = Part {
    name: "cross_entropy",
    rule: Some(SourceRule {
        only: &[],
        never: &["cross_entropy", "nll"],
        reason: "The loss is the exercise; candle's ready losses may not be called.",
    }),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "rows_are_averaged",
            promise: "The loss of a batch is the mean of the losses of its rows.",
            kind: Kind::Property,
            run: rows_are_averaged,
        },
        Check {
            name: "constants_cancel",
            promise: "Adding one number to all logits of a row changes nothing.",
            kind: Kind::Property,
            run: constants_cancel,
        },
        Check {
            name: "extreme_logits_stay_finite",
            promise: "Logits of ±10⁴, and −∞ for other classes, give the right finite loss.",
            kind: Kind::Property,
            run: extreme_logits_stay_finite,
        },
        Check {
            name: "matches_definition",
            promise: "The loss is the mean of −ln softmax at the targets, in every shape and \
                      layout.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_logits",
            promise: "The gradient reaches `logits`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_logits,
        },
        Check {
            name: "other_batches_are_refused",
            promise: "Targets that do not fit the batch or the classes give an error.",
            kind: Kind::Errors,
            run: other_batches_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "softmax_twice",
            diagnosis: "softmax is taken twice: cross entropy wants logits, and gets probabilities",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                right(&ops::softmax(logits, 1)?, targets)
            }),
        },
        Impostor {
            name: "summed",
            diagnosis: "the losses of the rows are summed; the loss of a batch is their mean",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                right(logits, targets)? * logits.dim(0)? as f64
            }),
        },
        Impostor {
            name: "mean_over_everything",
            diagnosis: "the mean runs over classes too, so it is divided by batch · n_classes; \
                        divide by batch",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                right(logits, targets)? / logits.dim(1)? as f64
            }),
        },
        Impostor {
            name: "mean_over_the_wrong_axis",
            diagnosis: "the sum is divided by n_classes; it is the rows that are averaged",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                let (batch, n_classes) = logits.dims2()?;
                right(logits, targets)? * (batch as f64 / n_classes as f64)
            }),
        },
        Impostor {
            name: "softmax_over_the_batch",
            diagnosis: "the softmax runs over the batch; the classes compete, not the rows",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                pick(&ops::log_softmax(logits, 0)?, targets)?.mean_all()?.neg()
            }),
        },
        Impostor {
            name: "sign_forgotten",
            diagnosis: "the logarithm of a probability is negative; the loss is minus that",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| right(logits, targets)?.neg()),
        },
        Impostor {
            name: "no_logarithm",
            diagnosis: "the logarithm is missing: this is minus the mean probability",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                pick(&ops::softmax(logits, 1)?, targets)?.mean_all()?.neg()
            }),
        },
        Impostor {
            name: "in_bits",
            diagnosis: "the logarithm has base 2; nats are asked for, base e",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                right(logits, targets)? / std::f64::consts::LN_2
            }),
        },
        Impostor {
            name: "losses_not_averaged",
            diagnosis: "each row's loss is returned; the loss is one number, their mean",
            caught_by: "documented_example",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                pick(&ops::log_softmax(logits, 1)?, targets)?.neg()
            }),
        },
        Impostor {
            name: "every_row_every_target",
            diagnosis: "`index_select` picks the classes of all targets in every row; `gather` \
                        picks each row's own",
            caught_by: "rows_are_averaged",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                ops::log_softmax(logits, 1)?.index_select(targets, 1)?.mean_all()?.neg()
            }),
        },
        Impostor {
            name: "no_maximum_subtracted",
            diagnosis: "`exp` is taken of the logits as they are, and overflows from about 89 on \
                        in `f32`",
            caught_by: "constants_cancel",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                let total = logits.exp()?.sum(1)?.log()?;
                (total - pick(logits, targets)?)?.mean_all()
            }),
        },
        Impostor {
            name: "one_maximum_for_all_rows",
            diagnosis: "the largest logit of the whole batch is subtracted, so `exp` of a lower \
                        row is 0 throughout; subtract each row's own",
            caught_by: "constants_cancel",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                let logits = logits.broadcast_sub(&logits.max_all()?)?;
                let total = logits.exp()?.sum(1)?.log()?;
                (total - pick(&logits, targets)?)?.mean_all()
            }),
        },
        Impostor {
            name: "epsilon_in_the_logarithm",
            diagnosis: "a small number is added to the probabilities, so a confident mistake \
                        costs no more than about 20; subtract logs instead",
            caught_by: "extreme_logits_stay_finite",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                pick(&(ops::softmax(logits, 1)? + 1e-9)?.log()?, targets)?.mean_all()?.neg()
            }),
        },
        Impostor {
            name: "logarithm_of_softmax",
            diagnosis: "the softmax rounds to 0 and its logarithm is −∞; stay in logs: logit − \
                        ln Σ exp",
            caught_by: "extreme_logits_stay_finite",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                pick(&ops::softmax(logits, 1)?.log()?, targets)?.mean_all()?.neg()
            }),
        },
        Impostor {
            name: "zero_times_infinity",
            diagnosis: "log probabilities are multiplied by a one-hot, and 0 · −∞ is NaN; pick \
                        with `gather`",
            caught_by: "extreme_logits_stay_finite",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                by_one_hot(&ops::log_softmax(logits, 1)?, targets)?.mean_all()?.neg()
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the loss is computed in `f32` whatever the logits are",
            caught_by: "matches_definition",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                in_single(|t| right(&t[0], targets), &[logits])
            }),
        },
        Impostor {
            name: "softmax_without_backward",
            diagnosis: "`softmax_last_dim` passes no gradient back, and no error either",
            caught_by: "gradient_reaches_logits",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                // Its own value where it is finite, so that only the gradient is missing.
                let logs = ops::log_softmax(logits, 1)?;
                #[expect(clippy::disallowed_methods, reason = "this is the mistake")]
                let beliefs = ops::softmax_last_dim(&logits.contiguous()?)?;
                let logs = beliefs.gt(1e-30)?.where_cond(&beliefs.log()?, &logs)?;
                pick(&logs, targets)?.mean_all()?.neg()
            }),
        },
        Impostor {
            name: "gather_believed",
            diagnosis: "`gather` is content with fewer targets than rows, and leaves rows out \
                        without an error",
            caught_by: "other_batches_are_refused",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                pick(&ops::log_softmax(logits, 1)?, targets)?.mean_all()?.neg()
            }),
        },
        Impostor {
            name: "outside_is_no_class",
            diagnosis: "a target outside the classes matches none of them and counts as a loss \
                        of 0",
            caught_by: "other_batches_are_refused",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                by_choosing(&ops::log_softmax(logits, 1)?, targets)?.mean_all()?.neg()
            }),
        },
    ],
    alternatives: &[
        Alternative {
            name: "by_log_softmax",
            answer: answer!(|logits: &Tensor, targets: &Tensor| right(logits, targets)),
        },
        Alternative {
            name: "by_log_sum_exp",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                fits(logits, targets)?;
                (logits.log_sum_exp(1)? - pick(logits, targets)?)?.mean_all()
            }),
        },
        Alternative {
            name: "differences_to_the_target",
            answer: answer!(|logits: &Tensor, targets: &Tensor| {
                // ln Σ exp(logit − logit of the target), by the softplus of each row's maximum.
                fits(logits, targets)?;
                let ahead = logits.broadcast_sub(&pick(logits, targets)?.unsqueeze(1)?)?;
                let most = ahead.max_keepdim(1)?.detach();
                let sums = ahead.broadcast_sub(&most)?.exp()?.sum_keepdim(1)?;
                (sums.log()? + most)?.mean_all()
            }),
        },
    ],
};

/// Roundings of an honest `f32` answer: a sum of exponentials, a logarithm, a mean.
const TOLERANCE: Tolerance = Tolerance::roundings(32.0).in_double(1e-11);

fn documented_example(trial: &mut Trial) -> Outcome {
    let ln_3 = 3f64.ln();
    let logits = Array::matrix(&[[ln_3, 0., 0.], [ln_3, 0., 0.]]).to(DType::F32);
    let loss = trial.array(args![logits: &logits, targets: &classes(&[0, 1])])?;
    trial.close(
        "loss",
        &loss,
        &Array::new(&[], vec![5f64.ln() - 0.5 * ln_3]).to(DType::F32),
        TOLERANCE,
    )
}

fn rows_are_averaged(trial: &mut Trial) -> Outcome {
    let (logits, targets) = draw(trial, 3, 4, DType::F32);
    let whole = trial.array(args![logits: &logits, targets: &targets])?;
    let mut sum = 0.0;
    for row in 0..3 {
        let (logits, targets) = (logits.narrow(0, row, 1), targets.narrow(0, row, 1));
        let loss = trial.array(args![logits: &logits, targets: &targets])?;
        trial.has_shape("loss", &loss, &[])?;
        sum += loss.values()[0];
    }
    let mean = Array::new(&[], vec![sum / 3.0]).to(DType::F32);
    trial.close("loss, against the mean over its rows", &whole, &mean, TOLERANCE.at_scale(4.0))
}

fn constants_cancel(trial: &mut Trial) -> Outcome {
    let (logits, targets) = draw(trial, 4, 5, DType::F32);
    let before = trial.array(args![logits: &logits, targets: &targets])?;
    // Whole numbers, so that the moved logits round alike in every row.
    let by = [0.0, -200.0, 200.0, -100.0];
    let moved = Array::from_fn(&[4, 5], |at| logits.at(at) + by[at[0]]).to(DType::F32);
    let back = Array::from_fn(&[4, 5], |at| moved.at(at) - by[at[0]]).to(DType::F32);
    let after = trial.array(args![logits: &moved, targets: &targets])?;
    let name = "loss with −200, 200 and −100 added to the logits of rows 1, 2 and 3";
    trial.has_shape("loss", &before, &[])?;
    // A logit of 200 is known to half a unit in its last place.
    trial.close(name, &after, &oracle(&back, &targets).to(DType::F32), TOLERANCE.at_scale(200.0))
}

fn extreme_logits_stay_finite(trial: &mut Trial) -> Outcome {
    let hidden = f64::NEG_INFINITY;
    let cases = [
        ([1e4, -1e4, 0.], 0, 0.0, "sure, and right, at 10⁴"),
        ([1e4, -1e4, 0.], 1, 2e4, "sure, and wrong, at 10⁴"),
        ([-1e4, -1e4, -1e4], 2, 3f64.ln(), "undecided at −10⁴"),
        ([hidden, 2., 2.], 1, 2f64.ln(), "undecided between two, with a third ruled out by −∞"),
    ];
    for (logits, target, expected, case) in cases {
        let logits = Array::matrix(&[logits]).to(DType::F32);
        let loss = trial.array(args![logits: &logits, targets: &classes(&[target])])?;
        let expected = Array::new(&[], vec![expected]).to(DType::F32);
        // ln Σ exp of logits near 10⁴ is known no better than they are.
        let tolerance = TOLERANCE.at_scale(1e4);
        trial.close(&format!("loss, {case}"), &loss, &expected, tolerance)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (batch, n_classes) in [(3, 5), (1, 7), (4, 1), (5, 2)] {
        for dtype in [DType::F64, DType::F32] {
            let (logits, targets) = draw(trial, batch, n_classes, dtype);
            let logits = logits.laid_out(&[1, 0]);
            let loss = trial.array(args![logits: &logits, targets: &targets])?;
            let expected = oracle(&logits, &targets).to(dtype);
            trial.close("loss", &loss, &expected, TOLERANCE.at_scale(4.0))?;
        }
    }
    Ok(())
}

fn gradient_reaches_logits(trial: &mut Trial) -> Outcome {
    let (logits, targets) = draw(trial, 3, 4, DType::F64);
    trial.gradient_matches(args![logits: &logits, targets: &targets], |at| {
        oracle(at.get("logits"), at.get("targets"))
    })
}

fn other_batches_are_refused(trial: &mut Trial) -> Outcome {
    let logits = trial.rng.normal_array(&[3, 4]);
    let cases = [
        (vec![0, 1], "there are 3 rows of logits and 2 targets"),
        (vec![0, 1, 4], "a target is 4 and there are 4 classes, 0 to 3"),
    ];
    for (targets, case) in cases {
        trial.refuses(case, args![logits: &logits, targets: &classes(&targets)])?;
    }
    Ok(())
}

fn classes(targets: &[usize]) -> Array {
    let targets: Vec<f64> = targets.iter().map(|&target| target as f64).collect();
    Array::vector(&targets).to(DType::U32)
}

fn draw(trial: &mut Trial, batch: usize, n_classes: usize, dtype: DType) -> (Array, Array) {
    let logits = trial.rng.normal_array(&[batch, n_classes]).to(dtype);
    let targets: Vec<usize> = (0..batch).map(|_| trial.rng.below(n_classes)).collect();
    (logits, classes(&targets))
}

/// `1/batch Σ_b ln Σ_c exp(logits[b, c] − logits[b, target_b])`.
pub(super) fn oracle(logits: &Array, targets: &Array) -> Array {
    let (batch, n_classes) = (logits.dim(0), logits.dim(1));
    let of_row = |b: usize| {
        let right = logits.at(&[b, targets.at(&[b]) as usize]);
        let ahead = (0..n_classes).map(|c| logits.at(&[b, c]) - right);
        let most = ahead.clone().fold(f64::NEG_INFINITY, f64::max);
        most + ahead.map(|ahead| (ahead - most).exp()).sum::<f64>().ln()
    };
    Array::new(&[], vec![(0..batch).map(of_row).sum::<f64>() / batch as f64])
}

fn fits(logits: &Tensor, targets: &Tensor) -> Result<()> {
    if targets.dims() != [logits.dim(0)?] {
        bail!("targets {:?} do not fit logits {:?}", targets.dims(), logits.dims());
    }
    Ok(())
}

/// The entry of each row's target.
fn pick(rows: &Tensor, targets: &Tensor) -> Result<Tensor> {
    rows.contiguous()?.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)
}

fn right(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    fits(logits, targets)?;
    pick(&ops::log_softmax(logits, D::Minus1)?, targets)?.mean_all()?.neg()
}

/// 1 at each row's target, 0 elsewhere, as `u8`.
fn one_hot(rows: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let classes = Tensor::arange(0, rows.dim(1)? as u32, rows.device())?;
    targets.unsqueeze(1)?.broadcast_eq(&classes)
}

fn by_one_hot(rows: &Tensor, targets: &Tensor) -> Result<Tensor> {
    (rows * one_hot(rows, targets)?.to_dtype(rows.dtype())?)?.sum(1)
}

fn by_choosing(rows: &Tensor, targets: &Tensor) -> Result<Tensor> {
    one_hot(rows, targets)?.where_cond(rows, &rows.zeros_like()?)?.sum(1)
}
