//! `stub`: derives the learner's files from the solution.

use std::fs;

use crate::{
    cli::Stub,
    course::{Course, Exercise},
    derive::{self, Source},
    exit::{Exit, problem},
    place::Place,
    state::{Lock, State},
    store,
};

pub(crate) fn run(course: &Course, flags: &Stub) -> anyhow::Result<Exit> {
    let lock = Lock::take(&course.root, "stub")?;
    let mut state = State::read(&course.root)?;
    let exercises: Vec<&Exercise> = match &flags.name {
        Some(name) if !flags.all => vec![Place::find(course, &state, Some(name))?.exercise],
        _ => course.exercises.iter().collect(),
    };
    let is_whole = flags.all || flags.name.is_none();
    if let Some(damaged) = course.damaged.first().filter(|_| is_whole) {
        return Err(problem(Exit::Usage, damaged.damage.to_string()));
    }
    let mut exit = Exit::Passed;
    for exercise in exercises {
        let stubs = derive(course, exercise)?;
        if !flags.check {
            state.snapshot(&lock, exercise, "stub")?;
        }
        for (file, text) in stubs {
            let committed = fs::read_to_string(course.root.join(&file)).unwrap_or_default();
            if committed == text {
                say!("{file} is the derived stub.");
            } else if flags.check {
                exit = Exit::Failed;
                let line = text.lines().zip(committed.lines()).take_while(|(a, b)| a == b).count();
                say!(
                    "{file}:{}: this is not the stub that the solution gives; run `cargo xtask \
                     stub {}`.",
                    line + 1,
                    exercise.name
                );
            } else {
                store::save(&course.root.join(&file), text.as_bytes())?;
                say!("{file} is written.");
            }
        }
    }
    Ok(exit)
}

/// Writes the stub of an exercise, after a snapshot of what is there.
pub(crate) fn write(
    course: &Course,
    state: &mut State,
    lock: &Lock,
    exercise: &Exercise,
) -> anyhow::Result<()> {
    let stubs = derive(course, exercise)?;
    state.snapshot(lock, exercise, "stub")?;
    stubs.iter().try_for_each(|(file, text)| store::save(&course.root.join(file), text.as_bytes()))
}

/// The stub of every file that the learner edits, by its path below the root.
pub(crate) fn derive(
    course: &Course,
    exercise: &Exercise,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut sources = Vec::new();
    for path in exercise.solution_files() {
        let text = fs::read_to_string(course.root.join(&path)).map_err(|error| {
            let mend = format!("Bring it back with `git restore {path}`.");
            problem(Exit::Usage, format!("{path} cannot be read ({error}). {mend}"))
        })?;
        sources.push(Source { path, text });
    }
    let stubs =
        derive::derive(&sources).map_err(|fault| problem(Exit::Usage, format!("{fault}")))?;
    Ok(exercise.files().into_iter().zip(stubs).collect())
}
