//! `scatter_add`: each value is added to the slot that its index names.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const SCATTER_ADD: Part = Part {
    name: "scatter_add",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "order_of_pairs_does_not_matter",
            promise: "Reordering the pairs of index and value changes nothing.",
            kind: Kind::Property,
            run: order_of_pairs_does_not_matter,
        },
        Check {
            name: "matches_definition",
            promise: "Each slot receives every value whose index names it, along any axis.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "infinity_stays_in_its_slot",
            promise: "A value of ±∞ or of 10⁸ changes its own slot and no other.",
            kind: Kind::Property,
            run: infinity_stays_in_its_slot,
        },
        Check {
            name: "gradient_reaches_base_and_source",
            promise: "The gradient reaches `base` and `source`, also where slots are shared.",
            kind: Kind::Gradient,
            run: gradient_reaches_base_and_source,
        },
        Check {
            name: "bad_slots_are_refused",
            promise: "An index outside, an axis that is not there, or shapes that disagree get an \
                      error.",
            kind: Kind::Errors,
            run: bad_slots_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "last_write_wins",
            diagnosis: "a later value overwrites an earlier one in the same slot; both must be \
                        added",
            caught_by: "documented_example",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                by_loops(base, index, source, axis, |slot, _, value| {
                    *slot.now = slot.before + value;
                })
            }),
        },
        Impostor {
            name: "overwrites_the_base",
            diagnosis: "the slots start at 0, so what `base` held there is lost",
            caught_by: "documented_example",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                by_one_hot(&base.zeros_like()?, index, source, axis)
            }),
        },
        Impostor {
            name: "gathers",
            diagnosis: "the index is read as where a value comes from (gather); it says where the \
                        value goes",
            caught_by: "documented_example",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                base + source.contiguous()?.gather(&index.contiguous()?, axis)?
            }),
        },
        Impostor {
            name: "sums_runs_of_one_index",
            diagnosis: "only values that follow each other are added up, as if the indices were \
                        sorted",
            caught_by: "order_of_pairs_does_not_matter",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                by_loops(base, index, source, axis, |slot, is_run, value| {
                    *slot.now = if is_run { *slot.now } else { slot.before } + value;
                })
            }),
        },
        Impostor {
            name: "first_axis_always",
            diagnosis: "the values are scattered along axis 0, whatever `axis` says",
            caught_by: "matches_definition",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                let _ = axis;
                flat(base, index, source, 0, true)
            }),
        },
        Impostor {
            name: "lanes_not_told_apart",
            diagnosis: "the index is used as a place in the flat base; each lane begins further on",
            caught_by: "matches_definition",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                flat(base, index, source, axis, false)
            }),
        },
        Impostor {
            name: "product_with_one_hot",
            diagnosis: "the values are multiplied by a one-hot mask; 0 · ∞ is NaN, so choose by \
                        where_cond instead",
            caught_by: "infinity_stays_in_its_slot",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                let (is_named, values) = one_hot(base, index, source, axis)?;
                base + (is_named.to_dtype(values.dtype())? * values)?.sum(axis + 1)?
            }),
        },
        Impostor {
            name: "difference_of_running_sums",
            diagnosis: "slots are differences of one long running sum, where a large value drowns \
                        the small ones of other slots",
            caught_by: "infinity_stays_in_its_slot",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                let (is_named, values) = one_hot(base, index, source, axis)?;
                let named = is_named.where_cond(&values, &values.zeros_like()?)?.sum(axis + 1)?;
                let sums = named.cumsum(axis)?;
                let size = base.dim(axis)?;
                let start = sums.narrow(axis, 0, 1)?.zeros_like()?;
                let before = Tensor::cat(&[start, sums.narrow(axis, 0, size - 1)?], axis)?;
                base + (sums - before)?
            }),
        },
        Impostor {
            name: "ready_made_scatter_add",
            diagnosis: "candle's own scatter_add sends no gradient back to the slots of `base` \
                        that were hit; build it from index_add or a one-hot mask",
            caught_by: "gradient_reaches_base_and_source",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                base.scatter_add(&index.contiguous()?, &source.contiguous()?, axis)
            }),
        },
        Impostor {
            name: "through_vectors",
            diagnosis: "the values are taken out of the tensors and put into a new one, which \
                        cuts the gradient",
            caught_by: "gradient_reaches_base_and_source",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                by_loops(base, index, source, axis, |slot, _, value| *slot.now += value)
            }),
        },
        Impostor {
            name: "runs_into_the_next_lane",
            diagnosis: "an index of `size` or more is not refused, and lands in another lane",
            caught_by: "bad_slots_are_refused",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                flat(base, index, source, axis, true)
            }),
        },
        Impostor {
            name: "index_outside_ignored",
            diagnosis: "a value whose index is `size` or more is dropped silently; it must be an \
                        error",
            caught_by: "bad_slots_are_refused",
            answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
                by_one_hot(base, index, source, axis)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "one_hot_chosen_and_summed",
        answer: answer!(|base: &Tensor, index: &Tensor, source: &Tensor, axis: usize| {
            checked_one_hot(base, index, source, axis)
        }),
    }],
};

