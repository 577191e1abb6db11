//! `steer`: the residual stream changed along one direction, where it was asked.

use answer::answer;
use anyhow::{Result, bail, ensure};
use candle_core::{DType as CandleDType, Tensor};
use protocol::DType;

use super::border::{array, tensor};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        slip!(|resid, asked| Slips { $($field: $value,)* ..RIGHT }.steer(resid, asked))
    };
    (|$resid:ident, $asked:ident| $body:expr) => {
        answer!(|resid: &Tensor, direction: &Tensor, mode: &str, amount: f64,
                 positions: &[usize]| {
            let direction = array(direction)?;
            let positions = positions.to_vec();
            let asked = Asked { direction, mode: mode.to_owned(), amount, positions };
            let $resid = &array(resid)?;
            let $asked = &asked;
            tensor(&$body?)
        })
    };
}

pub(super) const STEER: Part = Part {
    name: "steer",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "twice_is_once",
            promise: "What was clamped or ablated stays so when it is steered again, and what is \
                      added twice can be taken away again.",
            kind: Kind::Property,
            run: twice_is_once,
        },
        Check {
            name: "only_asked_positions_change",
            promise: "Positions that were not asked for stay bit by bit, and none counts twice.",
            kind: Kind::Property,
            run: only_asked_positions_change,
        },
        Check {
            name: "matches_definition",
            promise: "Each mode changes the stream as the contract says.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "bad_requests_are_refused",
            promise: "An unknown mode, a position behind the end, or a direction of length 0 or of \
                      another width give an error.",
            kind: Kind::Errors,
            run: bad_requests_are_refused,
        },
        Check {
            name: "gradient_reaches_both",
            promise: "The gradient reaches `resid` and `direction`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_both,
        },
    ],
    impostors: &[
        Impostor {
            name: "direction_not_unit",
            diagnosis: "the direction is taken as long as it is, so a dose means something else \
                        for each direction",
            caught_by: "documented_example",
            answer: slip!(is_unit: false),
        },
        Impostor {
            name: "every_position",
            diagnosis: "every position is steered, not only those in `positions`",
            caught_by: "documented_example",
            answer: slip!(everywhere: true),
        },
        Impostor {
            name: "wrong_sign",
            diagnosis: "the direction is taken away where it should be added",
            caught_by: "documented_example",
            answer: slip!(sign: -1.0),
        },
        Impostor {
            name: "clamp_adds",
            diagnosis: "`clamp` adds the amount to what is along the direction already; it must \
                        become the amount",
            caught_by: "documented_example",
            answer: slip!(clamp_keeps: true),
        },
        Impostor {
            name: "ablate_takes_amount",
            diagnosis: "`ablate` takes `amount` away; it must leave nothing along the direction, \
                        however much there was",
            caught_by: "documented_example",
            answer: slip!(ablates_amount: true),
        },
        Impostor {
            name: "ablate_clears_stream",
            diagnosis: "`ablate` sets the whole stream to 0; only what is along the direction goes",
            caught_by: "documented_example",
            answer: slip!(clears: true),
        },
        Impostor {
            name: "clamp_only_raises",
            diagnosis: "`clamp` raises what is below the amount and leaves what is above; it must \
                        bring both to it",
            caught_by: "twice_is_once",
            answer: slip!(only_raises: true),
        },
        Impostor {
            name: "position_counts_twice",
            diagnosis: "a position that is there twice is steered twice",
            caught_by: "only_asked_positions_change",
            answer: slip!(repeats: true),
        },
        Impostor {
            name: "first_sequence_alone",
            diagnosis: "only the first sequence of the batch is steered",
            caught_by: "twice_is_once",
            answer: slip!(first_only: true),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever the stream is",
            caught_by: "matches_definition",
            answer: slip!(|resid, asked| {
                RIGHT.steer(&resid.to(DType::F32), asked).map(|out| out.to(resid.dtype()))
            }),
        },
        Impostor {
            name: "left_the_graph",
            diagnosis: "the direction leaves the graph on the way, so no gradient comes back to it",
            caught_by: "gradient_reaches_both",
            answer: answer!(|resid: &Tensor,
                             direction: &Tensor,
                             mode: &str,
                             amount: f64,
                             positions: &[usize]| {
                by_matmul(resid, &direction.detach(), mode, amount, positions)
            }),
        },
        Impostor {
            name: "anything_else_adds",
            diagnosis: "what comes is not looked at: an unknown mode adds, a position behind the \
                        end is passed over, and a direction of length 0 makes NaN",
            caught_by: "bad_requests_are_refused",
            answer: slip!(checks: false),
        },
    ],
    alternatives: &[Alternative {
        name: "by_matmul",
        answer: answer!(|resid: &Tensor,
                         direction: &Tensor,
                         mode: &str,
                         amount: f64,
                         positions: &[usize]| {
            by_matmul(resid, direction, mode, amount, positions)
        }),
    }],
};

