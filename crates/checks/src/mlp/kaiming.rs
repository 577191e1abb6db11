//! `kaiming_init`: weights at the scale that survives many layers.

use answer::answer;
use candle_core::{Result, Tensor, bail};
use protocol::DType;

use super::steps::in_single;
use crate::{
    Alternative, Array, Check, Generator, Impostor, Kind, Outcome, Part, Tolerance, Trial, args,
};

pub(super) const KAIMING_INIT: Part = Part {
    name: "kaiming_init",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "each_weight_has_its_own_noise",
            promise: "Another number of the noise moves the weight in its place, and no other.",
            kind: Kind::Property,
            run: each_weight_has_its_own_noise,
        },
        Check {
            name: "thirty_layers_keep_the_scale",
            promise: "What goes through thirty layers with `relu` comes out as large as it went \
                      in.",
            kind: Kind::Property,
            run: thirty_layers_keep_the_scale,
        },
        Check {
            name: "matches_definition",
            promise: "The weights are uniform around 0 with variance gain² / fan_in, in every \
                      shape.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "unknown_is_refused",
            promise: "An unknown nonlinearity, or noise that is no matrix, gives an error.",
            kind: Kind::Errors,
            run: unknown_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "fan_out",
            diagnosis: "the outputs are counted (fan-out); the variance of an output depends on \
                        how many inputs it sums",
            caught_by: "documented_example",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                let bound = (3.0 * gain_squared(nonlinearity)? / noise.dim(0)? as f64).sqrt();
                stretch(noise, bound)
            }),
        },
        Impostor {
            name: "deviation_for_bound",
            diagnosis: "the standard deviation is taken for the bound of the interval; uniform \
                        numbers in [−a, a) deviate by a / √3 only",
            caught_by: "documented_example",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                stretch(noise, (gain_squared(nonlinearity)? / fan_in(noise)?).sqrt())
            }),
        },
        Impostor {
            name: "not_centred",
            diagnosis: "the noise is only scaled, so every weight is positive; the interval is \
                        around 0",
            caught_by: "documented_example",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                noise * bound(noise, nonlinearity)?
            }),
        },
        Impostor {
            name: "half_as_wide",
            diagnosis: "the interval is half as wide as it should be: from [0, 1) to [−a, a) it \
                        is 2 a",
            caught_by: "documented_example",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                stretch(noise, bound(noise, nonlinearity)? / 2.0)
            }),
        },
        Impostor {
            name: "no_root",
            diagnosis: "the variance is used where its root belongs: divide by √fan_in, not by \
                        fan_in",
            caught_by: "documented_example",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                stretch(noise, bound(noise, nonlinearity)?.powi(2) / 3.0)
            }),
        },
        Impostor {
            name: "xavier",
            diagnosis: "inputs and outputs are averaged (Glorot's rule); Kaiming's counts inputs",
            caught_by: "documented_example",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                let both = fan_in(noise)? + noise.dim(0)? as f64;
                stretch(noise, (6.0 * gain_squared(nonlinearity)? / both).sqrt())
            }),
        },
        Impostor {
            name: "centred_by_its_own_mean",
            diagnosis: "the noise is centred by its own mean, so each number moves every weight; \
                        uniform noise has the mean ½",
            caught_by: "each_weight_has_its_own_noise",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                let centred = noise.broadcast_sub(&noise.mean_all()?)?;
                fan_in(noise)?;
                centred * (2.0 * bound(noise, nonlinearity)?)
            }),
        },
        Impostor {
            name: "gain_missing",
            diagnosis: "the gain is missing: `relu` takes half of the variance at every layer, \
                        and the weights have to make up for it",
            caught_by: "thirty_layers_keep_the_scale",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                gain_squared(nonlinearity)?;
                stretch(noise, bound(noise, "linear")?)
            }),
        },
        Impostor {
            name: "gain_not_squared",
            diagnosis: "the gain of `relu` is √2, and it is its square, 2, that the variance is \
                        multiplied by",
            caught_by: "thirty_layers_keep_the_scale",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                let gain = gain_squared(nonlinearity)?.sqrt();
                stretch(noise, (3.0 * gain / fan_in(noise)?).sqrt())
            }),
        },
        Impostor {
            name: "gain_is_two",
            diagnosis: "the bound is multiplied by 2, and the variance by 4; the gain is √2",
            caught_by: "thirty_layers_keep_the_scale",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                let bound = gain_squared(nonlinearity)? * (3.0 / fan_in(noise)?).sqrt();
                stretch(noise, bound)
            }),
        },
        Impostor {
            name: "kernel_axes_not_counted",
            diagnosis: "only axis 1 is counted; an output of a convolution also sums over all \
                        further axes of its kernel",
            caught_by: "matches_definition",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                fan_in(noise)?;
                let d_in = noise.dim(1)? as f64;
                stretch(noise, (3.0 * gain_squared(nonlinearity)? / d_in).sqrt())
            }),
        },
        Impostor {
            name: "last_axis_counted",
            diagnosis: "the last axis is counted; the inputs of an output are all axes but the \
                        first",
            caught_by: "matches_definition",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                fan_in(noise)?;
                let last = noise.dim(candle_core::D::Minus1)? as f64;
                stretch(noise, (3.0 * gain_squared(nonlinearity)? / last).sqrt())
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the weights are computed in `f32` whatever the noise is",
            caught_by: "matches_definition",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                let bound = bound(noise, nonlinearity)?;
                in_single(|t| stretch(&t[0], bound), &[noise])
            }),
        },
        Impostor {
            name: "unknown_is_linear",
            diagnosis: "an unknown nonlinearity is taken for `linear`, so a misspelt one trains \
                        badly without an error",
            caught_by: "unknown_is_refused",
            answer: answer!(|noise: &Tensor, nonlinearity: &str| {
                let known = if nonlinearity == "relu" { "relu" } else { "linear" };
                stretch(noise, bound(noise, known)?)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "centred_first",
        answer: answer!(|noise: &Tensor, nonlinearity: &str| {
            // Variance 1 first (that of the noise is 1/12), then the deviation.
            let unit = ((noise - 0.5)? * 12f64.sqrt())?;
            unit * (gain_squared(nonlinearity)? / fan_in(noise)?).sqrt()
        }),
    }],
};

