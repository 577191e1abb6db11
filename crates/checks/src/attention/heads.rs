//! `split_heads` and `merge_heads`: from widths to heads and back.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use super::{
    oracle,
    steps::{merge, split},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const SPLIT_HEADS: Part = Part {
    name: "split_heads",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: split_example,
        },
        Check {
            name: "probe_lands_in_its_head",
            promise: "A single 1 lands in its own sequence, head and position, and nowhere else.",
            kind: Kind::Property,
            run: split_probe_lands_in_its_head,
        },
        Check {
            name: "every_number_survives",
            promise: "Numbers are moved, not changed, in every dtype, layout and length.",
            kind: Kind::Property,
            run: split_every_number_survives,
        },
        Check {
            name: "gradient_reaches_x",
            promise: "The gradient reaches `x`, and is the right one.",
            kind: Kind::Gradient,
            run: split_gradient_reaches_x,
        },
        Check {
            name: "uneven_heads_are_refused",
            promise: "A width that n_heads does not divide gives an error.",
            kind: Kind::Errors,
            run: uneven_heads_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "reshaped_without_transpose",
            diagnosis: "a reshape straight to the result's shape mixes positions into heads; \
                        reshape first, then transpose",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, n_heads: usize| {
                let (batch, seq, width) = x.dims3()?;
                x.reshape((batch, n_heads, seq, width / n_heads))
            }),
        },
        Impostor {
            name: "not_transposed",
            diagnosis: "the heads stand behind the positions; swap the two axes",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, n_heads: usize| split(x, n_heads)?.transpose(1, 2)),
        },
        Impostor {
            name: "heads_interleaved",
            diagnosis: "every n_heads-th number goes to one head; a head is a run of neighbours",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, n_heads: usize| {
                let (batch, seq, width) = x.dims3()?;
                x.reshape((batch, seq, width / n_heads, n_heads))?.permute((0, 3, 1, 2))
            }),
        },
        Impostor {
            name: "count_for_width",
            diagnosis: "n_heads is taken for the width of a head; the width is divided by it",
            caught_by: "probe_lands_in_its_head",
            answer: answer!(|x: &Tensor, n_heads: usize| split(x, x.dim(2)? / n_heads.max(1))),
        },
        Impostor {
            name: "batch_forgotten",
            diagnosis: "the axes are fixed for a batch of one sequence",
            caught_by: "probe_lands_in_its_head",
            answer: answer!(|x: &Tensor, n_heads: usize| {
                let (_, seq, width) = x.dims3()?;
                x.reshape((1, seq, n_heads, width / n_heads))?.transpose(1, 2)
            }),
        },
        Impostor {
            name: "sequences_joined",
            diagnosis: "the sequences of a batch are laid end to end before the heads are cut",
            caught_by: "probe_lands_in_its_head",
            answer: answer!(|x: &Tensor, n_heads: usize| {
                let (batch, seq, width) = x.dims3()?;
                let joined = x.reshape((1, batch * seq, n_heads, width / n_heads))?;
                joined.transpose(1, 2)?.reshape((batch, n_heads, seq, width / n_heads))
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is `f32` whatever the input is",
            caught_by: "every_number_survives",
            answer: answer!(|x: &Tensor, n_heads: usize| {
                split(&x.to_dtype(CandleDType::F32)?, n_heads)
            }),
        },
        Impostor {
            name: "axes_of_length_one_dropped",
            diagnosis: "a `squeeze` drops axes that may have length 1",
            caught_by: "every_number_survives",
            answer: answer!(|x: &Tensor, n_heads: usize| split(x, n_heads)?.squeeze(1)),
        },
        Impostor {
            name: "copied_by_hand",
            diagnosis: "the numbers are copied through a `Vec`, where gradients end",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor, n_heads: usize| {
                let copied = x.flatten_all()?.to_dtype(CandleDType::F64)?.to_vec1::<f64>()?;
                let copied = Tensor::from_vec(copied, x.shape(), x.device())?;
                split(&copied.to_dtype(x.dtype())?, n_heads)
            }),
        },
        Impostor {
            name: "rest_dropped",
            diagnosis: "what is left over when n_heads does not divide the width is silently \
                        dropped",
            caught_by: "uneven_heads_are_refused",
            answer: answer!(|x: &Tensor, n_heads: usize| {
                let d_head = x.dim(2)?.checked_div(n_heads).unwrap_or_default();
                split(&x.narrow(2, 0, n_heads * d_head)?, n_heads)
            }),
        },
        Impostor {
            name: "divided_by_zero",
            diagnosis: "with 0 heads the division panics; return an error before it",
            caught_by: "uneven_heads_are_refused",
            answer: answer!(|x: &Tensor, n_heads: usize| {
                let (batch, seq, width) = x.dims3()?;
                x.reshape((batch, seq, n_heads, width / n_heads))?.transpose(1, 2)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_narrowing",
        answer: answer!(|x: &Tensor, n_heads: usize| by_narrowing(x, n_heads)),
    }],
};

pub(super) const MERGE_HEADS: Part = Part {
    name: "merge_heads",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: merge_example,
        },
        Check {
            name: "probe_lands_in_its_place",
            promise: "A single 1 lands in its own sequence, position and head, and nowhere else.",
            kind: Kind::Property,
            run: merge_probe_lands_in_its_place,
        },
        Check {
            name: "every_number_survives",
            promise: "Numbers are moved, not changed, in every dtype, layout and length.",
            kind: Kind::Property,
            run: merge_every_number_survives,
        },
        Check {
            name: "gradient_reaches_z",
            promise: "The gradient reaches `z`, and is the right one.",
            kind: Kind::Gradient,
            run: merge_gradient_reaches_z,
        },
        Check {
            name: "three_axes_are_refused",
            promise: "A tensor without the four axes gives an error.",
            kind: Kind::Errors,
            run: three_axes_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "reshaped_without_transpose",
            diagnosis: "the axes are joined while heads still stand before positions; transpose \
                        first",
            caught_by: "documented_example",
            answer: answer!(|z: &Tensor| {
                let (batch, n_heads, seq, d_head) = z.dims4()?;
                z.reshape((batch, seq, n_heads * d_head))
            }),
        },
        Impostor {
            name: "heads_interleaved",
            diagnosis: "the numbers of the heads alternate; each head stays a run of neighbours",
            caught_by: "documented_example",
            answer: answer!(|z: &Tensor| {
                let (batch, n_heads, seq, d_head) = z.dims4()?;
                z.permute((0, 2, 3, 1))?.reshape((batch, seq, n_heads * d_head))
            }),
        },
        Impostor {
            name: "heads_summed",
            diagnosis: "the heads are added up; they belong side by side",
            caught_by: "documented_example",
            answer: answer!(|z: &Tensor| {
                let (_, _, _, _) = z.dims4()?;
                z.sum(1)
            }),
        },
        Impostor {
            name: "positions_joined",
            diagnosis: "the positions are laid side by side in place of the heads",
            caught_by: "documented_example",
            answer: answer!(|z: &Tensor| {
                let (_, _, _, _) = z.dims4()?;
                z.flatten_from(2)
            }),
        },
        Impostor {
            name: "batch_forgotten",
            diagnosis: "the axes are fixed for a batch of one sequence",
            caught_by: "probe_lands_in_its_place",
            answer: answer!(|z: &Tensor| {
                let (_, n_heads, seq, d_head) = z.dims4()?;
                z.transpose(1, 2)?.reshape((1, seq, n_heads * d_head))
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is `f32` whatever the input is",
            caught_by: "every_number_survives",
            answer: answer!(|z: &Tensor| merge(&z.to_dtype(CandleDType::F32)?)),
        },
        Impostor {
            name: "copied_by_hand",
            diagnosis: "the numbers are copied through a `Vec`, where gradients end",
            caught_by: "gradient_reaches_z",
            answer: answer!(|z: &Tensor| {
                let copied = z.flatten_all()?.to_dtype(CandleDType::F64)?.to_vec1::<f64>()?;
                let copied = Tensor::from_vec(copied, z.shape(), z.device())?;
                merge(&copied.to_dtype(z.dtype())?)
            }),
        },
        Impostor {
            name: "any_axes_accepted",
            diagnosis: "with one axis missing it swaps the wrong two without a word; ask for four \
                        with `dims4`",
            caught_by: "three_axes_are_refused",
            answer: answer!(|z: &Tensor| z.transpose(1, 2)?.flatten_from(2)),
        },
    ],
    alternatives: &[Alternative {
        name: "by_concatenating",
        answer: answer!(|z: &Tensor| {
            let (_, n_heads, _, _) = z.dims4()?;
            let heads = (0..n_heads).map(|h| z.narrow(1, h, 1)?.squeeze(1));
            Tensor::cat(&heads.collect::<Result<Vec<_>>>()?, 2)
        }),
    }],
};

fn split_example(trial: &mut Trial) -> Outcome {
    let (x, expected) = documented_heads();
    let heads = trial.array(args![x: &x, n_heads: 2usize])?;
    trial.close("result", &heads, &expected, Tolerance::EXACT)
}

fn split_probe_lands_in_its_head(trial: &mut Trial) -> Outcome {
    let (batch, seq, n_heads, d_head) = (2, 5, 3, 4);
    for h in 0..n_heads {
        let (b, s, d) = (h % batch, trial.rng.below(seq), trial.rng.below(d_head));
        let x = probe(&[batch, seq, n_heads * d_head], &[b, s, h * d_head + d]);
        let heads = trial.array(args![x: &x, n_heads: n_heads])?;
        let expected = probe(&[batch, n_heads, seq, d_head], &[b, h, s, d]);
        trial.close("result", &heads, &expected, Tolerance::EXACT)?;
    }
    Ok(())
}

fn split_every_number_survives(trial: &mut Trial) -> Outcome {
    let cases = [([2, 5, 12], 3), ([1, 1, 1], 1), ([3, 1, 4], 1), ([2, 3, 5], 5)];
    for (shape, n_heads) in cases {
        for dtype in [DType::F64, DType::F32, DType::U32] {
            let x = numbers(trial, &shape).to(dtype).laid_out(&[1, 2, 0]);
            let heads = trial.array(args![x: &x, n_heads: n_heads])?;
            let expected = oracle::split(&x, n_heads).to(dtype);
            trial.close("result", &heads, &expected, Tolerance::EXACT)?;
        }
    }
    Ok(())
}

fn split_gradient_reaches_x(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 3, 4]).laid_out(&[0, 2, 1]);
    trial.gradient_matches(args![x: &x, n_heads: 2usize], |at| oracle::split(at.get("x"), 2))
}

