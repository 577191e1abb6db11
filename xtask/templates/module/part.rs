//! `sample_part`: a layer whose outputs are let through by a gate.

use std::collections::BTreeMap;

use answer::{Weights, answer};
use candle_core::{DType as CandleDType, Result, Tensor};
use candle_nn::ops;
use protocol::{DType, Value};

use crate::{
    Alternative, Array, Check, Impostor, Inputs, Kind, Outcome, Part, Tolerance, Trial, args,
};

pub(super) const SAMPLE_PART: Part = Part {
    name: "sample_part",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "value_weight_scales_the_result",
            promise: "Twice the `value.weight` gives twice the result.",
            kind: Kind::Property,
            run: value_weight_scales_the_result,
        },
        Check {
            name: "bias_opens_and_closes",
            promise: "A large `gate.bias` lets everything through, a very negative one nothing.",
            kind: Kind::Property,
            run: bias_opens_and_closes,
        },
        Check {
            name: "matches_definition",
            promise: "In every shape and dtype, with and without bias, the result is the \
                      definition's.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_every_weight",
            promise: "The gradient reaches `x` and every weight, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_every_weight,
        },
        Check {
            name: "missing_weights_are_refused",
            promise: "A missing weight gives an error.",
            kind: Kind::Errors,
            run: missing_weights_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "gate_and_value_swapped",
            diagnosis: "the gate and the value are swapped: the other projection is squeezed",
            caught_by: "documented_example",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                ops::sigmoid(&project(weights, "value", x)?)? * project(weights, "gate", x)?
            }),
        },
        Impostor {
            name: "gate_not_squeezed",
            diagnosis: "the gate is not squeezed by σ, so it can be any number",
            caught_by: "documented_example",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                project(weights, "gate", x)? * project(weights, "value", x)?
            }),
        },
        Impostor {
            name: "tanh_for_sigma",
            diagnosis: "the gate is a tanh, which is 0 where σ is a half",
            caught_by: "documented_example",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                project(weights, "gate", x)?.tanh()? * project(weights, "value", x)?
            }),
        },
        Impostor {
            name: "softmax_for_sigma",
            diagnosis: "the gates share a softmax; each has a σ of its own",
            caught_by: "documented_example",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                ops::softmax(&project(weights, "gate", x)?, 1)? * project(weights, "value", x)?
            }),
        },
        Impostor {
            name: "weight_not_turned",
            diagnosis: "the weights are not transposed; their rows are the outputs",
            caught_by: "documented_example",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                let value = x.matmul(weights.get("value.weight")?)?;
                ops::sigmoid(&project(weights, "gate", x)?)? * value
            }),
        },
        Impostor {
            name: "bias_on_both",
            diagnosis: "`gate.bias` is added to the value as well; it belongs to the gate alone",
            caught_by: "value_weight_scales_the_result",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                let value = biased(&project(weights, "value", x)?, weights.find("gate.bias"))?;
                ops::sigmoid(&project(weights, "gate", x)?)? * value
            }),
        },
        Impostor {
            name: "bias_ignored",
            diagnosis: "`gate.bias` is not used",
            caught_by: "bias_opens_and_closes",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                let gate = x.contiguous()?.matmul(&weights.get("gate.weight")?.t()?)?;
                ops::sigmoid(&gate)? * project(weights, "value", x)?
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the work is done in `f32` whatever the dtype of `x` is",
            caught_by: "matches_definition",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                let single = |(name, weight): (&str, &Tensor)| {
                    Ok((name.to_owned(), weight.to_dtype(CandleDType::F32)?))
                };
                let weights = weights.iter().map(single).collect::<Result<Weights>>()?;
                gated(&weights, &x.to_dtype(CandleDType::F32)?)?.to_dtype(x.dtype())
            }),
        },
        Impostor {
            name: "gate_detached",
            diagnosis: "the gate is taken out of the graph, so nothing that sets it can learn",
            caught_by: "gradient_reaches_every_weight",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                let gate = ops::sigmoid(&project(weights, "gate", x)?)?;
                gate.detach() * project(weights, "value", x)?
            }),
        },
        Impostor {
            name: "missing_gate_is_open",
            diagnosis: "a missing `gate.weight` is passed over as if it were a bias",
            caught_by: "missing_weights_are_refused",
            answer: answer!(|weights: &Weights, x: &Tensor| {
                match weights.find("gate.weight") {
                    Some(_) => gated(weights, x),
                    None => project(weights, "value", x),
                }
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_broadcasting",
        answer: answer!(|weights: &Weights, x: &Tensor| {
            let project = |name: &str| {
                let products = x.unsqueeze(1)?.broadcast_mul(weights.get(name)?)?;
                products.sum(2) // (batch, d_out)
            };
            let gate = biased(&project("gate.weight")?, weights.find("gate.bias"))?;
            let closing = (gate.neg()?.exp()? + 1.0)?;
            project("value.weight")? / closing
        }),
    }],
};

/// Roundings of an honest `f32` answer: two short sums of products, an exponential, a product.
const TOLERANCE: Tolerance = Tolerance::roundings(64.0);

type Named = BTreeMap<String, Array>;

