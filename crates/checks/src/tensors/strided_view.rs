//! `strided_view`: a shape, strides and an offset over a flat buffer.

use answer::answer;
use candle_core::{Result, Tensor, bail};
use protocol::{DType, Value};

use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const STRIDED_VIEW: Part = Part {
    name: "strided_view",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "an_element_may_be_read_again",
            promise: "A stride of 0 repeats, and windows may overlap.",
            kind: Kind::Property,
            run: an_element_may_be_read_again,
        },
        Check {
            name: "unreached_elements_do_not_matter",
            promise: "Elements that no position reaches change nothing, even if they are NaN.",
            kind: Kind::Property,
            run: unreached_elements_do_not_matter,
        },
        Check {
            name: "matches_definition",
            promise: "Each position holds `buffer[offset + Σ position · stride]`, for any number \
                      of axes and any dtype.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_buffer",
            promise: "The gradient reaches `buffer`; an element that is read twice receives both.",
            kind: Kind::Gradient,
            run: gradient_reaches_buffer,
        },
        Check {
            name: "reading_outside_is_refused",
            promise: "A view that does not fit gets an error that names the numbers.",
            kind: Kind::Errors,
            run: reading_outside_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "rows_and_columns_swapped",
            diagnosis: "the strides are taken in reverse, so rows and columns change places",
            caught_by: "documented_example",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let reversed: Vec<usize> = strides.iter().rev().copied().collect();
                select(buffer, shape, &indices(shape, &reversed, start))
            }),
        },
        Impostor {
            name: "offset_ignored",
            diagnosis: "the offset is not added, so the view starts at the buffer's beginning",
            caught_by: "documented_example",
            answer: answer!(|buffer: &Tensor,
                             shape: &[usize],
                             strides: &[usize],
                             _start: usize| {
                select(buffer, shape, &indices(shape, strides, 0))
            }),
        },
        Impostor {
            name: "strides_ignored",
            diagnosis: "the elements are read one after the other, whatever the strides are",
            caught_by: "documented_example",
            answer: answer!(|buffer: &Tensor,
                             shape: &[usize],
                             _strides: &[usize],
                             start: usize| {
                buffer.narrow(0, start, shape.iter().product())?.reshape(shape)
            }),
        },
        Impostor {
            name: "zero_stride_moves",
            diagnosis: "a stride of 0 is taken as 1, so nothing repeats",
            caught_by: "an_element_may_be_read_again",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let moving: Vec<usize> = strides.iter().map(|&stride| stride.max(1)).collect();
                select(buffer, shape, &indices(shape, &moving, start))
            }),
        },
        Impostor {
            name: "counts_elements",
            diagnosis: "the number of elements is held against the buffer's length; what counts is \
                        the largest index",
            caught_by: "an_element_may_be_read_again",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let (count, length) = (shape.iter().product::<usize>(), buffer.dims1()?);
                if start + count > length {
                    anyhow::bail!("{count} elements from {start} on do not fit into {length}");
                }
                select(buffer, shape, &indices(shape, strides, start))
            }),
        },
        Impostor {
            name: "multiplied_by_one_hot",
            diagnosis: "elements are picked by a product with 0 and 1, and 0 · NaN is NaN; select \
                        by index instead",
            caught_by: "unreached_elements_do_not_matter",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let all = index_tensor(buffer, &indices(shape, strides, start))?;
                let columns = Tensor::arange(0, buffer.dims1()? as u32, buffer.device())?;
                let picks = all.unsqueeze(1)?.broadcast_eq(&columns)?.to_dtype(buffer.dtype())?;
                picks.matmul(&buffer.unsqueeze(1)?)?.reshape(shape)
            }),
        },
        Impostor {
            name: "two_axes_only",
            diagnosis: "it knows two axes only; a view has as many as its shape",
            caught_by: "matches_definition",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let ([rows, columns], [down, across]) = (shape, strides) else {
                    anyhow::bail!("unexpected number of axes")
                };
                let index = |n| start + n / columns * down + n % columns * across;
                select(buffer, shape, &(0..rows * columns).map(index).collect::<Vec<_>>())
            }),
        },
        Impostor {
            name: "f32_only",
            diagnosis: "the buffer is read as `f32`; the dtype is the buffer's",
            caught_by: "matches_definition",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let values = buffer.to_vec1::<f32>()?;
                let all = indices(shape, strides, start).into_iter();
                let picked: Vec<f32> = all.map(|index| values[index]).collect();
                Tensor::from_vec(picked, shape, buffer.device())
            }),
        },
        Impostor {
            name: "one_less_than_nothing",
            diagnosis: "the last index is found from `length - 1`, which an axis of length 0 does \
                        not have",
            caught_by: "matches_definition",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let far = |(&length, &stride): (&usize, &usize)| {
                    // What `length - 1` does in a debug build, without its noise.
                    Some(length.checked_sub(1)? * stride)
                };
                let far: Option<usize> = shape.iter().zip(strides).map(far).sum();
                match far.map(|far| start + far) {
                    Some(last) if last < buffer.dims1()? => {
                        select(buffer, shape, &indices(shape, strides, start))
                    }
                    last => {
                        anyhow::bail!("attempt to subtract with overflow, or {last:?} is too large")
                    }
                }
            }),
        },
        Impostor {
            name: "graph_left",
            diagnosis: "the values are copied out of the graph, so no gradient comes back",
            caught_by: "gradient_reaches_buffer",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                select(&buffer.detach(), shape, &indices(shape, strides, start))
            }),
        },
        Impostor {
            name: "wraps_around",
            diagnosis: "an index past the end starts again at the beginning; it must be an error",
            caught_by: "reading_outside_is_refused",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let length = buffer.dims1()?;
                let all = indices(shape, strides, start).into_iter().map(|i| i % length);
                select(buffer, shape, &all.collect::<Vec<_>>())
            }),
        },
        Impostor {
            name: "strides_too_many",
            diagnosis: "strides beyond the last axis are dropped without a word, as `zip` does",
            caught_by: "reading_outside_is_refused",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                select(buffer, shape, &indices(shape, strides, start))
            }),
        },
        Impostor {
            name: "numbers_unsaid",
            diagnosis: "the error does not name the index and the buffer's length",
            caught_by: "reading_outside_is_refused",
            answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
                let all = indices(shape, strides, start);
                let length = buffer.dims1()?;
                if shape.len() != strides.len() || all.iter().any(|&index| index >= length) {
                    anyhow::bail!("index out of range")
                }
                select(buffer, shape, &all)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_division",
        answer: answer!(|buffer: &Tensor, shape: &[usize], strides: &[usize], start: usize| {
            by_division(buffer, shape, strides, start)
        }),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let buffer = Array::vector(&[9., 0., 1., 2., 3., 4., 5.]).to(DType::F32);
    asks(trial, &buffer, &[3, 2], &[1, 3], 1)
}

