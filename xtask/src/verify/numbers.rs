//! Rules about time: what the judge takes, and what a learner waits.
//!
//! A machine may be busy, so the least of several measurements counts, and what could only be
//! measured while others were at work is said to be unknown.

use std::{
    fs::File,
    path::Path,
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, ensure};
use report::Rule;

use super::{Complaint, load::Load, proofs::Proved};
use crate::{cargo, course::Exercise};

/// What the judge may take for a right answer, but for parts that train; in milliseconds.
const JUDGE: f64 = 300.0;

/// What the judge may take for a part that trains.
const TRAINING: f64 = 60_000.0;

/// What a learner waits at most, from the saved file to the verdict.
const WAIT: f64 = 1000.0;

/// How often that is tried before it counts as too long.
const TRIES: usize = 5;

/// A part, and the milliseconds that the judge takes for it.
type Time<'a> = (&'a str, f64);

/// Whether the judge is done in time.
pub(crate) fn judge(exercise: &Exercise, proved: &Proved) -> Vec<Complaint> {
    let file = exercise.manifest_file();
    let (instant, training) = split(exercise, proved);
    let mut complaints = Vec::new();
    let total: f64 = instant.iter().map(|(_, millis)| millis).sum();
    // Parts may be judged side by side, so a whole run takes less than all of them.
    let run = proved.programs.as_ref().map_or(total, |programs| programs.run_millis);
    let total = total.min(run);
    if total > JUDGE {
        let slowest = instant.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let (name, most) = slowest.copied().unwrap_or_default();
        let sentence = format!(
            "The judge takes {total:.0} ms for the solution, {most:.0} of them for `{name}`; ask \
             fewer questions, of smaller tensors, to stay below {JUDGE}."
        );
        complaints.push(Complaint::new(Rule::JudgeBudget, &file, 1, sentence));
    }
    for (name, millis) in training.iter().filter(|(_, millis)| *millis > TRAINING) {
        let sentence = format!(
            "The judge takes {:.0} s for `{name}`; train less, to stay below 60.",
            millis / 1e3
        );
        complaints.push(Complaint::new(Rule::JudgeBudget, &file, 1, sentence));
    }
    complaints
}

/// Parts with their times: those that are done in an instant, and those that train.
fn split<'a>(exercise: &Exercise, proved: &'a Proved) -> (Vec<Time<'a>>, Vec<Time<'a>>) {
    let millis = proved.programs.iter().flat_map(|programs| &programs.millis);
    let trains = |name: &str| exercise.part(name).is_some_and(|part| part.trains);
    millis.map(|(name, millis)| (name.as_str(), *millis)).partition(|(name, _)| !trains(name))
}

/// How long a learner waits.
pub(crate) enum Wait {
    /// So many milliseconds, which is well.
    Short(f64),
    /// Too long.
    Long(f64, Complaint),
    /// Nobody knows: others were at work on the machine in every try.
    Unknown,
}

/// Measures from a touched source to the verdict on the solution; if `strict`, also on a busy
/// machine.
///
/// # Errors
///
/// Fails if the check cannot be run, or does not pass.
pub(crate) fn wait(
    root: &Path,
    exercise: &Exercise,
    proved: &Proved,
    strict: bool,
) -> anyhow::Result<Wait> {
    let training: f64 = split(exercise, proved).1.iter().map(|(_, millis)| millis).sum();
    // The judge may still have to be built as `check` builds it, with the checks of one exercise.
    once(root, exercise)?;
    let mut quiet: Option<f64> = None;
    for _ in 0..TRIES {
        let load = Load::now();
        let took = once(root, exercise)?;
        let millis = took.as_secs_f64() * 1e3 - training;
        if millis <= WAIT {
            return Ok(Wait::Short(millis));
        }
        if strict || !load.is_some_and(|load| load.was_disturbed(took)) {
            quiet = Some(quiet.unwrap_or(f64::INFINITY).min(millis));
        }
    }
    let Some(least) = quiet else { return Ok(Wait::Unknown) };
    let sentence = format!(
        "From a touched source to the verdict it takes {least:.0} ms at best, in {TRIES} tries; \
         see `cargo xtask bench loop` for where the time goes."
    );
    let complaint = Complaint::new(Rule::EditToVerdict, exercise.manifest_file(), 1, sentence);
    Ok(Wait::Long(least, complaint))
}

fn once(root: &Path, exercise: &Exercise) -> anyhow::Result<Duration> {
    let name = &exercise.name;
    let file = exercise.solution_files().swap_remove(0);
    let source = File::options().append(true).open(root.join(&file)).context(file.clone())?;
    // Cargo goes by the time of the last change; the text stays as it is.
    source.set_modified(SystemTime::now()).context(file)?;
    let mut check = cargo::cargo(root);
    check.args(["xtask", "check", name, "--solution"]).stdin(Stdio::null());
    let begun = Instant::now();
    let ended = check.output().context("cargo could not be started")?;
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "`cargo xtask check {name} --solution` ended with {said}");
    Ok(took)
}
