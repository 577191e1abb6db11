//! `relu`: the positive part.

use answer::answer;
use candle_core::Tensor;
use protocol::DType;

use super::steps::in_single;
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const RELU: Part = Part {
    name: "relu",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "larger_in_larger_out",
            promise: "Multiplying `x` by a positive number multiplies the result by it.",
            kind: Kind::Property,
            run: larger_in_larger_out,
        },
        Check {
            name: "what_is_not_finite_shows",
            promise: "−∞ becomes 0, ∞ stays, and NaN stays NaN.",
            kind: Kind::Property,
            run: what_is_not_finite_shows,
        },
        Check {
            name: "matches_definition",
            promise: "The result is max(x, 0), in every shape, layout and dtype.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_is_a_gate",
            promise: "The gradient is 1 where `x` is positive, and 0 elsewhere, at 0 too.",
            kind: Kind::Gradient,
            run: gradient_is_a_gate,
        },
    ],
    impostors: &[
        Impostor {
            name: "leaky",
            diagnosis: "negative numbers become a hundredth of themselves (leaky ReLU), not 0",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.le(0.0)?.where_cond(&(x * 0.01)?, x)),
        },
        Impostor {
            name: "magnitude",
            diagnosis: "negative numbers lose their sign instead of becoming 0",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.abs()),
        },
        Impostor {
            name: "negative_part",
            diagnosis: "the smaller of `x` and 0 is taken; it is the larger",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.ge(0.0)?.where_cond(&x.zeros_like()?, x)),
        },
        Impostor {
            name: "gate_for_value",
            diagnosis: "the result is the gate, 1 where `x` is positive; `x` itself goes through",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.gt(0.0)?.to_dtype(x.dtype())),
        },
        Impostor {
            name: "capped",
            diagnosis: "the result is cut at 6 (ReLU6); above 0 nothing is cut",
            caught_by: "larger_in_larger_out",
            answer: answer!(|x: &Tensor| x.clamp(0.0, 6.0)),
        },
        Impostor {
            name: "times_the_gate",
            diagnosis: "`x` is multiplied by its gate, and −∞ · 0 is NaN; choose with `where_cond`",
            caught_by: "what_is_not_finite_shows",
            answer: answer!(|x: &Tensor| x * x.gt(0.0)?.to_dtype(x.dtype())?),
        },
        Impostor {
            name: "nan_swallowed",
            diagnosis: "NaN is not above 0, so it becomes 0 as if nothing had happened (candle's \
                        own `relu` does that too); ask for what is ≤ 0 instead",
            caught_by: "what_is_not_finite_shows",
            answer: answer!(|x: &Tensor| x.gt(0.0)?.where_cond(x, &x.zeros_like()?)),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever `x` is",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor| in_single(
                |t| t[0].le(0.0)?.where_cond(&t[0].zeros_like()?, &t[0]),
                &[x],
            )),
        },
        Impostor {
            name: "only_matrices",
            diagnosis: "it takes `x` apart as a matrix; `x` may have any number of axes",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor| {
                if x.rank() > 1 {
                    x.dims2()?;
                }
                x.le(0.0)?.where_cond(&x.zeros_like()?, x)
            }),
        },
        Impostor {
            name: "open_at_zero",
            diagnosis: "where `x` is 0 the whole gradient goes through, as in candle's `relu`, or \
                        by `x < 0`",
            caught_by: "gradient_is_a_gate",
            answer: answer!(|x: &Tensor| x.lt(0.0)?.where_cond(&x.zeros_like()?, x)),
        },
        Impostor {
            name: "half_open_at_zero",
            diagnosis: "`maximum` lets half of the gradient through where `x` is 0, since both \
                        sides are equal there",
            caught_by: "gradient_is_a_gate",
            answer: answer!(|x: &Tensor| x.ne(x)?.where_cond(x, &x.maximum(&x.zeros_like()?)?)),
        },
        Impostor {
            name: "detached",
            diagnosis: "no gradient flows back: the values left the graph",
            caught_by: "gradient_is_a_gate",
            answer: answer!(|x: &Tensor| x.le(0.0)?.where_cond(&x.zeros_like()?, &x.detach())),
        },
    ],
    alternatives: &[Alternative {
        name: "minus_the_negative_part",
        answer: answer!(|x: &Tensor| {
            // Where `x` is ≤ 0 a zero is chosen, so −∞ never meets an arithmetic operation.
            let (zero, one) = (x.zeros_like()?, x.ones_like()?);
            let closed = x.le(&zero)?;
            closed.where_cond(&zero, x)? * closed.where_cond(&zero, &one)?
        }),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::vector(&[-2., 0., 3.]).to(DType::F32);
    let out = trial.array(args![x: &x])?;
    trial.close("result", &out, &Array::vector(&[0., 0., 3.]).to(DType::F32), Tolerance::EXACT)
}

fn larger_in_larger_out(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[4, 5]);
    let before = trial.array(args![x: &x])?;
    trial.has_shape("result", &before, &[4, 5])?;
    // A power of two, so that nothing rounds.
    let after = trial.array(args![x: &x.map(|x| 1024.0 * x)])?;
    let expected = before.map(|y| 1024.0 * y);
    trial.close("result for 1024 x", &after, &expected, Tolerance::EXACT)
}

fn what_is_not_finite_shows(trial: &mut Trial) -> Outcome {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    for dtype in [DType::F32, DType::F64] {
        let x = Array::vector(&[-inf, 1.0, inf, nan, -1.0]).to(dtype);
        let out = trial.array(args![x: &x])?;
        trial.has_shape("result", &out, &[5])?;
        let seen = out.values()[3];
        trial.ensure(seen.is_nan(), || format!("The result for NaN is {seen}; expected NaN."))?;
        let rest = [0, 1, 2, 4];
        let expected = Array::vector(&[0.0, 1.0, inf, 0.0]).to(dtype);
        let name = "result for [-inf, 1, inf, -1]";
        trial.close(name, &out.select(0, &rest), &expected, Tolerance::EXACT)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for shape in [vec![], vec![7], vec![2, 1, 3], vec![2, 3, 1, 5]] {
        for dtype in [DType::F64, DType::F32] {
            let order: Vec<usize> = (0..shape.len()).rev().collect();
            let x = Array::from_fn(&shape, |_| trial.rng.normal()).to(dtype).laid_out(&order);
            let out = trial.array(args![x: &x])?;
            let expected = Array::from_fn(&shape, |at| x.at(at).max(0.0)).to(dtype);
            trial.close("result", &out, &expected, Tolerance::EXACT)?;
        }
    }
    Ok(())
}

fn gradient_is_a_gate(trial: &mut Trial) -> Outcome {
    let mut x = Array::from_fn(&[3, 4], |_| trial.rng.normal());
    // Off the kink, where differences measure a slope.
    x = x.map(|x| if x.abs() < 0.01 { 0.5 } else { x });
    trial.gradient_matches(args![x: &x], |at| at.get("x").map(|x| x.max(0.0)))?;
    let x = Array::vector(&[-2., 0., 3.]);
    let found = trial.gradients(args![x: &x], &[&Array::full(&[3], 1.0)])?;
    let Some(Some(gradient)) = found.get("x") else {
        return Err(trial.wrong("No gradient reaches `x`.".to_owned()));
    };
    let expected = Array::vector(&[0., 0., 1.]);
    trial.close("gradient for x = [-2, 0, 3]", gradient, &expected, Tolerance::EXACT)
}
