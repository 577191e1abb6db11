//! `broadcast_to`: a tensor stretched by strides of 0.

use answer::answer;
use candle_core::{Result, Tensor, bail};
use protocol::{DType, Value};

use super::rules::NO_READY_BROADCAST;
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const BROADCAST_TO: Part = Part {
    name: "broadcast_to",
    rule: Some(NO_READY_BROADCAST),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "missing_axes_come_in_front",
            promise: "Along an axis that `x` lacks, every position holds all of `x`.",
            kind: Kind::Property,
            run: missing_axes_come_in_front,
        },
        Check {
            name: "own_shape_changes_nothing",
            promise: "Stretching to the shape that `x` has gives `x`, with any number of axes.",
            kind: Kind::Property,
            run: own_shape_changes_nothing,
        },
        Check {
            name: "matches_definition",
            promise: "Every element is the one of `x` at the same position, or at 0 where `x` has \
                      length 1.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_x",
            promise: "The gradient reaches `x`: each number gets the sum over its copies.",
            kind: Kind::Gradient,
            run: gradient_reaches_x,
        },
        Check {
            name: "misfits_are_refused",
            promise: "A shape that `x` does not stretch to gets an error that names both.",
            kind: Kind::Errors,
            run: misfits_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "axis_of_one_not_repeated",
            diagnosis: "an axis of length 1 is filled up with zeros; its number must repeat",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, shape: &[usize]| {
                let mut filled = x.clone();
                for (n, &length) in shape.iter().rev().enumerate().take(x.rank()) {
                    let axis = x.rank() - 1 - n;
                    let missing = length.saturating_sub(x.dim(axis)?);
                    filled = filled.pad_with_zeros(axis, 0, missing)?;
                }
                filled.broadcast_as(shape)
            }),
        },
        Impostor {
            name: "strides_of_the_target",
            diagnosis: "the strides are counted in the target's lengths; elements lie as in `x`",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, shape: &[usize]| {
                let large = row_major(shape);
                read(x, shape, &kept(x.dims(), &large, shape.len()))
            }),
        },
        Impostor {
            name: "aligned_from_the_left",
            diagnosis: "the axes are aligned from the left; missing axes come in front",
            caught_by: "missing_axes_come_in_front",
            answer: answer!(|x: &Tensor, shape: &[usize]| {
                let mut dims = x.dims().to_vec();
                dims.resize(shape.len(), 1);
                x.reshape(dims)?.broadcast_as(shape)
            }),
        },
        Impostor {
            name: "an_axis_is_needed",
            diagnosis: "the strides start from the last axis, which a tensor without axes does not \
                        have",
            caught_by: "own_shape_changes_nothing",
            answer: answer!(|x: &Tensor, shape: &[usize]| {
                match x.rank() {
                    0 => anyhow::bail!("attempt to subtract with overflow"),
                    _ => x.broadcast_as(shape),
                }
            }),
        },
        Impostor {
            name: "strides_of_the_memory",
            diagnosis: "`x.stride()` says how `x` lies in memory, but flattening has put its \
                        elements in row-major order",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, shape: &[usize]| {
                read(x, shape, &kept(x.dims(), x.stride(), shape.len()))
            }),
        },
        Impostor {
            name: "f32_only",
            diagnosis: "the result is `f32`; its dtype is that of `x`",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, shape: &[usize]| {
                x.to_dtype(candle_core::DType::F32)?.broadcast_as(shape)
            }),
        },
        Impostor {
            name: "graph_left",
            diagnosis: "the values are copied out of the graph, so no gradient comes back",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor, shape: &[usize]| x.detach().broadcast_as(shape)),
        },
        Impostor {
            name: "shrinks_as_well",
            diagnosis: "it is enough for it that the shapes fit together; but 3 elements do not \
                        fit into 1, they would be lost",
            caught_by: "misfits_are_refused",
            answer: answer!(|x: &Tensor, shape: &[usize]| {
                let mut small = x.clone();
                let added = shape.len().saturating_sub(x.rank());
                for axis in 0..x.rank().min(shape.len()) {
                    if shape[added + axis] == 1 {
                        small = small.narrow(axis, 0, 1)?;
                    }
                }
                small.broadcast_as(shape)
            }),
        },
        Impostor {
            name: "tiles",
            diagnosis: "an axis of length 2 is repeated to fill 4, as a tile; only length 1 \
                        stretches",
            caught_by: "misfits_are_refused",
            answer: answer!(|x: &Tensor, shape: &[usize]| tile(x, shape)),
        },
        Impostor {
            name: "shapes_unsaid",
            diagnosis: "the error does not name both shapes",
            caught_by: "misfits_are_refused",
            answer: answer!(|x: &Tensor, shape: &[usize]| {
                x.broadcast_as(shape).map_err(|_| candle_core::Error::msg("the shapes do not fit"))
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_candle",
        answer: answer!(|x: &Tensor, shape: &[usize]| x.broadcast_as(shape)),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1.], [2.]]).to(DType::F32);
    let got = trial.array(question(&x, &[2, 3]))?;
    let expected = Array::matrix(&[[1., 1., 1.], [2., 2., 2.]]).to(DType::F32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn missing_axes_come_in_front(trial: &mut Trial) -> Outcome {
    // Squares would also fit from the left.
    let cases: [(&[usize], &[usize]); 3] =
        [(&[3], &[3, 3]), (&[4, 1], &[4, 4, 2]), (&[2], &[5, 3, 2])];
    cases.into_iter().try_for_each(|(from, to)| asks(trial, from, to, DType::F32))
}

fn own_shape_changes_nothing(trial: &mut Trial) -> Outcome {
    let cases: [&[usize]; 5] = [&[2, 3, 4], &[1, 1], &[5], &[3, 0], &[]];
    cases.into_iter().try_for_each(|shape| asks(trial, shape, shape, DType::F32))
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let cases: [(&[usize], &[usize]); 5] = [
        (&[1, 3], &[4, 3]),
        (&[2, 1, 3], &[5, 2, 4, 3]),
        (&[1, 1, 1], &[2, 3, 1]),
        (&[1, 2], &[0, 2]),
        (&[], &[2, 3]),
    ];
    let dtypes = [DType::F32, DType::F64, DType::U32];
    for ((from, to), dtype) in cases.into_iter().zip(dtypes.into_iter().cycle()) {
        asks(trial, from, to, dtype)?;
    }
    let x = trial.rng.normal_array(&[4, 1, 3]).laid_out(&[2, 0, 1]);
    let got = trial.array(question(&x, &[4, 2, 3]))?;
    trial.close("result", &got, &stretched(&x, &[4, 2, 3]), Tolerance::EXACT)
}

fn gradient_reaches_x(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[3, 1, 2]).laid_out(&[2, 1, 0]);
    let shape = [2, 3, 4, 2];
    trial.gradient_matches(question(&x, &shape), |at| stretched(at.get("x"), &shape))
}

