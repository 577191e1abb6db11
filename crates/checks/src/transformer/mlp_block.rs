//! `mlp_block`: wider, bent, and narrow again.

use answer::{Weights, answer};
use candle_core::{Result, Tensor};
use protocol::DType;

use super::{
    drawing::{self, Widths, value, weight},
    oracle,
    steps::{Steps, conv1d, gelu_by_tanh, single},
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args, named::Named,
};

/// An answer with one step that may differ from the honest one.
macro_rules! mlp {
    ($($step:ident: $function:expr),* $(,)?) => {
        answer!(|weights: &Weights, x: &Tensor| {
            let steps = Steps { $($step: $function,)* ..Steps::HONEST };
            steps.mlp(weights, "", x)
        })
    };
}

pub(super) const MLP_BLOCK: Part = Part {
    name: "mlp_block",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "vectors_stand_alone",
            promise: "The same vectors give the same results, in whatever leading axes they are \
                      arranged.",
            kind: Kind::Property,
            run: vectors_stand_alone,
        },
        Check {
            name: "far_from_zero_it_opens_or_closes",
            promise: "Far below 0 the inside adds nothing, far above 0 it passes as it is.",
            kind: Kind::Property,
            run: far_from_zero_it_opens_or_closes,
        },
        Check {
            name: "matches_definition",
            promise: "The result is gelu(x W + b) W' + b', in every shape and layout.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_every_weight",
            promise: "The gradient reaches `x` and all four weights, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_every_weight,
        },
        Check {
            name: "bad_weights_are_named",
            promise: "A weight that is missing, or of a shape that does not fit, is named in an \
                      error.",
            kind: Kind::Errors,
            run: bad_weights_are_named,
        },
    ],
    impostors: &[
        Impostor {
            name: "weights_of_linear",
            diagnosis: "weights are taken as `(d_out, d_in)` and transposed; GPT-2's `Conv1D` \
                        keeps them as `(d_in, d_out)`",
            caught_by: "documented_example",
            answer: mlp!(conv: |weights, name, x| {
                let weight = weights.get(&format!("{name}.weight"))?;
                let bias = weights.get(&format!("{name}.bias"))?;
                x.broadcast_matmul(&weight.t()?)?.broadcast_add(bias)
            }),
        },
        Impostor {
            name: "gelu_by_erf",
            diagnosis: "the GELU is the exact one, by `erf`; GPT-2 was trained with the one by \
                        `tanh`",
            caught_by: "documented_example",
            answer: mlp!(gelu: |x| x.gelu_erf()),
        },
        Impostor {
            name: "gelu_by_sigmoid",
            diagnosis: "the GELU is x · σ(1.702 x), a rougher approximation than GPT-2's",
            caught_by: "documented_example",
            answer: mlp!(gelu: |x| x * candle_nn::ops::sigmoid(&(x * 1.702)?)?),
        },
        Impostor {
            name: "relu",
            diagnosis: "the inside is bent by ReLU; GPT-2 has GELU",
            caught_by: "documented_example",
            answer: mlp!(gelu: Tensor::relu),
        },
        Impostor {
            name: "not_bent",
            diagnosis: "nothing stands between the two products, so they could be one",
            caught_by: "documented_example",
            answer: mlp!(gelu: |x| Ok(x.clone())),
        },
        Impostor {
            name: "bent_at_the_end_too",
            diagnosis: "the result is bent as well; it goes into the stream as it is",
            caught_by: "documented_example",
            answer: mlp!(conv: |weights, name, x| {
                let out = conv1d(weights, name, x)?;
                if name.ends_with("c_proj") { gelu_by_tanh(&out) } else { Ok(out) }
            }),
        },
        Impostor {
            name: "biases_forgotten",
            diagnosis: "the biases are not added",
            caught_by: "documented_example",
            answer: mlp!(conv: |weights, name, x| {
                x.broadcast_matmul(weights.get(&format!("{name}.weight"))?)
            }),
        },
        Impostor {
            name: "residual_added",
            diagnosis: "`x` is added to the result; the block around it adds the stream",
            caught_by: "documented_example",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                x + Steps::HONEST.mlp(weights, "", x)?
            }),
        },
        Impostor {
            name: "only_matrices",
            diagnosis: "`matmul` is asked for `x` as it came, and `x` need not have two axes",
            caught_by: "vectors_stand_alone",
            answer: mlp!(conv: |weights, name, x| {
                let weight = weights.get(&format!("{name}.weight"))?;
                x.contiguous()?.matmul(weight)?.broadcast_add(weights.get(&format!("{name}.bias"))?)
            }),
        },
        Impostor {
            name: "tanh_by_exponentials",
            diagnosis: "tanh is written with exponentials that overflow, and ∞ / ∞ is NaN",
            caught_by: "far_from_zero_it_opens_or_closes",
            answer: mlp!(gelu: |x| {
                let cubic = (x + (x.powf(3.0)? * 0.044_715)?)?;
                let power = (cubic * (8.0 / std::f64::consts::PI).sqrt())?.exp()?;
                let bend = ((&power - 1.0)? / (power + 1.0)?)?;
                (x * (bend + 1.0)?)? * 0.5
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever the weights are",
            caught_by: "matches_definition",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                let in_single = x.to_dtype(candle_core::DType::F32)?;
                Steps::HONEST.mlp(&single(weights)?, "", &in_single)?.to_dtype(x.dtype())
            }),
        },
        Impostor {
            name: "bend_detached",
            diagnosis: "the tanh is taken out of the graph, but its slope is part of the GELU's",
            caught_by: "gradient_reaches_every_weight",
            answer: mlp!(gelu: |x| {
                let cubic = (x + (x.powf(3.0)? * 0.044_715)?)?;
                let bend = (cubic * (2.0 / std::f64::consts::PI).sqrt())?.tanh()?.detach();
                (x * (bend + 1.0)?)? * 0.5
            }),
        },
        Impostor {
            name: "biases_optional",
            diagnosis: "a bias that is missing is left out without an error, so a damaged file \
                        runs",
            caught_by: "bad_weights_are_named",
            answer: mlp!(conv: |weights, name, x| {
                match weights.find(&format!("{name}.bias")) {
                    Some(_) => conv1d(weights, name, x),
                    None => x.broadcast_matmul(weights.get(&format!("{name}.weight"))?),
                }
            }),
        },
        Impostor {
            name: "bias_stretched",
            diagnosis: "a bias of length 1 is broadcast over all outputs without an error",
            caught_by: "bad_weights_are_named",
            answer: mlp!(conv: |weights, name, x| {
                let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
                let d_out = weights.get(&weight)?.dim(1)?;
                let mut stretched = weights.clone();
                stretched.insert(&bias, weights.get(&bias)?.broadcast_as(d_out)?);
                conv1d(&stretched, name, x)
            }),
        },
    ],
    alternatives: &[
        Alternative { name: "inside_by_sigmoid", answer: mlp!(gelu: inside_by_sigmoid) },
        Alternative { name: "ready_gelu", answer: mlp!(gelu: Tensor::gelu) },
    ],
};