/// Random weights, scaled so that gates and values are about 1.
fn random_weights(trial: &mut Trial, d_out: usize, d_in: usize) -> Named {
    let scale = (d_in as f64).sqrt().recip();
    let mut weight = || trial.rng.normal_array(&[d_out, d_in]).map(|x| scale * x);
    let (gate, value) = (weight(), weight());
    Named::from([
        ("gate.weight".to_owned(), gate),
        ("gate.bias".to_owned(), trial.rng.normal_array(&[d_out])),
        ("value.weight".to_owned(), value),
    ])
}

fn named(weights: &Named, dtype: DType) -> Value {
    let raw = |(name, array): (&String, &Array)| (name.clone(), array.to(dtype).to_raw());
    Value::Named(weights.iter().map(raw).collect())
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let log_3 = 3_f64.ln();
    let weights = Named::from([
        ("gate.weight".to_owned(), Array::matrix(&[[0., 0.], [log_3 / 2., 0.], [0., -log_3 / 4.]])),
        ("value.weight".to_owned(), Array::matrix(&[[1., 0.], [1., 1.], [0., 3.]])),
    ]);
    let x = Array::matrix(&[[2., 4.]]).to(DType::F32);
    let result = trial.array(args![weights: named(&weights, DType::F32), x: &x])?;
    let expected = Array::matrix(&[[1., 4.5, 3.]]).to(DType::F32);
    trial.close("result", &result, &expected, TOLERANCE)
}

fn value_weight_scales_the_result(trial: &mut Trial) -> Outcome {
    let mut weights = random_weights(trial, 3, 4);
    let x = trial.rng.normal_array(&[2, 4]);
    let once = trial.array(args![weights: named(&weights, DType::F32), x: &x])?;
    let doubled = weights["value.weight"].map(|x| 2.0 * x);
    weights.insert("value.weight".to_owned(), doubled);
    let twice = trial.array(args![weights: named(&weights, DType::F32), x: &x])?;
    let expected = once.map(|x| 2.0 * x);
    trial.close("result with twice the `value.weight`", &twice, &expected, TOLERANCE)
}

fn bias_opens_and_closes(trial: &mut Trial) -> Outcome {
    let mut weights = random_weights(trial, 3, 4);
    let x = trial.rng.normal_array(&[2, 4]);
    let value = projected(&weights["value.weight"], &x);
    for (bias, openness) in [(60.0, 1.0), (-60.0, 0.0)] {
        weights.insert("gate.bias".to_owned(), Array::full(&[3], bias));
        let result = trial.array(args![weights: named(&weights, DType::F32), x: &x])?;
        let expected = value.map(|value| openness * value).to(DType::F32);
        let name = format!("result with a `gate.bias` of {bias}");
        trial.close(&name, &result, &expected, TOLERANCE.at_scale(value.max_abs().max(1.0)))?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for [batch, d_out, d_in] in [[2, 3, 4], [1, 1, 1], [3, 5, 1]] {
        for (dtype, has_bias) in [(DType::F32, true), (DType::F64, false)] {
            let mut weights = random_weights(trial, d_out, d_in);
            if !has_bias {
                weights.remove("gate.bias");
            }
            let x = trial.rng.normal_array(&[batch, d_in]).to(dtype).laid_out(&[1, 0]);
            let args = args![weights: named(&weights, dtype), x: &x];
            let expected = definition(&Inputs::of(&args)).to(dtype);
            let result = trial.array(args)?;
            // Products of about 1 are added up, however small a result may be.
            let tolerance = TOLERANCE.at_scale(expected.max_abs().max(4.0));
            trial.close("result", &result, &expected, tolerance.in_double(1e-11))?;
        }
    }
    Ok(())
}

fn gradient_reaches_every_weight(trial: &mut Trial) -> Outcome {
    let weights = random_weights(trial, 2, 3);
    let x = trial.rng.normal_array(&[2, 3]);
    trial.gradient_matches(args![weights: named(&weights, DType::F64), x: &x], definition)
}

fn missing_weights_are_refused(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 4]);
    for name in ["gate.weight", "value.weight"] {
        let mut weights = random_weights(trial, 3, 4);
        weights.remove(name);
        let case = format!("`{name}` is missing");
        trial.refuses(&case, args![weights: named(&weights, DType::F32), x: &x])?;
    }
    Ok(())
}

/// The exact answer, entry by entry.
fn definition(at: &Inputs) -> Array {
    let x = at.get("x");
    let gate = projected(at.get("weights.gate.weight"), x);
    let value = projected(at.get("weights.value.weight"), x);
    let bias = at.find("weights.gate.bias");
    Array::from_fn(value.shape(), |to| {
        let score = gate.at(to) + bias.map_or(0.0, |bias| bias.at(&to[1..]));
        value.at(to) / (1.0 + (-score).exp())
    })
}

/// `x weightᵀ`, in `f64`.
fn projected(weight: &Array, x: &Array) -> Array {
    Array::from_fn(&[x.dim(0), weight.dim(0)], |to| {
        (0..x.dim(1)).map(|d| x.at(&[to[0], d]) * weight.at(&[to[1], d])).sum()
    })
}

/// The honest layer, for impostors to be nearly.
fn gated(weights: &Weights, x: &Tensor) -> Result<Tensor> {
    ops::sigmoid(&project(weights, "gate", x)?)? * project(weights, "value", x)?
}

fn project(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    let weight = weights.get(&format!("{name}.weight"))?;
    biased(&x.contiguous()?.matmul(&weight.t()?)?, weights.find(&format!("{name}.bias")))
}

fn biased(x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    bias.map_or(Ok(x.clone()), |bias| x.broadcast_add(bias))
}
