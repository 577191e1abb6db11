//! A suite as data: what is promised, and which wrong and right answers prove that we look.

use std::time::Duration;

use answer::Call;

use crate::{Outcome, SourceRule, Trial};

/// Everything that is asked of one exercise.
#[derive(Debug)]
pub struct Suite {
    /// Name of the exercise.
    pub exercise: &'static str,
    /// Its parts, in the order in which they are learned.
    pub parts: &'static [&'static Part],
    /// Answers that are right on the processor and nowhere else.
    pub homebound: &'static [Homebound],
}

impl Suite {
    /// Finds a part.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&'static Part> {
        self.parts.iter().copied().find(|part| part.name == name)
    }
}

/// Everything that is asked of one part.
#[derive(Debug)]
pub struct Part {
    /// Name of the function that the learner writes.
    pub name: &'static str,
    /// What the source may not do, beside being right.
    pub rule: Option<SourceRule>,
    /// What must hold, in the order in which it is asked; the first failure ends the part.
    pub checks: &'static [Check],
    /// Known wrong answers.
    pub impostors: &'static [Impostor],
    /// Right answers, each written differently; no check may fail one.
    pub alternatives: &'static [Alternative],
}

impl Part {
    /// Finds a check.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<&'static Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

/// One promise about a part.
#[derive(Debug)]
pub struct Check {
    /// The promise as a name, in the present tense: `future_cannot_change_past`.
    pub name: &'static str,
    /// The promise as a sentence.
    pub promise: &'static str,
    /// By what kind of evidence it is judged.
    pub kind: Kind,
    /// Asks the subject and judges what comes.
    pub run: fn(&mut Trial) -> Outcome,
}

/// By what kind of evidence a check judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The example in the part's documentation.
    Example,
    /// An independent reference on seeded random inputs.
    Reference,
    /// A property that every right answer has.
    Property,
    /// Analytic gradients against central differences.
    Gradient,
    /// Bad input gets an error.
    Errors,
    /// Counts of what the answer used.
    Economy,
    /// Trains within one question, which may take so many seconds of processor time.
    Training {
        /// The most that one question may take.
        cpu_seconds: u64,
    },
}

impl Kind {
    /// Processor time that one question of such a check may take.
    #[must_use]
    pub const fn cpu(self) -> Duration {
        match self {
            Self::Training { cpu_seconds } => Duration::from_secs(cpu_seconds),
            _ => Duration::from_secs(3),
        }
    }
}

/// A known wrong answer.
#[derive(Debug)]
pub struct Impostor {
    /// Its name: what it does wrong, in few words.
    pub name: &'static str,
    /// What it does wrong, as a clause: "the scores are not divided by √`d_head`".
    pub diagnosis: &'static str,
    /// The first check that it fails.
    pub caught_by: &'static str,
    /// The wrong answer itself.
    pub answer: Call,
}

/// A wrong answer that no check on the processor can tell: it computes there whatever it is given.
///
/// It has to pass every check on the processor, and to fail on any other device;
/// `judge/tests/device.rs` looks at the second where there is one.
#[derive(Debug)]
pub struct Homebound {
    /// Name of the part that it answers.
    pub part: &'static str,
    /// What it does wrong, as a clause.
    pub diagnosis: &'static str,
    /// The answer itself.
    pub answer: Call,
}

/// A right answer, written differently from the solution.
#[derive(Debug)]
pub struct Alternative {
    /// How it goes about it, in few words.
    pub name: &'static str,
    /// The right answer itself.
    pub answer: Call,
}
