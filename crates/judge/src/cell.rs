//! Where a subject lives: in the jail, or, if it is an answer of our own, here.
//!
//! **Invariant:** after a death nothing is asked until a fresh subject was started.

use std::time::Duration;

use anyhow::Context as _;
use checks::{Death, Kind, Part, Subject, Suite};
use report::{Finding, Isolation, Prints, Verdict};

use crate::{Budget, Own, Process, Run, Who, prints::Mark};

/// Where the subject lives, while it lives.
pub(crate) enum Cell {
    Own(Vec<Own>),
    Jailed(Box<Process>),
    /// Ended, but for what it printed; the next part gets a fresh one.
    Dead(Box<Process>),
    /// It died before it could be asked anything, and would again.
    Stillborn(Death),
}

impl Cell {
    pub(crate) fn open(run: &Run) -> anyhow::Result<Self> {
        match &run.who {
            Who::Own(answers) => Ok(Self::Own(answers.clone())),
            Who::Program(program) => {
                let budget = Budget { life: life(run.suite), ..Budget::default() };
                let started = Process::start(program, run.device, budget, run.strict);
                Ok(match started.context("the answer cannot be judged")? {
                    Ok(process) => Self::Jailed(Box::new(process)),
                    Err(death) => Self::Stillborn(death),
                })
            }
        }
    }

    /// Starts a fresh subject if the last one died.
    pub(crate) fn revive(&mut self, run: &Run) -> anyhow::Result<()> {
        if matches!(self, Self::Dead(_)) {
            *self = Self::open(run)?;
        }
        Ok(())
    }

    /// The subject, if it can be asked about `part`.
    pub(crate) fn subject(
        &mut self,
        part: &Part,
    ) -> Result<&mut dyn Subject, Box<(Verdict, Finding)>> {
        let stop = |verdict, what| Box::new((verdict, Finding { what, ..Finding::default() }));
        match self {
            Self::Own(answers) => match answers.iter_mut().find(|own| own.part == part.name) {
                Some(own) => Ok(&mut own.answer),
                None => unreachable!("invariant: only parts that have an answer are asked"),
            },
            Self::Jailed(process) if process.parts().iter().any(|name| name == part.name) => {
                Ok(process.as_mut())
            }
            Self::Jailed(_) => {
                let name = part.name;
                let sentence = format!("There is no part `{name}`: restore it and its `#[part]`.");
                Err(stop(Verdict::Wrong, vec![sentence]))
            }
            Self::Stillborn(death) => Err(stop(death.verdict, death.what.clone())),
            Self::Dead(_) => unreachable!("invariant: a cell is revived before it is asked"),
        }
    }

    /// Says why the subject is no good although it gave every reply: it may not add others.
    pub(crate) fn settle(&mut self) -> Option<Death> {
        let Self::Jailed(process) = self else { return None };
        let death = process.settle().err()?;
        self.bury();
        Some(death)
    }

    /// Ends the subject, which died or did what none may.
    pub(crate) fn bury(&mut self) {
        let stand_in = Self::Stillborn(Death { verdict: Verdict::JudgeFault, what: Vec::new() });
        *self = match std::mem::replace(self, stand_in) {
            Self::Jailed(mut process) => {
                process.end();
                Self::Dead(process)
            }
            other => other,
        };
    }

    pub(crate) fn isolation(&self) -> Isolation {
        match self {
            Self::Jailed(process) | Self::Dead(process) => process.isolation().clone(),
            Self::Own(_) => Isolation { full: true, layers: Vec::new(), weakness: String::new() },
            Self::Stillborn(_) => jail::isolation(),
        }
    }

    pub(crate) fn start_time(&self) -> Duration {
        match self {
            Self::Jailed(process) | Self::Dead(process) => process.start_time(),
            Self::Own(_) | Self::Stillborn(_) => Duration::ZERO,
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        match self {
            Self::Jailed(process) | Self::Dead(process) => Mark::at(&process.output()),
            _ => Mark::default(),
        }
    }

    pub(crate) fn prints_since(&self, mark: Mark) -> Prints {
        match self {
            Self::Jailed(process) | Self::Dead(process) => mark.since(&process.output()),
            _ => Prints::default(),
        }
    }
}

/// Processor time of a subject in all: what is usual, and some questions of each training.
fn life(suite: &Suite) -> Duration {
    const QUESTIONS: u32 = 4;
    let checks = suite.parts.iter().flat_map(|part| part.checks);
    let trainings = checks.filter(|check| matches!(check.kind, Kind::Training { .. }));
    Budget::default().life + trainings.map(|check| QUESTIONS * check.kind.cpu()).sum::<Duration>()
}
