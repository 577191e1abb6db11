//! Solutions pass across the real border, every time alike, and stubs are not started.

use checks::{SUITES, Suite};
use report::{Event, Verdict};

use crate::{
    programs::solution,
    runs::{SEEDS, judge_program, none, part_reports},
};

/// Says what is wrong if not every part got `verdict`, in the suite's order and with a full count.
fn complaints(suite: &Suite, events: &[Event], verdict: Verdict) -> Vec<String> {
    let reports = part_reports(events);
    let judged: Vec<_> = reports.iter().map(|report| report.part.as_str()).collect();
    let declared: Vec<_> = suite.parts.iter().map(|part| part.name).collect();
    let mut complaints = Vec::new();
    if judged != declared {
        complaints.push(format!("{}: judged {judged:?}, not {declared:?}", suite.exercise));
    }
    for report in reports.iter().filter(|report| report.verdict != verdict) {
        complaints.push(format!(
            "{}::{} is {:?}, not {verdict:?}: {:#?}",
            suite.exercise, report.part, report.verdict, report.finding
        ));
    }
    let n_checks: usize = suite.parts.iter().map(|part| part.checks.len()).sum();
    let n_run = if verdict == Verdict::Passed { n_checks } else { 0 };
    match events.last() {
        Some(Event::Finished(end))
            if (end.checks_run, end.checks_declared) == (n_run, n_checks) => {}
        other => complaints
            .push(format!("{}: not {n_run} of {n_checks} checks ran: {other:?}", suite.exercise)),
    }
    complaints
}

#[test]
fn every_solution_passes_and_repeats_itself() {
    let mut found = Vec::new();
    for suite in SUITES {
        for seed in SEEDS {
            let judge = || judge_program(suite.exercise, &solution(suite.exercise), &[], seed);
            let events = judge();
            found.extend(complaints(suite, &events, Verdict::Passed));
            if events != judge() {
                found.push(format!("{} differs the second time (seed {seed})", suite.exercise));
            }
        }
    }
    none(&found);
}

#[test]
fn every_stub_is_not_started() {
    let mut found = Vec::new();
    for suite in SUITES {
        let events = judge_program(suite.exercise, suite.exercise, &[], 1);
        found.extend(complaints(suite, &events, Verdict::NotStarted));
    }
    none(&found);
}
