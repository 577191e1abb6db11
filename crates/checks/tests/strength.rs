//! Proof that the checks are strong: every impostor fails first where it says, every check is
//! some impostor's first failure, right answers pass with room to spare, wrong ones fail by far,
//! and lazy ones get no point.
//!
//! `cargo test -p checks --test strength -- --nocapture table` prints the numbers.

use std::sync::LazyLock;

use checks::{SUITES, strength};
use report::{PartProof, Rule};

/// Every part, proved once; in one thread, since what an answer costs is counted over the process.
static PROOFS: LazyLock<Vec<(&'static str, PartProof)>> = LazyLock::new(|| {
    let parts = SUITES.iter().flat_map(|suite| suite.parts.iter().map(move |part| (*suite, *part)));
    parts.map(|(suite, part)| (suite.exercise, strength::prove(suite, part))).collect()
});

/// Proves that no part breaks a rule.
#[track_caller]
fn check(rule: Rule) {
    assert!(!PROOFS.is_empty(), "there is something to prove");
    let faults = PROOFS.iter().flat_map(|(exercise, proof)| {
        let broken = proof.faults.iter().filter(|fault| fault.rule == rule);
        broken.map(move |fault| format!("{exercise}::{}: {}", proof.part, fault.sentence))
    });
    let faults: Vec<_> = faults.collect();
    assert!(faults.is_empty(), "{}\n{}", rule.demand(), faults.join("\n"));
}

#[test]
fn every_impostor_fails_first_where_it_says() {
    check(Rule::ImpostorFailsFirst);
}

#[test]
fn wrong_answers_fail_by_far() {
    check(Rule::ToleranceGap);
}

#[test]
fn every_check_is_some_impostors_first_failure() {
    check(Rule::CheckCatches);
}

#[test]
fn right_answers_pass() {
    check(Rule::AlternativePasses);
}

#[test]
fn right_answers_leave_three_quarters_of_every_tolerance() {
    check(Rule::ToleranceNoise);
}

#[test]
fn lazy_answers_get_no_point() {
    check(Rule::LazyFails);
}

#[test]
fn no_answer_makes_a_check_panic() {
    check(Rule::CheckStands);
}

#[test]
fn every_part_is_judged_in_depth() {
    check(Rule::ChecksEnough);
}

#[test]
fn names_are_unique_and_diagnoses_are_clauses() {
    check(Rule::NamesClear);
}

#[test]
fn table() {
    println!(
        "{:<12} {:<28} {:>6} {:>9} {:>12} {:>12}",
        "exercise", "part", "checks", "impostors", "nearest", "most used"
    );
    for (exercise, proof) in PROOFS.iter() {
        let (checks, impostors) = (proof.checks.len(), proof.impostors.len());
        let nearest = proof.nearest.unwrap_or(f64::INFINITY);
        println!(
            "{exercise:<12} {:<28} {checks:>6} {impostors:>9} {nearest:>12.3e} {:>12.4}",
            proof.part, proof.noise
        );
        assert_eq!(proof.lazy_answers, strength::Lazy::ALL.len(), "lazy answers were tried");
        assert!(proof.noise < nearest, "{} tells right from wrong", proof.part);
    }
}
