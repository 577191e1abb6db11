//! `layer_norm`: every vector to mean 0 and variance 1, then scaled and moved.

use answer::answer;
use candle_core::{D, Result, Tensor};
use protocol::DType;

use super::{
    oracle,
    steps::{affine, centred, in_single, normed},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

/// An answer that differs from the honest one in how it norms.
macro_rules! norming {
    (|$x:ident, $eps:ident| $normed:expr) => {
        answer!(|x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64| {
            let ($x, $eps) = (x, eps);
            affine(&$normed, weight, bias)
        })
    };
}

pub(super) const LAYER_NORM: Part = Part {
    name: "layer_norm",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "moving_all_changes_nothing",
            promise: "Adding one number to all of a vector changes nothing, however large it is.",
            kind: Kind::Property,
            run: moving_all_changes_nothing,
        },
        Check {
            name: "vectors_stand_alone",
            promise: "What becomes of a vector does not depend on the others, or on the axes \
                      before it.",
            kind: Kind::Property,
            run: vectors_stand_alone,
        },
        Check {
            name: "matches_definition",
            promise: "The result is what the definition says, in every shape and layout.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_every_input",
            promise: "The gradient reaches `x`, `weight` and `bias`, and is the right one, also \
                      where all numbers of a vector are equal.",
            kind: Kind::Gradient,
            run: gradient_reaches_every_input,
        },
        Check {
            name: "other_widths_are_refused",
            promise: "A `weight` or `bias` of another length than `d_model` gives an error.",
            kind: Kind::Errors,
            run: other_widths_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "eps_outside_the_root",
            diagnosis: "`eps` is added to the root of the variance; it belongs under the root",
            caught_by: "documented_example",
            answer: norming!(|x, eps| {
                let centred = centred(x)?;
                let deviation = centred.sqr()?.mean_keepdim(D::Minus1)?.sqrt()?;
                centred.broadcast_div(&(deviation + eps)?)?
            }),
        },
        Impostor {
            name: "eps_of_its_own",
            diagnosis: "1e-5 is used whatever `eps` is",
            caught_by: "documented_example",
            answer: norming!(|x, _eps| normed(x, 1e-5)?),
        },
        Impostor {
            name: "unbiased_variance",
            diagnosis: "the variance is divided by `d_model` − 1, as `var_keepdim` does; layer \
                        norm divides by `d_model`",
            caught_by: "documented_example",
            answer: norming!(|x, eps| {
                let variance = x.var_keepdim(D::Minus1)?;
                centred(x)?.broadcast_div(&(variance + eps)?.sqrt()?)?
            }),
        },
        Impostor {
            name: "divided_by_the_variance",
            diagnosis: "the distances are divided by the variance, of which the root has not been \
                        taken",
            caught_by: "documented_example",
            answer: norming!(|x, eps| {
                let centred = centred(x)?;
                let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
                centred.broadcast_div(&(variance + eps)?)?
            }),
        },
        Impostor {
            name: "mean_not_subtracted",
            diagnosis: "the mean is not subtracted: this is RMS norm, which later models use",
            caught_by: "documented_example",
            answer: norming!(|x, eps| {
                let square = x.sqr()?.mean_keepdim(D::Minus1)?;
                x.broadcast_div(&(square + eps)?.sqrt()?)?
            }),
        },
        Impostor {
            name: "not_scaled_and_moved",
            diagnosis: "`weight` and `bias` are not applied",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64| {
                let normed = normed(x, eps)?;
                affine(&normed, weight, bias)?;
                Ok::<_, candle_core::Error>(normed)
            }),
        },
        Impostor {
            name: "difference_of_squares",
            diagnosis: "the variance is computed as the mean of x² less the square of the mean: \
                        far from 0, all digits of the difference are lost",
            caught_by: "moving_all_changes_nothing",
            answer: norming!(|x, eps| {
                let square = x.sqr()?.mean_keepdim(D::Minus1)?;
                let variance = (square - x.mean_keepdim(D::Minus1)?.sqr()?)?;
                centred(x)?.broadcast_div(&(variance + eps)?.sqrt()?)?
            }),
        },
        Impostor {
            name: "fused",
            diagnosis: "candle's fused layer norm subtracts large squares from each other, \
                        computes in `f32`, and passes no gradient",
            caught_by: "moving_all_changes_nothing",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64| {
                affine(x, weight, bias)?;
                #[expect(clippy::disallowed_methods, reason = "this is the mistake")]
                candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, eps as f32)
            }),
        },
        Impostor {
            name: "over_all_vectors",
            diagnosis: "mean and variance are taken over the whole tensor; each vector has its own",
            caught_by: "vectors_stand_alone",
            answer: norming!(|x, eps| normed(&x.flatten_all()?, eps)?.reshape(x.shape())?),
        },
        Impostor {
            name: "over_the_positions",
            diagnosis: "mean and variance run over the positions; they have to run over the \
                        numbers of a vector",
            caught_by: "vectors_stand_alone",
            answer: norming!(|x, eps| {
                let axis = x.rank().checked_sub(2).filter(|&axis| x.dims()[axis] > 1);
                let last = x.rank() - 1;
                let axis = axis.unwrap_or(last);
                normed(&x.transpose(axis, last)?, eps)?.transpose(axis, last)?
            }),
        },
        Impostor {
            name: "three_axes_only",
            diagnosis: "`x` is taken apart as `(batch, seq, d_model)`, and may have any number of \
                        leading axes",
            caught_by: "vectors_stand_alone",
            answer: norming!(|x, eps| {
                if x.rank() > 2 {
                    x.dims3()?;
                }
                normed(x, eps)?
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever the inputs are",
            caught_by: "matches_definition",
            answer: norming!(|x, eps| in_single(|t| normed(&t[0], eps), &[x])?),
        },
        Impostor {
            name: "statistics_detached",
            diagnosis: "mean and variance are taken out of the graph, but both depend on `x`, and \
                        their gradient counts",
            caught_by: "gradient_reaches_every_input",
            answer: norming!(|x, eps| {
                let mean = x.mean_keepdim(D::Minus1)?.detach();
                let centred = x.broadcast_sub(&mean)?;
                let variance = centred.sqr()?.mean_keepdim(D::Minus1)?.detach();
                centred.broadcast_div(&(variance + eps)?.sqrt()?)?
            }),
        },
        Impostor {
            name: "stretched",
            diagnosis: "a `weight` or `bias` of length 1 is broadcast without an error",
            caught_by: "other_widths_are_refused",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64| {
                normed(x, eps)?.broadcast_mul(weight)?.broadcast_add(bias)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "seen_from_the_first_number",
        answer: norming!(|x, eps| seen_from_the_first_number(x, eps)?),
    }],
};

/// Roundings of an honest `f32` answer: two sums over `d_model`, a root, a division, the affine.
const TOLERANCE: Tolerance = Tolerance::roundings(64.0);

/// As in GPT-2.
const EPS: f64 = 1e-5;

fn documented_example(trial: &mut Trial) -> Outcome {
    let row = |values: &[f64]| Array::vector(values).to(DType::F32);
    let x = Array::matrix(&[[1., 5.]]).to(DType::F32);
    let (weight, bias) = (row(&[3., 6.]), row(&[10., 20.]));
    let out = trial.array(args![x: &x, weight: &weight, bias: &bias, eps: 5.0])?;
    trial.close("result", &out, &Array::matrix(&[[8., 24.]]).to(DType::F32), TOLERANCE)
}

fn moving_all_changes_nothing(trial: &mut Trial) -> Outcome {
    let (x, weight, bias) = draw(trial, &[3, 6], DType::F32);
    // Multiples of 1/64, so that moving them by 4096 rounds nothing.
    let x = x.map(|x| (64.0 * x).round() / 64.0);
    let before = trial.array(args![x: &x, weight: &weight, bias: &bias, eps: EPS])?;
    trial.has_shape("result", &before, &[3, 6])?;
    let moved = x.map(|x| x + 4096.0);
    let after = trial.array(args![x: &moved, weight: &weight, bias: &bias, eps: EPS])?;
    // The mean of such numbers rounds to the last place of 4096.
    let tolerance = Tolerance::roundings(16.0).at_scale(4096.0);
    trial.close("result with 4096 added to `x`", &after, &before, tolerance)
}

fn vectors_stand_alone(trial: &mut Trial) -> Outcome {
    let (x, weight, bias) = draw(trial, &[6, 5], DType::F32);
    let mut alone = Vec::new();
    for n in 0..6 {
        let vector = x.narrow(0, n, 1).reshape(&[5]);
        let out = trial.array(args![x: &vector, weight: &weight, bias: &bias, eps: EPS])?;
        trial.has_shape("result for a single vector", &out, &[5])?;
        alone.extend_from_slice(out.values());
    }
    for shape in [vec![6, 5], vec![2, 3, 5], vec![3, 1, 2, 5]] {
        let together = x.reshape(&shape);
        let out = trial.array(args![x: &together, weight: &weight, bias: &bias, eps: EPS])?;
        let expected = Array::new(&shape, alone.clone()).to(DType::F32);
        let name = format!("result for the same vectors as {shape:?}");
        trial.close(&name, &out, &expected, TOLERANCE.at_scale(8.0))?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, eps) in [(vec![2, 3, 7], EPS), (vec![1, 1], 0.5), (vec![2, 1, 4, 3], 0.1)] {
        for dtype in [DType::F64, DType::F32] {
            let (x, weight, bias) = draw(trial, &shape, dtype);
            let order: Vec<usize> = (0..shape.len()).rev().collect();
            let laid_out = x.laid_out(&order);
            let out = trial.array(args![x: &laid_out, weight: &weight, bias: &bias, eps: eps])?;
            let expected = oracle::layer_norm(&x, &weight, &bias, eps).to(dtype);
            trial.close("result", &out, &expected, TOLERANCE.at_scale(8.0))?;
        }
    }
    Ok(())
}

fn gradient_reaches_every_input(trial: &mut Trial) -> Outcome {
    let (x, weight, bias) = draw(trial, &[3, 4], DType::F64);
    let with_equals = Array::from_fn(&[3, 4], |at| if at[0] == 1 { 0.5 } else { x.at(at) });
    let args = args![x: &with_equals, weight: &weight, bias: &bias, eps: 0.25];
    trial.gradient_matches(args, |at| {
        oracle::layer_norm(at.get("x"), at.get("weight"), at.get("bias"), 0.25)
    })
}

fn other_widths_are_refused(trial: &mut Trial) -> Outcome {
    let (x, weight, bias) = draw(trial, &[2, 4], DType::F32);
    for length in [1, 3] {
        let other = trial.rng.normal_array(&[length]);
        let case = |name| format!("`{name}` has length {length} and `x` has d_model 4");
        let args = args![x: &x, weight: &other, bias: &bias, eps: EPS];
        trial.refuses(&case("weight"), args)?;
        let args = args![x: &x, weight: &weight, bias: &other, eps: EPS];
        trial.refuses(&case("bias"), args)?;
    }
    Ok(())
}

/// Random vectors of a shape, and a weight and a bias for them.
fn draw(trial: &mut Trial, shape: &[usize], dtype: DType) -> (Array, Array, Array) {
    let mut normal = |shape: &[usize]| trial.rng.normal_array(shape).to(dtype);
    let width = &shape[shape.len() - 1..];
    (normal(shape), normal(width), normal(width))
}

/// The two moments, but of distances from the vector's own first number.
fn seen_from_the_first_number(x: &Tensor, eps: f64) -> Result<Tensor> {
    let last = x.rank() - 1;
    let away = x.broadcast_sub(&x.narrow(last, 0, 1)?)?;
    let n = x.dim(last)? as f64;
    let mean = (away.sum_keepdim(last)? / n)?;
    let variance = ((away.sqr()?.sum_keepdim(last)? / n)? - mean.sqr()?)?;
    away.broadcast_sub(&mean)?.broadcast_mul(&(variance + eps)?.powf(-0.5)?)
}