fn uneven_heads_are_refused(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 3, 8]);
    trial.refuses("3 heads do not divide a width of 8", args![x: &x, n_heads: 3usize])?;
    trial.refuses("there are 0 heads", args![x: &x, n_heads: 0usize]).map(drop)
}

fn merge_example(trial: &mut Trial) -> Outcome {
    let (expected, z) = documented_heads();
    let merged = trial.array(args![z: &z])?;
    trial.close("result", &merged, &expected, Tolerance::EXACT)
}

fn merge_probe_lands_in_its_place(trial: &mut Trial) -> Outcome {
    let (batch, seq, n_heads, d_head) = (2, 5, 3, 4);
    for h in 0..n_heads {
        let (b, s, d) = (h % batch, trial.rng.below(seq), trial.rng.below(d_head));
        let merged =
            trial.array(args![z: &probe(&[batch, n_heads, seq, d_head], &[b, h, s, d])])?;
        let expected = probe(&[batch, seq, n_heads * d_head], &[b, s, h * d_head + d]);
        trial.close("result", &merged, &expected, Tolerance::EXACT)?;
    }
    Ok(())
}

fn merge_every_number_survives(trial: &mut Trial) -> Outcome {
    for shape in [[2, 3, 5, 4], [1, 1, 1, 1], [3, 1, 4, 2], [2, 5, 1, 1]] {
        for dtype in [DType::F64, DType::F32, DType::U32] {
            let z = numbers(trial, &shape).to(dtype).laid_out(&[0, 2, 1, 3]);
            let merged = trial.array(args![z: &z])?;
            trial.close("result", &merged, &expected_merge(&z).to(dtype), Tolerance::EXACT)?;
        }
    }
    Ok(())
}

