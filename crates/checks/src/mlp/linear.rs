//! `linear`: a matrix and a bias for every vector.

use answer::answer;
use candle_core::{Result, Tensor};
use protocol::DType;

use super::steps::{in_single, project, with_bias};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const LINEAR: Part = Part {
    name: "linear",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "leading_axes_only_arrange",
            promise: "The same vectors give the same results, in whatever leading axes they are \
                      arranged.",
            kind: Kind::Property,
            run: leading_axes_only_arrange,
        },
        Check {
            name: "steps_add_up",
            promise: "The way from `x` to `y` moves the result by as much as the same way from \
                      anywhere else.",
            kind: Kind::Property,
            run: steps_add_up,
        },
        Check {
            name: "matches_definition",
            promise: "The result is x weightᵀ + bias, in every shape and layout.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_every_input",
            promise: "The gradient reaches `x`, `weight` and `bias`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_every_input,
        },
        Check {
            name: "other_widths_are_refused",
            promise: "Vectors of another width, or a bias of another length, give an error.",
            kind: Kind::Errors,
            run: other_widths_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "weight_not_transposed",
            diagnosis: "the weight is `(d_out, d_in)` and has to be transposed for `matmul`",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                with_bias(&x.matmul(weight)?, bias)
            }),
        },
        Impostor {
            name: "weight_reshaped",
            diagnosis: "the weight is reshaped to `(d_in, d_out)`, which moves no number; a \
                        transpose does",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                let (d_out, d_in) = weight.dims2()?;
                with_bias(&project(x, &weight.reshape((d_in, d_out))?.t()?)?, bias)
            }),
        },
        Impostor {
            name: "bias_forgotten",
            diagnosis: "the bias is not added",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, weight: &Tensor, _bias: Option<&Tensor>| {
                project(x, weight)
            }),
        },
        Impostor {
            name: "only_matrices",
            diagnosis: "`matmul` is asked for `x` as it came, and `x` need not have two axes",
            caught_by: "leading_axes_only_arrange",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                with_bias(&x.contiguous()?.matmul(&weight.t()?)?, bias)
            }),
        },
        Impostor {
            name: "left_flat",
            diagnosis: "the leading axes are flattened and not given back",
            caught_by: "leading_axes_only_arrange",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                with_bias(&project(&x.reshape(((), weight.dim(1)?))?, weight)?, bias)
            }),
        },
        Impostor {
            name: "activation_inside",
            diagnosis: "a ReLU is applied to the result; a linear layer has no activation in it",
            caught_by: "steps_add_up",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                with_bias(&project(x, weight)?, bias)?.relu()
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever the inputs are",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                with_bias(&in_single(|t| project(&t[0], &t[1]), &[x, weight])?, bias)
            }),
        },
        Impostor {
            name: "bias_required",
            diagnosis: "it fails without a bias, which is optional",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                with_bias(&project(x, weight)?, Some(bias.expect("a bias")))
            }),
        },
        Impostor {
            name: "bias_as_numbers",
            diagnosis: "the bias is read out as numbers and made a new tensor, which is outside \
                        the graph",
            caught_by: "gradient_reaches_every_input",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                let copied = bias.map(|bias| bias.copy().map(|bias| bias.detach())).transpose()?;
                with_bias(&project(x, weight)?, copied.as_ref())
            }),
        },
        Impostor {
            name: "bias_stretched",
            diagnosis: "a bias of length 1 is broadcast over all outputs without an error",
            caught_by: "other_widths_are_refused",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                let out = project(x, weight)?;
                bias.map_or_else(|| Ok(out.clone()), |bias| out.broadcast_add(bias))
            }),
        },
        Impostor {
            name: "vectors_cut_anew",
            diagnosis: "`x` is flattened to rows of `d_in` numbers whatever its last axis is, so \
                        vectors of another width are cut up instead of refused",
            caught_by: "other_widths_are_refused",
            answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                let (d_out, d_in) = weight.dims2()?;
                let out = x.reshape(((), d_in))?.matmul(&weight.t()?)?;
                let leading = &x.dims()[..x.rank() - 1];
                let whole = leading.iter().product::<usize>() == out.dim(0)?;
                let shape = if whole { leading } else { &out.dims()[..1] };
                with_bias(&out.reshape([shape, &[d_out]].concat())?, bias)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_broadcasting",
        answer: answer!(|x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
            by_broadcasting(x, weight, bias)
        }),
    }],
};

/// Roundings of an honest `f32` answer: a dot product over `d_in`, and the bias.
const TOLERANCE: Tolerance = Tolerance::roundings(32.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1., 2.]]).to(DType::F32);
    let weight = Array::matrix(&[[1., 10.], [0., 1.], [3., 0.]]).to(DType::F32);
    let bias = Array::vector(&[0., 0., 100.]).to(DType::F32);
    let out = trial.array(args![x: &x, weight: &weight, bias: &bias])?;
    let expected = Array::matrix(&[[21., 2., 103.]]).to(DType::F32);
    trial.close("result", &out, &expected, TOLERANCE)
}

