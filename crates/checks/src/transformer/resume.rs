//! `resume`: a run in pieces is the run in one piece.

use std::sync::{Mutex, PoisonError};

use answer::{Weights, answer};
use candle_core::{DType as Candle, Device, Result, Tensor, bail};
use protocol::{DType, Value};

use super::train::{
    SETTINGS, Task,
    answers::{Batches, Clip, Config, Decay, Given, RIGHT, Run, Slips, zeros_like},
    but_for_key_biases,
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial,
    named::{Named, to_value},
};

/// Makes an answer that unpacks, trains or packs in its own way.
macro_rules! keeps {
    ($($field:ident: $value:expr),* $(,)?) => {
        answer!(|tokens: &Tensor, checkpoint: &Weights, noise: &Tensor, config: Config,
                 steps: usize| {
            let given = Given { tokens, noise, config };
            Keeper { $($field: $value,)* ..HONEST }.resume(&given, checkpoint, steps)
        })
    };
}

pub(super) const RESUME: Part = Part {
    name: "resume",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "pieces_change_no_bit",
            promise: "A run in pieces ends with the weights of the run in one piece, bit by bit.",
            kind: Kind::Property,
            run: pieces_change_no_bit,
        },
        Check {
            name: "runs_in_turns_do_not_mix",
            promise: "Two runs that are taken in turns end as each does alone.",
            kind: Kind::Property,
            run: runs_in_turns_do_not_mix,
        },
        Check {
            name: "run_is_that_of_train_gpt",
            promise: "The weights at the end are those that train_gpt comes to.",
            kind: Kind::Reference,
            run: run_is_that_of_train_gpt,
        },
        Check {
            name: "damaged_checkpoints_are_refused",
            promise: "A checkpoint that lost something, and a step beyond the end, give an error.",
            kind: Kind::Errors,
            run: damaged_checkpoints_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "one_step_too_many",
            diagnosis: "it takes one step more than was asked for",
            caught_by: "pieces_change_no_bit",
            answer: keeps!(extra: 1),
        },
        Impostor {
            name: "memory_lost",
            diagnosis: "the optimiser's means are not in the checkpoint, so Adam starts anew",
            caught_by: "pieces_change_no_bit",
            answer: keeps!(unpacked: |run| {
                (run.mean, run.square) = (zeros_like(&run.mean)?, zeros_like(&run.square)?);
                Ok(())
            }),
        },
        Impostor {
            name: "squares_lost",
            diagnosis: "only one of Adam's two means is in the checkpoint",
            caught_by: "pieces_change_no_bit",
            answer: keeps!(unpacked: |run| {
                run.square = zeros_like(&run.square)?;
                Ok(())
            }),
        },
        Impostor {
            name: "adam_counts_anew",
            diagnosis: "the steps that Adam corrects its means for are counted from 0 again",
            caught_by: "pieces_change_no_bit",
            answer: keeps!(unpacked: |run| {
                run.n_adam = 0;
                Ok(())
            }),
        },
        Impostor {
            name: "schedule_starts_anew",
            diagnosis: "the learning rate begins with its warm-up again",
            caught_by: "pieces_change_no_bit",
            answer: keeps!(unpacked: |run| {
                run.n_rate = 0;
                Ok(())
            }),
        },
        Impostor {
            name: "data_starts_anew",
            diagnosis: "the windows are those of the first steps again, since the place in the \
                        data is not kept",
            caught_by: "pieces_change_no_bit",
            answer: keeps!(unpacked: |run| {
                run.n_data = 0;
                Ok(())
            }),
        },
        Impostor {
            name: "last_windows_again",
            diagnosis: "the first step of a piece has the windows of the last step before it",
            caught_by: "pieces_change_no_bit",
            answer: keeps!(unpacked: |run| {
                run.n_data = run.n_data.saturating_sub(1);
                Ok(())
            }),
        },
        Impostor {
            name: "kept_in_single",
            diagnosis: "the checkpoint is in `f32`, whatever the model is in",
            caught_by: "pieces_change_no_bit",
            answer: keeps!(unpacked: |run| {
                (run.mean, run.square) = (rounded(&run.mean)?, rounded(&run.square)?);
                Ok(())
            }),
        },
        Impostor {
            name: "memory_kept_aside",
            diagnosis: "the optimiser's means are kept in the program and not in the checkpoint, \
                        so another run's get in",
            caught_by: "runs_in_turns_do_not_mix",
            answer: keeps!(aside: true),
        },
        Impostor {
            name: "clipping_forgotten",
            diagnosis: "the gradients are not clipped, as those of train_gpt are",
            caught_by: "run_is_that_of_train_gpt",
            answer: keeps!(slips: Slips { clip: Clip::Never, ..RIGHT }),
        },
        Impostor {
            name: "decay_forgotten",
            diagnosis: "the weights do not decay, as those of train_gpt do",
            caught_by: "run_is_that_of_train_gpt",
            answer: keeps!(slips: Slips { decay: Decay::Nothing, ..RIGHT }),
        },
        Impostor {
            name: "accumulation_forgotten",
            diagnosis: "only the last batch of a step counts",
            caught_by: "run_is_that_of_train_gpt",
            answer: keeps!(slips: Slips { batches: Batches::LastOnly, ..RIGHT }),
        },
        Impostor {
            name: "losses_made_good",
            diagnosis: "what is missing from a checkpoint is taken to be zeros",
            caught_by: "damaged_checkpoints_are_refused",
            answer: keeps!(looks: false),
        },
        Impostor {
            name: "end_ignored",
            diagnosis: "it goes on beyond the end of the run, with the last learning rate",
            caught_by: "documented_example",
            answer: keeps!(ends: false),
        },
    ],
    alternatives: &[Alternative { name: "one_long_tensor", answer: keeps!(packs: false) }],
};

