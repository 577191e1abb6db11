//! `sample_part`: each row moved so that its mean is 0.

use answer::answer;
use candle_core::{D, DType as CandleDType, Tensor};
use protocol::DType;

use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

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
            name: "rows_sum_to_zero",
            promise: "Each row of the result sums to 0.",
            kind: Kind::Property,
            run: rows_sum_to_zero,
        },
        Check {
            name: "differences_stay",
            promise: "The entries of a row differ from each other as they did before.",
            kind: Kind::Property,
            run: differences_stay,
        },
        Check {
            name: "matches_definition",
            promise: "In every shape and dtype, the result is `x` less the mean of its row.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_passes_the_mean",
            promise: "The gradient reaches `x`, through the mean as well, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_passes_the_mean,
        },
        Check {
            name: "lone_number_is_refused",
            promise: "A number without any axis gives an error.",
            kind: Kind::Errors,
            run: lone_number_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "sum_subtracted",
            diagnosis: "the sum of the row is subtracted; divide it by the width first",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.broadcast_sub(&x.sum_keepdim(D::Minus1)?)),
        },
        Impostor {
            name: "sign_turned",
            diagnosis: "`x` is subtracted from the mean, so every sign is turned",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.mean_keepdim(D::Minus1)?.broadcast_sub(x)),
        },
        Impostor {
            name: "one_mean_for_all_rows",
            diagnosis: "one mean is taken over all rows together; each row has its own",
            caught_by: "rows_sum_to_zero",
            answer: answer!(|x: &Tensor| x.broadcast_sub(&x.mean_all()?)),
        },
        Impostor {
            name: "mean_over_axis_one",
            diagnosis: "the mean is taken over axis 1, which is the last one of a matrix only",
            caught_by: "rows_sum_to_zero",
            answer: answer!(|x: &Tensor| x.broadcast_sub(&x.mean_keepdim(1)?)),
        },
        Impostor {
            name: "divided_by_spread",
            diagnosis: "the row is divided by its standard deviation as well",
            caught_by: "differences_stay",
            answer: answer!(|x: &Tensor| {
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
                centred.broadcast_div(&variance.sqrt()?)
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the work is done in `f32` whatever the dtype of `x` is",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor| {
                let single = x.to_dtype(CandleDType::F32)?;
                single.broadcast_sub(&single.mean_keepdim(D::Minus1)?)?.to_dtype(x.dtype())
            }),
        },
        Impostor {
            name: "mean_detached",
            diagnosis: "the mean is taken out of the graph, as if it did not depend on `x`",
            caught_by: "gradient_passes_the_mean",
            answer: answer!(|x: &Tensor| {
                let mean = x.mean_keepdim(D::Minus1)?;
                x.broadcast_sub(&mean.detach())
            }),
        },
        Impostor {
            name: "lone_number_is_a_row",
            diagnosis: "a number without an axis is taken for a row of one entry",
            caught_by: "lone_number_is_refused",
            answer: answer!(|x: &Tensor| {
                let rows = if x.rank() == 0 { x.unsqueeze(0)? } else { x.clone() };
                rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?.reshape(x.shape())
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_matmul",
        answer: answer!(|x: &Tensor| {
            // A row times I − 1/width is the row less its mean.
            let width = x.dim(D::Minus1)?;
            let mean = Tensor::full(1.0 / width as f64, (width, width), x.device())?;
            let identity = Tensor::eye(width, CandleDType::F64, x.device())?;
            let centring = (identity - mean)?.to_dtype(x.dtype())?;
            x.reshape(((), width))?.matmul(&centring)?.reshape(x.shape())
        }),
    }],
};

/// Roundings of an honest `f32` answer: a sum of a few entries, a division, a subtraction.
const TOLERANCE: Tolerance = Tolerance::roundings(32.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1., 3.]]).to(DType::F32);
    let result = trial.array(args![x: &x])?;
    let expected = Array::matrix(&[[-1., 1.]]).to(DType::F32);
    trial.close("result", &result, &expected, TOLERANCE)
}

fn rows_sum_to_zero(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 3, 5]);
    let result = trial.array(args![x: &x])?;
    trial.has_shape("result", &result, x.shape())?;
    let sums = result.values().chunks(5).map(|row| row.iter().sum()).collect();
    let sums = Array::new(&[2, 3], sums).to(DType::F32);
    let zero = sums.map(|_| 0.0);
    // A sum of five results, each as inexact as an entry.
    trial.close("row sums", &sums, &zero, TOLERANCE.at_scale(5.0 * x.max_abs()))
}

fn differences_stay(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[4, 3]);
    let result = trial.array(args![x: &x])?;
    trial.has_shape("result", &result, x.shape())?;
    let from_first = |rows: &Array| {
        let difference = |at: &[usize]| rows.at(at) - rows.at(&[at[0], 0]);
        Array::from_fn(rows.shape(), difference).to(DType::F32)
    };
    let tolerance = TOLERANCE.at_scale(2.0 * x.max_abs());
    trial.close("result less its first column", &from_first(&result), &from_first(&x), tolerance)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for dtype in [DType::F64, DType::F32] {
        for shape in [&[5][..], &[1, 1], &[3, 1, 4]] {
            let x = trial.rng.normal_array(shape).to(dtype);
            close_to_definition(trial, &x)?;
        }
        let x = trial.rng.normal_array(&[3, 2, 7]).to(dtype);
        close_to_definition(trial, &x.laid_out(&[2, 0, 1]))?;
    }
    Ok(())
}

fn close_to_definition(trial: &mut Trial, x: &Array) -> Outcome {
    let result = trial.array(args![x: x])?;
    let expected = centred(x).to(x.dtype());
    // Entries and their mean are as large as `x`, however small the result is.
    let tolerance = TOLERANCE.at_scale(x.max_abs());
    trial.close("result", &result, &expected, tolerance.in_double(1e-11))
}

fn gradient_passes_the_mean(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 3]);
    trial.gradient_matches(args![x: &x], |at| centred(at.get("x")))
}

fn lone_number_is_refused(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[]);
    trial.refuses("`x` has no axis", args![x: &x])?;
    Ok(())
}

/// The exact answer, entry by entry.
fn centred(x: &Array) -> Array {
    let (last, width) = (x.rank() - 1, x.dim(x.rank() - 1));
    Array::from_fn(x.shape(), |at| {
        let mut other = at.to_vec();
        let mut sum = 0.0;
        for place in 0..width {
            other[last] = place;
            sum += x.at(&other);
        }
        x.at(at) - sum / width as f64
    })
}
