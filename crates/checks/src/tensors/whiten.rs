//! `whiten`: power iteration with deflation, on data whose spectrum we planted.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use super::planted::{Planted, gram, plant};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

pub(super) const WHITEN: Part = Part {
    name: "whiten",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "finds_planted_directions",
            promise: "Directions and variances that we planted are found, largest first.",
            kind: Kind::Reference,
            run: finds_planted_directions,
        },
        Check {
            name: "equal_variances_are_told_apart",
            promise: "With two equal variances the components are still orthonormal, and the \
                      whitened data uncorrelated.",
            kind: Kind::Property,
            run: equal_variances_are_told_apart,
        },
        Check {
            name: "unit_does_not_matter",
            promise: "Data in metres and in kilometres are whitened alike.",
            kind: Kind::Property,
            run: unit_does_not_matter,
        },
        Check {
            name: "offset_does_not_blur",
            promise: "Data far from the origin are whitened as well as data near it.",
            kind: Kind::Property,
            run: offset_does_not_blur,
        },
        Check {
            name: "bad_shapes_are_refused",
            promise: "A single sample, or starts of another width, get an error.",
            kind: Kind::Errors,
            run: bad_shapes_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "not_centred",
            diagnosis: "the mean is not subtracted before the products are taken",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                decompose(x, &covariance(x, 1)?, starts, steps, &RIGHT)
            }),
        },
        Impostor {
            name: "mean_of_each_sample",
            diagnosis: "the mean over the features of each sample is subtracted; it is each \
                        feature that has a mean, over the samples",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
                decompose(&centred, &covariance(&centred, 1)?, starts, steps, &RIGHT)
            }),
        },
        Impostor {
            name: "divided_by_n",
            diagnosis: "the covariance is divided by n; for a sample it is n − 1",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                let centred = centre(x)?;
                decompose(&centred, &covariance(&centred, 0)?, starts, steps, &RIGHT)
            }),
        },
        Impostor {
            name: "not_rescaled",
            diagnosis: "the data are turned into the components but not divided by the standard \
                        deviations",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps, &Ways { power: 0.0, ..RIGHT })
            }),
        },
        Impostor {
            name: "divided_by_the_variance",
            diagnosis: "the data are divided by the variances; it takes their square roots",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps, &Ways { power: 1.0, ..RIGHT })
            }),
        },
        Impostor {
            name: "no_deflation",
            diagnosis: "what was found is not taken out of the covariance, so every component is \
                        the first one",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps, &Ways { deflation: Deflation::None, ..RIGHT })
            }),
        },
        Impostor {
            name: "deflated_without_the_variance",
            diagnosis: "deflation subtracts v vᵀ; it must subtract variance · v vᵀ",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps, &Ways { deflation: Deflation::Unweighted, ..RIGHT })
            }),
        },
        Impostor {
            name: "ten_steps_always",
            diagnosis: "the number of steps is fixed, whatever `steps` says",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps.min(10), &RIGHT)
            }),
        },
        Impostor {
            name: "start_deflated_only",
            diagnosis: "each start is made orthogonal to the components before it, but the \
                        covariance is not deflated, so rounding brings the first one back",
            caught_by: "finds_planted_directions",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps, &Ways { deflation: Deflation::OfStarts, ..RIGHT })
            }),
        },
        Impostor {
            name: "one_start_for_all",
            diagnosis: "every component begins at the first start; where two variances are equal, \
                        the first component uses up all that this start holds of their plane",
            caught_by: "equal_variances_are_told_apart",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                let first = starts.narrow(0, 0, 1)?.broadcast_as(starts.shape())?.contiguous()?;
                with(x, &first, steps, &RIGHT)
            }),
        },
        Impostor {
            name: "epsilon_in_the_root",
            diagnosis: "a small number is added to the variances, which is not small for data in \
                        another unit",
            caught_by: "unit_does_not_matter",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps, &Ways { epsilon: 1e-10, ..RIGHT })
            }),
        },
        Impostor {
            name: "length_one_at_the_end_only",
            diagnosis: "the vector gets length 1 only after the last step, by which time it has \
                        overflowed or vanished",
            caught_by: "finds_planted_directions",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps, &Ways { normalises: false, ..RIGHT })
            }),
        },
        Impostor {
            name: "mean_of_squares_less_square_of_mean",
            diagnosis: "the covariance is the mean of the products less the product of the means, \
                        where an offset cancels all digits; subtract the mean first",
            caught_by: "offset_does_not_blur",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                let mean = x.mean_keepdim(0)?;
                let squares = (mean.t()?.matmul(&mean)? * x.dim(0)? as f64)?;
                let products = x.t()?.contiguous()?.matmul(&x.contiguous()?)?;
                let covariance = ((products - squares)? / (x.dim(0)? as f64 - 1.0))?;
                decompose(&centre(x)?, &covariance, starts, steps, &RIGHT)
            }),
        },
        Impostor {
            name: "single_sample_accepted",
            diagnosis: "a single sample gives 0 / 0; it must be an error",
            caught_by: "bad_shapes_are_refused",
            answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| {
                with(x, starts, steps, &RIGHT)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "deflates_the_data",
        answer: answer!(|x: &Tensor, starts: &Tensor, steps: usize| by_data(x, starts, steps)),
    }],
};

