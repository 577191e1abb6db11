//! `probe_verdict`: what the accuracies of a probe and its controls prove.

use answer::answer;
use anyhow::{Result, ensure};
use candle_core::Tensor;
use protocol::{DType, Value};

use super::{
    border::{array, tensor},
    control_oracle::{RIGHT as CONTROL, Task},
    planted_tasks::{Truth, plant},
    probe_oracle::mean,
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        answer!(|accuracies: &Tensor, margin: f64| {
            let slips = Slips { $($field: $value,)* ..RIGHT };
            let (verdict, bounds) = slips.judge(&array(accuracies)?, margin)?;
            anyhow::Ok((verdict.to_owned(), tensor(&bounds)?))
        })
    };
}

pub(super) const PROBE_VERDICT: Part = Part {
    name: "probe_verdict",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "planted_truths_are_told",
            promise: "Of 12 probes whose truth was planted, true features are accepted, and those \
                      that memorise, read nothing, or need no training are not.",
            kind: Kind::Property,
            run: planted_truths_are_told,
        },
        Check {
            name: "order_of_games_is_nothing",
            promise: "Another order of the games changes nothing, but games are compared with \
                      themselves.",
            kind: Kind::Property,
            run: order_of_games_is_nothing,
        },
        Check {
            name: "matches_definition",
            promise: "The bounds are the mean difference less two standard errors, the verdict \
                      the first control that is not beaten.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "too_little_is_refused",
            promise: "A single game, or a missing control, gives an error.",
            kind: Kind::Errors,
            run: too_little_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "no_standard_error",
            diagnosis: "the bounds are the mean differences, so luck counts as proof; take two \
                        standard errors off",
            caught_by: "documented_example",
            answer: slip!(errors: 0.0),
        },
        Impostor {
            name: "standard_error_added",
            diagnosis: "the standard errors are added, which is the bound in the probe's favour",
            caught_by: "documented_example",
            answer: slip!(errors: -2.0),
        },
        Impostor {
            name: "one_standard_error",
            diagnosis: "one standard error is taken off; the contract asks for two",
            caught_by: "documented_example",
            answer: slip!(errors: 1.0),
        },
        Impostor {
            name: "deviation_for_error",
            diagnosis: "the standard deviation is taken for the standard error; divide by \
                        √n_games",
            caught_by: "documented_example",
            answer: slip!(deviation: true),
        },
        Impostor {
            name: "divided_by_all_games",
            diagnosis: "the standard deviation divides by n_games; by n_games − 1 it is not too \
                        small for few games",
            caught_by: "documented_example",
            answer: slip!(less: 0.0),
        },
        Impostor {
            name: "no_control_task",
            diagnosis: "the control task is not asked, so what was memorised counts as a feature",
            caught_by: "planted_truths_are_told",
            answer: slip!(asked: [false, true, true]),
        },
        Impostor {
            name: "no_untrained_model",
            diagnosis: "the untrained model is not asked, so what any random network shows counts \
                        as learned",
            caught_by: "planted_truths_are_told",
            answer: slip!(asked: [true, false, true]),
        },
        Impostor {
            name: "untrained_before_control",
            diagnosis: "the untrained model is asked before the control task; the order is \
                        commoner label, control task, untrained model",
            caught_by: "matches_definition",
            answer: slip!(order: [2, 1, 0]),
        },
        Impostor {
            name: "rows_in_order",
            diagnosis: "the controls are asked in the order of their rows; the commoner label \
                        comes first",
            caught_by: "planted_truths_are_told",
            answer: slip!(order: [0, 1, 2]),
        },
        Impostor {
            name: "games_not_paired",
            diagnosis: "the errors of the two rows are put together as if they came from other \
                        games; take the difference game by game",
            caught_by: "documented_example",
            answer: slip!(paired: false),
        },
        Impostor {
            name: "drift_for_error",
            diagnosis: "the standard error is taken from the steps from one game to the next, \
                        which depend on the order of the games",
            caught_by: "order_of_games_is_nothing",
            answer: slip!(steps: true),
        },
        Impostor {
            name: "margin_ignored",
            diagnosis: "a control counts as beaten if its bound is above 0; it must be above \
                        `margin`",
            caught_by: "matches_definition",
            answer: slip!(margin: 0.0),
        },
        Impostor {
            name: "single_game_believed",
            diagnosis: "one game is taken for proof; it has no standard error",
            caught_by: "too_little_is_refused",
            answer: slip!(checks: false),
        },
    ],
    alternatives: &[Alternative {
        name: "by_squares",
        answer: answer!(|accuracies: &Tensor, margin: f64| by_squares(accuracies, margin)),
    }],
};

/// Differences of numbers up to 1, and their squares.
const TOLERANCE: Tolerance = Tolerance::roundings(256.0).at_scale(1.0);

const VERDICTS: [&str; 3] = ["memorised", "architecture", "absent"];

