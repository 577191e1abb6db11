//! `next`: what to do next.

use crate::{course::Course, exit::Exit, place::first_open, state::State};

pub(crate) fn run(course: &Course) -> anyhow::Result<Exit> {
    let state = State::read(&course.root)?;
    let Some(exercise) = first_open(course, &state) else {
        say!("Every exercise is done. Well done.");
        return Ok(Exit::Passed);
    };
    let record = state.record(&exercise.name);
    let open = exercise.manifest.part.iter().find(|part| !record.passed.contains_key(&part.name));
    let (name, title) = (&exercise.name, &exercise.manifest.title);
    say!(
        "{name}: {title}, {} of {} passed.",
        state.n_passed(exercise),
        exercise.manifest.part.len()
    );
    if let Some(part) = open {
        say!("Write `{}` in {}.", part.name, exercise.place_of(&course.root, &part.name));
        say!("Read exercises/{name}/README.md first, and check with: cargo xtask check {name}");
    }
    Ok(Exit::Passed)
}
