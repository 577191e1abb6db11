//! Each row before the real judge: the program that learners' answers meet.

use std::process::Command;

use libtest_mimic::{Failed, Trial};
use report::{Event, PartReport, Verdict};

use crate::{
    corpus::{Row, Stage},
    scene::{Said, Scene},
    survivors,
};

pub(crate) const PART: &str = "attention_pattern";

/// The trial of a row; a rule about sources is `own_suite`'s to try.
pub(crate) fn trial(row: &'static Row) -> Option<Trial> {
    (row.expect.stage == Stage::Judge).then(|| row.trial("judged", true, judged))
}

fn judged(row: &'static Row) -> Result<(), Failed> {
    let scene = Scene::new(row.id)?;
    let mut judge = Command::new(env!("CARGO_BIN_EXE_judge"));
    judge.args(["attention", "--part", PART, "--seed", "1", "--subject"]).arg(&scene.program);
    let said = scene.run(judge, row.expect.max_seconds)?;
    if std::env::var_os("HOSTILE_SHOW").is_some() {
        println!("{} took {:.2?}\n{}{}", row.id, said.took, said.stdout, said.stderr);
    }
    let reports = reports(&said)?;
    check_verdict(&reports, PART, &row.expect.verdicts)?;
    if reports.len() != 1 {
        return Err(format!("{} parts were judged", reports.len()).into());
    }
    check_outcome(row, &scene, &said)
}

/// Makes sure of everything that does not depend on the verdict.
pub(crate) fn check_outcome(row: &Row, scene: &Scene, said: &Said) -> Result<(), Failed> {
    scene.check_secret(said)?;
    scene.check_unchanged()?;
    survivors::check_none(scene.path())?;
    let all = format!("{}{}", said.stdout, said.stderr);
    for text in &row.expect.must_contain {
        if !all.contains(text) {
            return Err(format!("{text:?} is missing in {all}").into());
        }
    }
    for text in &row.expect.must_not_contain {
        if all.contains(text) {
            return Err(format!("{text:?} is in {all}").into());
        }
    }
    for path in row.expect.must_not_exist.iter().map(|path| scene.path().join(path)) {
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} exists", path.display()).into());
        }
    }
    Ok(())
}

/// The reports in a judge's lines, of which it must have written all.
pub(crate) fn reports(said: &Said) -> Result<Vec<PartReport>, Failed> {
    let whole = || format!("{} {} {}", said.status, said.stdout, said.stderr);
    let lines = said.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Event>, _>>();
    let events = lines.map_err(|error| format!("{error}: {}", whole()))?;
    let [Event::Started(_), parts @ .., Event::Finished(_)] = events.as_slice() else {
        return Err(format!("the judge did not finish: {}", whole()).into());
    };
    if !said.status.success() || !said.stderr.is_empty() {
        return Err(format!("the judge broke: {}", whole()).into());
    }
    let report = |event: &Event| match event {
        Event::Progress(_) => None,
        Event::Part(report) => Some(Ok(report.clone())),
        other => Some(Err(Failed::from(format!("{other:?} among the parts")))),
    };
    parts.iter().filter_map(report).collect()
}

/// Makes sure that `part` got one of the verdicts that it may get.
pub(crate) fn check_verdict(
    reports: &[PartReport],
    part: &str,
    allowed: &[Verdict],
) -> Result<(), Failed> {
    let found = reports.iter().find(|report| report.part == part);
    let report = found.ok_or_else(|| format!("{part} was not judged"))?;
    if allowed.contains(&report.verdict) {
        return Ok(());
    }
    Err(format!("{part} got {:?}, not {allowed:?}: {report:#?}", report.verdict).into())
}
