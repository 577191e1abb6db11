//! `clip_gradients`: all gradients shortened together.

use answer::{Weights, answer};
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::{DType, Value};

use super::{drawing::value, mlp_block::named_in_refusal};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
    named::{Named, from_value},
};

/// An answer that differs from the honest one between its errors.
macro_rules! clipping {
    (|$weights:ident, $gradients:ident, $max_norm:ident| $clipped:expr) => {
        answer!(|weights: &Weights, gradients: &Weights, max_norm: f64| {
            fn clip(
                $weights: &Weights,
                $gradients: &Weights,
                $max_norm: f64,
            ) -> Result<(Weights, f64)> {
                $clipped
            }
            looked_at(weights, gradients, max_norm)?;
            clip(weights, gradients, max_norm)
        })
    };
}

pub(super) const CLIP_GRADIENTS: Part = Part {
    name: "clip_gradients",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "short_ones_stay",
            promise: "Gradients that are not too long come back bit by bit as they were.",
            kind: Kind::Property,
            run: short_ones_stay,
        },
        Check {
            name: "long_ones_keep_their_direction",
            promise: "What comes back of long ones is exactly `max_norm` long, and none turns.",
            kind: Kind::Property,
            run: long_ones_keep_their_direction,
        },
        Check {
            name: "large_numbers_have_room",
            promise: "Numbers of 10²⁵ in `f32` are clipped like any others.",
            kind: Kind::Reference,
            run: large_numbers_have_room,
        },
        Check {
            name: "damage_is_named",
            promise: "A gradient without a weight, of another shape or not finite is named in an \
                      error; a `max_norm` that is not above 0 gives one.",
            kind: Kind::Errors,
            run: damage_is_named,
        },
    ],
    impostors: &[
        Impostor {
            name: "each_by_itself",
            diagnosis: "each gradient is clipped by its own norm, so the small ones count more \
                        than they should; there is one norm for all",
            caught_by: "documented_example",
            answer: clipping!(|_weights, gradients, max_norm| {
                let each = |(name, gradient): (&str, &Tensor)| {
                    let scale = (max_norm / norm_of(gradient)?).min(1.0);
                    Ok((name.to_owned(), (gradient * scale)?))
                };
                Ok((gradients.iter().map(each).collect::<Result<_>>()?, norm(gradients)?))
            }),
        },
        Impostor {
            name: "values_clamped",
            diagnosis: "each number is clamped to ±`max_norm`, which turns the gradient; all are \
                        multiplied by one factor",
            caught_by: "documented_example",
            answer: clipping!(|_weights, gradients, max_norm| {
                let each = |(name, gradient): (&str, &Tensor)| {
                    Ok((name.to_owned(), gradient.clamp(-max_norm, max_norm)?))
                };
                Ok((gradients.iter().map(each).collect::<Result<_>>()?, norm(gradients)?))
            }),
        },
        Impostor {
            name: "root_forgotten",
            diagnosis: "the sum of the squares is taken for the norm, which is its root",
            caught_by: "documented_example",
            answer: clipping!(|_weights, gradients, max_norm| {
                let norm = norm(gradients)?.powi(2);
                Ok((scaled(gradients, (max_norm / norm).min(1.0))?, norm))
            }),
        },
        Impostor {
            name: "sum_of_norms",
            diagnosis: "the norms of the gradients are added up; their squares have to be, and the \
                        root taken at the end",
            caught_by: "documented_example",
            answer: clipping!(|_weights, gradients, max_norm| {
                let norms = gradients.iter().map(|(_, gradient)| norm_of(gradient));
                let norm: f64 = norms.collect::<Result<Vec<_>>>()?.iter().sum();
                Ok((scaled(gradients, (max_norm / norm).min(1.0))?, norm))
            }),
        },
        Impostor {
            name: "norm_after_clipping",
            diagnosis: "the norm is that of what comes back; what came in is what a curve should \
                        show",
            caught_by: "documented_example",
            answer: clipping!(|_weights, gradients, max_norm| {
                let norm = norm(gradients)?;
                Ok((scaled(gradients, (max_norm / norm).min(1.0))?, norm.min(max_norm)))
            }),
        },
        Impostor {
            name: "absent_is_an_error",
            diagnosis: "a weight without a gradient is an error; no gradient reached it, and that \
                        is all",
            caught_by: "documented_example",
            answer: clipping!(|weights, gradients, max_norm| {
                for (name, _) in weights.iter() {
                    gradients.get(name)?;
                }
                clipped(gradients, max_norm)
            }),
        },
        Impostor {
            name: "absent_becomes_zero",
            diagnosis: "a weight without a gradient gets one of zeros, and with it weight decay \
                        and momentum",
            caught_by: "documented_example",
            answer: clipping!(|weights, gradients, max_norm| {
                let (mut clipped, norm) = clipped(gradients, max_norm)?;
                for (name, weight) in weights.iter() {
                    if gradients.find(name).is_none() {
                        clipped.insert(name, weight.zeros_like()?);
                    }
                }
                Ok((clipped, norm))
            }),
        },
        Impostor {
            name: "always_scaled",
            diagnosis: "short gradients are lengthened to `max_norm`; only long ones are changed",
            caught_by: "short_ones_stay",
            answer: clipping!(|_weights, gradients, max_norm| {
                let norm = norm(gradients)?;
                Ok((scaled(gradients, if norm > 0.0 { max_norm / norm } else { 1.0 })?, norm))
            }),
        },
        Impostor {
            name: "a_little_added_to_the_norm",
            diagnosis: "1e-6 is added to the norm, as `PyTorch` does, so what comes back is a \
                        little shorter than `max_norm`",
            caught_by: "long_ones_keep_their_direction",
            answer: clipping!(|_weights, gradients, max_norm| {
                let norm = norm(gradients)?;
                if norm <= max_norm {
                    return Ok((gradients.clone(), norm));
                }
                Ok((scaled(gradients, max_norm / (norm + 1e-6))?, norm))
            }),
        },
        Impostor {
            name: "squares_in_f32",
            diagnosis: "the squares are added up in the gradients' own dtype, where that of 10²⁵ \
                        is ∞",
            caught_by: "large_numbers_have_room",
            answer: clipping!(|_weights, gradients, max_norm| {
                let square = |(_, gradient): (&str, &Tensor)| {
                    gradient.sqr()?.sum_all()?.to_dtype(CandleDType::F64)?.to_scalar::<f64>()
                };
                let squares = gradients.iter().map(square).collect::<Result<Vec<_>>>()?;
                let norm = squares.iter().sum::<f64>().sqrt();
                if norm <= max_norm {
                    return Ok((gradients.clone(), norm));
                }
                Ok((scaled(gradients, max_norm / norm)?, norm))
            }),
        },
        Impostor {
            name: "damage_passes",
            diagnosis: "gradients that are not finite pass, and spoil every weight with the next \
                        step",
            caught_by: "damage_is_named",
            answer: answer!(|_weights: &Weights, gradients: &Weights, max_norm: f64| {
                looked_at(gradients, &Weights::new(), max_norm)?;
                clipped(gradients, max_norm)
            }),
        },
        Impostor {
            name: "any_bound_passes",
            diagnosis: "a `max_norm` of 0 or below passes, and the gradients vanish or turn around",
            caught_by: "damage_is_named",
            answer: answer!(|weights: &Weights, gradients: &Weights, max_norm: f64| {
                looked_at(weights, gradients, 1.0)?;
                clipped(gradients, max_norm)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "all_in_one_vector",
        answer: clipping!(|_weights, gradients, max_norm| {
            let flat =
                |(_, gradient): (&str, &Tensor)| gradient.to_dtype(CandleDType::F64)?.flatten_all();
            let all = gradients.iter().map(flat).collect::<Result<Vec<_>>>()?;
            let norm = match all.as_slice() {
                [] => 0.0,
                all => {
                    let all = Tensor::cat(all, 0)?;
                    (&all * &all)?.sum_all()?.sqrt()?.to_scalar::<f64>()?
                }
            };
            if norm > max_norm {
                return Ok((scaled(gradients, max_norm / norm)?, norm));
            }
            Ok((gradients.clone(), norm))
        }),
    }],
};

/// A factor, rounded to the dtype of the gradients, and one product.
const TOLERANCE: Tolerance = Tolerance::roundings(16.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = Named::from([
        ("a".to_owned(), trial.rng.normal_array(&[2])),
        ("b".to_owned(), trial.rng.normal_array(&[3])),
        ("c".to_owned(), trial.rng.normal_array(&[1, 1])),
    ]);
    let (a, c) = (Array::vector(&[2., 2.]), Array::matrix(&[[1.]]));
    let gradients = Named::from([("a".to_owned(), a), ("c".to_owned(), c)]);
    let (found, norm) = clip(trial, [&weights, &gradients], 1.5, DType::F32)?;
    close_norm(trial, norm, 3.0)?;
    close(trial, &found, &gradients, 0.5, DType::F32)
}

fn short_ones_stay(trial: &mut Trial) -> Outcome {
    let (weights, gradients) = draw(trial);
    let length = norm_by_hand(&gradients);
    for max_norm in [1e3, length * 1.001] {
        let (found, norm) = clip(trial, [&weights, &gradients], max_norm, DType::F64)?;
        close_norm(trial, norm, length)?;
        unchanged(trial, &found, &gradients, DType::F64)?;
    }
    let nothing: Named =
        gradients.iter().map(|(name, gradient)| (name.clone(), gradient.map(|_| 0.0))).collect();
    let (found, norm) = clip(trial, [&weights, &nothing], 1.0, DType::F32)?;
    close_norm(trial, norm, 0.0)?;
    unchanged(trial, &found, &nothing, DType::F32)
}

fn long_ones_keep_their_direction(trial: &mut Trial) -> Outcome {
    let (weights, gradients) = draw(trial);
    let length = norm_by_hand(&gradients);
    for dtype in [DType::F64, DType::F32] {
        for max_norm in [0.9 * length, 0.01] {
            let (found, norm) = clip(trial, [&weights, &gradients], max_norm, dtype)?;
            close_norm(trial, norm, length)?;
            close(trial, &found, &gradients, max_norm / length, dtype)?;
        }
    }
    Ok(())
}

fn large_numbers_have_room(trial: &mut Trial) -> Outcome {
    let (weights, gradients) = draw(trial);
    let large = |array: &Array| array.map(|x| 1e25 * x);
    let gradients: Named =
        gradients.iter().map(|(name, array)| (name.clone(), large(array))).collect();
    let length = norm_by_hand(&gradients);
    let (found, norm) = clip(trial, [&weights, &gradients], 2.0, DType::F32)?;
    close_norm(trial, norm, length)?;
    close(trial, &found, &gradients, 2.0 / length, DType::F32)
}

fn damage_is_named(trial: &mut Trial) -> Outcome {
    let (weights, whole) = draw(trial);
    let mut damaged = |name: &str, what: &str, array: Array| {
        let mut gradients = whole.clone();
        gradients.insert(name.to_owned(), array);
        let args = asked([&weights, &gradients], 1.0, DType::F32);
        named_in_refusal(trial, &format!("gradient `{name}` {what}"), name, args)
    };
    damaged("wte", "holds NaN", Array::new(&[2, 3], vec![1., 2., f64::NAN, 0., 0., 0.]))?;
    damaged("ln_f", "holds ∞", Array::vector(&[0., 0., f64::INFINITY]))?;
    damaged("ghost", "belongs to no weight", Array::vector(&[1.]))?;
    damaged("wte", "is (3, 2) and its weight (2, 3)", Array::full(&[3, 2], 1.0))?;
    for max_norm in [0.0, -1.0] {
        let case = format!("`max_norm` is {max_norm}");
        trial.refuses(&case, asked([&weights, &whole], max_norm, DType::F32))?;
    }
    Ok(())
}

/// Weights of three shapes, and gradients for all but one of them.
fn draw(trial: &mut Trial) -> (Named, Named) {
    let mut weights = Named::new();
    for (name, shape) in [("wte", vec![2, 3]), ("ln_f", vec![3]), ("c_fc", vec![1, 4, 2])] {
        weights.insert(name.to_owned(), trial.rng.normal_array(&shape));
    }
    weights.insert("frozen".to_owned(), trial.rng.normal_array(&[5]));
    let reached = weights.iter().filter(|(name, _)| *name != "frozen");
    let reached: Vec<_> = reached.map(|(name, weight)| (name.clone(), weight.clone())).collect();
    let gradient = |(name, weight): (String, Array)| (name, trial.rng.normal_array(weight.shape()));
    let gradients = reached.into_iter().map(gradient).collect();
    (weights, gradients)
}

fn asked(
    [weights, gradients]: [&Named; 2],
    max_norm: f64,
    dtype: DType,
) -> Vec<(&'static str, Value)> {
    args![
        weights: value(weights, dtype), gradients: value(gradients, dtype), max_norm: max_norm,
    ]
}

/// Asks for clipped gradients and their norm.
fn clip(
    trial: &mut Trial,
    sets: [&Named; 2],
    max_norm: f64,
    dtype: DType,
) -> std::result::Result<(Named, f64), Stop> {
    let values = trial.values(asked(sets, max_norm, dtype))?;
    if let [set, Value::Float(norm)] = values.as_slice()
        && let Some(set) = from_value(set)
    {
        return Ok((set, *norm));
    }
    Err(trial.wrong("It did not return named tensors and a number.".to_owned()))
}

fn close_norm(trial: &mut Trial, norm: f64, expected: f64) -> Outcome {
    let scalar = |number| Array::new(&[], vec![number]).to(DType::F64);
    // An honest answer may add up in the gradients' dtype.
    let tolerance = Tolerance::relative(1e-5);
    trial.close("norm", &scalar(norm), &scalar(expected), tolerance)
}

fn unchanged(trial: &mut Trial, found: &Named, gradients: &Named, dtype: DType) -> Outcome {
    same_names(trial, found, gradients)?;
    for (name, gradient) in gradients {
        let label = format!("clipped {name}");
        trial.close(&label, &found[name], &gradient.to(dtype), Tolerance::EXACT)?;
    }
    Ok(())
}

fn close(
    trial: &mut Trial,
    found: &Named,
    gradients: &Named,
    factor: f64,
    dtype: DType,
) -> Outcome {
    same_names(trial, found, gradients)?;
    for (name, gradient) in gradients {
        let expected = gradient.to(DType::F64).map(|x| factor * x).to(dtype);
        let label = format!("clipped {name}");
        trial.close(&label, &found[name], &expected, TOLERANCE.in_double(1e-11))?;
    }
    Ok(())
}

fn same_names(trial: &mut Trial, found: &Named, gradients: &Named) -> Outcome {
    trial.ensure(found.keys().eq(gradients.keys()), || {
        let found: Vec<String> =
            found.keys().take(8).map(|name| name.chars().take(16).collect()).collect();
        format!("There are clipped gradients {found:?}; expected {:?}.", gradients.keys())
    })
}

fn norm_by_hand(gradients: &Named) -> f64 {
    gradients.values().flat_map(Array::values).map(|x| x * x).sum::<f64>().sqrt()
}

/// Refuses what an honest answer refuses.
fn looked_at(weights: &Weights, gradients: &Weights, max_norm: f64) -> Result<()> {
    if max_norm.is_nan() || max_norm <= 0.0 {
        bail!("{max_norm} is no norm");
    }
    for (name, gradient) in gradients.iter() {
        if gradient.dims() != weights.get(name)?.dims() {
            bail!("`{name}` is {:?}", gradient.dims());
        }
        if !norm_of(gradient)?.is_finite() {
            bail!("`{name}` is not finite");
        }
    }
    Ok(())
}

fn norm_of(gradient: &Tensor) -> Result<f64> {
    gradient.to_dtype(CandleDType::F64)?.sqr()?.sum_all()?.sqrt()?.to_scalar()
}

fn norm(gradients: &Weights) -> Result<f64> {
    let squares = gradients.iter().map(|(_, gradient)| Ok(norm_of(gradient)?.powi(2)));
    Ok(squares.collect::<Result<Vec<f64>>>()?.iter().sum::<f64>().sqrt())
}

fn scaled(gradients: &Weights, factor: f64) -> Result<Weights> {
    let scale = |(name, gradient): (&str, &Tensor)| Ok((name.to_owned(), (gradient * factor)?));
    gradients.iter().map(scale).collect()
}

fn clipped(gradients: &Weights, max_norm: f64) -> Result<(Weights, f64)> {
    let norm = norm(gradients)?;
    if norm <= max_norm {
        return Ok((gradients.clone(), norm));
    }
    Ok((scaled(gradients, max_norm / norm)?, norm))
}
