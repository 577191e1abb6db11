//! `log_sum_exp`: the logarithm of a sum of exponentials, without overflow.

use answer::answer;
use candle_core::{Result, Tensor};
use protocol::DType;

use super::rows;
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, SourceRule, Tolerance, Trial, args,
};

pub(super) const LOG_SUM_EXP: Part = Part {
    name: "log_sum_exp",
    rule: Some(SourceRule {
        only: &[],
        never: &["log_sum_exp", "logsumexp", "softmax", "softmax_last_dim", "log_softmax"],
        reason: "Build `log_sum_exp` from plain operations such as exp, sum and log; the ready \
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
            promise: "The result is log Σ exp(x) along the axis asked for, in the dtype of `x`.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "shifting_a_row_shifts_its_result",
            promise: "Adding a number up to ±10⁴ to a whole row adds it to the result.",
            kind: Kind::Property,
            run: shifting_a_row_shifts_its_result,
        },
        Check {
            name: "wide_rows_stay_finite",
            promise: "A row may hold −10⁴, 0 and 10⁴ at once.",
            kind: Kind::Property,
            run: wide_rows_stay_finite,
        },
        Check {
            name: "minus_infinity_adds_nothing",
            promise: "An input of −∞ adds nothing, and a row of −∞ alone gives −∞.",
            kind: Kind::Property,
            run: minus_infinity_adds_nothing,
        },
        Check {
            name: "gradient_is_the_softmax",
            promise: "The gradient reaches `x`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_is_the_softmax,
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
            name: "maximum_not_added_back",
            diagnosis: "the maximum is subtracted before exp but not added back after log",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, axis: usize| {
                exps(x, axis)?.sum_keepdim(axis)?.log()?.squeeze(axis)
            }),
        },
        Impostor {
            name: "axis_kept",
            diagnosis: "the axis stays in the result with length 1; it has to go",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, axis: usize| right(x, axis)?.unsqueeze(axis)),
        },
        Impostor {
            name: "mean_for_sum",
            diagnosis: "the exponentials are averaged, not summed",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, axis: usize| {
                (exps(x, axis)?.mean_keepdim(axis)?.log()? + x.max_keepdim(axis)?)?.squeeze(axis)
            }),
        },
        Impostor {
            name: "last_axis_always",
            diagnosis: "the sum runs along the last axis, whatever `axis` says",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, axis: usize| right(x, x.rank().max(axis + 1) - 1)),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "everything is computed in f32; the dtype must come from `x`",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, axis: usize| {
                right(&x.to_dtype(candle_core::DType::F32)?, axis)?.to_dtype(x.dtype())
            }),
        },
        Impostor {
            name: "no_maximum_subtracted",
            diagnosis: "the maximum is not subtracted before exp, which overflows above 88 in f32",
            caught_by: "shifting_a_row_shifts_its_result",
            answer: answer!(|x: &Tensor, axis: usize| x.exp()?.sum(axis)?.log()),
        },
        Impostor {
            name: "one_maximum_for_all",
            diagnosis: "the maximum of the whole tensor is subtracted, so that rows far below it \
                        vanish; each row has its own maximum",
            caught_by: "shifting_a_row_shifts_its_result",
            answer: answer!(|x: &Tensor, axis: usize| {
                let max = x.flatten_all()?.max(0)?;
                x.broadcast_sub(&max)?.exp()?.sum(axis)?.log()?.broadcast_add(&max)
            }),
        },
        Impostor {
            name: "clamped",
            diagnosis: "large inputs are clamped before exp, which changes the answer",
            caught_by: "shifting_a_row_shifts_its_result",
            answer: answer!(|x: &Tensor, axis: usize| {
                x.clamp(-80.0, 80.0)?.exp()?.sum(axis)?.log()
            }),
        },
        Impostor {
            name: "mean_subtracted",
            diagnosis: "the mean is subtracted before exp; only the maximum keeps every exp at 1 \
                        or below",
            caught_by: "wide_rows_stay_finite",
            answer: answer!(|x: &Tensor, axis: usize| {
                let finite = x.eq(f64::NEG_INFINITY)?.where_cond(&x.zeros_like()?, x)?;
                let mean = finite.mean_keepdim(axis)?;
                (x.broadcast_sub(&mean)?.exp()?.sum_keepdim(axis)?.log()? + mean)?.squeeze(axis)
            }),
        },
        Impostor {
            name: "nan_on_an_empty_row",
            diagnosis: "a row of −∞ alone gives NaN, because −∞ − −∞ is NaN",
            caught_by: "minus_infinity_adds_nothing",
            answer: answer!(|x: &Tensor, axis: usize| {
                let max = x.max_keepdim(axis)?;
                let sum = x.broadcast_sub(&max)?.exp()?.sum_keepdim(axis)?;
                (sum.log()? + max)?.squeeze(axis)
            }),
        },
        Impostor {
            name: "large_number_for_infinity",
            diagnosis: "−∞ is replaced by a large negative number, so a row of −∞ alone gives that \
                        number",
            caught_by: "minus_infinity_adds_nothing",
            answer: answer!(|x: &Tensor, axis: usize| {
                right(&x.maximum(&rows::filled(x, -1e9)?)?, axis)
            }),
        },
        Impostor {
            name: "maximum_detached_in_one_place",
            diagnosis: "the maximum is detached where it is subtracted but not where it is added \
                        back, so the largest input gets 1 too much",
            caught_by: "gradient_is_the_softmax",
            answer: answer!(|x: &Tensor, axis: usize| {
                let sum = safe_sum(x, axis)?;
                (sum.log()? + x.max_keepdim(axis)?)?.squeeze(axis)
            }),
        },
        Impostor {
            name: "result_detached",
            diagnosis: "the result is cut off from `x`, so no gradient reaches it",
            caught_by: "gradient_is_the_softmax",
            answer: answer!(|x: &Tensor, axis: usize| right(&x.detach(), axis)),
        },
        Impostor {
            name: "nan_hidden_too_late",
            diagnosis: "the empty row is put right after the logarithm; hiding a NaN or ∞ leaves \
                        NaN in the gradient, so replace the sum before the logarithm",
            caught_by: "gradient_survives_minus_infinity",
            answer: answer!(|x: &Tensor, axis: usize| {
                let max = x.max_keepdim(axis)?.detach();
                let lse = (exps(x, axis)?.sum_keepdim(axis)?.log()? + &max)?;
                let is_empty = max.eq(f64::NEG_INFINITY)?;
                is_empty.where_cond(&max, &lse)?.squeeze(axis)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "bounded_below_before_the_logarithm",
        answer: answer!(|x: &Tensor, axis: usize| bounded_below(x, axis)),
    }],
};

