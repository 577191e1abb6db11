//! Proof that the checks are strong: every impostor fails first where it says, every check is
//! some impostor's first failure, right answers pass with room to spare, and wrong ones fail by far.

use std::collections::BTreeSet;

use checks::{Check, Kind, Local, Margin, Part, SUITES, Stop, Suite, Trial};

const SEEDS: [u64; 3] = [1, 2, 3];

/// Runs a part's checks on an answer until one fails.
fn judge(suite: &Suite, part: &Part, answer: answer::Call, seed: u64) -> Judgement {
    let mut margins = Vec::new();
    for check in part.checks {
        let mut subject = Local::new(answer);
        let mut trial = Trial::new(&mut subject, suite.exercise, part.name, check.name, seed);
        let outcome = (check.run)(&mut trial);
        margins.extend(trial.margins().iter().cloned().map(|margin| (check, margin)));
        if let Err(stop) = outcome {
            return Judgement { failed: Some((check, stop)), margins };
        }
    }
    Judgement { failed: None, margins }
}

struct Judgement {
    failed: Option<(&'static Check, Stop)>,
    margins: Vec<(&'static Check, Margin)>,
}

fn every_part() -> impl Iterator<Item = (&'static Suite, &'static Part)> {
    SUITES.iter().flat_map(|suite| suite.parts.iter().map(move |part| (*suite, *part)))
}

/// Fails once, with every complaint.
#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn every_impostor_fails_first_where_it_says() {
    let mut complaints = Vec::new();
    for (suite, part) in every_part() {
        for impostor in part.impostors {
            for seed in SEEDS {
                let judgement = judge(suite, part, impostor.answer, seed);
                let first = judgement.failed.as_ref().map_or("nothing", |(check, _)| check.name);
                if first != impostor.caught_by {
                    complaints.push(format!(
                        "{}::{}::{} fails {first} first, not {} (seed {seed})",
                        suite.exercise, part.name, impostor.name, impostor.caught_by
                    ));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn every_check_is_some_impostors_first_failure() {
    let mut complaints = Vec::new();
    for (suite, part) in every_part() {
        let caught: BTreeSet<_> = part.impostors.iter().map(|i| i.caught_by).collect();
        for check in part.checks.iter().filter(|check| !caught.contains(check.name)) {
            complaints.push(format!(
                "{}::{}::{} catches no impostor",
                suite.exercise, part.name, check.name
            ));
        }
    }
    none(&complaints);
}

#[test]
fn right_answers_pass_with_three_quarters_to_spare() {
    let mut complaints = Vec::new();
    for (suite, part) in every_part() {
        for alternative in part.alternatives {
            for seed in SEEDS {
                let place = format!("{}::{}::{}", suite.exercise, part.name, alternative.name);
                let judgement = judge(suite, part, alternative.answer, seed);
                if let Some((check, stop)) = &judgement.failed {
                    complaints.push(format!("{place} fails {}: {stop:?}", check.name));
                }
                for (check, margin) in judgement.margins.iter().filter(|(_, m)| m.used > 0.25) {
                    complaints.push(format!(
                        "{place} uses {:.2} of the tolerance of `{}` ({}) in {}",
                        margin.used,
                        margin.name,
                        margin.dtype.name(),
                        check.name
                    ));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn every_part_is_judged_in_depth() {
    let mut complaints = Vec::new();
    for (suite, part) in every_part() {
        let place = format!("{}::{}", suite.exercise, part.name);
        let properties = part.checks.iter().filter(|check| check.kind == Kind::Property).count();
        if part.checks.len() < 4 {
            complaints.push(format!("{place} has {} checks, not four", part.checks.len()));
        }
        if properties < 2 {
            complaints.push(format!("{place} has {properties} property checks, not two"));
        }
        if part.alternatives.is_empty() {
            complaints.push(format!("{place} has no alternative right answer"));
        }
    }
    none(&complaints);
}

#[test]
fn names_are_unique_and_diagnoses_are_clauses() {
    let mut complaints = Vec::new();
    for (suite, part) in every_part() {
        let place = format!("{}::{}", suite.exercise, part.name);
        let mut seen = BTreeSet::new();
        let checks = part.checks.iter().map(|check| check.name);
        let names = checks.chain(part.impostors.iter().map(|i| i.name));
        complaints.extend(
            names
                .filter(|name| !seen.insert(*name))
                .map(|n| format!("{place}::{n} is there twice")),
        );
        for impostor in part.impostors.iter().filter(|i| i.diagnosis.ends_with('.')) {
            complaints.push(format!("{place}::{} has a full stop in its clause", impostor.name));
        }
        for check in part.checks.iter().filter(|check| !check.promise.ends_with('.')) {
            complaints.push(format!("{place}::{} has no sentence as its promise", check.name));
        }
    }
    none(&complaints);
}
