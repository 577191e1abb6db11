//! `dropout`: doing without, while training.

use answer::answer;
use candle_core::{Result, Tensor, bail};
use protocol::DType;

use super::steps::in_single;
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const DROPOUT: Part = Part {
    name: "dropout",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says, in training.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "evaluation_changes_nothing",
            promise: "When not training, the result is `x`, whatever the noise and `p` are.",
            kind: Kind::Property,
            run: evaluation_changes_nothing,
        },
        Check {
            name: "the_mean_is_kept",
            promise: "Over all noise, the mean of a number's results is the number.",
            kind: Kind::Property,
            run: the_mean_is_kept,
        },
        Check {
            name: "matches_definition",
            promise: "Numbers with noise below `p` are 0, all others are x / (1 − p), in every \
                      shape.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_takes_the_same_way",
            promise: "The gradient of `x` is dropped and scaled exactly as `x` is.",
            kind: Kind::Gradient,
            run: gradient_takes_the_same_way,
        },
        Check {
            name: "other_shapes_are_refused",
            promise: "Noise of another shape, or a `p` outside of [0, 1), gives an error.",
            kind: Kind::Errors,
            run: other_shapes_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "not_rescaled",
            diagnosis: "what is kept is not scaled up, so results are smaller in training than in \
                        evaluation",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                guarded(x, noise, p, is_training, || drop(x, noise, p, 1.0))
            }),
        },
        Impostor {
            name: "kept_where_dropped",
            diagnosis: "numbers with noise below p are kept and the others dropped; p is the \
                        probability of dropping",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                guarded(x, noise, p, is_training, || {
                    noise.ge(p)?.where_cond(&x.zeros_like()?, &(x / (1.0 - p))?)
                })
            }),
        },
        Impostor {
            name: "scaled_down",
            diagnosis: "what is kept is multiplied by 1 − p; it has to be divided by it",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                guarded(x, noise, p, is_training, || drop(x, noise, p, 1.0 - p))
            }),
        },
        Impostor {
            name: "training_swapped",
            diagnosis: "it drops when `is_training` is false, and not when it is true",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                guarded(x, noise, p, !is_training, || drop(x, noise, p, 1.0 / (1.0 - p)))
            }),
        },
        Impostor {
            name: "active_in_evaluation",
            diagnosis: "it drops in evaluation too; `is_training` is ignored",
            caught_by: "evaluation_changes_nothing",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, _is_training: bool| {
                guarded(x, noise, p, true, || drop(x, noise, p, 1.0 / (1.0 - p)))
            }),
        },
        Impostor {
            name: "scaled_in_evaluation",
            diagnosis: "the result is scaled by 1 − p in evaluation, as in the first dropout; \
                        what was kept in training is scaled up already",
            caught_by: "evaluation_changes_nothing",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                let out = right(x, noise, p, is_training)?;
                if is_training { Ok(out) } else { out * (1.0 - p) }
            }),
        },
        Impostor {
            name: "divided_by_p",
            diagnosis: "what is kept is divided by p; the share that is kept is 1 − p",
            caught_by: "the_mean_is_kept",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                guarded(x, noise, p, is_training, || drop(x, noise, p, 1.0 / p))
            }),
        },
        Impostor {
            name: "kept_with_probability_p",
            diagnosis: "p is taken for the probability of keeping; it is that of dropping",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                guarded(x, noise, p, is_training, || drop(x, noise, 1.0 - p, 1.0 / p))
            }),
        },
        Impostor {
            name: "scaled_by_what_was_kept",
            diagnosis: "the scale is counted from the noise that came; it is 1 / (1 − p), \
                        whatever the noise is",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                guarded(x, noise, p, is_training, || {
                    let kept = noise.ge(p)?.to_dtype(candle_core::DType::F64)?.mean_all()?;
                    drop(x, noise, p, 1.0 / kept.to_scalar::<f64>()?)
                })
            }),
        },
        Impostor {
            name: "boundary_dropped",
            diagnosis: "noise that equals p is dropped, and so with p = 0 a noise of 0; only \
                        below p is",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                guarded(x, noise, p, is_training, || {
                    noise.gt(p)?.where_cond(&(x / (1.0 - p))?, &x.zeros_like()?)
                })
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever `x` is",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                in_single(|t| right(&t[0], &t[1], p, is_training), &[x, noise])
            }),
        },
        Impostor {
            name: "straight_through",
            diagnosis: "the gradient passes as if nothing were dropped: the difference to `x` is \
                        detached",
            caught_by: "gradient_takes_the_same_way",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                let out = right(x, noise, p, is_training)?;
                // Its own value, and the gradient of `x`.
                (out.detach() + x)? - x.detach()
            }),
        },
        Impostor {
            name: "severed",
            diagnosis: "no gradient flows back: the values left the graph",
            caught_by: "gradient_takes_the_same_way",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                right(x, noise, p, is_training).map(|out| out.detach())
            }),
        },
        Impostor {
            name: "noise_stretched",
            diagnosis: "noise of another shape is broadcast, so whole columns drop together \
                        without an error",
            caught_by: "other_shapes_are_refused",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                right(x, &noise.broadcast_as(x.shape())?, p, is_training)
            }),
        },
        Impostor {
            name: "any_p",
            diagnosis: "a p of 1 divides by 0, and one outside of [0, 1) is no probability of \
                        dropping; both need an error",
            caught_by: "other_shapes_are_refused",
            answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
                fits(x, noise)?;
                if is_training { drop(x, noise, p, 1.0 / (1.0 - p)) } else { Ok(x.clone()) }
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "times_a_mask",
        answer: answer!(|x: &Tensor, noise: &Tensor, p: f64, is_training: bool| {
            guarded(x, noise, p, is_training, || {
                let kept = (1.0 - noise.lt(p)?.to_dtype(x.dtype())?)?;
                x * (kept * (1.0 - p).recip())?
            })
        }),
    }],
};

