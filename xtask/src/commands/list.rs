//! `list`: the course, in order.

use anstyle::{AnsiColor, Style};

use crate::{
    cli::Format,
    commands::dress,
    course::{Course, Exercise},
    exit::Exit,
    state::State,
};

pub(crate) fn run(course: &Course, format: Format) -> anyhow::Result<Exit> {
    let state = State::read(&course.root)?;
    if format == Format::Json {
        for exercise in &course.exercises {
            say!("{}", json(exercise, &state));
        }
        return Ok(Exit::Passed);
    }
    let is_plain = dress(format == Format::Plain).is_plain;
    let dim = if is_plain { Style::new() } else { Style::new().dimmed() };
    let name_width = course.exercises.iter().map(|e| e.name.len()).max().unwrap_or(0).max(8);
    say!(
        "{dim}    {:name_width$}  {:15}  {:>9}  {:>7}  {:10}  {}{dim:#}",
        "exercise",
        "state",
        "points",
        "minutes",
        "difficulty",
        "what you build"
    );
    for (n, exercise) in course.exercises.iter().enumerate() {
        let (word, colour) = standing(exercise, &state);
        let style = if is_plain { Style::new() } else { colour.on_default() };
        let points = format!("{}/{}", earned(exercise, &state), exercise.points());
        let difficulty = exercise.manifest.difficulty;
        say!(
            "{:>2}  {:name_width$}  {style}{word:15}{style:#}  {points:>9}  {:>7}  {:10}  {}",
            n + 1,
            exercise.name,
            exercise.manifest.minutes,
            format!("{difficulty} of 5"),
            exercise.manifest.summary
        );
    }
    Ok(Exit::Passed)
}

fn standing(exercise: &Exercise, state: &State) -> (String, AnsiColor) {
    let (passed, parts) = (state.n_passed(exercise), exercise.manifest.part.len());
    if passed == parts {
        ("done".to_owned(), AnsiColor::Green)
    } else if passed == 0 && state.record(&exercise.name).snapshots.is_empty() {
        ("not started".to_owned(), AnsiColor::Blue)
    } else {
        (format!("{passed} of {parts} passed"), AnsiColor::Yellow)
    }
}

fn earned(exercise: &Exercise, state: &State) -> u32 {
    let record = state.record(&exercise.name);
    let parts = exercise.manifest.part.iter();
    parts.filter(|part| record.passed.contains_key(&part.name)).map(|part| part.points).sum()
}

fn json(exercise: &Exercise, state: &State) -> serde_json::Value {
    serde_json::json!({
        "exercise": exercise.name,
        "title": exercise.manifest.title,
        "state": standing(exercise, state).0,
        "passed": state.n_passed(exercise),
        "parts": exercise.manifest.part.len(),
        "points": earned(exercise, state),
        "points_possible": exercise.points(),
        "minutes": exercise.manifest.minutes,
        "difficulty": exercise.manifest.difficulty,
    })
}
