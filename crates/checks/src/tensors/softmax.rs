//! `softmax`: numbers along one axis turned into weights.

use answer::answer;
use candle_core::{Result, Tensor};
use candle_nn::ops;
use protocol::DType;

use super::rows;
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, SourceRule, Tolerance, Trial, args,
};

pub(super) const SOFTMAX: Part = Part {
    name: "softmax",
    // `log_sum_exp` is no shortcut but a lesson: `log_weights_of_large_inputs` shows why.
    rule: Some(SourceRule {
        only: &[],
        never: &["softmax", "softmax_last_dim", "log_softmax", "sigmoid"],
        reason: "Build `softmax` from plain operations such as exp, sum and a division; the ready \
                 function is NaN on a row of −∞.",
    }),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "matches_definition",
            promise: "The weights are exp(x) / Σ exp(x) along the axis asked for.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "shifting_a_row_changes_nothing",
            promise: "Adding a number up to ±10⁴ to a whole row leaves its weights as they are.",
            kind: Kind::Property,
            run: shifting_a_row_changes_nothing,
        },
        Check {
            name: "wide_rows_stay_finite",
            promise: "A row may hold −10⁴, 0 and 10⁴ at once.",
            kind: Kind::Property,
            run: wide_rows_stay_finite,
        },
        Check {
            name: "minus_infinity_gets_nothing",
            promise: "An input of −∞ gets a weight of 0, and a row of −∞ alone gets zeros.",
            kind: Kind::Property,
            run: minus_infinity_gets_nothing,
        },
        Check {
            name: "gradient_reaches_x",
            promise: "The gradient reaches `x`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_x,
        },
        Check {
            name: "gradient_survives_minus_infinity",
            promise: "An input of −∞ receives a gradient of 0, also in a row of −∞ alone.",
            kind: Kind::Gradient,
            run: gradient_survives_minus_infinity,
        },
    ],
    impostors: &[
        Impostor {
            name: "whole_tensor_normalised",
            diagnosis: "all weights together sum to 1; those of each row should",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, axis: usize| {
                let exps = exps(x, axis)?;
                exps.broadcast_div(&exps.sum_all()?)
            }),
        },
        Impostor {
            name: "logarithm_of_the_weights",
            diagnosis: "the logarithm of the weights is returned",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, axis: usize| right(x, axis)?.log()),
        },
        Impostor {
            name: "other_axis",
            diagnosis: "the weights are normalised along another axis than the one asked for",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, axis: usize| right(x, x.rank().max(axis + 1) - 1 - axis)),
        },
        Impostor {
            name: "last_axis_always",
            diagnosis: "the weights are normalised along the last axis, whatever `axis` says",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, axis: usize| right(x, x.rank().max(axis + 1) - 1)),
        },
        Impostor {
            name: "epsilon_in_the_sum",
            diagnosis: "a small number is added to the sum before the division, so the weights sum \
                        to less than 1",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, axis: usize| {
                let exps = exps(x, axis)?;
                exps.broadcast_div(&(exps.sum_keepdim(axis)? + 1e-5)?)
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "everything is computed in f32; the dtype must come from `x`",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, axis: usize| {
                right(&x.to_dtype(candle_core::DType::F32)?, axis)
            }),
        },
        Impostor {
            name: "no_maximum_subtracted",
            diagnosis: "the maximum is not subtracted before exp, which overflows above 88 in f32",
            caught_by: "shifting_a_row_changes_nothing",
            answer: answer!(|x: &Tensor, axis: usize| {
                let exps = x.exp()?;
                exps.broadcast_div(&exps.sum_keepdim(axis)?)
            }),
        },
        Impostor {
            name: "one_maximum_for_all",
            diagnosis: "the maximum of the whole tensor is subtracted, so that rows far below it \
                        vanish; each row has its own maximum",
            caught_by: "shifting_a_row_changes_nothing",
            answer: answer!(|x: &Tensor, axis: usize| {
                let exps = x.broadcast_sub(&x.flatten_all()?.max(0)?)?.exp()?;
                exps.broadcast_div(&exps.sum_keepdim(axis)?)
            }),
        },
        Impostor {
            name: "log_weights_of_large_inputs",
            diagnosis: "exp(x − log_sum_exp(x)) subtracts two large numbers that are rounded to \
                        few digits; subtract the maximum and divide by the sum",
            caught_by: "shifting_a_row_changes_nothing",
            answer: answer!(|x: &Tensor, axis: usize| {
                let log_sum = (safe_sum(x, axis)?.log()? + rows::finite_max(x, axis)?)?;
                x.broadcast_sub(&log_sum)?.exp()
            }),
        },
        Impostor {
            name: "mean_subtracted",
            diagnosis: "the mean is subtracted before exp; only the maximum keeps every exp at 1 \
                        or below",
            caught_by: "wide_rows_stay_finite",
            answer: answer!(|x: &Tensor, axis: usize| {
                let exps = x.broadcast_sub(&x.mean_keepdim(axis)?)?.exp()?;
                exps.broadcast_div(&exps.sum_keepdim(axis)?)
            }),
        },
        Impostor {
            name: "nan_on_an_empty_row",
            diagnosis: "a row of −∞ alone gives NaN, because −∞ − −∞ and 0 / 0 are NaN",
            caught_by: "minus_infinity_gets_nothing",
            answer: answer!(|x: &Tensor, axis: usize| ops::softmax(x, axis)),
        },
        Impostor {
            name: "large_number_for_infinity",
            diagnosis: "−∞ is replaced by a large negative number, so a row of −∞ alone gets equal \
                        weights; it may look nowhere",
            caught_by: "minus_infinity_gets_nothing",
            answer: answer!(|x: &Tensor, axis: usize| {
                ops::softmax(&x.maximum(&rows::filled(x, -1e9)?)?, axis)
            }),
        },
        Impostor {
            name: "sum_detached",
            diagnosis: "the sum is detached like the maximum, so the gradient does not see that \
                        weights compete",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor, axis: usize| {
                exps(x, axis)?.broadcast_div(&safe_sum(x, axis)?.detach())
            }),
        },
        Impostor {
            name: "kernel_without_backward",
            diagnosis: "candle_nn's softmax_last_dim passes no gradient and no error",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor, axis: usize| by_the_kernel(x, axis)),
        },
        Impostor {
            name: "nan_hidden_too_late",
            diagnosis: "the NaN of an empty row is hidden after the division; that leaves NaN in \
                        the gradient, so replace the sum before the division",
            caught_by: "gradient_survives_minus_infinity",
            answer: answer!(|x: &Tensor, axis: usize| {
                let weights = ops::softmax(x, axis)?;
                let is_hidden = x.eq(f64::NEG_INFINITY)?;
                is_hidden.where_cond(&weights.zeros_like()?, &weights)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "exponential_of_log_weights",
        answer: answer!(|x: &Tensor, axis: usize| by_log_weights(x, axis)),
    }],
};