/// Roundings of an honest `f32` answer: two or three operations on numbers up to the bound.
const TOLERANCE: Tolerance = Tolerance::roundings(16.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let noise = Array::matrix(&[[0.25, 0.5, 0.75]]).to(DType::F32);
    let weight = trial.array(args![noise: &noise, nonlinearity: "linear"])?;
    let expected = Array::matrix(&[[-0.5, 0., 0.5]]).to(DType::F32);
    trial.close("weight", &weight, &expected, TOLERANCE)
}

fn each_weight_has_its_own_noise(trial: &mut Trial) -> Outcome {
    let noise = trial.rng.uniform_array(&[3, 4], 0.0, 0.5);
    let (row, column) = (trial.rng.below(3), trial.rng.below(4));
    let before = trial.array(args![noise: &noise, nonlinearity: "linear"])?;
    trial.has_shape("weight", &before, &[3, 4])?;
    let mut changed = noise.clone();
    changed.set(&[row, column], 0.875);
    let mut after = trial.array(args![noise: &changed, nonlinearity: "linear"])?;
    trial.has_shape("weight", &after, &[3, 4])?;
    let (low, high) = (before.at(&[row, column]), after.at(&[row, column]));
    trial.ensure(high > low, || {
        format!(
            "With a larger number of the noise at [{row}, {column}], the weight there went \
                 from {low} to {high}; expected a larger one."
        )
    })?;
    after.set(&[row, column], low);
    let name = format!("weights beside [{row}, {column}], where alone the noise changed");
    trial.close(&name, &after, &before, TOLERANCE)
}

