//! `reset`: back to the start, and back again.

use crate::{
    cli::Reset,
    commands::stub,
    course::Course,
    exit::{Exit, problem},
    place::Place,
    state::{Lock, State},
    store,
};

pub(crate) fn run(course: &Course, flags: &Reset) -> anyhow::Result<Exit> {
    let lock = Lock::take(&course.root, "reset")?;
    let mut state = State::read(&course.root)?;
    let place = Place::find(course, &state, Some(&flags.name))?;
    let exercise = place.exercise;
    let name = &exercise.name;
    if flags.undo {
        let record = state.record(name);
        let last = record.snapshots.iter().rev().find(|snapshot| snapshot.before == "reset");
        let last = last.ok_or_else(|| {
            problem(Exit::Usage, format!("{name} was never reset, so there is nothing to undo."))
        })?;
        state.snapshot(&lock, exercise, "restore")?;
        state.bring_back(last)?;
        say!("{name} is as it was before its last reset (snapshot {}).", last.number);
        return Ok(Exit::Passed);
    }
    let stubs = stub::derive(course, exercise)?;
    let number = state.snapshot(&lock, exercise, "reset")?;
    for (file, text) in &stubs {
        store::save(&course.root.join(file), text.as_bytes())?;
    }
    say!("{name} is back at its start. Your text is kept as snapshot {number}.");
    say!("To have it back: cargo xtask reset {name} --undo");
    Ok(Exit::Passed)
}
