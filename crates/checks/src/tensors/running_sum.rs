//! `running_sum`: a product with a triangle.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor};
use protocol::DType;

use super::{inputs::matrices, rules::PUZZLE};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const RUNNING_SUM: Part = Part {
    name: "running_sum",
    rule: Some(PUZZLE),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "rows_do_not_mix",
            promise: "Each row's sums are what they are when it comes alone.",
            kind: Kind::Property,
            run: rows_do_not_mix,
        },
        Check {
            name: "future_cannot_change_past",
            promise: "A later number, however large, changes no earlier sum.",
            kind: Kind::Property,
            run: future_cannot_change_past,
        },
        Check {
            name: "matches_definition",
            promise: "Each position holds the sum of its row up to and including it.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_x",
            promise: "The gradient reaches `x`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_x,
        },
    ],
    impostors: &[
        Impostor {
            name: "exclusive_sum",
            diagnosis: "a position's own number is left out of its sum; the sum includes it",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.cumsum(1)? - x),
        },
        Impostor {
            name: "summed_from_the_right",
            diagnosis: "the sums run from the right: the triangle is transposed",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x + x.sum_keepdim(1)?.broadcast_sub(&x.cumsum(1)?)?),
        },
        Impostor {
            name: "down_the_columns",
            diagnosis: "the sums run down the columns; they run along the rows",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.cumsum(0)),
        },
        Impostor {
            name: "total_everywhere",
            diagnosis: "every position holds its row's total: the matrix is all ones",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.sum_keepdim(1)?.broadcast_as(x.shape())),
        },
        Impostor {
            name: "rows_run_on",
            diagnosis: "the sum runs on from one row into the next; each row starts afresh",
            caught_by: "rows_do_not_mix",
            answer: answer!(|x: &Tensor| x.flatten_all()?.cumsum(0)?.reshape(x.shape())),
        },
        Impostor {
            name: "total_less_the_rest",
            diagnosis: "the sums are the total less what comes later, so a large later number \
                        swallows the small ones",
            caught_by: "future_cannot_change_past",
            answer: answer!(|x: &Tensor| {
                let triangle = Tensor::tril2(x.dim(1)?, x.dtype(), x.device())?;
                let later = (x.matmul(&triangle)? - x)?;
                x.sum_keepdim(1)?.broadcast_sub(&later)
            }),
        },
        Impostor {
            name: "f32_only",
            diagnosis: "the triangle is `f32`, whatever the dtype of `x`",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor| {
                x.matmul(&Tensor::triu2(x.dim(1)?, CandleDType::F32, x.device())?)
            }),
        },
        Impostor {
            name: "sums_in_f32",
            diagnosis: "the sums are made in `f32` and converted back, which loses half the digits \
                        of an `f64`",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor| {
                x.to_dtype(CandleDType::F32)?.cumsum(1)?.to_dtype(x.dtype())
            }),
        },
        Impostor {
            name: "graph_left",
            diagnosis: "the values are copied out of the graph, so no gradient comes back",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor| x.detach().cumsum(1)),
        },
    ],
    alternatives: &[Alternative {
        name: "column_by_column",
        answer: answer!(|x: &Tensor| column_by_column(x)),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1., 2., 3., 4.]]).to(DType::F32);
    let got = trial.array(args![x: &x])?;
    let expected = Array::matrix(&[[1., 3., 6., 10.]]).to(DType::F32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn rows_do_not_mix(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[3, 4]);
    let together = trial.array(args![x: &x])?;
    trial.has_shape("result", &together, &[3, 4])?;
    for row in 0..3 {
        let one = x.narrow(0, row, 1);
        let alone = trial.array(args![x: &one])?;
        let name = format!("row {row} among others");
        let among = &together.narrow(0, row, 1);
        trial.close(&name, among, &alone, tolerance(&one))?;
    }
    Ok(())
}

fn future_cannot_change_past(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 6]);
    let later = Array::from_fn(&[2, 6], |at| if at[1] < 4 { x.at(at) } else { 1e30 });
    let got = trial.array(args![x: &later.to(DType::F32)])?;
    trial.ensure(got.shape() == [2, 6], || {
        format!("`result` has shape {:?}; expected [2, 6].", got.shape())
    })?;
    let (past, expected) = (got.narrow(1, 0, 4), sums(&x.narrow(1, 0, 4)));
    trial.close("sums before the large numbers", &past, &expected, tolerance(&x))
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for x in matrices(trial) {
        // Thirds need every digit of their dtype.
        let x = x.map(|value| value / 3.0);
        let got = trial.array(args![x: &x])?;
        trial.close("result", &got, &sums(&x), tolerance(&x))?;
    }
    Ok(())
}

fn gradient_reaches_x(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 5]);
    trial.gradient_matches(args![x: &x], |at| sums(at.get("x")))
}

/// The definition, position by position.
fn sums(x: &Array) -> Array {
    let sum = |at: &[usize]| (0..=at[1]).map(|column| x.at(&[at[0], column])).sum();
    Array::from_fn(x.shape(), sum).to(x.dtype())
}

/// A row of `n` numbers makes `n` roundings on sums of at most all of them.
fn tolerance(x: &Array) -> Tolerance {
    let n = x.dim(1) as f64;
    let row_sums = x.values().chunks(x.dim(1)).map(|row| row.iter().map(|v| v.abs()).sum());
    Tolerance::roundings(8.0 * n).at_scale(row_sums.fold(0.0, f64::max))
}

fn column_by_column(x: &Tensor) -> Result<Tensor> {
    let mut columns = vec![x.narrow(1, 0, 1)?];
    for column in 1..x.dim(1)? {
        columns.push((&columns[column - 1] + x.narrow(1, column, 1)?)?);
    }
    Tensor::cat(&columns, 1)
}
