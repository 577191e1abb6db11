//! `list`: the course, in order.

use anstyle::{AnsiColor, Style};

use crate::{
    cli::Format,
    commands::dress,
    course::{Course, Damaged, Exercise},
    exit::Exit,
    render::Dress,
    state::State,
    text,
};

pub(crate) fn run(course: &Course, format: Format) -> anyhow::Result<Exit> {
    let state = State::read(&course.root)?;
    if format == Format::Json {
        for row in rows(course) {
            say!("{}", row.map_or_else(damaged_json, |exercise| json(exercise, &state)));
        }
        return Ok(exit(course));
    }
    let Dress { is_plain, width } = dress(format == Format::Plain);
    let dim = if is_plain { Style::new() } else { Style::new().dimmed() };
    let names = rows(course).into_iter().map(|row| row.map_or_else(|d| &d.name, |e| &e.name));
    let name_width = names.map(String::len).max().unwrap_or(0).max(8);
    say!(
        "{dim}    {:name_width$}  {:15}  {:>9}  {:>7}  {:10}  {}{dim:#}",
        "exercise",
        "state",
        "points",
        "minutes",
        "difficulty",
        "what you build"
    );
    for (n, row) in rows(course).into_iter().enumerate() {
        let exercise = match row {
            Ok(exercise) => exercise,
            Err(damaged) => {
                let style = if is_plain { dim } else { AnsiColor::Red.on_default() };
                say!("{:>2}  {:name_width$}  {style}damaged{style:#}", n + 1, damaged.name);
                continue;
            }
        };
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
    for damaged in &course.damaged {
        say!("\n{}", text::wrap(&damaged.damage.to_string(), width, ""));
    }
    Ok(exit(course))
}

/// Every exercise in its order, readable or not.
fn rows(course: &Course) -> Vec<Result<&Exercise, &Damaged>> {
    let mut rows: Vec<_> = course.exercises.iter().map(Ok).collect();
    // They are in the order of the course, so each goes to its own place.
    for damaged in &course.damaged {
        rows.insert(damaged.at.min(rows.len()), Err(damaged));
    }
    rows
}

/// A course with a damaged manifest is shown, but is not well.
fn exit(course: &Course) -> Exit {
    if course.damaged.is_empty() { Exit::Passed } else { Exit::Usage }
}

fn damaged_json(damaged: &Damaged) -> serde_json::Value {
    serde_json::json!({
        "exercise": damaged.name,
        "state": "damaged",
        "error": damaged.damage.to_string(),
    })
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
