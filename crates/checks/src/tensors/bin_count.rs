//! `bin_count`: how often each number occurs.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor};
use protocol::DType;

use super::{inputs::labels, rules::PUZZLE};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const BIN_COUNT: Part = Part {
    name: "bin_count",
    rule: Some(PUZZLE),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "counts_add_up",
            promise: "The counts add up to the number of values, also above 255.",
            kind: Kind::Property,
            run: counts_add_up,
        },
        Check {
            name: "values_outside_are_not_counted",
            promise: "A value that has no bin changes no count.",
            kind: Kind::Property,
            run: values_outside_are_not_counted,
        },
        Check {
            name: "matches_definition",
            promise: "Each bin holds how often its number occurs, for values of every integer \
                      dtype.",
            kind: Kind::Reference,
            run: matches_definition,
        },
    ],
    impostors: &[
        Impostor {
            name: "presence_only",
            diagnosis: "a bin says whether its number occurs, not how often",
            caught_by: "documented_example",
            answer: answer!(|values: &Tensor, n_bins: usize| {
                counts(values, n_bins)?.clamp(0u32, 1u32)
            }),
        },
        Impostor {
            name: "summed_over_bins",
            diagnosis: "the sum runs over the bins, so there is one number a value; it must run \
                        over the values",
            caught_by: "documented_example",
            answer: answer!(|values: &Tensor, n_bins: usize| {
                hits(values, n_bins)?.to_dtype(CandleDType::U32)?.sum(1)
            }),
        },
        Impostor {
            name: "axis_left_over",
            diagnosis: "the row of ones leaves an axis of length 1 in front; squeeze it away",
            caught_by: "documented_example",
            answer: answer!(|values: &Tensor, n_bins: usize| counts(values, n_bins)?.unsqueeze(0)),
        },
        Impostor {
            name: "returned_as_f32",
            diagnosis: "the counts are `f32`, as matmul leaves them; they are asked for as `u32`",
            caught_by: "documented_example",
            answer: answer!(|values: &Tensor, n_bins: usize| {
                counts(values, n_bins)?.to_dtype(CandleDType::F32)
            }),
        },
        Impostor {
            name: "counted_in_u8",
            diagnosis: "the counting happens in `u8`, which starts again at 0 after 255",
            caught_by: "counts_add_up",
            answer: answer!(|values: &Tensor, n_bins: usize| {
                hits(values, n_bins)?.sum(0)?.to_dtype(CandleDType::U32)
            }),
        },
        Impostor {
            name: "counted_in_bf16",
            diagnosis: "the counting happens in `bf16`, which cannot tell 256 from 257; `f32` can, \
                        up to 2²⁴",
            caught_by: "counts_add_up",
            answer: answer!(|values: &Tensor, n_bins: usize| {
                counts(values, n_bins)?.to_dtype(CandleDType::BF16)?.to_dtype(CandleDType::U32)
            }),
        },
        Impostor {
            name: "values_clamped",
            diagnosis: "a value past the last bin is counted in the last bin",
            caught_by: "values_outside_are_not_counted",
            answer: answer!(|values: &Tensor, n_bins: usize| {
                let last = n_bins as i64 - 1;
                counts(&values.to_dtype(CandleDType::I64)?.clamp(i64::MIN, last)?, n_bins)
            }),
        },
        Impostor {
            name: "outside_is_an_error",
            diagnosis: "a value without a bin is refused; it is only not counted",
            caught_by: "values_outside_are_not_counted",
            answer: answer!(|values: &Tensor, n_bins: usize| {
                let zeros = Tensor::zeros(n_bins, CandleDType::U32, values.device())?;
                let ones = Tensor::ones(values.dims1()?, CandleDType::U32, values.device())?;
                zeros.index_add(&values.to_dtype(CandleDType::I64)?, &ones, 0)
            }),
        },
        Impostor {
            name: "u32_and_i64_only",
            diagnosis: "`u8` values are compared with `u32` bins, which candle refuses; bring both \
                        to one dtype",
            caught_by: "matches_definition",
            answer: answer!(|values: &Tensor, n_bins: usize| {
                let bins = Tensor::arange(0, n_bins as u32, values.device())?;
                let bins = match values.dtype() {
                    CandleDType::I64 => bins.to_dtype(CandleDType::I64)?,
                    _ => bins,
                };
                let hits = values.unsqueeze(1)?.broadcast_eq(&bins)?;
                hits.to_dtype(CandleDType::U32)?.sum(0)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "one_by_one",
        answer: answer!(|values: &Tensor, n_bins: usize| one_by_one(values, n_bins)),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let got = trial.array(args![values: &labels(&[3, 1, 3], DType::U32), n_bins: 5usize])?;
    let expected = Array::vector(&[0., 1., 0., 2., 0.]).to(DType::U32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn counts_add_up(trial: &mut Trial) -> Outcome {
    // 257 of one kind and 301 of another, in random order.
    let order = trial.rng.permutation(558);
    let values: Vec<i32> = order.iter().map(|&n| if n < 257 { 1 } else { 2 }).collect();
    asks(trial, &values, DType::U32, 4)
}

fn values_outside_are_not_counted(trial: &mut Trial) -> Outcome {
    asks(trial, &[3, 1, 7, 3, 4], DType::U32, 4)?;
    asks(trial, &[-1, 2, -100, 5, 2], DType::I64, 4)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for dtype in [DType::U32, DType::I64, DType::U8] {
        for (count, n_bins) in [(1, 1), (1, 4), (9, 3), (4, 6)] {
            let drawn: Vec<i32> = (0..count).map(|_| trial.rng.below(n_bins) as i32).collect();
            asks(trial, &drawn, dtype, n_bins)?;
        }
    }
    Ok(())
}

fn asks(trial: &mut Trial, drawn: &[i32], dtype: DType, n_bins: usize) -> Outcome {
    let got = trial.array(args![values: &labels(drawn, dtype), n_bins: n_bins])?;
    let count = |bin: usize| drawn.iter().filter(|&&value| i64::from(value) == bin as i64).count();
    let expected = Array::from_fn(&[n_bins], |at| count(at[0]) as f64).to(DType::U32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn counts(values: &Tensor, n_bins: usize) -> Result<Tensor> {
    hits(values, n_bins)?.to_dtype(CandleDType::U32)?.sum(0)
}

/// `(n, n_bins)`, `u8`.
fn hits(values: &Tensor, n_bins: usize) -> Result<Tensor> {
    let bins = Tensor::arange(0, n_bins as i64, values.device())?;
    values.to_dtype(CandleDType::I64)?.unsqueeze(1)?.broadcast_eq(&bins)
}

fn one_by_one(values: &Tensor, n_bins: usize) -> Result<Tensor> {
    let mut counts = vec![0u32; n_bins];
    for value in values.to_dtype(CandleDType::I64)?.to_vec1::<i64>()? {
        if let Some(count) = usize::try_from(value).ok().and_then(|bin| counts.get_mut(bin)) {
            *count += 1;
        }
    }
    Tensor::new(counts, values.device())
}