fn documented_example(trial: &mut Trial) -> Outcome {
    let accuracies = Array::matrix(&[[1., 0.8], [0.5, 0.5], [0.6, 0.4], [0.5, 0.5]]).to(DType::F32);
    let (verdict, bounds) = ask(trial, &accuracies, 0.05)?;
    let expected = Array::vector(&[0.2, 0.4, 0.2]).to(DType::F32);
    trial.close("bounds", &bounds, &expected, TOLERANCE)?;
    is_said(trial, &verdict, "feature")
}

fn planted_truths_are_told(trial: &mut Trial) -> Outcome {
    for truth in Truth::ALL {
        for _ in 0..3 {
            let accuracies = planted(trial, truth);
            let (verdict, _) = ask(trial, &accuracies, MARGIN)?;
            let [task, control, untrained, majority] =
                [0, 1, 2, 3].map(|row| 100.0 * mean(&accuracies.narrow(0, row, 1)));
            trial.ensure(verdict == truth.verdict(), || {
                format!(
                    "{} The probe reads {task:.0} % of the real labels and {control:.0} % of the \
                     control labels, {untrained:.0} % from an untrained model, and the commoner \
                     label is right {majority:.0} % of the time. Your verdict is {verdict:?}; \
                     the truth is {:?}.",
                    truth.story(),
                    truth.verdict()
                )
            })?;
        }
    }
    Ok(())
}

/// Accuracies of a planted task, by the contract's own probes, from which the truth can be told.
fn planted(trial: &mut Trial, truth: Truth) -> Array {
    let mut drawn: Task = plant(&mut trial.rng, truth);
    for _ in 0..200 {
        let found = CONTROL.control(&drawn).map(|found| found.accuracies);
        if let Ok(accuracies) = found
            && RIGHT.judge(&accuracies, MARGIN).is_ok_and(|(said, _)| said == truth.verdict())
        {
            return accuracies;
        }
        drawn = plant(&mut trial.rng, truth);
    }
    Array::full(&[4, 2], 0.5)
}

const MARGIN: f64 = 0.05;

