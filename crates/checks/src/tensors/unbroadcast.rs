//! `unbroadcast`: the adjoint of broadcasting.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::{DType, Value};

use super::broadcast_to::stretched;
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const UNBROADCAST: Part = Part {
    name: "unbroadcast",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "nothing_is_lost",
            promise: "The sum over everything stays, for it is only summed in groups.",
            kind: Kind::Property,
            run: nothing_is_lost,
        },
        Check {
            name: "it_is_the_adjoint_of_broadcasting",
            promise: "⟨broadcast_to(x), gradient⟩ = ⟨x, unbroadcast(gradient)⟩ for every `x`.",
            kind: Kind::Property,
            run: it_is_the_adjoint_of_broadcasting,
        },
        Check {
            name: "matches_definition",
            promise: "Each number is the sum over the positions to which it was copied.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_gradient",
            promise: "It can be differentiated in turn, as second derivatives need.",
            kind: Kind::Gradient,
            run: gradient_reaches_gradient,
        },
        Check {
            name: "misfits_are_refused",
            promise: "A shape that does not stretch to the gradient's gets an error that names \
                      both.",
            kind: Kind::Errors,
            run: misfits_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "keepdim_lost",
            diagnosis: "the summed axes of length 1 are gone from the result; they must stay",
            caught_by: "documented_example",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                let added = gradient.rank() - shape.len();
                let mut axes: Vec<usize> = (0..added).collect();
                axes.extend(stretched_axes(shape).into_iter().map(|axis| added + axis));
                gradient.sum(axes)
            }),
        },
        Impostor {
            name: "mean_for_sum",
            diagnosis: "the copies' gradients are averaged; they must be summed",
            caught_by: "documented_example",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                let sum = unbroadcast(gradient, shape)?;
                let copies = gradient.elem_count() / sum.elem_count().max(1);
                sum / copies as f64
            }),
        },
        Impostor {
            name: "first_copy_only",
            diagnosis: "only the first copy's gradient is kept; those of all copies are summed",
            caught_by: "documented_example",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                let mut kept = gradient.clone();
                for (n, &length) in shape.iter().rev().enumerate() {
                    kept = kept.narrow(gradient.rank() - 1 - n, 0, length)?;
                }
                for _ in shape.len()..gradient.rank() {
                    kept = kept.get(0)?;
                }
                Ok::<_, candle_core::Error>(kept)
            }),
        },
        Impostor {
            name: "first_of_the_leading_axes",
            diagnosis: "of the axes that broadcasting added, only the first position is kept; they \
                        must be summed",
            caught_by: "nothing_is_lost",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                let mut kept = gradient.clone();
                while kept.rank() > shape.len() {
                    kept = kept.get(0)?;
                }
                unbroadcast(&kept, shape)
            }),
        },
        Impostor {
            name: "leading_axes_forgotten",
            diagnosis: "the axes that broadcasting added in front are still there; they must be \
                        summed away",
            caught_by: "it_is_the_adjoint_of_broadcasting",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                let added = gradient.rank() - shape.len();
                let axes = stretched_axes(shape).into_iter().map(|axis| added + axis);
                gradient.sum_keepdim(axes.collect::<Vec<_>>())
            }),
        },
        Impostor {
            name: "last_axes_summed_away",
            diagnosis: "as many axes as broadcasting added are summed away at the end; it adds \
                        them in front",
            caught_by: "it_is_the_adjoint_of_broadcasting",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                let added: Vec<usize> = (shape.len()..gradient.rank()).collect();
                gradient.sum(added)?.sum_keepdim(stretched_axes(shape))
            }),
        },
        Impostor {
            name: "axes_move_up",
            diagnosis: "the leading axes are summed away by number, 0, 1, …, but once one is gone \
                        the others have moved up",
            caught_by: "matches_definition",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                let mut sum = gradient.clone();
                for axis in 0..gradient.rank() - shape.len() {
                    sum = sum.sum(axis)?;
                }
                sum.sum_keepdim(stretched_axes(shape))
            }),
        },
        Impostor {
            name: "f32_only",
            diagnosis: "the result is `f32`; its dtype is that of `gradient`",
            caught_by: "matches_definition",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                unbroadcast(&gradient.to_dtype(CandleDType::F32)?, shape)
            }),
        },
        Impostor {
            name: "graph_left",
            diagnosis: "the values are copied out of the graph, so no gradient comes back",
            caught_by: "gradient_reaches_gradient",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                unbroadcast(&gradient.detach(), shape)
            }),
        },
        Impostor {
            name: "sums_whatever_differs",
            diagnosis: "every axis whose length differs is summed, even where broadcasting could \
                        not have made it",
            caught_by: "misfits_are_refused",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                let mut sum = gradient.clone();
                while sum.rank() > shape.len() {
                    sum = sum.sum(0)?;
                }
                let differs = |&axis: &usize| sum.dims()[axis] != shape[axis];
                let differing: Vec<usize> = (0..sum.rank()).filter(differs).collect();
                sum.sum_keepdim(differing)
            }),
        },
        Impostor {
            name: "shapes_unsaid",
            diagnosis: "the error does not name both shapes",
            caught_by: "misfits_are_refused",
            answer: answer!(|gradient: &Tensor, shape: &[usize]| {
                unbroadcast(gradient, shape).map_err(|_| candle_core::Error::msg("no fit"))
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_matmul",
        answer: answer!(|gradient: &Tensor, shape: &[usize]| by_matmul(gradient, shape)),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let gradient = Array::matrix(&[[1., 2., 3.], [4., 5., 6.]]).to(DType::F32);
    let got = trial.array(question(&gradient, &[2, 1]))?;
    let expected = Array::matrix(&[[6.], [15.]]).to(DType::F32);
    trial.close("result", &got, &expected, tolerance(&gradient))
}

fn nothing_is_lost(trial: &mut Trial) -> Outcome {
    let gradient = trial.rng.normal_array(&[2, 3, 4]);
    let sum = trial.array(question(&gradient, &[3, 1]))?.sum();
    let (got, expected) = (scalar(sum), scalar(gradient.sum()));
    trial.close("sum of the result", &got, &expected, tolerance(&gradient))
}

fn it_is_the_adjoint_of_broadcasting(trial: &mut Trial) -> Outcome {
    for (shape, large) in [([3, 1], [2, 3, 4]), ([1, 3], [3, 3, 3])] {
        let (x, gradient) = (trial.rng.normal_array(&shape), trial.rng.normal_array(&large));
        let got = trial.array(question(&gradient, &shape))?;
        trial.ensure(got.shape() == shape, || {
            format!(
                "`result` has shape {:?}; `x`, which was stretched, has {shape:?}.",
                got.shape()
            )
        })?;
        let (here, there) = (scalar(x.dot(&got)), scalar(stretched(&x, &large).dot(&gradient)));
        let tolerance =
            Tolerance::roundings(64.0).at_scale(27.0 * x.max_abs() * gradient.max_abs());
        trial.close("⟨x, result⟩", &here, &there, tolerance)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let cases: [(&[usize], &[usize]); 6] = [
        (&[4], &[2, 3, 4]),
        (&[2, 1, 3], &[5, 2, 4, 3]),
        (&[], &[2, 3]),
        (&[1, 1], &[1, 1]),
        (&[2, 5], &[2, 5]),
        (&[1, 3, 1], &[2, 3, 1]),
    ];
    for (shape, large) in cases {
        for dtype in [DType::F32, DType::F64] {
            let backwards: Vec<usize> = (0..large.len()).rev().collect();
            let gradient = trial.rng.normal_array(large).to(dtype).laid_out(&backwards);
            let got = trial.array(question(&gradient, shape))?;
            let expected = summed(&gradient, shape);
            trial.close("result", &got, &expected, tolerance(&gradient))?;
        }
    }
    Ok(())
}

fn gradient_reaches_gradient(trial: &mut Trial) -> Outcome {
    let gradient = trial.rng.normal_array(&[2, 3, 4]);
    let asked = question(&gradient, &[3, 1]);
    trial.gradient_matches(asked, |at| summed(at.get("gradient"), &[3, 1]))
}

fn misfits_are_refused(trial: &mut Trial) -> Outcome {
    let cases: [(&[usize], &[usize]); 3] =
        [(&[2], &[5, 3]), (&[4, 3], &[1, 3]), (&[1, 2, 3], &[2, 3])];
    for (shape, large) in cases {
        let gradient = trial.rng.normal_array(large);
        let case = format!("{shape:?} does not stretch to {large:?}");
        let said = trial.refuses(&case, question(&gradient, shape))?;
        let (small, large) = (format!("{shape:?}"), format!("{large:?}"));
        trial.ensure(said.contains(&small) && said.contains(&large), || {
            format!("{case}, but the error does not name both shapes: {said}")
        })?;
    }
    Ok(())
}

fn question(gradient: &Array, shape: &[usize]) -> Vec<(&'static str, Value)> {
    args![gradient: gradient, shape: shape]
}

fn scalar(value: f64) -> Array {
    Array::new(&[], vec![value]).to(DType::F32)
}

/// At most all `n` numbers are added up, each addition rounding a sum of at most `n` of them.
fn tolerance(gradient: &Array) -> Tolerance {
    let n = gradient.values().len() as f64;
    Tolerance::roundings(4.0 * n).at_scale(n * gradient.max_abs())
}

/// The definition: every position gives its number to the one that it was copied from.
fn summed(gradient: &Array, shape: &[usize]) -> Array {
    let added = gradient.rank() - shape.len();
    let mut sums = Array::full(shape, 0.0);
    for (n, value) in gradient.values().iter().enumerate() {
        let at = gradient.position(n);
        let to: Vec<usize> =
            shape.iter().zip(&at[added..]).map(|(&n, &at)| if n == 1 { 0 } else { at }).collect();
        sums.set(&to, sums.at(&to) + value);
    }
    sums.to(gradient.dtype())
}

fn unbroadcast(gradient: &Tensor, shape: &[usize]) -> Result<Tensor> {
    require_stretch(shape, gradient.dims())?;
    let added: Vec<usize> = (0..gradient.rank() - shape.len()).collect();
    gradient.sum(added)?.sum_keepdim(stretched_axes(shape))
}

/// Sums by products with ones, one axis at a time, from the last to the first.
fn by_matmul(gradient: &Tensor, shape: &[usize]) -> Result<Tensor> {
    require_stretch(shape, gradient.dims())?;
    let added = gradient.rank() - shape.len();
    let mut sum = gradient.clone();
    for axis in (0..gradient.rank()).rev() {
        if axis < added || shape[axis - added] == 1 {
            let moved = sum.transpose(axis, gradient.rank() - 1)?.contiguous()?;
            let length = gradient.dims()[axis];
            let ones = Tensor::ones((length, 1), gradient.dtype(), gradient.device())?;
            let (mut dims, rows) = (moved.dims().to_vec(), moved.elem_count() / length);
            dims[gradient.rank() - 1] = 1;
            let product = moved.reshape((rows, length))?.matmul(&ones)?;
            sum = product.reshape(dims)?.transpose(axis, gradient.rank() - 1)?;
        }
    }
    sum.reshape(shape)
}

fn require_stretch(small: &[usize], large: &[usize]) -> Result<()> {
    let pairs = || small.iter().rev().zip(large.iter().rev());
    if small.len() <= large.len() && pairs().all(|(&small, large)| small == 1 || small == *large) {
        return Ok(());
    }
    bail!("{small:?} does not stretch to {large:?}")
}

fn stretched_axes(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).filter(|&axis| shape[axis] == 1).collect()
}