/// How checkpoints are kept.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
struct Keeper {
    slips: Slips,
    extra: usize,
    /// What happens to a run that comes out of a checkpoint.
    unpacked: fn(&mut Run) -> Result<()>,
    /// Whether the means stay in the program.
    aside: bool,
    looks: bool,
    ends: bool,
    /// Whether each mean is a tensor of its own; else all are one.
    packs: bool,
}

const HONEST: Keeper = Keeper {
    slips: RIGHT,
    extra: 0,
    unpacked: |_| Ok(()),
    aside: false,
    looks: true,
    ends: true,
    packs: true,
};

/// What an impostor keeps where it should not.
static ASIDE: Mutex<Option<(Weights, Weights)>> = Mutex::new(None);

const COUNT: &str = "run.steps";
const LONG: &str = "run.memory";
const MEAN: &str = "run.mean.";
const SQUARE: &str = "run.square.";

impl Keeper {
    fn resume(&self, given: &Given, checkpoint: &Weights, steps: usize) -> Result<Weights> {
        let (mut run, n_done) = self.unpack(checkpoint)?;
        let steps = steps + self.extra;
        // One step too many is no error of its own.
        let room = given.config.steps + self.extra;
        if self.ends && n_done + steps > room {
            bail!("the run is over");
        }
        for _ in 0..steps {
            // Beyond the end there is no noise.
            run.n_data = run.n_data.min(given.config.steps - 1);
            self.slips.step(&mut run, given)?;
        }
        let n_steps = n_done + steps;
        self.pack(run, n_steps)
    }

