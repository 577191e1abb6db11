//! Solutions pass across the real border, every time alike, and stubs are not started, or fail as
//! the broken version that they show must.

use std::{collections::BTreeMap, fs};

use checks::{Part, SUITES, Suite};
use report::{Event, PartReport, Verdict};
use syn::{Item, LitStr};

use crate::{
    programs::{root, solution},
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

/// The same events with what each part told of its progress together: parts that compute side by
/// side tell it as they come.
fn part_by_part(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    events.sort_by_key(|event| match event {
        Event::Progress(progress) => Some(progress.part.clone()),
        _ => None,
    });
    events
}

#[test]
fn every_solution_passes_and_repeats_itself() {
    let mut found = Vec::new();
    for suite in SUITES {
        for seed in SEEDS {
            let judge = || judge_program(suite.exercise, &solution(suite.exercise), &[], seed);
            let events = judge();
            found.extend(complaints(suite, &events, Verdict::Passed));
            if part_by_part(&events) != part_by_part(&judge()) {
                found.push(format!("{} differs the second time (seed {seed})", suite.exercise));
            }
        }
    }
    none(&found);
}

#[test]
fn every_stub_is_not_started_or_fails_as_its_bug_does() {
    let mut found = Vec::new();
    for suite in SUITES {
        let events = judge_program(suite.exercise, suite.exercise, &[], 1);
        let bugs = bugs(suite.exercise);
        if bugs.is_empty() {
            found.extend(complaints(suite, &events, Verdict::NotStarted));
            continue;
        }
        for (report, part) in part_reports(&events).iter().zip(suite.parts) {
            match bugs.get(part.name) {
                Some(bug) => found.extend(not_as_its_bug(part, bug, report)),
                None if report.verdict == Verdict::NotStarted => {}
                None => found.push(format!("{}::{} is started", suite.exercise, part.name)),
            }
        }
    }
    none(&found);
}

/// Says what is wrong if a stub's broken version fails elsewhere than the impostor of its name.
fn not_as_its_bug(part: &Part, bug: &str, report: &PartReport) -> Option<String> {
    let Some(impostor) = part.impostors.iter().find(|impostor| impostor.name == bug) else {
        return Some(format!("`{bug}` is no impostor of {}; name the bug as one", part.name));
    };
    let failed = report.finding.as_ref().map(|finding| finding.check.as_str());
    let recognised = report.finding.as_ref().and_then(|finding| finding.recognised.as_ref());
    let recognised = recognised.map(|known| known.impostor.as_str());
    let is_as_told = failed == Some(impostor.caught_by) && recognised == Some(bug);
    (!is_as_told)
        .then(|| format!("{}: `{bug}` fails {failed:?} and is taken for {recognised:?}", part.name))
}

/// The broken versions that an exercise's stub shows, by part: `#[part(bug = "…")]`.
fn bugs(exercise: &str) -> BTreeMap<String, String> {
    let mut folders = vec![root().join("solutions").join(exercise).join("src")];
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let file = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
                found.extend(file.items.iter().filter_map(bug));
            }
        }
    }
    found
}

/// Name of a part and of its bug.
fn bug(item: &Item) -> Option<(String, String)> {
    let Item::Fn(function) = item else { return None };
    let part = function.attrs.iter().find(|attribute| attribute.path().is_ident("part"))?;
    let mut bug = None;
    part.parse_nested_meta(|meta| {
        let text: LitStr = meta.value()?.parse()?;
        if meta.path.is_ident("bug") {
            bug = Some(text.value());
        }
        Ok(())
    })
    .ok()?;
    Some((function.sig.ident.to_string(), bug?))
}