fn merge_gradient_reaches_z(trial: &mut Trial) -> Outcome {
    let z = trial.rng.normal_array(&[2, 3, 4, 2]).laid_out(&[0, 2, 1, 3]);
    trial.gradient_matches(args![z: &z], |at| expected_merge(at.get("z")))
}

fn three_axes_are_refused(trial: &mut Trial) -> Outcome {
    let z = trial.rng.normal_array(&[3, 4, 2]);
    trial.refuses("`z` has three axes, [3, 4, 2]", args![z: &z]).map(drop)
}

/// The documented positions, merged and split.
fn documented_heads() -> (Array, Array) {
    let merged = (1..=12).map(f64::from).collect();
    let split = vec![1., 2., 5., 6., 9., 10., 3., 4., 7., 8., 11., 12.];
    (Array::new(&[1, 3, 4], merged).to(DType::F32), Array::new(&[1, 2, 3, 2], split).to(DType::F32))
}

/// Zeros, and a single 1.
fn probe(shape: &[usize], place: &[usize]) -> Array {
    let mut probe = Array::full(shape, 0.0).to(DType::F32);
    probe.set(place, 1.0);
    probe
}

/// Numbers that need every bit of an `f64`; whole numbers in `u32`.
fn numbers(trial: &mut Trial, shape: &[usize]) -> Array {
    Array::from_fn(shape, |_| 1e6 * trial.rng.uniform())
}

fn expected_merge(z: &Array) -> Array {
    let d_head = z.dim(3);
    Array::from_fn(&[z.dim(0), z.dim(2), z.dim(1) * d_head], |at| {
        z.at(&[at[0], at[2] / d_head, at[1], at[2] % d_head])
    })
}

/// Each head cut out on its own, then stacked.
fn by_narrowing(x: &Tensor, n_heads: usize) -> Result<Tensor> {
    let width = x.dim(2)?;
    if n_heads == 0 || width % n_heads != 0 {
        bail!("{n_heads} heads do not divide {width}");
    }
    let d_head = width / n_heads;
    let heads = (0..n_heads).map(|h| x.narrow(2, h * d_head, d_head));
    Tensor::stack(&heads.collect::<Result<Vec<_>>>()?, 1)
}