    /// The run in a checkpoint, and how many of its steps are done.
    fn unpack(&self, checkpoint: &Weights) -> Result<(Run, usize)> {
        let own = |name: &str| name.starts_with("run.");
        let weights = checkpoint.iter().filter(|(name, _)| !own(name));
        let weights = weights.map(|(name, w)| (name.to_owned(), w.clone()));
        let mut run = Run::begin(&weights.collect())?;
        if checkpoint.iter().all(|(name, _)| !own(name)) {
            return Ok((run, 0));
        }
        if self.packs {
            run.mean = self.memory(checkpoint, MEAN, &run.mean)?;
            run.square = self.memory(checkpoint, SQUARE, &run.square)?;
        } else {
            let long = checkpoint.get(LONG)?;
            let half = long.elem_count() / 2;
            run.mean = cut(&long.narrow(0, 0, half)?, &run.mean)?;
            run.square = cut(&long.narrow(0, half, half)?, &run.square)?;
        }
        if self.aside {
            let aside = ASIDE.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (run.mean, run.square) = aside.unwrap_or((run.mean, run.square));
        }
        let count = match checkpoint.find(COUNT) {
            Some(count) => count.to_scalar::<f64>()? as usize,
            None if self.looks => bail!("there is no count"),
            None => 0,
        };
        (run.n_adam, run.n_rate, run.n_data) = (count, count, count);
        (self.unpacked)(&mut run)?;
        Ok((run, count))
    }

    fn memory(&self, checkpoint: &Weights, start: &str, zeros: &Weights) -> Result<Weights> {
        let find = |(name, zero): (&str, &Tensor)| {
            let kept = checkpoint.find(&format!("{start}{name}"));
            match kept {
                Some(kept) => Ok((name.to_owned(), kept.clone())),
                None if self.looks => bail!("nothing is kept of {name}"),
                None => Ok((name.to_owned(), zero.clone())),
            }
        };
        zeros.iter().map(find).collect()
    }

    fn pack(&self, run: Run, n_steps: usize) -> Result<Weights> {
        let mut checkpoint = run.weights;
        checkpoint.insert(COUNT, Tensor::new(n_steps as f64, &Device::Cpu)?);
        if self.packs {
            for (start, memory) in [(MEAN, &run.mean), (SQUARE, &run.square)] {
                for (name, tensor) in memory.iter() {
                    checkpoint.insert(&format!("{start}{name}"), tensor.clone());
                }
            }
        } else {
            let all = run.mean.iter().chain(run.square.iter()).map(|(_, t)| t.flatten_all());
            checkpoint.insert(LONG, Tensor::cat(&all.collect::<Result<Vec<_>>>()?, 0)?);
        }
        if self.aside {
            *ASIDE.lock().unwrap_or_else(PoisonError::into_inner) = Some((run.mean, run.square));
        }
        Ok(checkpoint)
    }
}

/// Cuts one long tensor into the shapes of others.
fn cut(long: &Tensor, like: &Weights) -> Result<Weights> {
    let mut start = 0;
    let mut piece = |(name, like): (&str, &Tensor)| {
        let n = like.elem_count();
        start += n;
        Ok((name.to_owned(), long.narrow(0, start - n, n)?.reshape(like.shape())?))
    };
    like.iter().map(&mut piece).collect()
}

fn rounded(memory: &Weights) -> Result<Weights> {
    let round = |(name, tensor): (&str, &Tensor)| {
        Ok((name.to_owned(), tensor.to_dtype(Candle::F32)?.to_dtype(tensor.dtype())?))
    };
    memory.iter().map(round).collect()
}

/// As for `train_gpt`.
const TOLERANCE: Tolerance = Tolerance::roundings(4096.0).at_scale(1.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let task = Task::documented();
    let checkpoint = ask(trial, &task, &task.weights, 1)?;
    let digits = Tolerance::relative(1e-6).at_scale(0.1);
    close(trial, &checkpoint, &task.documented_weights(), digits)?;
    trial.refuses("the run is over", args(&task, &checkpoint, 1)).map(drop)
}

fn pieces_change_no_bit(trial: &mut Trial) -> Outcome {
    let task = Task::random(trial, SETTINGS);
    for (dtype, pieces) in [(DType::F64, &[2, 3][..]), (DType::F32, &[1, 3, 1])] {
        let task = task.to(dtype);
        let whole = ask(trial, &task, &task.weights, SETTINGS.steps)?;
        has_weights(trial, &whole, &task.weights)?;
        let mut checkpoint = task.weights.clone();
        for steps in pieces {
            checkpoint = ask(trial, &task, &checkpoint, *steps)?;
        }
        close(trial, &checkpoint, &weights_of(&whole, &task), Tolerance::EXACT)?;
    }
    Ok(())
}