fn order_of_games_is_nothing(trial: &mut Trial) -> Outcome {
    let accuracies = random(trial, 9).to(DType::F64);
    let order = trial.rng.permutation(9);
    let other = accuracies.select(1, &order);
    let (verdict, bounds) = ask(trial, &accuracies, 0.1)?;
    let (again, moved) = ask(trial, &other, 0.1)?;
    trial.close("bounds with the games in another order", &moved, &bounds, TOLERANCE)?;
    is_said(trial, &again, &verdict)?;
    // What all rows of a game share is no advantage of any.
    let shared = trial.rng.uniform_array(&[9], 0.0, 0.5).to(DType::F64);
    let lifted = Array::from_fn(&[4, 9], |at| 0.5 * accuracies.at(at) + shared.at(&at[1..]));
    let (_, lifted) = ask(trial, &lifted, 0.1)?;
    let name = "bounds with easy and hard games, twice";
    trial.close(name, &lifted.map(|bound| 2.0 * bound), &bounds, TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (n_games, dtype) in [(2, DType::F64), (7, DType::F32), (12, DType::F64)] {
        for beaten in [[false, false, true], [true, false, true], [true, true, true]] {
            let accuracies = undecided(trial, n_games, beaten).to(dtype);
            let exact = RIGHT.judge(&accuracies, WIDE);
            let (said, expected) = exact.expect("invariant: four rows, two games");
            let laid_out = accuracies.laid_out(&[1, 0]);
            let (verdict, bounds) = ask(trial, &laid_out, WIDE)?;
            trial.close("bounds", &bounds, &expected, TOLERANCE)?;
            is_said(trial, &verdict, said)?;
        }
    }
    Ok(())
}

const WIDE: f64 = 0.2;

/// Draws accuracies whose bounds are all above 0, and above the margin where `beaten` says so.
fn undecided(trial: &mut Trial, n_games: usize, beaten: [bool; 3]) -> Array {
    // From row 0 at 0.9, a control at 0.3 is beaten by far, and one at 0.75 not by the margin.
    let at = |row: usize| match row {
        0 => 0.9,
        row if beaten[row - 1] => 0.3,
        _ => 0.78,
    };
    // The true row's alternate, so that no standard error is nearly 0: there a right formula, by
    // squares, loses half of its digits.
    let swing = |place: &[usize]| if place[0] == 0 { 0.004 * (place[1] % 2) as f64 } else { 0.0 };
    let rng = &mut trial.rng;
    Array::from_fn(&[4, n_games], |place| at(place[0]) + swing(place) + 0.0015 * rng.uniform())
}

fn too_little_is_refused(trial: &mut Trial) -> Outcome {
    let one = random(trial, 1);
    trial.refuses("there is only one game", args![accuracies: &one, margin: 0.05])?;
    let three = random(trial, 5).narrow(0, 0, 3);
    trial.refuses("there are three rows", args![accuracies: &three, margin: 0.05]).map(|_| ())
}

fn random(trial: &mut Trial, n_games: usize) -> Array {
    trial.rng.uniform_array(&[4, n_games], 0.3, 1.0)
}

fn ask(trial: &mut Trial, accuracies: &Array, margin: f64) -> Result<(String, Array), Stop> {
    let values = trial.values(args![accuracies: accuracies, margin: margin])?;
    let [Value::Text(verdict), Value::Tensor(bounds)] = values.as_slice() else {
        return Err(trial.wrong("It did not return a text and a tensor.".to_owned()));
    };
    let bounds = Array::from_raw(bounds).map_err(|error| trial.wrong(format!("{error}.")))?;
    Ok((verdict.chars().take(40).collect(), bounds))
}

fn is_said(trial: &mut Trial, got: &str, expected: &str) -> Outcome {
    trial.ensure(got == expected, || format!("The verdict is {got:?}; expected {expected:?}."))
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
struct Slips {
    /// How many standard errors are taken off.
    errors: f64,
    deviation: bool,
    /// Taken off the number of games.
    less: f64,
    paired: bool,
    /// Measures the spread from game to game.
    steps: bool,
    /// In which order the controls are asked, and which at all.
    order: [usize; 3],
    asked: [bool; 3],
    /// Times the margin.
    margin: f64,
    checks: bool,
}

const RIGHT: Slips = Slips {
    errors: 2.0,
    deviation: false,
    less: 1.0,
    paired: true,
    steps: false,
    order: [2, 0, 1],
    asked: [true; 3],
    margin: 1.0,
    checks: true,
};

impl Slips {
    fn judge(&self, accuracies: &Array, margin: f64) -> Result<(&'static str, Array)> {
        ensure!(accuracies.rank() == 2, "there are no rows");
        let (n_rows, n_games) = (accuracies.dim(0), accuracies.dim(1));
        ensure!(n_rows == 4 || !self.checks && n_rows > 1, "there are {n_rows} rows");
        ensure!(!self.checks || n_games > 1, "there is one game");
        let row = |k: usize| accuracies.values()[k * n_games..][..n_games].to_vec();
        let bound = |k: usize| {
            let (task, control) = (row(0), row(k.min(n_rows - 1)));
            let ahead: Vec<f64> = task.iter().zip(&control).map(|(a, b)| a - b).collect();
            let variance = if self.paired {
                self.variance(&ahead)
            } else {
                self.variance(&task) + self.variance(&control)
            };
            let n = if self.deviation { 1.0 } else { n_games as f64 };
            ahead.iter().sum::<f64>() / n_games as f64 - self.errors * (variance / n).sqrt()
        };
        let bounds = [1, 2, 3].map(bound);
        // A NaN beats nothing.
        let beaten = |k: usize| bounds[k] > self.margin * margin;
        let fails = |&&k: &&usize| self.asked[k] && !beaten(k);
        let verdict = self.order.iter().find(fails).map_or("feature", |&k| VERDICTS[k]);
        Ok((verdict, Array::vector(&bounds).to(accuracies.dtype())))
    }

    fn variance(&self, values: &[f64]) -> f64 {
        let n = values.len() as f64;
        if self.steps && values.len() > 2 {
            let steps = values.windows(2).map(|pair| (pair[1] - pair[0]).powi(2));
            return steps.sum::<f64>() / (2.0 * (n - 1.0));
        }
        let mean = values.iter().sum::<f64>() / n;
        let less = if n > 1.0 { self.less } else { 0.0 };
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - less)
    }
}

/// A right answer that takes the mean of the squares less the square of the mean, in `f64`.
fn by_squares(accuracies: &Tensor, margin: f64) -> Result<(String, Tensor)> {
    let (n_rows, n_games) = accuracies.dims2()?;
    ensure!(n_rows == 4 && n_games > 1, "there are {n_rows} rows of {n_games} games");
    let double = accuracies.to_dtype(candle_core::DType::F64)?;
    let n = n_games as f64;
    let mut bounds = Vec::new();
    for control in 1..4 {
        let ahead = (double.get(0)? - double.get(control)?)?;
        let mean = ahead.mean_all()?.to_scalar::<f64>()?;
        let of_squares = ahead.sqr()?.mean_all()?.to_scalar::<f64>()?;
        let variance = (of_squares - mean * mean).max(0.0) * n / (n - 1.0);
        bounds.push(mean - 2.0 * (variance / n).sqrt());
    }
    let unbeaten = [2, 0, 1].into_iter().find(|&k| bounds[k] <= margin);
    let verdict = unbeaten.map_or("feature", |k| VERDICTS[k]).to_owned();
    let bounds = Tensor::new(bounds, accuracies.device())?.to_dtype(accuracies.dtype())?;
    Ok((verdict, bounds))
}