/// The subtraction, exp, a sum of at most five terms, log and the addition.
const TOLERANCE: Tolerance = Tolerance::roundings(24.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[0.0, 3f64.ln()], [f64::NEG_INFINITY, 7.0]]);
    let result = trial.array(args![x: &x, axis: 1usize])?;
    trial.close("result", &result, &Array::vector(&[4f64.ln(), 7.0]), TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for &(shape, axis, order) in rows::SHAPES {
        for dtype in [DType::F64, DType::F32] {
            let x = trial.rng.normal_array(shape).to(dtype).laid_out(order);
            let result = trial.array(args![x: &x, axis: axis])?;
            let name = format!("result along axis {axis}");
            let expected = rows::log_sum_exp(&x, axis);
            let tolerance = TOLERANCE.at_scale(4.0).in_double(1e-11);
            trial.close(&name, &result, &expected, tolerance)?;
        }
    }
    let x = trial.rng.normal_array(&[2, 3]);
    trial.refuses("`x` has no axis 2", args![x: &x, axis: 2usize]).map(|_| ())
}

fn shifting_a_row_shifts_its_result(trial: &mut Trial) -> Outcome {
    let x = rows::in_eighths(&mut trial.rng);
    let moved = Array::from_fn(&[4, 5], |at| x.at(at) + rows::SHIFTS[at[0]]).to(DType::F32);
    let result = trial.array(args![x: &moved, axis: 1usize])?;
    trial.close("result", &result, &rows::log_sum_exp(&moved, 1), TOLERANCE)
}

fn wide_rows_stay_finite(trial: &mut Trial) -> Outcome {
    let x = rows::wide();
    let result = trial.array(args![x: &x, axis: 1usize])?;
    trial.close("result", &result, &rows::log_sum_exp(&x, 1), TOLERANCE)
}

fn minus_infinity_adds_nothing(trial: &mut Trial) -> Outcome {
    let x = rows::with_minus_infinity(&mut trial.rng);
    let result = trial.array(args![x: &x, axis: 1usize])?;
    let expected = rows::log_sum_exp(&x, 1);
    trial.close("result", &result, &expected, TOLERANCE.at_scale(4.0))
}

fn gradient_is_the_softmax(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 4, 3]).laid_out(&[2, 0, 1]);
    trial.gradient_matches(args![x: &x, axis: 1usize], |at| rows::log_sum_exp(at.get("x"), 1))
}

fn gradient_survives_minus_infinity(trial: &mut Trial) -> Outcome {
    let x = rows::with_minus_infinity(&mut trial.rng).to(DType::F64);
    let cotangent = trial.rng.normal_array(&[3]).to(DType::F64);
    let found = trial.gradients(args![x: &x, axis: 1usize], &[&cotangent])?;
    let Some(Some(gradient)) = found.get("x") else {
        return Err(trial.wrong("No gradient reaches `x`.".to_owned()));
    };
    let weights = rows::softmax(&x, 1);
    let expected = Array::from_fn(&[3, 5], |at| cotangent.at(&at[..1]) * weights.at(at));
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
    (safe_sum(x, axis)?.log()? + x.max_keepdim(axis)?.detach())?.squeeze(axis)
}

/// A right answer without a mask: nothing that reaches exp or log is −∞ or 0.
fn bounded_below(x: &Tensor, axis: usize) -> Result<Tensor> {
    let lowest = |x: &Tensor, bound| x.maximum(&rows::filled(x, bound)?);
    let max = lowest(&x.max_keepdim(axis)?, -1e30)?;
    let sum = x.broadcast_sub(&max)?.exp()?.sum_keepdim(axis)?;
    let sum = lowest(&sum, 1e-30)?.log()?;
    // What was −∞ all along the row becomes −∞ again: −10³⁰ is far below every input.
    let lse = (sum + &max)?;
    let is_empty = max.le(-1e29)?;
    is_empty.where_cond(&rows::filled(&lse, f64::NEG_INFINITY)?, &lse)?.squeeze(axis)
}
