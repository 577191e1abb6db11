//! Runs, as lists of events, without what differs from run to run.

use std::{
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use checks::{Part, SUITES, Suite};
use judge::{Own, Run, Who};
use protocol::DeviceKind;
use report::{Event, PartReport};

use crate::programs::{program, root};

pub(crate) const SEEDS: [u64; 3] = [1, 2, 3];

pub(crate) fn every_part() -> impl Iterator<Item = (&'static Suite, &'static Part)> {
    SUITES.iter().flat_map(|suite| suite.parts.iter().map(move |part| (*suite, *part)))
}

/// Fails once, with every complaint.
#[track_caller]
pub(crate) fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Keeps answers of our own apart: what one costs is counted over the whole process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Judges answers of our own in this process.
pub(crate) fn judge_own(
    suite: &'static Suite,
    answers: Vec<Own>,
    parts: Vec<String>,
    seed: u64,
) -> Vec<PartReport> {
    let _alone = alone();
    let who = Who::Own(answers);
    let device = DeviceKind::Cpu;
    let run = Run { suite, who, source: None, parts, seed, device, strict: false };
    let mut events = Vec::new();
    let mut listen = |event: &Event| {
        events.push(event.clone());
        Ok(())
    };
    run.judge(&mut listen).unwrap();
    part_reports(&timeless(events))
}

/// Judges a package's program behind the border, as `cargo xtask check` does.
#[track_caller]
pub(crate) fn judge_program(
    exercise: &str,
    package: &str,
    parts: &[&str],
    seed: u64,
) -> Vec<Event> {
    let room = if package == exercise { "exercises" } else { "solutions" };
    let source: PathBuf = root().join(room).join(exercise);
    let mut judge = Command::new(env!("CARGO_BIN_EXE_judge"));
    judge.arg(exercise).arg("--subject").arg(program(package)).arg("--source").arg(source);
    judge.args(["--seed", &seed.to_string()]);
    judge.args(parts.iter().flat_map(|part| ["--part", part]));
    let said = judge.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let lines = String::from_utf8(said.stdout).unwrap();
    timeless(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

pub(crate) fn part_reports(events: &[Event]) -> Vec<PartReport> {
    let part = |event: &Event| match event {
        Event::Part(report) => Some(report.clone()),
        Event::Started(_) | Event::Progress(_) | Event::Finished(_) => None,
    };
    events.iter().filter_map(part).collect()
}

fn timeless(mut events: Vec<Event>) -> Vec<Event> {
    // Parts that are judged at a time tell of their progress as it comes.
    events.retain(|event| !matches!(event, Event::Progress(_)));
    for event in &mut events {
        match event {
            Event::Started(_) | Event::Progress(_) => {}
            Event::Part(report) => report.millis = 0.0,
            Event::Finished(finished) => {
                (finished.millis, finished.start_millis) = (0.0, 0.0);
            }
        }
    }
    events
}
