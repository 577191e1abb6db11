//! One answer, put to a part's checks with one seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Check, Margin, Part, Stop, Subject, Suite, Trial};

/// What came of one answer.
#[derive(Debug)]
pub struct Attempt {
    /// The seed.
    pub seed: u64,
    /// The check that did not hold, and why not.
    pub failed: Option<(&'static Check, Stop)>,
    /// The check that panicked, which says nothing about the answer.
    pub broke: Option<&'static Check>,
    /// By how many tolerances the failing comparison failed, if a comparison did.
    pub excess: Option<f64>,
    /// How close each comparison that passed came to its tolerance.
    pub margins: Vec<(&'static Check, Margin)>,
}

impl Attempt {
    /// The most that was used of a tolerance.
    #[must_use]
    pub fn noise(&self) -> f64 {
        self.margins.iter().fold(0.0, |most: f64, (_, margin)| most.max(margin.used))
    }

    /// Whether every check ran and held.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed.is_none() && self.broke.is_none()
    }
}

/// Runs a part's checks on an answer until one fails.
pub fn attempt(
    suite: &Suite,
    part: &'static Part,
    subject: &mut dyn Subject,
    seed: u64,
) -> Attempt {
    let mut tried = Attempt { seed, failed: None, broke: None, excess: None, margins: Vec::new() };
    for check in part.checks {
        let mut trial = Trial::new(subject, suite.exercise, part.name, check.name, seed);
        let outcome = catch_unwind(AssertUnwindSafe(|| (check.run)(&mut trial)));
        tried.margins.extend(trial.margins().iter().cloned().map(|margin| (check, margin)));
        match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(stop)) => {
                tried.excess = trial.excess();
                tried.failed = Some((check, stop));
            }
            Err(_) => tried.broke = Some(check),
        }
        break;
    }
    tried
}

/// What one check alone says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    Holds,
    Fails,
    /// It panicked.
    Breaks,
    /// It trains, and what it would say is not worth the time.
    NotAsked,
}

impl Alone {
    /// Whether the answer failed; `None` if it was not asked.
    pub(super) fn fails(self) -> Option<bool> {
        match self {
            Self::Holds => Some(false),
            Self::Fails | Self::Breaks => Some(true),
            Self::NotAsked => None,
        }
    }
}

/// Puts each check to an answer alone, as if the ones before had held; those that `skips` says are
/// left out.
pub(super) fn row(
    suite: &Suite,
    part: &Part,
    seed: u64,
    skips: impl Fn(&Check) -> bool,
    subject: impl Fn() -> Box<dyn Subject>,
) -> Vec<Alone> {
    let one = |check: &Check| {
        if skips(check) {
            return Alone::NotAsked;
        }
        let mut subject = subject();
        let mut trial = Trial::new(&mut *subject, suite.exercise, part.name, check.name, seed);
        match catch_unwind(AssertUnwindSafe(|| (check.run)(&mut trial))) {
            Ok(Ok(())) => Alone::Holds,
            Ok(Err(_)) => Alone::Fails,
            Err(_) => Alone::Breaks,
        }
    };
    part.checks.iter().map(one).collect()
}
