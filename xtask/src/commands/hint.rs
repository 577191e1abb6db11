//! `hint`: one more each time.

use crate::{
    commands::dress,
    course::Course,
    exit::{Exit, problem},
    place::Place,
    state::{Lock, State},
    text,
};

pub(crate) fn run(course: &Course, name: Option<&str>) -> anyhow::Result<Exit> {
    let lock = Lock::take(&course.root, "hint")?;
    let mut state = State::read(&course.root)?;
    let place = Place::find(course, &state, name)?;
    let exercise = place.exercise;
    let record = state.record(&exercise.name);
    // Without a part: the exercise's own hints, or else the part that is next.
    let part = place.part.clone().or_else(|| {
        let open = exercise.manifest.part.iter().find(|p| !record.passed.contains_key(&p.name));
        open.filter(|_| exercise.manifest.hints.is_empty()).map(|part| part.name.clone())
    });
    let hints = match &part {
        Some(part) => exercise.part(part).map(|part| part.hints.as_slice()).unwrap_or_default(),
        None => exercise.manifest.hints.as_slice(),
    };
    let about = part.as_ref().map_or(exercise.name.clone(), |p| format!("{}::{p}", exercise.name));
    if hints.is_empty() {
        return Err(problem(Exit::Usage, format!("There are no hints for {about}.")));
    }
    let key = part.unwrap_or_default();
    let shown = record.hints.get(&key).copied().unwrap_or(0);
    let upto = (shown + 1).min(hints.len());
    let width = dress(false).width;
    say!("{about}");
    for (n, hint) in hints.iter().take(upto).enumerate() {
        say!("{}", text::wrap(&format!("{}. {hint}", n + 1), width, "   "));
    }
    let rest = hints.len() - upto;
    if rest > 0 {
        say!("{} more: ask again.", text::count(rest, "hint"));
    } else if shown < hints.len() {
        say!("That was the last hint.");
    } else {
        say!("That is every hint; the last word: cargo xtask solution {about} --i-give-up");
    }
    state.update(&lock, &exercise.name, |record| record.hints.insert(key, upto))?;
    Ok(Exit::Passed)
}