/// Roundings of an honest `f32` answer: two products with a sum each, a cube, a tanh.
const TOLERANCE: Tolerance = Tolerance::roundings(64.0);

/// Candle's ready GELU has six digits in the constants of its slope, and is right all the same.
pub(super) const GRADIENT: Tolerance = Tolerance::relative(2e-5);

const WIDTHS: Widths = Widths { d_model: 3, d_mlp: 5 };

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = Named::from([
        ("c_fc.weight".to_owned(), Array::matrix(&[[1., 2.]])),
        ("c_fc.bias".to_owned(), Array::vector(&[0., -3.])),
        ("c_proj.weight".to_owned(), Array::matrix(&[[10.], [100.]])),
        ("c_proj.bias".to_owned(), Array::vector(&[3.])),
    ]);
    let x = Array::matrix(&[[1.]]).to(DType::F32);
    let out = trial.array(args![weights: value(&weights, DType::F32), x: &x])?;
    let expected = Array::matrix(&[[3.0 + 10.0 * oracle::gelu(1.0) + 100.0 * oracle::gelu(-1.0)]])
        .to(DType::F32);
    trial.close("mlp_out", &out, &expected, TOLERANCE)
}

fn vectors_stand_alone(trial: &mut Trial) -> Outcome {
    let weights = value(&drawing::mlp(trial, "", WIDTHS), DType::F32);
    let x = trial.rng.normal_array(&[6, 3]);
    let flat = trial.array(args![weights: weights.clone(), x: &x])?;
    trial.has_shape("mlp_out", &flat, &[6, 3])?;
    for shape in [vec![2, 3, 3], vec![3, 1, 2, 3]] {
        let out = trial.array(args![weights: weights.clone(), x: &x.reshape(&shape)])?;
        let name = format!("mlp_out for the same vectors as {shape:?}");
        trial.close(&name, &out, &flat.reshape(&shape), TOLERANCE.at_scale(8.0))?;
    }
    let one = x.narrow(0, 2, 1).reshape(&[3]);
    let out = trial.array(args![weights: weights, x: &one])?;
    let expected = flat.narrow(0, 2, 1).reshape(&[3]);
    trial.close("mlp_out for a single vector", &out, &expected, TOLERANCE.at_scale(8.0))
}