/// A dot product over the features, a length, and a sum.
const TOLERANCE: Tolerance = Tolerance::roundings(128.0);

const MODES: [&str; 3] = ["add", "ablate", "clamp"];

fn documented_example(trial: &mut Trial) -> Outcome {
    let resid = Array::new(&[1, 2, 2], vec![2., 5., 2., 5.]).to(DType::F32);
    let direction = Array::vector(&[3., 0.]).to(DType::F32);
    for (mode, changed) in [("add", 12.0), ("ablate", 0.0), ("clamp", 10.0)] {
        let asked = Asked {
            direction: direction.clone(),
            mode: mode.to_owned(),
            amount: 10.0,
            positions: vec![1],
        };
        let steered = ask(trial, &resid, &asked)?;
        let expected = Array::new(&[1, 2, 2], vec![2., 5., changed, 5.]).to(DType::F32);
        trial.close(&format!("steered by {mode:?}"), &steered, &expected, TOLERANCE)?;
    }
    Ok(())
}

fn twice_is_once(trial: &mut Trial) -> Outcome {
    let (resid, asked) = draw(trial, [2, 4, 5], "clamp", -3.0);
    let (resid, asked) = (resid.to(DType::F32), asked.to(DType::F32));
    let direction = asked.direction.to(DType::F64);
    let unit = direction.map(|x| x / direction.dot(&direction).sqrt());
    for (mode, kept) in [("clamp", -3.0), ("ablate", 0.0)] {
        let asked = Asked { mode: mode.to_owned(), ..asked.clone() };
        let once = ask(trial, &resid, &asked)?;
        trial.has_shape("steered", &once, &[2, 4, 5])?;
        for (row, position) in
            [0, 1].map(|row| asked.positions.iter().map(move |&at| (row, at))).into_iter().flatten()
        {
            let along: f64 = (0..5).map(|k| once.at(&[row, position, k]) * unit.at(&[k])).sum();
            trial.ensure((along - kept).abs() < 1e-4, || {
                format!(
                    "After {mode:?} sequence {row} has {along:.4} along the direction at position \
                     {position}; expected {kept}, whatever was there before."
                )
            })?;
        }
        let twice = ask(trial, &once, &asked)?;
        trial.close(&format!("{mode:?} again"), &twice, &once, TOLERANCE.at_scale(8.0))?;
    }
    let add = Asked { mode: "add".to_owned(), ..asked };
    let there = ask(trial, &resid, &add)?;
    let back = ask(trial, &there, &Asked { amount: -add.amount, ..add.clone() })?;
    trial.close("added and taken away again", &back, &resid, TOLERANCE.at_scale(8.0))
}