/// Roundings of an honest `f32` answer: the scale, and a product.
const TOLERANCE: Tolerance = Tolerance::roundings(16.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::vector(&[1., 2., 3., 4.]).to(DType::F32);
    let noise = Array::vector(&[0.1, 0.9, 0.4, 0.6]).to(DType::F32);
    let out = trial.array(args![x: &x, noise: &noise, p: 0.5, is_training: true])?;
    let expected = Array::vector(&[0., 4., 0., 8.]).to(DType::F32);
    trial.close("result in training", &out, &expected, TOLERANCE)
}

fn evaluation_changes_nothing(trial: &mut Trial) -> Outcome {
    for p in [0.5, 0.125] {
        let (x, noise) = draw(trial, &[3, 4], DType::F32);
        let out = trial.array(args![x: &x, noise: &noise, p: p, is_training: false])?;
        trial.close("result in evaluation", &out, &x, Tolerance::EXACT)?;
    }
    Ok(())
}

fn the_mean_is_kept(trial: &mut Trial) -> Outcome {
    const COUNT: usize = 64;
    for p in [0.125, 0.75] {
        // All noise that there is, at even distances, so that the mean is no matter of luck.
        let x = trial.rng.normal_array(&[1, 3]);
        let spread = Array::from_fn(&[COUNT, 3], |at| (at[0] as f64 + 0.5) / COUNT as f64);
        let repeated = Array::from_fn(&[COUNT, 3], |at| x.at(&[0, at[1]])).to(DType::F32);
        let noise = spread.to(DType::F32);
        let out = trial.array(args![x: &repeated, noise: &noise, p: p, is_training: true])?;
        trial.has_shape("result", &out, &[COUNT, 3])?;
        let mean = Array::from_fn(&[1, 3], |at| {
            (0..COUNT).map(|n| out.at(&[n, at[1]])).sum::<f64>() / COUNT as f64
        });
        let name = format!("mean of the results over all noise, for p = {p}");
        trial.close(&name, &mean.to(DType::F32), &x, TOLERANCE.at_scale(2.0))?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for shape in [vec![2, 3, 4], vec![1], vec![5, 7]] {
        // A p that `f32` holds exactly can be met by the noise; the edge is what comparisons miss.
        let cases = [(0.25, DType::F64, true), (0.3, DType::F32, false), (0.0, DType::F32, true)];
        for (p, dtype, meets_p) in cases {
            let order: Vec<usize> = (0..shape.len()).rev().collect();
            let (x, mut noise) = draw(trial, &shape, dtype);
            if meets_p {
                noise.set(&vec![0; shape.len()], p);
            }
            let (x, noise) = (x.laid_out(&order), noise.laid_out(&order));
            let out = trial.array(args![x: &x, noise: &noise, p: p, is_training: true])?;
            let expected = oracle(&x, &noise, p).to(dtype);
            trial.close("result", &out, &expected, TOLERANCE)?;
        }
    }
    Ok(())
}

fn gradient_takes_the_same_way(trial: &mut Trial) -> Outcome {
    let (x, noise) = draw(trial, &[3, 4], DType::F64);
    let cotangent = trial.rng.normal_array(&[3, 4]).to(DType::F64);
    let asked = args![x: &x, noise: &noise, p: 0.25, is_training: true];
    let found = trial.gradients(asked, &[&cotangent])?;
    let Some(Some(gradient)) = found.get("x") else {
        return Err(trial.wrong(
            "No gradient reaches `x`: the values left the graph (detach, to_vec, a new tensor)."
                .to_owned(),
        ));
    };
    let expected = oracle(&cotangent, &noise, 0.25);
    trial.close("gradient of x", gradient, &expected, Tolerance::GRADIENT)
}

fn other_shapes_are_refused(trial: &mut Trial) -> Outcome {
    let (x, noise) = draw(trial, &[3, 4], DType::F32);
    let row = noise.narrow(0, 0, 1);
    let case = "`x` is (3, 4) and `noise` (1, 4)";
    trial.refuses(case, args![x: &x, noise: &row, p: 0.5, is_training: true])?;
    for p in [1.0, 1.5, -0.25] {
        let case = format!("`p` is {p}");
        trial.refuses(&case, args![x: &x, noise: &noise, p: p, is_training: true])?;
    }
    Ok(())
}

fn draw(trial: &mut Trial, shape: &[usize], dtype: DType) -> (Array, Array) {
    // The noise in `f32` steps, so that both dtypes are on the same side of p.
    let noise = trial.rng.uniform_array(shape, 0.0, 1.0);
    (trial.rng.normal_array(shape).to(dtype), noise.to(dtype))
}

fn oracle(x: &Array, noise: &Array, p: f64) -> Array {
    Array::from_fn(x.shape(), |at| if noise.at(at) < p { 0.0 } else { x.at(at) / (1.0 - p) })
}

fn fits(x: &Tensor, noise: &Tensor) -> Result<()> {
    if x.dims() != noise.dims() {
        bail!("x is {:?} and noise {:?}", x.dims(), noise.dims());
    }
    Ok(())
}

/// Does the work in training only, for what the contract allows.
fn guarded(
    x: &Tensor,
    noise: &Tensor,
    p: f64,
    is_training: bool,
    work: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    fits(x, noise)?;
    if !(0.0..1.0).contains(&p) {
        bail!("p is {p}");
    }
    if is_training { work() } else { Ok(x.clone()) }
}

/// Zero where the noise is below `p`, elsewhere scaled.
fn drop(x: &Tensor, noise: &Tensor, p: f64, scale: f64) -> Result<Tensor> {
    noise.ge(p)?.where_cond(&(x * scale)?, &x.zeros_like()?)
}

fn right(x: &Tensor, noise: &Tensor, p: f64, is_training: bool) -> Result<Tensor> {
    guarded(x, noise, p, is_training, || drop(x, noise, p, 1.0 / (1.0 - p)))
}
