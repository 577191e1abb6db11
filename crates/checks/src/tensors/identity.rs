//! `identity`: the matrix that changes nothing.

use answer::answer;
use candle_core::{DType as CandleDType, Device, Result, Tensor};
use protocol::DType;

use super::{inputs::matrices, rules::PUZZLE};
use crate::{
    Alternative, Array, Check, Homebound, Impostor, Kind, Outcome, Part, Tolerance, Trial, args,
};

pub(super) const IDENTITY: Part = Part {
    name: "identity",
    rule: Some(PUZZLE),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "matches_definition",
            promise: "It is 1 where row and column are equal and 0 elsewhere, in the dtype of `x`.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "values_do_not_matter",
            promise: "What stands in `x` changes nothing, even if it is NaN or infinite.",
            kind: Kind::Property,
            run: values_do_not_matter,
        },
        Check {
            name: "long_rows_stay_exact",
            promise: "Beyond 256 columns of a small dtype, each row still holds a single 1.",
            kind: Kind::Property,
            run: long_rows_stay_exact,
        },
    ],
    impostors: &[
        Impostor {
            name: "compared_with_itself",
            diagnosis: "the positions are compared one by one with themselves; one of the two must \
                        stand upright, as `(n, 1)`",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| {
                let columns = columns(x)?;
                columns.eq(&columns)?.to_dtype(x.dtype())
            }),
        },
        Impostor {
            name: "first_axis_counted",
            diagnosis: "it has as many rows as `x`; it needs as many as `x` has columns",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| Tensor::eye(x.dim(0)?, x.dtype(), x.device())),
        },
        Impostor {
            name: "zeros_and_ones_swapped",
            diagnosis: "it is 0 on the diagonal and 1 elsewhere; the comparison is the wrong way",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| {
                let columns = columns(x)?;
                columns.unsqueeze(1)?.broadcast_ne(&columns)?.to_dtype(x.dtype())
            }),
        },
        Impostor {
            name: "f32_only",
            diagnosis: "the result is `f32`; its dtype is that of `x`",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor| eye(x)?.to_dtype(CandleDType::F32)),
        },
        Impostor {
            name: "comparison_returned",
            diagnosis: "the comparison's `u8` is returned; the result has the dtype of `x`",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor| eye(x)?.to_dtype(CandleDType::U8)),
        },
        Impostor {
            name: "zeros_from_values",
            diagnosis: "its zeros are `x · 0`, which is NaN where `x` is NaN or infinite",
            caught_by: "values_do_not_matter",
            answer: answer!(|x: &Tensor| {
                let zeros = (x.narrow(0, 0, 1)? * 0.0)?;
                eye(x)?.broadcast_add(&zeros)
            }),
        },
        Impostor {
            name: "ones_from_values",
            diagnosis: "its ones are `x == x`, which is 0 where `x` is NaN",
            caught_by: "values_do_not_matter",
            answer: answer!(|x: &Tensor| {
                let ones = x.narrow(0, 0, 1)?.eq(&x.narrow(0, 0, 1)?)?.to_dtype(x.dtype())?;
                eye(x)?.broadcast_mul(&ones)
            }),
        },
        Impostor {
            name: "positions_in_the_dtype_of_x",
            diagnosis: "the positions are counted in the dtype of `x`; a `u8` holds none above \
                        255, and starts again at 0",
            caught_by: "long_rows_stay_exact",
            answer: answer!(|x: &Tensor| {
                let columns = columns(x)?.to_dtype(x.dtype())?;
                columns.unsqueeze(1)?.broadcast_eq(&columns)?.to_dtype(x.dtype())
            }),
        },
    ],
    alternatives: &[Alternative { name: "by_candle", answer: answer!(|x: &Tensor| eye(x)) }],
};

pub(super) const HOMEBOUND: Homebound = Homebound {
    part: "identity",
    diagnosis: "the matrix is made on the processor, wherever `x` is",
    answer: answer!(|x: &Tensor| Tensor::eye(x.dim(1)?, x.dtype(), &Device::Cpu)),
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[5., 6., 7.], [8., 9., 10.]]).to(DType::F32);
    let got = trial.array(args![x: &x])?;
    let expected = Array::matrix(&[[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]]).to(DType::F32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    matrices(trial).iter().try_for_each(|x| asks(trial, x))
}

fn values_do_not_matter(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[f64::NAN, 0., f64::INFINITY, -1.], [f64::NEG_INFINITY, 0., 0., 2.]]);
    asks(trial, &x.to(DType::F32))
}

fn long_rows_stay_exact(trial: &mut Trial) -> Outcome {
    let got = trial.array(args![x: &Array::full(&[1, 258], 1.0).to(DType::U8)])?;
    trial.ensure(got.shape() == [258, 258], || {
        format!("`result` has shape {:?}; expected [258, 258].", got.shape())
    })?;
    let sums = got.values().chunks(258).map(|row| row.iter().sum()).collect();
    let sums = Array::new(&[258], sums);
    trial.close("row sums", &sums, &Array::full(&[258], 1.0), Tolerance::EXACT)
}

fn asks(trial: &mut Trial, x: &Array) -> Outcome {
    let got = trial.array(args![x: x])?;
    let expected = Array::from_fn(&[x.dim(1); 2], |at| f64::from(at[0] == at[1])).to(x.dtype());
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn eye(x: &Tensor) -> Result<Tensor> {
    Tensor::eye(x.dim(1)?, x.dtype(), x.device())
}

fn columns(x: &Tensor) -> Result<Tensor> {
    Tensor::arange(0, x.dim(1)? as u32, x.device())
}