fn only_asked_positions_change(trial: &mut Trial) -> Outcome {
    for mode in MODES {
        let (resid, asked) = draw(trial, [2, 5, 3], mode, 1.5);
        let resid = resid.to(DType::F32);
        let asked = Asked { positions: vec![3, 0, 3], ..asked.to(DType::F32) };
        let steered = ask(trial, &resid, &asked)?;
        trial.has_shape("steered", &steered, &[2, 5, 3])?;
        for position in [1, 2, 4] {
            let [before, after] = [&resid, &steered].map(|a| a.narrow(1, position, 1));
            trial.ensure(before.values() == after.values(), || {
                format!("Position {position} changed, but {mode:?} was asked for at 0 and 3.")
            })?;
        }
        let expected = RIGHT.steer(&resid, &asked);
        trial.close("steered at 3, 0 and 3", &steered, &expected.map_err(fault)?, TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, dtype) in
        [([2, 4, 6], DType::F64), ([1, 1, 1], DType::F64), ([3, 2, 5], DType::F32)]
    {
        for mode in MODES {
            let (resid, asked) = draw(trial, shape, mode, 2.5);
            let resid = resid.to(dtype).laid_out(&[2, 0, 1]);
            let asked = Asked { direction: asked.direction.to(dtype), ..asked };
            let steered = ask(trial, &resid, &asked)?;
            let expected = RIGHT.steer(&resid, &asked).map_err(fault)?;
            let name = format!("steered by {mode:?}");
            trial.close(&name, &steered, &expected, TOLERANCE.at_scale(8.0))?;
        }
    }
    let (resid, asked) = draw(trial, [2, 3, 4], "add", 1.0);
    let nowhere = Asked { positions: Vec::new(), ..asked };
    let steered = ask(trial, &resid, &nowhere)?;
    trial.close("steered nowhere", &steered, &resid, Tolerance::EXACT)
}

fn gradient_reaches_both(trial: &mut Trial) -> Outcome {
    for mode in MODES {
        let (resid, asked) = draw(trial, [1, 3, 2], mode, 0.8);
        let asked = Asked { positions: vec![0, 2], ..asked };
        trial.gradient_matches(asked.args(&resid), |at| {
            let asked = Asked { direction: at.get("direction").clone(), ..asked.clone() };
            RIGHT.steer(at.get("resid"), &asked).expect("invariant: drawn requests are good")
        })?;
    }
    Ok(())
}

fn bad_requests_are_refused(trial: &mut Trial) -> Outcome {
    let (resid, asked) = draw(trial, [1, 3, 2], "add", 1.0);
    let narrow = Array::full(&[1], 1.0);
    let cases = [
        ("`mode` is \"project\"", Asked { mode: "project".to_owned(), ..asked.clone() }),
        ("position 3 is not below 3", Asked { positions: vec![3], ..asked.clone() }),
        ("`direction` is 0", Asked { direction: Array::full(&[2], 0.0), ..asked.clone() }),
        ("`direction` has one coordinate too few", Asked { direction: narrow, ..asked }),
    ];
    for (case, asked) in cases {
        trial.refuses(case, asked.args(&resid))?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "handed to `map_err`")]
fn fault(error: anyhow::Error) -> Stop {
    unreachable!("invariant: drawn requests are good: {error}")
}

/// What is asked beside the stream.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) direction: Array,
    pub(super) mode: String,
    pub(super) amount: f64,
    pub(super) positions: Vec<usize>,
}

impl Asked {
    fn to(&self, dtype: DType) -> Self {
        Self { direction: self.direction.to(dtype), ..self.clone() }
    }

    fn args(&self, resid: &Array) -> Vec<(&'static str, protocol::Value)> {
        args![resid: resid, direction: &self.direction, mode: self.mode.as_str(),
              amount: self.amount, positions: self.positions.as_slice()]
    }
}

fn ask(trial: &mut Trial, resid: &Array, asked: &Asked) -> Result<Array, Stop> {
    trial.array(asked.args(resid))
}

