//! `difference`: what undoes a running sum.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor};
use protocol::DType;

use super::{inputs::matrices, rules::PUZZLE};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const DIFFERENCE: Part = Part {
    name: "difference",
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
            promise: "The first number of every row stays as it is.",
            kind: Kind::Property,
            run: rows_do_not_mix,
        },
        Check {
            name: "matches_definition",
            promise: "Each position holds its number less the one before it.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "long_rows_stay_exact",
            promise: "Beyond 256 columns of a small dtype, equal numbers still differ by 0.",
            kind: Kind::Property,
            run: long_rows_stay_exact,
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
            name: "first_number_dropped",
            diagnosis: "the result is one column short; the first number of a row stays",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| {
                let n = x.dim(1)?;
                x.narrow(1, 1, n - 1)? - x.narrow(1, 0, n - 1)?
            }),
        },
        Impostor {
            name: "next_subtracted",
            diagnosis: "each number has the one after it subtracted; it must be the one before: \
                        the matrix is transposed",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.matmul(&steps(x)?.t()?)),
        },
        Impostor {
            name: "sign_turned",
            diagnosis: "it is the number before less the number; it must be the other way round",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x.matmul(&steps(x)?)?.neg()),
        },
        Impostor {
            name: "first_number_zero",
            diagnosis: "the first number of a row becomes 0; with none before it, it stays",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| {
                let before = x.narrow(1, 0, x.dim(1)? - 1)?;
                x - Tensor::cat(&[&x.narrow(1, 0, 1)?, &before], 1)?
            }),
        },
        Impostor {
            name: "first_less_last",
            diagnosis: "the first number has the last subtracted, as if the row were a ring",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| x - x.roll(1, 1)?),
        },
        Impostor {
            name: "rows_run_on",
            diagnosis: "the first number of a row has the last of the row above subtracted",
            caught_by: "rows_do_not_mix",
            answer: answer!(|x: &Tensor| by_cutting(&x.reshape((1, ()))?)?.reshape(x.shape())),
        },
        Impostor {
            name: "f32_only",
            diagnosis: "the matrix is `f32`, whatever the dtype of `x`",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor| x.matmul(&steps(&x.to_dtype(CandleDType::F32)?)?)),
        },
        Impostor {
            name: "positions_in_the_dtype_of_x",
            diagnosis: "the positions are counted in the dtype of `x`; a `bf16` cannot tell 256 \
                        from 257",
            caught_by: "long_rows_stay_exact",
            answer: answer!(|x: &Tensor| {
                let columns = columns(x)?.to_dtype(x.dtype())?;
                let following = (&columns + 1.0)?.unsqueeze(1)?;
                let before = following.broadcast_eq(&columns)?.to_dtype(x.dtype())?;
                x - x.matmul(&before)?
            }),
        },
        Impostor {
            name: "graph_left",
            diagnosis: "the values are copied out of the graph, so no gradient comes back",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor| x.detach().matmul(&steps(x)?)),
        },
        Impostor {
            name: "half_the_graph_left",
            diagnosis: "the numbers that are subtracted are copied out of the graph, so their part \
                        of the gradient is lost",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor| x - (x - by_cutting(x)?)?.detach()),
        },
    ],
    alternatives: &[Alternative {
        name: "by_cutting",
        answer: answer!(|x: &Tensor| by_cutting(x)),
    }],
};

/// One subtraction; a product with 0 and ±1 adds nothing to that.
const TOLERANCE: Tolerance = Tolerance::roundings(16.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1., 3., 6., 10.]]).to(DType::F32);
    let got = trial.array(args![x: &x])?;
    let expected = Array::matrix(&[[1., 2., 3., 4.]]).to(DType::F32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn rows_do_not_mix(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[3, 4]);
    let got = trial.array(args![x: &x])?;
    trial.ensure(got.shape() == [3, 4], || {
        format!("`result` has shape {:?}; expected [3, 4].", got.shape())
    })?;
    trial.close("first column", &got.narrow(1, 0, 1), &x.narrow(1, 0, 1), TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for x in matrices(trial) {
        let got = trial.array(args![x: &x])?;
        let tolerance = TOLERANCE.at_scale(2.0 * x.max_abs());
        trial.close("result", &got, &differences(&x), tolerance)?;
    }
    Ok(())
}

fn long_rows_stay_exact(trial: &mut Trial) -> Outcome {
    let x = Array::full(&[1, 259], 1.0).to(DType::BF16);
    let got = trial.array(args![x: &x])?;
    trial.close("result", &got, &differences(&x), Tolerance::EXACT)
}

fn gradient_reaches_x(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 5]);
    trial.gradient_matches(args![x: &x], |at| differences(at.get("x")))
}

/// The definition, position by position.
fn differences(x: &Array) -> Array {
    let before = |at: &[usize]| if at[1] == 0 { 0.0 } else { x.at(&[at[0], at[1] - 1]) };
    Array::from_fn(x.shape(), |at| x.at(at) - before(at)).to(x.dtype())
}

fn by_cutting(x: &Tensor) -> Result<Tensor> {
    let n = x.dim(1)?;
    let later = (x.narrow(1, 1, n - 1)? - x.narrow(1, 0, n - 1)?)?;
    Tensor::cat(&[x.narrow(1, 0, 1)?, later], 1)
}

/// The matrix of `difference`, in the dtype of `x`.
fn steps(x: &Tensor) -> Result<Tensor> {
    let columns = columns(x)?;
    let following = (&columns + 1.0)?.unsqueeze(1)?;
    let before = following.broadcast_eq(&columns)?.to_dtype(x.dtype())?;
    Tensor::eye(x.dim(1)?, x.dtype(), x.device())? - before
}

fn columns(x: &Tensor) -> Result<Tensor> {
    Tensor::arange(0, x.dim(1)? as u32, x.device())
}