fn an_element_may_be_read_again(trial: &mut Trial) -> Outcome {
    let buffer = trial.rng.normal_array(&[10]);
    asks(trial, &buffer, &[4, 3], &[0, 2], 1)?;
    asks(trial, &buffer, &[2, 5], &[3, 0], 0)?;
    asks(trial, &buffer, &[4, 3], &[1, 1], 0)
}

fn unreached_elements_do_not_matter(trial: &mut Trial) -> Outcome {
    let drawn = trial.rng.normal_array(&[12]);
    let reached = [1, 4, 6, 9];
    let buffer =
        Array::from_fn(&[12], |at| if reached.contains(&at[0]) { drawn.at(at) } else { f64::NAN });
    asks(trial, &buffer.to(DType::F32), &[2, 2], &[5, 3], 1)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let dtypes = [DType::F32, DType::F64, DType::U32];
    let cases: [(&[usize], &[usize], usize); 8] = [
        (&[4, 5], &[5, 1], 0),             // as it lies
        (&[5, 4], &[1, 5], 0),             // transposed
        (&[2, 3], &[5, 1], 6),             // narrowed
        (&[4], &[6], 0),                   // the diagonal
        (&[], &[], 7),                     // one element
        (&[1, 3, 1, 2], &[9, 4, 9, 3], 2), // strides of axes of length 1 do not matter
        (&[2, 0, 3], &[4, 5, 1], 0),       // nothing
        (&[3, 2, 2], &[2, 7, 1], 4),
    ];
    for ((shape, strides, offset), dtype) in cases.into_iter().zip(dtypes.into_iter().cycle()) {
        let buffer = Array::from_fn(&[20], |_| trial.rng.between(0, 999) as f64).to(dtype);
        asks(trial, &buffer, shape, strides, offset)?;
    }
    Ok(())
}

