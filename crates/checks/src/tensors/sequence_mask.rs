//! `sequence_mask`: rows of several lengths in one tensor.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor};
use protocol::{DType, Value};

use super::{inputs::matrices, rules::PUZZLE};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const SEQUENCE_MASK: Part = Part {
    name: "sequence_mask",
    rule: Some(PUZZLE),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "padding_never_shows",
            promise: "What stands behind the end becomes 0, even if it is NaN or infinite.",
            kind: Kind::Property,
            run: padding_never_shows,
        },
        Check {
            name: "ends_are_exact",
            promise: "A length of 0 leaves nothing, and one of `seq` or more leaves all.",
            kind: Kind::Property,
            run: ends_are_exact,
        },
        Check {
            name: "matches_definition",
            promise: "The first `lengths[row]` numbers of each row stay; the others are 0.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_what_stays",
            promise: "The gradient reaches the values that stay; the others receive 0.",
            kind: Kind::Gradient,
            run: gradient_reaches_what_stays,
        },
        Check {
            name: "one_length_a_row",
            promise: "Too few or too many lengths get an error that names both numbers.",
            kind: Kind::Errors,
            run: one_length_a_row,
        },
    ],
    impostors: &[
        Impostor {
            name: "one_too_many",
            diagnosis: "the position equal to the length is kept; positions start at 0, so it is \
                        the first to go",
            caught_by: "documented_example",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                let positions = positions(values)?;
                choose(values, &positions.broadcast_le(&upright(lengths)?)?)
            }),
        },
        Impostor {
            name: "padding_kept",
            diagnosis: "the padding is kept and the values are replaced: the comparison is the \
                        wrong way",
            caught_by: "documented_example",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                let positions = positions(values)?;
                choose(values, &positions.broadcast_ge(&upright(lengths)?)?)
            }),
        },
        Impostor {
            name: "counted_from_the_end",
            diagnosis: "the last numbers of each row stay; the first ones must",
            caught_by: "documented_example",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                let positions = positions(values)?.flip(&[1])?;
                choose(values, &positions.broadcast_lt(&upright(lengths)?)?)
            }),
        },
        Impostor {
            name: "multiplied_by_mask",
            diagnosis: "the values are multiplied by 0 and 1, and 0 · NaN is NaN; choose between \
                        them instead",
            caught_by: "padding_never_shows",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                values * belongs(values, lengths)?.to_dtype(values.dtype())?
            }),
        },
        Impostor {
            name: "length_less_one",
            diagnosis: "positions are compared with `lengths - 1`, and 0 - 1 wraps around in `u32`",
            caught_by: "ends_are_exact",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                let last = (lengths - lengths.ones_like()?)?;
                choose(values, &positions(values)?.broadcast_le(&upright(&last)?)?)
            }),
        },
        Impostor {
            name: "last_position_read",
            diagnosis: "the step that ends a row is looked up at its length, which a full row does \
                        not have",
            caught_by: "ends_are_exact",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                let seq = values.dim(1)?;
                let steps = Tensor::tril2(seq, CandleDType::U8, values.device())?;
                let strict = (steps - Tensor::eye(seq, CandleDType::U8, values.device())?)?;
                choose(values, &strict.index_select(lengths, 0)?)
            }),
        },
        Impostor {
            name: "f32_only",
            diagnosis: "the zeros are `f32`, whatever the dtype of `values`",
            caught_by: "matches_definition",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                let zeros = Tensor::zeros(values.shape(), CandleDType::F32, values.device())?;
                belongs(values, lengths)?.where_cond(values, &zeros)
            }),
        },
        Impostor {
            name: "graph_left",
            diagnosis: "the values are copied out of the graph, so no gradient comes back",
            caught_by: "gradient_reaches_what_stays",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                choose(&values.detach(), &belongs(values, lengths)?)
            }),
        },
        Impostor {
            name: "one_length_for_all",
            diagnosis: "a single length is broadcast over the whole batch without a word",
            caught_by: "one_length_a_row",
            answer: answer!(|values: &Tensor, lengths: &Tensor| {
                choose(values, &belongs(values, lengths)?.broadcast_as(values.shape())?)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "row_by_row",
        answer: answer!(|values: &Tensor, lengths: &Tensor| row_by_row(values, lengths)),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let values = Array::matrix(&[[1., 2., 3.], [4., 5., 6.]]).to(DType::F32);
    let got = trial.array(question(&values, &[2, 1]))?;
    let expected = Array::matrix(&[[1., 2., 0.], [4., 0., 0.]]).to(DType::F32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn padding_never_shows(trial: &mut Trial) -> Outcome {
    let mut values = trial.rng.normal_array(&[2, 4]);
    for (at, padding) in [([0, 2], f64::NAN), ([0, 3], f64::INFINITY), ([1, 3], f64::NAN)] {
        values.set(&at, padding);
    }
    asks(trial, &values, &[2, 3])
}

fn ends_are_exact(trial: &mut Trial) -> Outcome {
    let values = trial.rng.normal_array(&[4, 3]);
    asks(trial, &values, &[0, 3, 1, 5])
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for values in matrices(trial) {
        let seq = values.dim(1);
        let lengths: Vec<usize> = (0..values.dim(0)).map(|_| trial.rng.between(0, seq)).collect();
        asks(trial, &values, &lengths)?;
    }
    Ok(())
}

fn gradient_reaches_what_stays(trial: &mut Trial) -> Outcome {
    let values = trial.rng.normal_array(&[3, 4]);
    let lengths = [2, 4, 0];
    let asked = question(&values, &lengths);
    trial.gradient_matches(asked, |at| masked(at.get("values"), &lengths))
}

fn one_length_a_row(trial: &mut Trial) -> Outcome {
    let values = trial.rng.normal_array(&[4, 6]);
    for lengths in [&[3][..], &[1, 2, 3, 4, 5]] {
        let count = lengths.len();
        let case = format!("4 rows came with {count} length(s)");
        let said = trial.refuses(&case, question(&values, lengths))?;
        trial.ensure(said.contains('4') && said.contains(&count.to_string()), || {
            format!("{case}, but the error does not name both numbers: {said}")
        })?;
    }
    Ok(())
}

fn asks(trial: &mut Trial, values: &Array, lengths: &[usize]) -> Outcome {
    let got = trial.array(question(values, lengths))?;
    trial.close("result", &got, &masked(values, lengths), Tolerance::EXACT)
}

fn question(values: &Array, lengths: &[usize]) -> Vec<(&'static str, Value)> {
    let lengths: Vec<f64> = lengths.iter().map(|&length| length as f64).collect();
    args![values: values, lengths: &Array::vector(&lengths).to(DType::U32)]
}

/// The definition, position by position.
fn masked(values: &Array, lengths: &[usize]) -> Array {
    let value = |at: &[usize]| if at[1] < lengths[at[0]] { values.at(at) } else { 0.0 };
    Array::from_fn(values.shape(), value).to(values.dtype())
}

fn row_by_row(values: &Tensor, lengths: &Tensor) -> Result<Tensor> {
    let (batch, seq) = values.dims2()?;
    let lengths: Vec<u32> = lengths.to_vec1()?;
    if lengths.len() != batch {
        candle_core::bail!("{} lengths for {batch} rows", lengths.len())
    }
    let row = |(row, &length): (usize, &u32)| {
        let length = (length as usize).min(seq);
        values.narrow(0, row, 1)?.narrow(1, 0, length)?.pad_with_zeros(1, 0, seq - length)
    };
    Tensor::cat(&lengths.iter().enumerate().map(row).collect::<Result<Vec<_>>>()?, 0)
}

fn choose(values: &Tensor, keep: &Tensor) -> Result<Tensor> {
    keep.where_cond(values, &values.zeros_like()?)
}

fn belongs(values: &Tensor, lengths: &Tensor) -> Result<Tensor> {
    positions(values)?.broadcast_lt(&upright(lengths)?)
}

/// `(1, seq)`
fn positions(values: &Tensor) -> Result<Tensor> {
    Tensor::arange(0, values.dim(1)? as u32, values.device())?.unsqueeze(0)
}

/// `(batch, 1)`
fn upright(lengths: &Tensor) -> Result<Tensor> {
    lengths.unsqueeze(1)
}