fn misfits_are_refused(trial: &mut Trial) -> Outcome {
    let cases: [(&[usize], &[usize]); 5] =
        [(&[2, 3], &[4, 3]), (&[3, 5], &[3, 1]), (&[2, 7], &[4, 7]), (&[1, 3], &[3]), (&[6], &[3])];
    for (from, to) in cases {
        let x = trial.rng.normal_array(from);
        let case = format!("{from:?} cannot be stretched to {to:?}");
        let said = trial.refuses(&case, question(&x, to))?;
        let (first, second) = (format!("{from:?}"), format!("{to:?}"));
        trial.ensure(said.contains(&first) && said.contains(&second), || {
            format!("{case}, but the error does not name both shapes: {said}")
        })?;
    }
    Ok(())
}

fn asks(trial: &mut Trial, from: &[usize], to: &[usize], dtype: DType) -> Outcome {
    let x = Array::from_fn(from, |_| trial.rng.between(0, 999) as f64).to(dtype);
    let got = trial.array(question(&x, to))?;
    trial.close("result", &got, &stretched(&x, to), Tolerance::EXACT)
}

fn question(x: &Array, shape: &[usize]) -> Vec<(&'static str, Value)> {
    args![x: x, shape: shape]
}

/// The definition, position by position.
pub(super) fn stretched(x: &Array, shape: &[usize]) -> Array {
    let added = shape.len() - x.rank();
    let source = |at: &[usize]| -> Vec<usize> {
        let lengths = x.shape().iter();
        at[added..].iter().zip(lengths).map(|(&at, &n)| if n == 1 { 0 } else { at }).collect()
    };
    Array::from_fn(shape, |at| x.at(&source(at))).to(x.dtype())
}

/// Reads flattened `x` by strides.
fn read(x: &Tensor, shape: &[usize], strides: &[usize]) -> Result<Tensor> {
    let all = shape.iter().zip(strides).fold(vec![0], |starts: Vec<usize>, (&length, &stride)| {
        starts.iter().flat_map(|s| (0..length).map(move |at| s + at * stride)).collect()
    });
    let all: Vec<u32> = all.into_iter().map(|index| index as u32).collect();
    let all = Tensor::from_vec(all, shape.iter().product::<usize>(), x.device())?;
    x.flatten_all()?.index_select(&all, 0)?.reshape(shape)
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// The strides of the axes that do not stretch; 0 for the others.
fn kept(dims: &[usize], strides: &[usize], rank: usize) -> Vec<usize> {
    let mut kept = vec![0; rank];
    let axes = dims.iter().rev().zip(strides.iter().rev());
    for (to, (&length, &stride)) in kept.iter_mut().rev().zip(axes) {
        *to = if length == 1 { 0 } else { stride };
    }
    kept
}

fn tile(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let Some(added) = shape.len().checked_sub(x.rank()) else {
        bail!("{:?} cannot be stretched to {shape:?}", x.dims())
    };
    let mut times = shape[..added].to_vec();
    for (&from, &to) in x.dims().iter().zip(&shape[added..]) {
        if from != to && (from == 0 || to < from || to % from != 0) && from != 1 {
            bail!("{:?} cannot be stretched to {shape:?}", x.dims())
        }
        times.push(if from == to { 1 } else { to / from });
    }
    if shape.contains(&0) { x.broadcast_as(shape) } else { x.repeat(times) }
}
