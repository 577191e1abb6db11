//! `diff`: what you changed.

use std::fs;

use anstyle::{AnsiColor, Style};
use similar::{ChangeTag, TextDiff};

use crate::{
    cli::Diff,
    commands::{dress, stub},
    course::{Course, Exercise},
    exit::{Exit, problem},
    place::Place,
    state::State,
};

pub(crate) fn run(course: &Course, flags: &Diff) -> anyhow::Result<Exit> {
    let state = State::read(&course.root)?;
    let place = Place::find(course, &state, flags.name.as_deref())?;
    let exercise = place.exercise;
    let name = &exercise.name;
    let (label, old) = if flags.solution {
        if !state.is_done(exercise) {
            let sentence = format!(
                "{name} is not passed yet, and a diff would give the solution away. To see it all \
                 the same: cargo xtask solution {name} --i-give-up"
            );
            return Err(problem(Exit::Usage, sentence));
        }
        ("the solution", solution(course, exercise)?)
    } else if flags.passed {
        ("the last version that passed", last_passed(exercise, &state)?)
    } else {
        ("the stub", stub::derive(course, exercise)?)
    };
    let mut is_same = true;
    for (file, old) in old {
        let new = fs::read_to_string(course.root.join(&file)).unwrap_or_default();
        is_same &= old == new;
        print(&file, label, &old, &new);
    }
    if is_same {
        say!("{name} is the same as {label}.");
    }
    Ok(Exit::Passed)
}

fn solution(course: &Course, exercise: &Exercise) -> anyhow::Result<Vec<(String, String)>> {
    let pairs = exercise.files().into_iter().zip(exercise.solution_files());
    pairs
        .map(|(file, solution)| Ok((file, fs::read_to_string(course.root.join(solution))?)))
        .collect()
}

fn last_passed(exercise: &Exercise, state: &State) -> anyhow::Result<Vec<(String, String)>> {
    let record = state.record(&exercise.name);
    let passed = record.snapshots.iter().rev().find(|snapshot| snapshot.passed);
    let passed = passed.ok_or_else(|| {
        problem(Exit::Usage, format!("No version of {} has passed yet.", exercise.name))
    })?;
    let mut texts = Vec::new();
    for file in passed.files.keys() {
        texts.extend(state.text(passed, file)?.map(|text| (file.clone(), text)));
    }
    Ok(texts)
}

fn print(file: &str, label: &str, old: &str, new: &str) {
    let is_plain = dress(false).is_plain;
    let diff = TextDiff::from_lines(old, new);
    let mut is_first = true;
    for group in diff.grouped_ops(3) {
        if is_first {
            say!("--- {label}\n+++ {file}");
            is_first = false;
        }
        let line = group.first().map_or(0, |op| op.new_range().start + 1);
        say!("@@ {file}:{line} @@");
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ('-', AnsiColor::Red.on_default()),
                ChangeTag::Insert => ('+', AnsiColor::Green.on_default()),
                ChangeTag::Equal => (' ', Style::new()),
            };
            let style = if is_plain { Style::new() } else { style };
            say!("{style}{sign}{}{style:#}", change.value().trim_end_matches('\n'));
        }
    }
}