/// Each planted variance is a quarter of the one before, so 26 steps leave 4⁻²⁶ of an error.
const STEPS: usize = 26;

/// A dozen products for each entry of the covariance; errors grow by λ₁ / λ₃ = 16 on the way.
const TOLERANCE: Tolerance = Tolerance::roundings(1024.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[5., 1.], [1., 1.], [3., 2.], [3., 0.], [3., 1.]]);
    let starts = Array::matrix(&[[1., 1.], [-1., 1.]]);
    let root = 2f64.sqrt();
    let whitened = Array::matrix(&[[root, 0.], [-root, 0.], [0., root], [0., -root], [0., 0.]]);
    let planted = Planted {
        x,
        whitened,
        components: Array::matrix(&[[1., 0.], [0., 1.]]),
        variances: Array::vector(&[2., 0.5]),
    };
    agrees(trial, &planted, &starts, 40)
}

fn finds_planted_directions(trial: &mut Trial) -> Outcome {
    for (n_samples, spectrum, dtype) in [
        (12, &[16., 4., 1.][..], DType::F64),
        (12, &[16., 4., 1.], DType::F32),
        (7, &[2., 0.5, 0.125, 1e-4], DType::F32),
        (2, &[3., 0.], DType::F64),
        (9, &[1.], DType::F32),
    ] {
        let found = spectrum.iter().filter(|&&variance| variance > 1e-2).count();
        let planted = plant(&mut trial.rng, n_samples, spectrum, 2.0).foremost(found).to(dtype);
        let starts = starts(trial, found, spectrum.len()).to(dtype);
        agrees(trial, &planted, &starts, STEPS)?;
    }
    Ok(())
}

fn equal_variances_are_told_apart(trial: &mut Trial) -> Outcome {
    let planted = plant(&mut trial.rng, 12, &[4., 4., 1., 0.25], 0.0);
    let starts = starts(trial, 3, 4);
    let found = ask(trial, &planted.x, &starts, STEPS)?;
    trial.close("variances", &found.variances, &Array::vector(&[4., 4., 1.]), TOLERANCE)?;
    orthonormal_and_white(trial, &found, [12, 3, 4], TOLERANCE)
}

fn unit_does_not_matter(trial: &mut Trial) -> Outcome {
    let planted = plant(&mut trial.rng, 10, &[16., 4., 1.], 0.0).to(DType::F32);
    let starts = starts(trial, 3, 3).to(DType::F32);
    for unit in [1.0, 16384.0, 1.0 / 16384.0] {
        let scaled = Planted {
            x: planted.x.map(|x| x * unit),
            variances: planted.variances.map(|variance| variance * unit * unit),
            ..planted.clone()
        };
        agrees(trial, &scaled, &starts, STEPS)?;
    }
    Ok(())
}