fn leading_axes_only_arrange(trial: &mut Trial) -> Outcome {
    let (x, weight, bias) = draw(trial, &[6, 5], 4, DType::F32);
    let flat = trial.array(args![x: &x, weight: &weight, bias: &bias])?;
    trial.has_shape("result", &flat, &[6, 4])?;
    for leading in [vec![2, 3], vec![3, 1, 2]] {
        let shape = |width| [leading.as_slice(), &[width]].concat();
        let arranged = x.reshape(&shape(5));
        let out = trial.array(args![x: &arranged, weight: &weight, bias: &bias])?;
        let name = format!("result with the leading axes {leading:?}");
        trial.close(&name, &out, &flat.reshape(&shape(4)), TOLERANCE.at_scale(8.0))?;
    }
    let one = x.narrow(0, 0, 1).reshape(&[5]);
    let out = trial.array(args![x: &one, weight: &weight, bias: &bias])?;
    let expected = flat.narrow(0, 0, 1).reshape(&[4]);
    trial.close("result for a single vector", &out, &expected, TOLERANCE.at_scale(8.0))
}

fn steps_add_up(trial: &mut Trial) -> Outcome {
    let (start, weight, bias) = draw(trial, &[3, 5], 4, DType::F32);
    let way = trial.rng.normal_array(&[3, 5]);
    let mut moved_by = |from: &Array| {
        let to = from.zip_map(&way, |from, way| from + way);
        let before = trial.array(args![x: from, weight: &weight, bias: &bias])?;
        let after = trial.array(args![x: &to, weight: &weight, bias: &bias])?;
        trial.has_shape("result", &before, &[3, 4])?;
        trial.has_shape("result", &after, &[3, 4])?;
        Ok(after.zip_map(&before, |after, before| after - before))
    };
    let from_origin = moved_by(&start.map(|_| 0.0))?;
    let from_elsewhere = moved_by(&start.map(|x| -3.0 * x))?;
    let name = "how far the same step moves the result";
    trial.close(name, &from_elsewhere, &from_origin, TOLERANCE.at_scale(32.0))
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, d_out) in [(vec![3, 4], 5), (vec![2, 3, 1], 1), (vec![2, 1, 3, 5], 2)] {
        for dtype in [DType::F64, DType::F32] {
            let (x, weight, bias) = draw(trial, &shape, d_out, dtype);
            let order: Vec<usize> = (0..shape.len()).rev().collect();
            let (x, weight) = (x.laid_out(&order), weight.laid_out(&[1, 0]));
            for bias in [Some(&bias), None] {
                let out = trial.array(args![x: &x, weight: &weight, bias: bias])?;
                let expected = oracle(&x, &weight, bias).to(dtype);
                trial.close("result", &out, &expected, TOLERANCE.at_scale(8.0))?;
            }
        }
    }
    Ok(())
}

fn gradient_reaches_every_input(trial: &mut Trial) -> Outcome {
    let (x, weight, bias) = draw(trial, &[2, 2, 3], 4, DType::F64);
    trial.gradient_matches(args![x: &x, weight: &weight, bias: &bias], |at| {
        oracle(at.get("x"), at.get("weight"), at.find("bias"))
    })
}

fn other_widths_are_refused(trial: &mut Trial) -> Outcome {
    let (x, weight, bias) = draw(trial, &[4, 6], 3, DType::F32);
    for length in [1, 6] {
        let bias = trial.rng.normal_array(&[length]);
        let case = format!("`bias` has length {length} and `weight` is (3, 6)");
        trial.refuses(&case, args![x: &x, weight: &weight, bias: &bias])?;
    }
    let narrow = x.reshape(&[8, 3]);
    let case = "`x` is (8, 3) and `weight` takes vectors of 6";
    trial.refuses(case, args![x: &narrow, weight: &weight, bias: &bias])?;
    Ok(())
}

/// Random vectors of a shape, a weight for them, and a bias.
fn draw(trial: &mut Trial, shape: &[usize], d_out: usize, dtype: DType) -> (Array, Array, Array) {
    let d_in = shape[shape.len() - 1];
    let mut normal = |shape: &[usize]| trial.rng.normal_array(shape).to(dtype);
    (normal(shape), normal(&[d_out, d_in]), normal(&[d_out]))
}

/// `result[…, j] = Σ_i x[…, i] weight[j, i] + bias[j]`.
fn oracle(x: &Array, weight: &Array, bias: Option<&Array>) -> Array {
    let last = x.rank() - 1;
    let shape = [&x.shape()[..last], &[weight.dim(0)]].concat();
    Array::from_fn(&shape, |at| {
        let (leading, j) = (&at[..last], at[last]);
        let product = |i: usize| x.at(&[leading, &[i]].concat()) * weight.at(&[j, i]);
        let sum: f64 = (0..weight.dim(1)).map(product).sum();
        sum + bias.map_or(0.0, |bias| bias.at(&[j]))
    })
}

/// Every product on an axis of its own, then the sum over it.
fn by_broadcasting(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    project(x, weight)?;
    let last = x.rank() - 1;
    let products = x.unsqueeze(last)?.broadcast_mul(weight)?; // (…, d_out, d_in)
    with_bias(&products.sum(last + 1)?, bias)
}