/// Mean squares of what goes through a chain of layers, the input's first.
///
/// The chain of the right weights with the same noise says what is expected, so nothing depends on
/// how lucky the noise is; its own mean square stays near 1 or not as the noise has it.
fn thirty_layers_keep_the_scale(trial: &mut Trial) -> Outcome {
    const WIDTH: usize = 24;
    const LAYERS: usize = 30;
    let mut hidden = trial.rng.normal_array(&[WIDTH]).values().to_vec();
    let mut right = hidden.clone();
    let (mut scale, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..LAYERS {
        let noise = stratified(&mut trial.rng, WIDTH);
        let weight = trial.array(args![noise: &noise, nonlinearity: "relu"])?;
        trial.has_shape("weight", &weight, &[WIDTH, WIDTH])?;
        hidden = through(&weight, &hidden);
        right = through(&oracle(&noise, 2.0), &right);
        scale.push(mean_square(&hidden));
        expected.push(mean_square(&right));
    }
    // An error of the weights is carried on by every layer behind it; the last says most.
    let bound = Tolerance::relative(1e-3);
    let (scale, expected) = (Array::vector(&scale), Array::vector(&expected));
    let last = |of: &Array| of.narrow(0, LAYERS - 1, 1);
    let name = "mean square behind thirty layers with relu";
    trial.close(name, &last(&scale), &last(&expected), bound)?;
    trial.close("mean square behind each of thirty layers with relu", &scale, &expected, bound)
}

/// Noise whose numbers lie evenly in `[0, 1)`, in random order: exactly as spread as it should be.
fn stratified(rng: &mut Generator, width: usize) -> Array {
    let count = width * width;
    let order = rng.permutation(count);
    let values = order.iter().map(|&n| (n as f64 + 0.5) / count as f64).collect();
    Array::new(&[width, width], values).to(DType::F32)
}

fn through(weight: &Array, hidden: &[f64]) -> Vec<f64> {
    let rows = weight.values().chunks(hidden.len());
    rows.map(|row| row.iter().zip(hidden).map(|(w, h)| w * h).sum::<f64>().max(0.0)).collect()
}

fn mean_square(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for shape in [vec![4, 6], vec![1, 1], vec![5, 2, 3, 3], vec![2, 3, 5]] {
        for (nonlinearity, gain_squared) in [("relu", 2.0), ("linear", 1.0)] {
            for dtype in [DType::F64, DType::F32] {
                let order: Vec<usize> = (0..shape.len()).rev().collect();
                let noise = trial.rng.uniform_array(&shape, 0.0, 1.0).to(dtype).laid_out(&order);
                let weight = trial.array(args![noise: &noise, nonlinearity: nonlinearity])?;
                let expected = oracle(&noise, gain_squared).to(dtype);
                let bound =
                    (3.0 * gain_squared / (expected.values().len() / shape[0]) as f64).sqrt();
                let name = format!("weight of shape {shape:?} for {nonlinearity}");
                trial.close(&name, &weight, &expected, TOLERANCE.at_scale(bound))?;
            }
        }
    }
    Ok(())
}

fn unknown_is_refused(trial: &mut Trial) -> Outcome {
    let noise = trial.rng.uniform_array(&[3, 4], 0.0, 1.0);
    let case = "`nonlinearity` is \"rleu\", which is none";
    trial.refuses(case, args![noise: &noise, nonlinearity: "rleu"])?;
    let flat = noise.reshape(&[12]);
    let case = "`noise` has one axis, and no inputs can be counted";
    trial.refuses(case, args![noise: &flat, nonlinearity: "relu"])?;
    Ok(())
}

/// The inverse of the cumulative distribution of uniform numbers, at the noise.
fn oracle(noise: &Array, gain_squared: f64) -> Array {
    let fan_in: usize = noise.shape()[1..].iter().product();
    let deviation = (gain_squared / fan_in as f64).sqrt();
    let (low, high) = (-deviation * 3f64.sqrt(), deviation * 3f64.sqrt());
    Array::from_fn(noise.shape(), |at| low + noise.at(at) * (high - low))
}

fn gain_squared(nonlinearity: &str) -> Result<f64> {
    match nonlinearity {
        "relu" => Ok(2.0),
        "linear" => Ok(1.0),
        other => bail!("{other} is unknown"),
    }
}

fn fan_in(noise: &Tensor) -> Result<f64> {
    match noise.dims() {
        [] | [_] => bail!("{:?} has no inputs", noise.dims()),
        [_, inputs @ ..] => Ok(inputs.iter().product::<usize>() as f64),
    }
}

fn bound(noise: &Tensor, nonlinearity: &str) -> Result<f64> {
    Ok((3.0 * gain_squared(nonlinearity)? / fan_in(noise)?).sqrt())
}

/// From `[0, 1)` to `[−bound, bound)`.
fn stretch(noise: &Tensor, bound: f64) -> Result<Tensor> {
    (noise * (2.0 * bound))? - bound
}