fn runs_in_turns_do_not_mix(trial: &mut Trial) -> Outcome {
    let [one, other] = [Task::random(trial, SETTINGS), Task::random(trial, SETTINGS)];
    let alone = ask(trial, &one, &one.weights, 3)?;
    let alone = ask(trial, &one, &alone, 2)?;
    has_weights(trial, &alone, &one.weights)?;
    let half = ask(trial, &one, &one.weights, 3)?;
    ask(trial, &other, &other.weights, 1)?;
    let whole = ask(trial, &one, &half, 2)?;
    close(trial, &whole, &weights_of(&alone, &one), Tolerance::EXACT)
}

fn run_is_that_of_train_gpt(trial: &mut Trial) -> Outcome {
    let mut task = Task::random(trial, SETTINGS);
    task.settings.max_norm = 0.5 * task.first_norm();
    let checkpoint = ask(trial, &task, &task.weights, 3)?;
    let checkpoint = ask(trial, &task, &checkpoint, 2)?;
    let (expected, _) = task.solve(SETTINGS.steps);
    close(trial, &checkpoint, &but_for_key_biases(&checkpoint, &expected), TOLERANCE)
}

fn damaged_checkpoints_are_refused(trial: &mut Trial) -> Outcome {
    let task = Task::random(trial, SETTINGS);
    let checkpoint = ask(trial, &task, &task.weights, 3)?;
    trial
        .refuses("3 of 5 steps are done and 3 more were asked for", args(&task, &checkpoint, 3))?;
    let kept: Vec<&String> =
        checkpoint.keys().filter(|name| !task.weights.contains_key(*name)).collect();
    // If one tensor holds all, a checkpoint without it is that of a new run.
    if kept.len() < 2 {
        return Ok(());
    }
    for lost in [kept[0], kept[kept.len() / 2], kept[kept.len() - 1]] {
        let mut damaged = checkpoint.clone();
        damaged.remove(lost);
        let name: String = lost.chars().take(40).collect();
        trial
            .refuses(&format!("`{name}` is lost from the checkpoint"), args(&task, &damaged, 1))?;
    }
    Ok(())
}

fn args(task: &Task, checkpoint: &Named, steps: usize) -> Vec<(&'static str, Value)> {
    crate::args![
        tokens: &task.tokens,
        checkpoint: to_value(checkpoint),
        noise: &task.noise,
        config: task.settings,
        steps: steps,
    ]
}

fn ask(
    trial: &mut Trial,
    task: &Task,
    checkpoint: &Named,
    steps: usize,
) -> std::result::Result<Named, Stop> {
    let [checkpoint] = trial.sets(args(task, checkpoint, steps))?;
    Ok(checkpoint)
}

/// The weights in a checkpoint, which was found to hold them.
fn weights_of(checkpoint: &Named, task: &Task) -> Named {
    task.weights.keys().map(|name| (name.clone(), checkpoint[name].clone())).collect()
}

fn has_weights(trial: &mut Trial, got: &Named, expected: &Named) -> Outcome {
    for (name, expected) in expected {
        let Some(weight) = got.get(name) else {
            return Err(trial.wrong(format!("There is no `{name}` in the checkpoint.")));
        };
        trial.has_shape(name, weight, expected.shape())?;
    }
    Ok(())
}

fn close(trial: &mut Trial, got: &Named, expected: &Named, tolerance: Tolerance) -> Outcome {
    let each: Vec<(&str, Array, Tolerance)> =
        expected.iter().map(|(name, array)| (name.as_str(), array.clone(), tolerance)).collect();
    trial.close_each("weight", got, &each)
}