/// A slot sums a handful of values of size 1.
const TOLERANCE: Tolerance = Tolerance::roundings(32.0).at_scale(4.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let (base, source) = (Array::vector(&[10., 20., 30.]), Array::vector(&[1., 2., 3.]));
    let index = Array::vector(&[0., 2., 2.]).to(DType::U32);
    let result = trial.array(args![base: &base, index: &index, source: &source, axis: 0usize])?;
    trial.close("result", &result, &Array::vector(&[11., 20., 35.]), Tolerance::EXACT)
}

fn order_of_pairs_does_not_matter(trial: &mut Trial) -> Outcome {
    let (base, source) = (trial.rng.normal_array(&[3]), trial.rng.normal_array(&[7]));
    let index = Array::vector(&[0., 0., 1., 2., 2., 2., 2.]).to(DType::U32);
    let expected = scattered(&base, &index, &source, 0);
    for order in [[0, 1, 2, 3, 4, 5, 6], [0, 3, 1, 4, 2, 5, 6]] {
        let (index, source) = (index.select(0, &order), source.select(0, &order));
        let result =
            trial.array(args![base: &base, index: &index, source: &source, axis: 0usize])?;
        let name = if order[1] == 1 { "result" } else { "result of reordered pairs" };
        trial.close(name, &result, &expected, TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, axis, length) in
        [(&[4][..], 0, 9), (&[3, 4], 1, 6), (&[2, 5, 3], 1, 4), (&[5, 1, 2], 0, 3), (&[1, 1], 1, 2)]
    {
        for dtype in [DType::F64, DType::F32] {
            let (base, index, source) = draw(trial, shape, axis, length, dtype);
            let reversed: Vec<usize> = (0..shape.len()).rev().collect();
            let (base, source) = (base.laid_out(&reversed), source.laid_out(&reversed));
            let asked = args![base: &base, index: &index, source: &source, axis: axis];
            let result = trial.array(asked)?;
            trial.close("result", &result, &scattered(&base, &index, &source, axis), TOLERANCE)?;
        }
    }
    Ok(())
}

fn infinity_stays_in_its_slot(trial: &mut Trial) -> Outcome {
    let base = trial.rng.normal_array(&[5]);
    let index = Array::vector(&[3., 1., 0., 2., 4.]).to(DType::U32);
    for large in [1e8, f64::INFINITY, f64::NEG_INFINITY] {
        let mut source = trial.rng.normal_array(&[5]);
        source.set(&[2], large);
        let asked = args![base: &base, index: &index, source: &source, axis: 0usize];
        let result = trial.array(asked)?;
        trial.has_shape("result", &result, &[5])?;
        let result = result.narrow(0, 1, 4);
        let expected = scattered(&base, &index, &source, 0).narrow(0, 1, 4);
        let name = format!("slots beside that of {large}");
        trial.close(&name, &result, &expected, TOLERANCE)?;
    }
    Ok(())
}

fn gradient_reaches_base_and_source(trial: &mut Trial) -> Outcome {
    let (base, index, source) = draw(trial, &[2, 3, 2], 1, 3, DType::F64);
    let args = args![base: &base, index: &index, source: &source, axis: 1usize];
    trial.gradient_matches(args, |at| scattered(at.get("base"), &index, at.get("source"), 1))
}

fn bad_slots_are_refused(trial: &mut Trial) -> Outcome {
    let base = Array::full(&[2, 3], 1.0);
    let index = |shape: &[usize], slot| Array::full(shape, slot).to(DType::U32);
    for (case, index, source, axis) in [
        (
            "an index is 3 and there are 3 slots",
            index(&[2, 4], 3.),
            Array::full(&[2, 4], 1.),
            1usize,
        ),
        ("`index` and `source` differ in shape", index(&[2, 4], 0.), Array::full(&[2, 5], 1.), 1),
        ("`base` has 2 rows and `index` 1", index(&[1, 4], 0.), Array::full(&[1, 4], 1.), 1),
        ("there is no axis 2", index(&[2, 3], 0.), Array::full(&[2, 3], 1.), 2),
    ] {
        trial.refuses(case, args![base: &base, index: &index, source: &source, axis: axis])?;
    }
    Ok(())
}

/// Random values, and indices of which some name one slot.
fn draw(
    trial: &mut Trial,
    shape: &[usize],
    axis: usize,
    length: usize,
    dtype: DType,
) -> (Array, Array, Array) {
    let mut longer = shape.to_vec();
    longer[axis] = length;
    let base = trial.rng.normal_array(shape).to(dtype);
    let index = Array::from_fn(&longer, |_| trial.rng.below(shape[axis]) as f64).to(DType::U32);
    (base, index, trial.rng.normal_array(&longer).to(dtype))
}

/// The definition: one addition for each value of `source`.
fn scattered(base: &Array, index: &Array, source: &Array, axis: usize) -> Array {
    let mut result = base.to(DType::F64).laid_out(&(0..base.rank()).collect::<Vec<_>>());
    for (n, value) in source.values().iter().enumerate() {
        let mut slot = source.position(n);
        let named = |s: &usize| (*s as f64 - index.values()[n]).abs() < 0.5;
        slot[axis] = (0..base.dim(axis)).find(named).expect("invariant: our indices are inside");
        result.set(&slot, result.at(&slot) + value);
    }
    result.to(base.dtype())
}

/// Whether value `j` goes to slot `s`, and the values, both with the axes `…, s, j, …`.
fn one_hot(
    base: &Tensor,
    index: &Tensor,
    source: &Tensor,
    axis: usize,
) -> Result<(Tensor, Tensor)> {
    let mut shape = vec![1; base.rank() + 1];
    shape[axis] = base.dim(axis)?;
    let slots = Tensor::arange(0u32, base.dim(axis)? as u32, base.device())?.reshape(shape)?;
    let is_named = index.unsqueeze(axis)?.broadcast_eq(&slots)?;
    let values = source.unsqueeze(axis)?.broadcast_as(is_named.shape())?;
    Ok((is_named, values))
}

fn by_one_hot(base: &Tensor, index: &Tensor, source: &Tensor, axis: usize) -> Result<Tensor> {
    let (is_named, values) = one_hot(base, index, source, axis)?;
    base + is_named.where_cond(&values, &values.zeros_like()?)?.sum(axis + 1)?
}

fn checked_one_hot(base: &Tensor, index: &Tensor, source: &Tensor, axis: usize) -> Result<Tensor> {
    let outside = index.flatten_all()?.ge(base.dim(axis)? as u32)?;
    if outside.to_dtype(CandleDType::U32)?.sum_all()?.to_scalar::<u32>()? > 0 {
        bail!("an index is outside");
    }
    by_one_hot(base, index, source, axis)
}

/// By places in the flat base, which nobody compares with the number of slots.
fn flat(
    base: &Tensor,
    index: &Tensor,
    source: &Tensor,
    axis: usize,
    lanes: bool,
) -> Result<Tensor> {
    let mut places = if lanes { (index * stride(base, axis) as f64)? } else { index.clone() };
    for other in (0..base.rank()).filter(|&other| other != axis && lanes) {
        let mut shape = vec![1; base.rank()];
        shape[other] = index.dim(other)?;
        let steps = Tensor::arange(0u32, index.dim(other)? as u32, base.device())?;
        let steps = (steps * stride(base, other) as f64)?.reshape(shape)?;
        places = places.broadcast_add(&steps)?;
    }
    let sums = base.flatten_all()?.index_add(&places.flatten_all()?, &source.flatten_all()?, 0)?;
    sums.reshape(base.shape())
}

/// How far one step along an axis leads in row-major order, whatever the layout.
fn stride(tensor: &Tensor, axis: usize) -> usize {
    tensor.dims()[axis + 1..].iter().product()
}

/// A slot of the result: what `base` holds there, and what it holds by now.
struct Slot<'a> {
    before: f64,
    now: &'a mut f64,
}

/// Through `Vec<f64>`; `write` gets a slot, whether its index follows itself, and the value.
fn by_loops(
    base: &Tensor,
    index: &Tensor,
    source: &Tensor,
    axis: usize,
    write: impl Fn(Slot, bool, f64),
) -> Result<Tensor> {
    let values = |x: &Tensor| x.flatten_all()?.to_dtype(CandleDType::F64)?.to_vec1::<f64>();
    let (before, source) = (values(base)?, values(source)?);
    let slots = index.flatten_all()?.to_vec1::<u32>()?;
    let (size, length) = (base.dim(axis)?, index.dim(axis)?);
    let inner = stride(base, axis);
    let mut now = before.clone();
    for (n, &value) in source.iter().enumerate() {
        let is_run = !(n / inner).is_multiple_of(length) && slots[n] == slots[n - inner];
        let place = (n / (inner * length) * size + slots[n] as usize) * inner + n % inner;
        write(Slot { before: before[place], now: &mut now[place] }, is_run, value);
    }
    Tensor::from_vec(now, base.shape(), base.device())?.to_dtype(base.dtype())
}
