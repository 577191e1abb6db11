//! `roll`: rows as rings.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor};
use protocol::DType;

use super::{inputs::matrices, rules::PUZZLE};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const ROLL: Part = Part {
    name: "roll",
    rule: Some(PUZZLE),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "whole_turns_change_nothing",
            promise: "A shift of 0, of `n` or of several `n` changes nothing.",
            kind: Kind::Property,
            run: whole_turns_change_nothing,
        },
        Check {
            name: "rolling_back_undoes",
            promise: "Rolling by `shift` and then by `-shift` changes nothing.",
            kind: Kind::Property,
            run: rolling_back_undoes,
        },
        Check {
            name: "matches_definition",
            promise: "Position `(j + shift) mod n` of a row holds what stood at `j`.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_x",
            promise: "The gradient reaches `x`, rolled back.",
            kind: Kind::Gradient,
            run: gradient_reaches_x,
        },
    ],
    impostors: &[
        Impostor {
            name: "other_way",
            diagnosis: "it rolls the other way; a positive shift moves to the right",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, shift: i64| rolled(x, -shift)),
        },
        Impostor {
            name: "zeros_come_in",
            diagnosis: "what leaves on the right is lost and zeros come in; it must come in again \
                        on the left",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, shift: i64| x.matmul(&moves(x, &[shift])?)),
        },
        Impostor {
            name: "rolls_whole_rows",
            diagnosis: "the rows change places; the numbers within each row must",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, shift: i64| x.roll(shift as i32, 0)),
        },
        Impostor {
            name: "one_turn_only",
            diagnosis: "only one turn is wrapped; reduce the shift modulo `n` first",
            caught_by: "whole_turns_change_nothing",
            answer: answer!(|x: &Tensor, shift: i64| {
                let n = x.dim(1)? as i64;
                x.matmul(&moves(x, &[shift, shift - n, shift + n])?)
            }),
        },
        Impostor {
            name: "remainder_of_negatives",
            diagnosis: "`%` of a negative shift is negative; `rem_euclid` is not",
            caught_by: "rolling_back_undoes",
            answer: answer!(|x: &Tensor, shift: i64| {
                let n = x.dim(1)? as i64;
                let shift = shift % n;
                x.matmul(&moves(x, &[shift, shift - n])?)
            }),
        },
        Impostor {
            name: "negative_refused",
            diagnosis: "a negative shift is refused; it moves to the left",
            caught_by: "rolling_back_undoes",
            answer: answer!(|x: &Tensor, shift: i64| {
                match shift {
                    ..0 => anyhow::bail!("a shift may not be negative"),
                    _ => rolled(x, shift),
                }
            }),
        },
        Impostor {
            name: "rows_run_on",
            diagnosis: "what leaves one row comes in at the next; each row is a ring of its own",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, shift: i64| {
                rolled(&x.reshape((1, ()))?, shift)?.reshape(x.shape())
            }),
        },
        Impostor {
            name: "f32_only",
            diagnosis: "the matrix is `f32`, whatever the dtype of `x`",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, shift: i64| {
                let n = x.dim(1)? as i64;
                let shift = shift.rem_euclid(n);
                x.matmul(&moves(&x.to_dtype(CandleDType::F32)?, &[shift, shift - n])?)
            }),
        },
        Impostor {
            name: "graph_left",
            diagnosis: "the values are copied out of the graph, so no gradient comes back",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor, shift: i64| rolled(&x.detach(), shift)),
        },
    ],
    alternatives: &[Alternative {
        name: "cut_and_joined",
        answer: answer!(|x: &Tensor, shift: i64| rolled(x, shift)),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1., 2., 3., 4.]]).to(DType::F32);
    let got = trial.array(args![x: &x, shift: 1i64])?;
    let expected = Array::matrix(&[[4., 1., 2., 3.]]).to(DType::F32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn whole_turns_change_nothing(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[1, 5]);
    for shift in [0i64, 5, 15] {
        let got = trial.array(args![x: &x, shift: shift])?;
        trial.close("result", &got, &x, Tolerance::EXACT)?;
    }
    Ok(())
}

fn rolling_back_undoes(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[1, 6]);
    for shift in [2i64, 11] {
        let there = trial.array(args![x: &x, shift: shift])?;
        let back = trial.array(args![x: &there, shift: -shift])?;
        trial.close("there and back", &back, &x, Tolerance::EXACT)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (x, shift) in matrices(trial).iter().zip([1i64, 2, -3].into_iter().cycle()) {
        let got = trial.array(args![x: x, shift: shift])?;
        trial.close("result", &got, &ring(x, shift), Tolerance::EXACT)?;
    }
    Ok(())
}

fn gradient_reaches_x(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[2, 5]);
    trial.gradient_matches(args![x: &x, shift: 2i64], |at| ring(at.get("x"), 2))
}

/// The definition, position by position.
fn ring(x: &Array, shift: i64) -> Array {
    let n = x.dim(1) as i64;
    let source = |at: usize| (at as i64 - shift).rem_euclid(n) as usize;
    Array::from_fn(x.shape(), |at| x.at(&[at[0], source(at[1])])).to(x.dtype())
}

fn rolled(x: &Tensor, shift: i64) -> Result<Tensor> {
    let n = x.dim(1)?;
    let shift = shift.rem_euclid(n as i64) as usize;
    Tensor::cat(&[x.narrow(1, n - shift, shift)?, x.narrow(1, 0, n - shift)?], 1)
}

/// The matrix that moves by each of `shifts`, as far as that stays inside.
fn moves(x: &Tensor, shifts: &[i64]) -> Result<Tensor> {
    let n = x.dim(1)?;
    let goes =
        |from: usize, to: usize| shifts.iter().any(|&shift| from as i64 + shift == to as i64);
    let entries: Vec<u8> = (0..n * n).map(|entry| u8::from(goes(entry / n, entry % n))).collect();
    Tensor::from_vec(entries, (n, n), x.device())?.to_dtype(x.dtype())
}
