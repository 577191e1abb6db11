//! `unembed`: the stream against the vector of every token.

use answer::answer;
use candle_core::{D, Result, Tensor, bail};
use protocol::DType;

use super::steps::{in_single, normed};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const UNEMBED: Part = Part {
    name: "unembed",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "positions_stand_alone",
            promise: "Every position gets logits, and those that it gets alone.",
            kind: Kind::Property,
            run: positions_stand_alone,
        },
        Check {
            name: "sequences_stand_alone",
            promise: "A sequence gets in a batch what it gets alone.",
            kind: Kind::Property,
            run: sequences_stand_alone,
        },
        Check {
            name: "matches_definition",
            promise: "The result is resid wteᵀ, in every shape and layout.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_both",
            promise: "The gradient reaches `resid` and `wte`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_both,
        },
        Check {
            name: "other_widths_are_refused",
            promise: "A `wte` of another width than the stream gives an error.",
            kind: Kind::Errors,
            run: other_widths_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "wte_not_transposed",
            diagnosis: "`wte` is `(d_vocab, d_model)` and has to be transposed for `matmul`",
            caught_by: "documented_example",
            answer: answer!(|resid: &Tensor, wte: &Tensor| {
                resid.contiguous()?.broadcast_matmul(wte)
            }),
        },
        Impostor {
            name: "wte_reshaped",
            diagnosis: "`wte` is reshaped to `(d_model, d_vocab)`, which moves no number; a \
                        transpose does",
            caught_by: "documented_example",
            answer: answer!(|resid: &Tensor, wte: &Tensor| {
                let (d_vocab, d_model) = wte.dims2()?;
                logits(resid, &wte.reshape((d_model, d_vocab))?.t()?)
            }),
        },
        Impostor {
            name: "softmax_taken",
            diagnosis: "a softmax is taken already; the loss takes it, and then takes it twice",
            caught_by: "documented_example",
            answer: answer!(|resid: &Tensor, wte: &Tensor| {
                candle_nn::ops::softmax(&logits(resid, wte)?, D::Minus1)
            }),
        },
        Impostor {
            name: "normed_inside",
            diagnosis: "the stream is normed here; the last layer norm of the model stands before \
                        `unembed`, and has weights",
            caught_by: "documented_example",
            answer: answer!(|resid: &Tensor, wte: &Tensor| logits(&normed(resid, 1e-5)?, wte)),
        },
        Impostor {
            name: "last_position_only",
            diagnosis: "only the last position gets logits; that serves to generate, but training \
                        needs all of them",
            caught_by: "positions_stand_alone",
            answer: answer!(|resid: &Tensor, wte: &Tensor| {
                logits(&resid.narrow(1, resid.dim(1)? - 1, 1)?, wte)
            }),
        },
        Impostor {
            name: "first_sequence_only",
            diagnosis: "the axis of the batch is taken off with its first sequence, and the others \
                        are gone",
            caught_by: "sequences_stand_alone",
            answer: answer!(|resid: &Tensor, wte: &Tensor| logits(&resid.narrow(0, 0, 1)?, wte)),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever the inputs are",
            caught_by: "matches_definition",
            answer: answer!(|resid: &Tensor, wte: &Tensor| {
                in_single(|t| logits(&t[0], &t[1]), &[resid, wte])
            }),
        },
        Impostor {
            name: "a_copy_of_wte",
            diagnosis: "the matrix is a copy outside the graph, so the embedding learns at one end \
                        only; tied weights are the same tensor",
            caught_by: "gradient_reaches_both",
            answer: answer!(|resid: &Tensor, wte: &Tensor| logits(resid, &wte.copy()?.detach())),
        },
        Impostor {
            name: "streams_cut_anew",
            diagnosis: "the stream is flattened to rows of `wte`'s width whatever its own is, so a \
                        stream of another width is cut up instead of refused",
            caught_by: "other_widths_are_refused",
            answer: answer!(|resid: &Tensor, wte: &Tensor| {
                let (d_vocab, d_model) = wte.dims2()?;
                let rows = resid.reshape(((), d_model))?.matmul(&wte.t()?)?;
                rows.reshape((resid.dim(0)?, (), d_vocab))
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_broadcasting",
        answer: answer!(|resid: &Tensor, wte: &Tensor| {
            resid.dims3()?;
            logits(resid, wte)?;
            resid.unsqueeze(2)?.broadcast_mul(wte)?.sum(D::Minus1)
        }),
    }],
};