fn draw(trial: &mut Trial, shape: [usize; 3], mode: &str, amount: f64) -> (Array, Asked) {
    let [_, seq, d_model] = shape;
    let rng = &mut trial.rng;
    // Away from 0 along the direction at once, on both sides of every amount.
    let resid = rng.normal_array(&shape).to(DType::F64).map(|x| 2.0 * x);
    let direction = Array::from_fn(&[d_model], |_| rng.normal() + 0.5);
    let direction = direction.map(|x| if x.abs() < 0.1 { 0.5 } else { x });
    let mut positions = rng.permutation(seq);
    positions.truncate(2);
    (resid, Asked { direction, mode: mode.to_owned(), amount, positions })
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(super) struct Slips {
    is_unit: bool,
    everywhere: bool,
    sign: f64,
    clamp_keeps: bool,
    only_raises: bool,
    ablates_amount: bool,
    clears: bool,
    repeats: bool,
    first_only: bool,
    checks: bool,
}

pub(super) const RIGHT: Slips = Slips {
    is_unit: true,
    everywhere: false,
    sign: 1.0,
    clamp_keeps: false,
    only_raises: false,
    ablates_amount: false,
    clears: false,
    repeats: false,
    first_only: false,
    checks: true,
};

impl Slips {
    pub(super) fn steer(&self, resid: &Array, asked: &Asked) -> Result<Array> {
        let (seq, d_model) = (resid.dim(1), resid.dim(2));
        let length = if self.is_unit { asked.direction.dot(&asked.direction).sqrt() } else { 1.0 };
        let fits = asked.direction.shape() == [d_model];
        ensure!(fits || !self.checks, "another width");
        ensure!(!self.checks || length > 0.0, "no direction");
        ensure!(!self.checks || asked.positions.iter().all(|&at| at < seq), "behind the end");
        let width = asked.direction.dim(0).min(d_model);
        let unit = |k: usize| if k < width { asked.direction.at(&[k]) / length } else { 0.0 };
        let mut out = resid.clone();
        for row in 0..if self.first_only { 1 } else { resid.dim(0) } {
            let mut positions: Vec<usize> =
                if self.everywhere { (0..seq).collect() } else { asked.positions.clone() };
            if !self.repeats {
                positions.sort_unstable();
                positions.dedup();
            }
            for at in positions.into_iter().filter(|&at| at < seq) {
                let along: f64 = (0..width).map(|k| out.at(&[row, at, k]) * unit(k)).sum();
                let change = match asked.mode.as_str() {
                    "ablate" if self.ablates_amount => -asked.amount,
                    "ablate" => -along,
                    "clamp" if self.only_raises => (asked.amount - along).max(0.0),
                    "clamp" if !self.clamp_keeps => asked.amount - along,
                    "add" | "clamp" => self.sign * asked.amount,
                    other if self.checks => bail!("there is no mode {other}"),
                    _ => asked.amount,
                };
                for k in 0..d_model {
                    let kept = if self.clears && asked.mode == "ablate" {
                        0.0
                    } else {
                        out.at(&[row, at, k]) + change * unit(k)
                    };
                    out.set(&[row, at, k], kept);
                }
            }
        }
        Ok(out.to(resid.dtype()))
    }
}

/// A right answer by the projection onto the direction, as a matrix.
fn by_matmul(
    resid: &Tensor,
    direction: &Tensor,
    mode: &str,
    amount: f64,
    positions: &[usize],
) -> Result<Tensor> {
    let (batch, seq, d_model) = resid.dims3()?;
    let squares = direction.sqr()?.sum_all()?;
    let is_zero = squares.to_dtype(CandleDType::F64)?.to_scalar::<f64>()? <= 0.0;
    let beyond = positions.iter().any(|&at| at >= seq);
    if is_zero || beyond || direction.dims() != [d_model] {
        bail!("this cannot be steered");
    }
    let (projects, adds) = match mode {
        "add" => (0.0, amount),
        "ablate" => (1.0, 0.0),
        "clamp" => (1.0, amount),
        _ => bail!("there is no such mode"),
    };
    let column = direction.unsqueeze(1)?;
    let onto = column.matmul(&column.t()?)?.broadcast_div(&squares)?; // (d_model, d_model)
    let flat = resid.contiguous()?.reshape((batch * seq, d_model))?;
    let along = flat.matmul(&onto)?.reshape((batch, seq, d_model))?;
    let added = (direction.broadcast_div(&squares.sqrt()?)? * adds)?;
    let change = (along * -projects)?.broadcast_add(&added)?;
    let mut pieces = Vec::new();
    for at in 0..seq {
        let piece = resid.narrow(1, at, 1)?;
        pieces.push(if positions.contains(&at) {
            (piece + change.narrow(1, at, 1)?)?
        } else {
            piece
        });
    }
    Ok(Tensor::cat(&pieces, 1)?)
}
