//! The corpus of broken exercises: one file a case under `broken/`, each a small change to a sound
//! course, with the complaints that it must bring.
//!
//! Every rule is broken by some case, so none is trusted that was not seen to fail.
#![allow(clippy::unwrap_used, reason = "these are tests and their helpers")]

use std::{collections::BTreeSet, fs, path::Path, thread};

use report::Rule;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    clone::{Clone, Ran},
    sound::sound,
};

/// A broken exercise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What is done to the sound course.
    change: Vec<Change>,
    /// The complaints, each by how it begins: `rule file:line: sentence`.
    expect: Vec<String>,
    /// Whether `--fix` mends it all.
    #[serde(default)]
    mended: bool,
}

/// A change to a file; just the name of one takes it away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    file: String,
    /// Text that goes.
    replace: Option<String>,
    /// Text that comes in its place, or as the whole file.
    with: Option<String>,
}

fn cases() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/broken");
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let case =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        cases.push((path.file_stem().unwrap().to_string_lossy().into_owned(), case));
    }
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

fn apply(clone: &Clone, change: &Change) {
    match (&change.replace, &change.with) {
        (Some(old), Some(new)) => {
            let text = clone.read(&change.file);
            assert!(text.contains(old.as_str()), "{} has no {old:?}:\n{text}", change.file);
            clone.write(&change.file, &text.replacen(old.as_str(), new, 1));
        }
        (None, Some(text)) => clone.write(&change.file, text),
        (_, None) if clone.path(&change.file).is_dir() => {
            fs::remove_dir_all(clone.path(&change.file)).unwrap();
        }
        (_, None) => fs::remove_file(clone.path(&change.file)).unwrap(),
    }
}

/// Every complaint, as `rule file:line: sentence`.
fn complaints(ran: &Ran) -> Vec<String> {
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let said = |line: Value| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        (line["event"] == "complaint").then(|| {
            format!("{} {}:{}: {}", text("rule"), text("file"), line["line"], text("sentence"))
        })
    };
    lines.filter_map(said).collect()
}

/// Says what is wrong with what `verify` says of a case.
fn judge(name: &str, case: &Case) -> Vec<String> {
    let clone = sound();
    case.change.iter().for_each(|change| apply(&clone, change));
    let ran = clone.run(&["verify", "--strict", "--format", "json"]);
    let said = complaints(&ran);
    let mut wrong = Vec::new();
    if ran.code != Some(1) || ran.stderr.contains("panicked") {
        wrong.push(format!("{name}: ended with {:?}: {}{}", ran.code, ran.stdout, ran.stderr));
    }
    let as_expected = said.len() == case.expect.len()
        && said.iter().zip(&case.expect).all(|(said, expected)| said.starts_with(expected));
    if !as_expected {
        wrong.push(format!(
            "{name}: said\n  {}\nnot\n  {}",
            said.join("\n  "),
            case.expect.join("\n  ")
        ));
    }
    for sentence in said.iter().filter(|said| !said.ends_with(['.', ')'])) {
        wrong.push(format!("{name}: this is no sentence: {sentence}"));
    }
    if case.mended {
        clone.run(&["verify", "--fix"]);
        let ran = clone.run(&["verify", "--strict", "--format", "json"]);
        if ran.code != Some(0) {
            wrong.push(format!("{name}: --fix leaves {}{}", ran.stdout, ran.stderr));
        }
    }
    wrong
}

#[test]
fn every_broken_exercise_is_told_what_to_mend() {
    let cases = cases();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    // Most of a case is waiting for programs.
    let judge_all = |cases: &[(String, Case)]| -> Vec<String> {
        cases.iter().flat_map(|(name, case)| judge(name, case)).collect()
    };
    let wrong = thread::scope(|scope| {
        let started: Vec<_> =
            cases.chunks(12).map(|cases| scope.spawn(move || judge_all(cases))).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_is_broken_by_some_case() {
    let broken: BTreeSet<String> = cases()
        .into_iter()
        .flat_map(|(_, case)| case.expect)
        .filter_map(|expected| expected.split(' ').next().map(str::to_owned))
        .collect();
    let trusted: Vec<_> = Rule::ALL.iter().filter(|rule| !broken.contains(rule.id())).collect();
    assert!(trusted.is_empty(), "no case breaks {trusted:?}");
}

#[test]
fn what_can_be_mended_is_mended_by_some_case() {
    let mended: BTreeSet<String> = cases()
        .into_iter()
        .filter(|(_, case)| case.mended)
        .flat_map(|(_, case)| case.expect)
        .filter_map(|expected| expected.split(' ').next().map(str::to_owned))
        .collect();
    let rules = Rule::ALL.iter().filter(|rule| rule.fix().is_some());
    let untried: Vec<_> = rules.filter(|rule| !mended.contains(rule.id())).collect();
    assert!(untried.is_empty(), "no case has `--fix` mend {untried:?}");
}