/// Roundings of an honest `f32` answer: a dot product over `d_model`.
const TOLERANCE: Tolerance = Tolerance::roundings(32.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let resid = Array::new(&[1, 1, 2], vec![2., 1.]).to(DType::F32);
    let wte = Array::matrix(&[[1., 0.], [0., 5.], [3., -1.]]).to(DType::F32);
    let out = trial.array(args![resid: &resid, wte: &wte])?;
    let expected = Array::new(&[1, 1, 3], vec![2., 5., 5.]).to(DType::F32);
    trial.close("logits", &out, &expected, TOLERANCE)
}

fn positions_stand_alone(trial: &mut Trial) -> Outcome {
    stand_alone(trial, [1, 3, 5], 1, "position")
}

fn sequences_stand_alone(trial: &mut Trial) -> Outcome {
    stand_alone(trial, [3, 2, 5], 0, "sequence")
}

/// Compares what each piece along an axis gets together and alone.
fn stand_alone(trial: &mut Trial, shape: [usize; 3], axis: usize, noun: &str) -> Outcome {
    let (resid, wte) = (trial.rng.normal_array(&shape), trial.rng.normal_array(&[4, shape[2]]));
    let together = trial.array(args![resid: &resid, wte: &wte])?;
    trial.has_shape("logits", &together, &[shape[0], shape[1], 4])?;
    for n in 0..shape[axis] {
        let alone = trial.array(args![resid: &resid.narrow(axis, n, 1), wte: &wte])?;
        let name = format!("logits of {noun} {n} among others, against the same alone");
        trial.close(&name, &together.narrow(axis, n, 1), &alone, TOLERANCE.at_scale(8.0))?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, d_vocab) in [([2, 3, 4], 5), ([1, 1, 1], 1), ([3, 2, 5], 7)] {
        for dtype in [DType::F64, DType::F32] {
            let resid = trial.rng.normal_array(&shape).to(dtype);
            let wte = trial.rng.normal_array(&[d_vocab, shape[2]]).to(dtype);
            let (laid_out, turned) = (resid.laid_out(&[2, 1, 0]), wte.laid_out(&[1, 0]));
            let out = trial.array(args![resid: &laid_out, wte: &turned])?;
            let expected = oracle(&resid, &wte).to(dtype);
            trial.close("logits", &out, &expected, TOLERANCE.at_scale(8.0))?;
        }
    }
    Ok(())
}

fn gradient_reaches_both(trial: &mut Trial) -> Outcome {
    let resid = trial.rng.normal_array(&[2, 2, 3]);
    let wte = trial.rng.normal_array(&[4, 3]);
    trial.gradient_matches(args![resid: &resid, wte: &wte], |at| {
        oracle(at.get("resid"), at.get("wte"))
    })
}

fn other_widths_are_refused(trial: &mut Trial) -> Outcome {
    let resid = trial.rng.normal_array(&[2, 4, 3]);
    for width in [6, 1, 2] {
        let wte = trial.rng.normal_array(&[5, width]);
        let case = format!("`resid` has d_model 3 and `wte` {width}");
        trial.refuses(&case, args![resid: &resid, wte: &wte])?;
    }
    Ok(())
}

/// `logits[b, t, v] = Σ_i resid[b, t, i] wte[v, i]`.
fn oracle(resid: &Array, wte: &Array) -> Array {
    Array::from_fn(&[resid.dim(0), resid.dim(1), wte.dim(0)], |at| {
        let product = |i: usize| resid.at(&[at[0], at[1], i]) * wte.at(&[at[2], i]);
        (0..wte.dim(1)).map(product).sum()
    })
}

fn logits(resid: &Tensor, wte: &Tensor) -> Result<Tensor> {
    let ((batch, seq, d_model), (d_vocab, width)) = (resid.dims3()?, wte.dims2()?);
    if d_model != width {
        bail!("{d_model} is not {width}");
    }
    resid.reshape((batch * seq, d_model))?.matmul(&wte.t()?)?.reshape((batch, seq, d_vocab))
}