fn offset_does_not_blur(trial: &mut Trial) -> Outcome {
    let planted = plant(&mut trial.rng, 12, &[4., 1., 0.25], 2048.0).to(DType::F32);
    let starts = starts(trial, 2, 3).to(DType::F32);
    let found = ask(trial, &planted.x, &starts, STEPS)?;
    // The mean is off by some 2e-4 at most, blurred products by more than 0.1.
    let tolerance = Tolerance::relative(4e-3).at_scale(1.0);
    orthonormal_and_white(trial, &found, [12, 2, 3], tolerance)
}

fn bad_shapes_are_refused(trial: &mut Trial) -> Outcome {
    let (x, starts) = (Array::full(&[5, 3], 1.0), Array::full(&[2, 4], 1.0));
    let case = "`starts` has 4 columns and `x` 3 features";
    trial.refuses(case, args![x: &x, starts: &starts, steps: 3usize])?;
    let (x, starts) = (Array::full(&[1, 3], 1.0), Array::full(&[2, 3], 1.0));
    trial.refuses("`x` has one sample", args![x: &x, starts: &starts, steps: 3usize]).map(|_| ())
}

/// What an answer found.
struct Found {
    whitened: Array,
    components: Array,
    variances: Array,
}

fn ask(
    trial: &mut Trial,
    x: &Array,
    starts: &Array,
    steps: usize,
) -> std::result::Result<Found, Stop> {
    let [whitened, components, variances] =
        trial.arrays(args![x: x, starts: starts, steps: steps])?;
    Ok(Found { whitened, components, variances })
}

/// Compares what was found with what was planted; each sign is free.
fn agrees(trial: &mut Trial, planted: &Planted, starts: &Array, steps: usize) -> Outcome {
    let found = ask(trial, &planted.x.laid_out(&[1, 0]), starts, steps)?;
    trial.close("variances", &found.variances, &planted.variances, TOLERANCE)?;
    let mut signed = planted.clone();
    if found.components.shape() == planted.components.shape() {
        for n in 0..planted.components.dim(0) {
            let (found, wanted) =
                (found.components.narrow(0, n, 1), planted.components.narrow(0, n, 1));
            signed.turn(n, if found.dot(&wanted) < 0.0 { -1.0 } else { 1.0 });
        }
    }
    trial.close("components", &found.components, &signed.components, TOLERANCE)?;
    trial.close("whitened", &found.whitened, &signed.whitened, TOLERANCE)
}

fn orthonormal_and_white(
    trial: &mut Trial,
    found: &Found,
    [n_samples, n_components, n_features]: [usize; 3],
    tolerance: Tolerance,
) -> Outcome {
    trial.has_shape("components", &found.components, &[n_components, n_features])?;
    trial.has_shape("whitened", &found.whitened, &[n_samples, n_components])?;
    let identity = Array::from_fn(&[n_components; 2], |at| f64::from(u8::from(at[0] == at[1])));
    let products = gram(&found.components.transpose(&[1, 0]), 1.0);
    trial.close("products of the components", &products, &identity, tolerance)?;
    let n_samples = n_samples as f64;
    let column = |n| found.whitened.narrow(1, n, 1).sum() / n_samples;
    let means = Array::from_fn(&[n_components], |at| column(at[0]));
    let zeros = Array::full(&[n_components], 0.0);
    trial.close("mean of the whitened data", &means, &zeros, tolerance.at_scale(1.0))?;
    let centred =
        Array::from_fn(found.whitened.shape(), |at| found.whitened.at(at) - means.at(&at[1..]));
    let name = "covariance of the whitened data";
    trial.close(name, &gram(&centred, n_samples - 1.0), &identity, tolerance)
}

fn starts(trial: &mut Trial, n_components: usize, n_features: usize) -> Array {
    trial.rng.normal_array(&[n_components, n_features]).to(DType::F64)
}

type Whitened = Result<(Tensor, Tensor, Tensor)>;

/// What is taken out before the next component is sought.
#[derive(Clone, Copy, PartialEq)]
enum Deflation {
    /// `variance · v vᵀ` from the covariance, as it should be.
    Weighted,
    /// `v vᵀ` from the covariance.
    Unweighted,
    /// What the start has of the components before it.
    OfStarts,
    /// Nothing.
    None,
}

