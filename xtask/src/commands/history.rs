//! `history` and `restore`: the snapshots of an exercise.

use crate::{
    cli::Restore,
    course::Course,
    exit::{Exit, problem},
    place::Place,
    state::{Lock, State},
    text,
};

pub(crate) fn run(course: &Course, name: Option<&str>) -> anyhow::Result<Exit> {
    let state = State::read(&course.root)?;
    let place = Place::find(course, &state, name)?;
    let name = &place.exercise.name;
    let record = state.record(name);
    if record.snapshots.is_empty() {
        say!("{name} has no snapshots yet; each check takes one.");
        return Ok(Exit::Passed);
    }
    for snapshot in &record.snapshots {
        let outcome = match snapshot.outcome.as_str() {
            "" => "not judged",
            outcome => outcome,
        };
        let (before, when) = (format!("before {}", snapshot.before), text::ago(snapshot.time));
        say!("{:>4}  {when:>10}  {before:<15}  {outcome}", snapshot.number);
    }
    say!("To bring one back: cargo xtask restore {name} NUMBER (your present text is kept)");
    Ok(Exit::Passed)
}

pub(crate) fn restore(course: &Course, flags: &Restore) -> anyhow::Result<Exit> {
    let lock = Lock::take(&course.root, "restore")?;
    let mut state = State::read(&course.root)?;
    let place = Place::find(course, &state, Some(&flags.name))?;
    let name = &place.exercise.name;
    let record = state.record(name);
    let wanted = record.snapshots.iter().find(|snapshot| snapshot.number == flags.snapshot);
    let wanted = wanted.ok_or_else(|| {
        let sentence = format!(
            "{name} has no snapshot {}; `cargo xtask history {name}` shows those it has.",
            flags.snapshot
        );
        problem(Exit::Usage, sentence)
    })?;
    let kept = state.snapshot(&lock, place.exercise, "restore")?;
    state.bring_back(wanted)?;
    say!("{name} is as it was in snapshot {}. What was there is snapshot {kept}.", wanted.number);
    Ok(Exit::Passed)
}
