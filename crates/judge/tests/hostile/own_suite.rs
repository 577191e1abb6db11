//! A judge with a suite of our own: the part under attack has a rule about its source, and beside
//! it stands another part of the same answer.

use std::{
    env,
    io::{Write as _, stdout},
    path::PathBuf,
    process::{Command, ExitCode},
};

use checks::{Part, SourceRule, Suite, attention};
use judge::{Run, Who};
use libtest_mimic::{Failed, Trial};
use protocol::DeviceKind;

use crate::{
    corpus::{self, Row, Stage},
    judged::{PART, check_outcome, check_verdict, reports},
    scene::Scene,
};

/// The argument that makes this program that judge; a program and a folder of sources follow.
pub(crate) const ROLE: &str = "judge";

/// A part's name and the checks of the part that the rows answer.
const fn part(name: &'static str, rule: Option<SourceRule>) -> Part {
    Part { name, rule, checks: pattern().checks, impostors: &[], alternatives: &[] }
}

/// The part that the rows answer, wherever it stands in the suite.
const fn pattern() -> &'static Part {
    let parts = attention::SUITE.parts;
    let mut n = 0;
    while !same(parts[n].name, PART) {
        n += 1;
    }
    parts[n]
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

static SUITE: Suite =
    Suite { exercise: "attention", parts: &[&ATTACKED, &BYSTANDER], homebound: &[] };

static ATTACKED: Part = part(PART, Some(RULE));

static BYSTANDER: Part = part("bystander", None);

const RULE: SourceRule = SourceRule {
    only: &[],
    never: &["softmax", "softmax_last_dim", "sdpa"],
    reason: "The softmax is what this exercise is about.",
};

/// The trial of a row that says what becomes of the other part.
pub(crate) fn trial(row: &'static Row) -> Option<Trial> {
    row.expect.bystander.is_some().then(|| row.trial("beside_another_part", true, judged))
}

fn judged(row: &'static Row) -> Result<(), Failed> {
    let scene = Scene::new(row.id)?;
    let mut judge = Command::new(env::current_exe()?);
    judge.arg(ROLE).arg(&scene.program);
    if row.expect.stage == Stage::Source {
        judge.arg(corpus::folder(row.id));
    }
    let said = scene.run(judge, row.expect.max_seconds)?;
    let reports = reports(&said)?;
    check_verdict(&reports, PART, &row.expect.verdicts)?;
    check_verdict(&reports, BYSTANDER.name, row.expect.bystander.as_deref().unwrap_or_default())?;
    check_outcome(row, &scene, &said)
}

/// Judges both parts and prints JSON lines, as the real judge does.
pub(crate) fn judge(args: &[String]) -> ExitCode {
    let mut args = args.iter().map(PathBuf::from);
    let run = Run {
        suite: &SUITE,
        who: Who::Program(args.next().unwrap_or_default()),
        source: args.next(),
        parts: Vec::new(),
        seed: 1,
        device: DeviceKind::Cpu,
        strict: false,
    };
    let mut stdout = stdout().lock();
    let judged = run.judge(&mut |event| {
        serde_json::to_writer(&mut stdout, event)?;
        writeln!(stdout)
    });
    match judged {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
