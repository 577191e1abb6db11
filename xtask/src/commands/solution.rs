//! `solution`: the reference solution, after a pass or on request.

use std::fs;

use syn::spanned::Spanned as _;

use crate::{
    cli::Solution,
    course::Course,
    exit::{Exit, problem},
    place::Place,
    state::State,
};

pub(crate) fn run(course: &Course, flags: &Solution) -> anyhow::Result<Exit> {
    let state = State::read(&course.root)?;
    let place = Place::find(course, &state, Some(&flags.name))?;
    let exercise = place.exercise;
    let record = state.record(&exercise.name);
    let is_passed = match &place.part {
        Some(part) => record.passed.contains_key(part),
        None => state.is_done(exercise),
    };
    if !is_passed && !flags.i_give_up {
        let sentence = format!(
            "{} is not passed yet. Ask for a hint (cargo xtask hint {}), or add --i-give-up.",
            flags.name, flags.name
        );
        return Err(problem(Exit::Usage, sentence));
    }
    for file in exercise.solution_files() {
        let text = fs::read_to_string(course.root.join(&file))?;
        match &place.part {
            None => say!("// {file}\n{text}"),
            Some(part) => {
                if let Some((line, function)) = function(&text, part) {
                    say!("// {file}:{line}\n{function}");
                }
            }
        }
    }
    Ok(Exit::Passed)
}

/// The line of a function, and its text with its documentation.
fn function(text: &str, name: &str) -> Option<(usize, String)> {
    let file = syn::parse_file(text).ok()?;
    let function = file.items.iter().find_map(|item| match item {
        syn::Item::Fn(function) if function.sig.ident == name => Some(function),
        _ => None,
    })?;
    let (first, last) = (function.span().start().line, function.span().end().line);
    let lines: Vec<&str> = text.lines().skip(first - 1).take(last - first + 1).collect();
    Some((function.sig.span().start().line, lines.join("\n")))
}