/// The subtraction, exp, a sum of at most five terms and the division; no weight is above 1.
const TOLERANCE: Tolerance = Tolerance::roundings(32.0).at_scale(1.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[3f64.ln(), 0.0], [0.0, 0.0]]);
    let weights = trial.array(args![x: &x, axis: 1usize])?;
    trial.close("weights", &weights, &Array::matrix(&[[0.75, 0.25], [0.5, 0.5]]), TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for &(shape, axis, order) in rows::SHAPES {
        for dtype in [DType::F64, DType::F32] {
            let x = trial.rng.normal_array(shape).to(dtype).laid_out(order);
            let weights = trial.array(args![x: &x, axis: axis])?;
            let name = format!("weights along axis {axis}");
            trial.close(&name, &weights, &rows::softmax(&x, axis), TOLERANCE)?;
        }
    }
    let x = trial.rng.normal_array(&[2, 3]);
    trial.refuses("`x` has no axis 2", args![x: &x, axis: 2usize]).map(|_| ())
}

fn shifting_a_row_changes_nothing(trial: &mut Trial) -> Outcome {
    let x = rows::in_eighths(&mut trial.rng);
    let moved = Array::from_fn(&[4, 5], |at| x.at(at) + rows::SHIFTS[at[0]]).to(DType::F32);
    let weights = trial.array(args![x: &moved, axis: 1usize])?;
    trial.close("weights of shifted rows", &weights, &rows::softmax(&x, 1), TOLERANCE)
}