fn far_from_zero_it_opens_or_closes(trial: &mut Trial) -> Outcome {
    let mut weights = drawing::mlp(trial, "", WIDTHS);
    let x = trial.rng.normal_array(&[4, 3]);
    for far in [-100.0, 100.0] {
        weights.insert("c_fc.bias".to_owned(), Array::full(&[5], far));
        let out = trial.array(args![weights: value(&weights, DType::F32), x: &x])?;
        let find = |name: &str| &weights[name];
        let inside = oracle::conv1d(&find, "c_fc", &x);
        let passed = inside.map(|inside| if far > 0.0 { inside } else { 0.0 });
        let expected = oracle::conv1d(&find, "c_proj", &passed).to(DType::F32);
        let name = format!("mlp_out with every number of `c_fc.bias` {far}");
        trial.close(
            &name,
            &out,
            &expected,
            TOLERANCE.at_scale(if far > 0.0 { 500.0 } else { 4.0 }),
        )?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let one = Widths { d_model: 1, d_mlp: 1 };
    let wide = Widths { d_model: 4, d_mlp: 7 };
    for (widths, [batch, seq]) in [(WIDTHS, [2, 4]), (one, [1, 1]), (wide, [3, 2])] {
        let weights = drawing::mlp(trial, "", widths);
        let x = trial.rng.normal_array(&[batch, seq, widths.d_model]);
        for dtype in [DType::F64, DType::F32] {
            let laid_out = x.to(dtype).laid_out(&[2, 0, 1]);
            let out = trial.array(args![weights: value(&weights, dtype), x: &laid_out])?;
            let expected = oracle::mlp(&|name| &weights[name], "", &x).to(dtype);
            trial.close("mlp_out", &out, &expected, TOLERANCE.at_scale(16.0))?;
        }
    }
    Ok(())
}

fn gradient_reaches_every_weight(trial: &mut Trial) -> Outcome {
    let weights = drawing::mlp(trial, "", Widths { d_model: 2, d_mlp: 3 });
    let x = trial.rng.normal_array(&[2, 2, 2]);
    let args = args![weights: value(&weights, DType::F64), x: &x];
    trial.gradients_match_within(GRADIENT, args, |at| {
        [oracle::mlp(&|name| weight(at, name), "", at.get("x"))]
    })
}

fn bad_weights_are_named(trial: &mut Trial) -> Outcome {
    let whole = drawing::mlp(trial, "", WIDTHS);
    let x = trial.rng.normal_array(&[2, 3]);
    for name in ["c_fc.weight", "c_proj.bias"] {
        let mut without = whole.clone();
        without.remove(name);
        let case = format!("`{name}` is missing");
        named_in_refusal(trial, &case, name, args![weights: value(&without, DType::F32), x: &x])?;
    }
    let shapes = [
        ("c_fc.weight", vec![4, 5]),
        ("c_fc.bias", vec![1]),
        ("c_proj.weight", vec![4, 3]),
        ("c_proj.bias", vec![1]),
    ];
    for (name, shape) in shapes {
        let mut other = whole.clone();
        other.insert(name.to_owned(), trial.rng.normal_array(&shape));
        let case = format!("`{name}` has shape {shape:?} with a d_model of 3 and a d_mlp of 5");
        named_in_refusal(trial, &case, name, args![weights: value(&other, DType::F32), x: &x])?;
    }
    Ok(())
}

/// Proves that an error comes and names the tensor that is to blame.
pub(super) fn named_in_refusal(
    trial: &mut Trial,
    case: &str,
    tensor: &str,
    args: Vec<(&'static str, protocol::Value)>,
) -> Outcome {
    let said = trial.refuses(case, args)?;
    // No more of an answer's own words than it takes.
    let said: String = said.chars().take(200).collect();
    trial.ensure(said.contains(tensor), || {
        format!("The error does not name `{tensor}` although {case}; it says: {said}")
    })
}

/// ½ (1 + tanh u) = σ(2 u).
fn inside_by_sigmoid(x: &Tensor) -> Result<Tensor> {
    let cubic = (x * (x.sqr()?.affine(0.044_715, 1.0))?)?;
    x * candle_nn::ops::sigmoid(&(cubic * (8.0 / std::f64::consts::PI).sqrt())?)?
}
