//! Proof that the checks are strong: every impostor fails first where it says, every check is
//! some impostor's first failure, right answers pass with room to spare, and wrong ones fail by
//! far.
//!
//! `cargo test -p checks --test strength -- --nocapture table` prints the numbers.

use std::{
    collections::BTreeSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use checks::{Check, Kind, Local, Margin, Part, SUITES, Stop, Suite, Trial};

const SEEDS: [u64; 3] = [1, 2, 3];

/// How many bounds a wrong answer must be off by, at least.
const FAR: f64 = 10.0;

/// How much of the bound a right answer may use, at most.
const ROOM: f64 = 0.25;

/// Every impostor, judged once with each seed.
static IMPOSTORS: LazyLock<Vec<Tried>> =
    LazyLock::new(|| every_answer(|part| part.impostors.iter().map(|i| (i.name, i.answer))));

/// Every alternative, judged once with each seed.
static ALTERNATIVES: LazyLock<Vec<Tried>> =
    LazyLock::new(|| every_answer(|part| part.alternatives.iter().map(|a| (a.name, a.answer))));

/// What came of one answer of ours.
struct Tried {
    suite: &'static Suite,
    part: &'static Part,
    name: &'static str,
    seed: u64,
    failed: Option<(&'static Check, Stop)>,
    /// By how many bounds the failing comparison failed, if a comparison did.
    excess: Option<f64>,
    margins: Vec<(&'static Check, Margin)>,
}

impl Tried {
    fn place(&self) -> String {
        format!("{}::{}::{} (seed {})", self.suite.exercise, self.part.name, self.name, self.seed)
    }
}

fn every_answer<I: Iterator<Item = (&'static str, answer::Call)>>(
    answers: impl Fn(&'static Part) -> I,
) -> Vec<Tried> {
    let mut tried = Vec::new();
    for (suite, part) in every_part() {
        for (name, answer) in answers(part) {
            tried.extend(SEEDS.map(|seed| judge(suite, part, name, answer, seed)));
        }
    }
    tried
}

/// Runs a part's checks on an answer until one fails.
fn judge(
    suite: &'static Suite,
    part: &'static Part,
    name: &'static str,
    answer: answer::Call,
    seed: u64,
) -> Tried {
    // What an answer costs is counted over the whole process, so nothing else may run.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tried =
        Tried { suite, part, name, seed, failed: None, excess: None, margins: Vec::new() };
    for check in part.checks {
        let mut subject = Local::new(answer);
        let mut trial = Trial::new(&mut subject, suite.exercise, part.name, check.name, seed);
        let outcome = (check.run)(&mut trial);
        tried.margins.extend(trial.margins().iter().cloned().map(|margin| (check, margin)));
        if let Err(stop) = outcome {
            tried.excess = trial.excess();
            tried.failed = Some((check, stop));
            break;
        }
    }
    tried
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
    for tried in IMPOSTORS.iter() {
        let first = tried.failed.as_ref().map_or("nothing", |(check, _)| check.name);
        let impostor = tried.part.impostors.iter().find(|impostor| impostor.name == tried.name);
        let caught_by = impostor.map_or("", |impostor| impostor.caught_by);
        if first != caught_by {
            complaints.push(format!("{} fails {first} first, not {caught_by}", tried.place()));
        }
    }
    none(&complaints);
}

#[test]
fn wrong_answers_fail_by_far() {
    let mut complaints = Vec::new();
    for tried in IMPOSTORS.iter() {
        let (Some((check, _)), Some(excess)) = (&tried.failed, tried.excess) else { continue };
        if excess < FAR {
            complaints.push(format!(
                "{} fails {} by {excess:.1} bounds, not by {FAR}",
                tried.place(),
                check.name
            ));
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
    for tried in ALTERNATIVES.iter() {
        let place = tried.place();
        if let Some((check, stop)) = &tried.failed {
            complaints.push(format!("{place} fails {}: {stop:?}", check.name));
        }
        for (check, margin) in tried.margins.iter().filter(|(_, margin)| margin.used > ROOM) {
            complaints.push(format!(
                "{place} uses {:.2} of the tolerance of `{}` ({}) in {}",
                margin.used,
                margin.name,
                margin.dtype.name(),
                check.name
            ));
        }
    }
    none(&complaints);
}

#[test]
fn table() {
    println!(
        "{:<12} {:<28} {:>6} {:>9} {:>12} {:>12}",
        "exercise", "part", "checks", "impostors", "nearest", "most used"
    );
    for (suite, part) in every_part() {
        let here = |tried: &&Tried| std::ptr::eq(tried.part, part);
        let excesses = IMPOSTORS.iter().filter(here).filter_map(|tried| tried.excess);
        let used = ALTERNATIVES.iter().filter(here).flat_map(|tried| &tried.margins);
        let (nearest, most_used) = (
            excesses.fold(f64::INFINITY, f64::min),
            used.fold(0.0, |most: f64, (_, margin)| most.max(margin.used)),
        );
        let (checks, impostors) = (part.checks.len(), part.impostors.len());
        println!(
            "{:<12} {:<28} {checks:>6} {impostors:>9} {nearest:>12.3e} {most_used:>12.4}",
            suite.exercise, part.name
        );
        assert!(most_used < nearest, "{} tells right from wrong", part.name);
    }
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