fn wide_rows_stay_finite(trial: &mut Trial) -> Outcome {
    let x = rows::wide();
    let weights = trial.array(args![x: &x, axis: 1usize])?;
    trial.close("weights", &weights, &rows::softmax(&x, 1), TOLERANCE)
}

fn minus_infinity_gets_nothing(trial: &mut Trial) -> Outcome {
    let x = rows::with_minus_infinity(&mut trial.rng);
    let weights = trial.array(args![x: &x, axis: 1usize])?;
    trial.close("weights", &weights, &rows::softmax(&x, 1), TOLERANCE)?;
    let hidden = x.values().iter().zip(weights.values()).filter(|(x, _)| x.is_infinite());
    let leak = hidden.map(|(_, weight)| weight.abs()).fold(0.0, f64::max);
    trial.ensure(leak <= 0.0, || format!("An input of −∞ has the weight {leak:e}; expected 0."))
}

fn gradient_reaches_x(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 4, 3]).laid_out(&[2, 0, 1]);
    trial.gradient_matches(args![x: &x, axis: 1usize], |at| rows::softmax(at.get("x"), 1))
}

fn gradient_survives_minus_infinity(trial: &mut Trial) -> Outcome {
    let x = rows::with_minus_infinity(&mut trial.rng).to(DType::F64);
    let cotangent = trial.rng.normal_array(&[3, 5]).to(DType::F64);
    let found = trial.gradients(args![x: &x, axis: 1usize], &[&cotangent])?;
    let Some(Some(gradient)) = found.get("x") else {
        return Err(trial.wrong("No gradient reaches `x`.".to_owned()));
    };
    let weights = rows::softmax(&x, 1);
    let mean = |row| (0..5).map(|j| weights.at(&[row, j]) * cotangent.at(&[row, j])).sum::<f64>();
    let expected = Array::from_fn(&[3, 5], |at| weights.at(at) * (cotangent.at(at) - mean(at[0])));
    trial.close("gradient of x", gradient, &expected, Tolerance::GRADIENT.at_scale(1.0))
}

/// `exp(x − max)`, where the maximum counts as 0 if it is −∞.
fn exps(x: &Tensor, axis: usize) -> Result<Tensor> {
    x.broadcast_sub(&rows::finite_max(x, axis)?)?.exp()
}

/// The sum of `exps`, but 1 for an empty row.
fn safe_sum(x: &Tensor, axis: usize) -> Result<Tensor> {
    let sum = exps(x, axis)?.sum_keepdim(axis)?;
    sum.eq(0.0)?.where_cond(&sum.ones_like()?, &sum)
}

/// A right answer, from which some impostors differ in one step.
fn right(x: &Tensor, axis: usize) -> Result<Tensor> {
    exps(x, axis)?.broadcast_div(&safe_sum(x, axis)?)
}

/// A right answer without a division: the logarithm of the sum is subtracted from `x − max`.
fn by_log_weights(x: &Tensor, axis: usize) -> Result<Tensor> {
    let below_max = x.broadcast_sub(&rows::finite_max(x, axis)?)?;
    below_max.broadcast_sub(&safe_sum(x, axis)?.log()?)?.exp()
}

#[expect(clippy::disallowed_methods, reason = "the impostor is that it has no backward pass")]
fn by_the_kernel(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.rank() - 1;
    let weights = ops::softmax_last_dim(&x.transpose(axis, last)?.contiguous()?)?;
    let weights = weights.transpose(axis, last)?;
    x.eq(f64::NEG_INFINITY)?.where_cond(&weights.zeros_like()?.contiguous()?, &weights)
}