fn gradient_reaches_buffer(trial: &mut Trial) -> Outcome {
    let buffer = trial.rng.normal_array(&[6]);
    let (shape, strides) = ([4, 3], [1, 1]);
    let asked = question(&buffer, &shape, &strides, 0);
    trial.gradient_matches(asked, |at| view(at.get("buffer"), &shape, &strides, 0))
}

fn reading_outside_is_refused(trial: &mut Trial) -> Outcome {
    let buffer = trial.rng.normal_array(&[30]);
    let too_far = question(&buffer, &[3, 4], &[7, 2], 11);
    let said = trial.refuses("index 31 is past the end of 30 elements", too_far)?;
    trial.ensure(said.contains("31") && said.contains("30"), || {
        format!("Index 31 is past the end of 30 elements, but the error does not say so: {said}")
    })?;
    let too_many = question(&buffer, &[2, 3], &[1, 3, 1], 0);
    trial.refuses("`strides` is longer than `shape`", too_many).map(drop)
}

/// Asks for one view and compares it with the definition.
fn asks(
    trial: &mut Trial,
    buffer: &Array,
    shape: &[usize],
    strides: &[usize],
    offset: usize,
) -> Outcome {
    let got = trial.array(question(buffer, shape, strides, offset))?;
    trial.close("view", &got, &view(buffer, shape, strides, offset), Tolerance::EXACT)
}

fn question(
    buffer: &Array,
    shape: &[usize],
    strides: &[usize],
    offset: usize,
) -> Vec<(&'static str, Value)> {
    args![buffer: buffer, shape: shape, strides: strides, offset: offset]
}

/// The definition, position by position.
fn view(buffer: &Array, shape: &[usize], strides: &[usize], offset: usize) -> Array {
    let moved = |at: &[usize]| at.iter().zip(strides).map(|(p, stride)| p * stride).sum::<usize>();
    Array::from_fn(shape, |at| buffer.at(&[offset + moved(at)])).to(buffer.dtype())
}

fn by_division(
    buffer: &Tensor,
    shape: &[usize],
    strides: &[usize],
    start: usize,
) -> Result<Tensor> {
    let (count, length) = (shape.iter().product::<usize>(), buffer.dims1()?);
    let index = |mut n: usize| {
        let axes = shape.iter().zip(strides).rev();
        axes.fold(start, |index, (&length, &stride)| {
            let at = n % length;
            n /= length;
            index + at * stride
        })
    };
    let all: Vec<usize> = (0..count).map(index).collect();
    match all.iter().max() {
        _ if shape.len() != strides.len() => bail!("{shape:?} has other axes than {strides:?}"),
        Some(&last) if last >= length => bail!("{last} is not below {length}"),
        _ => buffer.gather(&index_tensor(buffer, &all)?, 0)?.reshape(shape),
    }
}

/// All indices in row-major order, one axis after the other.
fn indices(shape: &[usize], strides: &[usize], start: usize) -> Vec<usize> {
    shape.iter().zip(strides).fold(vec![start], |starts, (&length, &stride)| {
        starts.iter().flat_map(|s| (0..length).map(move |at| s + at * stride)).collect()
    })
}

fn select(buffer: &Tensor, shape: &[usize], indices: &[usize]) -> Result<Tensor> {
    buffer.index_select(&index_tensor(buffer, indices)?, 0)?.reshape(shape)
}

fn index_tensor(buffer: &Tensor, indices: &[usize]) -> Result<Tensor> {
    let all: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
    Tensor::from_vec(all, indices.len(), buffer.device())
}