/// How an impostor goes about it; `RIGHT` is right, but for bad shapes.
struct Ways {
    deflation: Deflation,
    /// Whether each step gives the vector length 1.
    normalises: bool,
    /// The scores are divided by `(variance + epsilon)` to this power.
    power: f64,
    epsilon: f64,
}

const RIGHT: Ways =
    Ways { deflation: Deflation::Weighted, normalises: true, power: 0.5, epsilon: 0.0 };

fn with(x: &Tensor, starts: &Tensor, steps: usize, ways: &Ways) -> Whitened {
    let centred = centre(x)?;
    decompose(&centred, &covariance(&centred, 1)?, starts, steps, ways)
}

fn centre(x: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&x.mean_keepdim(0)?)
}

/// Products of all pairs of columns, divided by the number of samples less `less`.
fn covariance(x: &Tensor, less: usize) -> Result<Tensor> {
    let divisor = x.dim(0)? as f64 - less as f64;
    x.t()?.contiguous()?.matmul(&x.contiguous()?)? / divisor
}

fn decompose(
    centred: &Tensor,
    covariance: &Tensor,
    starts: &Tensor,
    steps: usize,
    ways: &Ways,
) -> Whitened {
    let mut covariance = covariance.clone();
    let (mut found, mut variances): (Vec<Tensor>, Vec<Tensor>) = (Vec::new(), Vec::new());
    for n in 0..starts.dim(0)? {
        let mut row = starts.narrow(0, n, 1)?;
        for other in found.iter().filter(|_| ways.deflation == Deflation::OfStarts) {
            row = (&row - other.broadcast_mul(&row.matmul(&other.t()?)?)?)?;
        }
        for _ in 0..steps {
            row = row.matmul(&covariance)?;
            row = if ways.normalises { unit(&row)? } else { row };
        }
        let row = unit(&row)?;
        let variance = row.matmul(&covariance)?.matmul(&row.t()?)?;
        let plain = row.t()?.matmul(&row)?;
        match ways.deflation {
            Deflation::Weighted => {
                covariance = (covariance - plain.broadcast_mul(&variance)?)?;
            }
            Deflation::Unweighted => covariance = (covariance - plain)?,
            Deflation::OfStarts | Deflation::None => {}
        }
        found.push(row);
        variances.push(variance);
    }
    let (components, variances) = (Tensor::cat(&found, 0)?, Tensor::cat(&variances, 1)?);
    let scales = (&variances + ways.epsilon)?.to_dtype(CandleDType::F64)?.powf(ways.power)?;
    let scores = centred.matmul(&components.t()?)?;
    let whitened = scores.broadcast_div(&scales.to_dtype(scores.dtype())?)?;
    Ok((whitened, components, variances.squeeze(0)?))
}

fn unit(row: &Tensor) -> Result<Tensor> {
    row.broadcast_div(&row.sqr()?.sum_all()?.sqrt()?)
}

/// A right answer that never forms the covariance: it deflates the data themselves.
fn by_data(x: &Tensor, starts: &Tensor, steps: usize) -> Whitened {
    let (n_samples, n_features) = x.dims2()?;
    if n_samples < 2 || starts.dim(1)? != n_features {
        bail!("too few samples, or starts of another width");
    }
    let mut left = centre(x)?;
    let (mut whitened, mut components, mut variances) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..starts.dim(0)? {
        let mut column = starts.narrow(0, n, 1)?.t()?.contiguous()?;
        for _ in 0..steps {
            let next = left.t()?.matmul(&left.matmul(&column)?)?;
            column = unit(&next)?;
        }
        let scores = left.matmul(&column)?; // (n_samples, 1)
        let variance = (scores.sqr()?.sum_all()? / (n_samples - 1) as f64)?;
        left = (&left - scores.matmul(&column.t()?)?)?;
        whitened.push(scores.broadcast_div(&variance.sqrt()?)?);
        components.push(column.t()?.contiguous()?);
        variances.push(variance);
    }
    Ok((Tensor::cat(&whitened, 1)?, Tensor::cat(&components, 0)?, Tensor::stack(&variances, 0)?))
}
