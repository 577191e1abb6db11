//! What a check came to: counts, exit code, and what to do next.
//!
//! **Invariant:** nothing else decides what `check` exits with; a run in which no check ran never
//! passes.

use std::collections::BTreeMap;

use report::{Finished, PartReport, Started, Verdict};

use crate::{exhibits::Picture, exit::Exit};

/// Everything that one run of the judge said.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Names of the parts that had to be judged.
    pub(crate) expected: Vec<String>,
    pub(crate) started: Option<Started>,
    pub(crate) parts: Vec<PartReport>,
    pub(crate) finished: Option<Finished>,
    /// Pictures of what parts measured, by part: paths below the root.
    pub(crate) curves: BTreeMap<String, String>,
    /// Pages that checks had to show.
    pub(crate) pictures: Vec<Picture>,
}

/// Verdicts, as a learner tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Passed,
    NotStarted,
    Wrong,
    Crashed,
    Fault,
}

/// Sorts a verdict.
pub(crate) fn class(verdict: Verdict) -> Class {
    match verdict {
        Verdict::Passed => Class::Passed,
        Verdict::NotStarted => Class::NotStarted,
        Verdict::Wrong | Verdict::Refused => Class::Wrong,
        Verdict::RuntimeError
        | Verdict::Memory
        | Verdict::TimeCpu
        | Verdict::TimeWall
        | Verdict::OutputLimit
        | Verdict::ProtocolViolation => Class::Crashed,
        Verdict::JudgeFault | Verdict::NoDevice => Class::Fault,
    }
}

/// The verdict in a learner's words.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::NotStarted => "not started",
        Verdict::Wrong => "wrong",
        Verdict::Refused => "refused",
        Verdict::RuntimeError => "crashed",
        Verdict::Memory => "out of memory",
        Verdict::TimeCpu => "too slow",
        Verdict::TimeWall => "no answer",
        Verdict::OutputLimit => "prints too much",
        Verdict::ProtocolViolation => "not an answer",
        Verdict::JudgeFault => "not judged",
        Verdict::NoDevice => "no device",
    }
}

impl Outcome {
    pub(crate) fn count(&self, wanted: Class) -> usize {
        self.parts.iter().filter(|part| class(part.verdict) == wanted).count()
    }

    pub(crate) fn checks_run(&self) -> usize {
        self.parts.iter().map(|part| part.checks_run).sum()
    }

    pub(crate) fn checks_declared(&self) -> usize {
        self.parts.iter().map(|part| part.checks_declared).sum()
    }

    /// The first part that is neither passed nor merely not started.
    pub(crate) fn first_failure(&self) -> Option<&PartReport> {
        let failed =
            |part: &&PartReport| !matches!(class(part.verdict), Class::Passed | Class::NotStarted);
        self.parts.iter().find(failed)
    }

    /// The first part that is not started.
    pub(crate) fn first_not_started(&self) -> Option<&PartReport> {
        self.parts.iter().find(|part| part.verdict == Verdict::NotStarted)
    }

    /// Parts that had to be judged and were not.
    pub(crate) fn missing(&self) -> Vec<&str> {
        let is_missing = |name: &&String| self.parts.iter().all(|part| part.part != **name);
        self.expected.iter().filter(is_missing).map(String::as_str).collect()
    }

    /// Whether a device that seemed to be there could not be opened, so that nothing counts.
    pub(crate) fn has_no_device(&self) -> bool {
        self.parts.iter().any(|part| part.verdict == Verdict::NoDevice)
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.finished.is_some() && self.has_no_device() {
            return Exit::NoDevice;
        }
        if self.finished.is_none() || self.count(Class::Fault) > 0 || !self.missing().is_empty() {
            return Exit::Bug;
        }
        match self.first_failure().map(|part| class(part.verdict)) {
            Some(Class::Crashed) => Exit::Crashed,
            Some(_) => Exit::Failed,
            None if self.count(Class::NotStarted) > 0 => Exit::NotStarted,
            None if self.checks_run() == 0 || self.checks_run() < self.checks_declared() => {
                Exit::Bug
            }
            None => Exit::Passed,
        }
    }

    /// `3 of 15 passed`, with what else there was.
    pub(crate) fn summary(&self) -> String {
        let mut summary = format!("{} of {} passed", self.count(Class::Passed), self.parts.len());
        let others = [
            (Class::Wrong, "wrong"),
            (Class::Crashed, "crashed"),
            (Class::Fault, "not judged"),
            (Class::NotStarted, "not started"),
        ];
        for (class, word) in others {
            let n = self.count(class);
            if n > 0 {
                summary.push_str(&format!(" · {n} {word}"));
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use report::Prints;

    use super::*;

    #[track_caller]
    fn check(verdicts: &[Verdict], exit: Exit) {
        let part = |&verdict: &Verdict| PartReport {
            part: "one".to_owned(),
            verdict,
            checks_run: usize::from(verdict == Verdict::Passed),
            checks_declared: 1,
            finding: None,
            prints: Prints::default(),
            exhibits: vec![],
            parity: None,
            millis: 1.0,
        };
        let finished = Some(Finished {
            tally: std::collections::BTreeMap::new(),
            checks_run: 0,
            checks_declared: 0,
            millis: 0.0,
            start_millis: 0.0,
        });
        let parts = verdicts.iter().map(part).collect();
        let outcome = Outcome { parts, finished, ..Outcome::default() };
        assert_eq!(outcome.exit(), exit);
    }

    #[test]
    fn all_passed_is_zero() {
        check(&[Verdict::Passed, Verdict::Passed], Exit::Passed);
    }

    #[test]
    fn nothing_run_is_never_a_pass() {
        check(&[], Exit::Bug);
    }

    #[test]
    fn the_first_failure_decides() {
        check(&[Verdict::Passed, Verdict::Wrong, Verdict::Memory], Exit::Failed);
        check(&[Verdict::NotStarted, Verdict::TimeCpu, Verdict::Wrong], Exit::Crashed);
        check(&[Verdict::Refused], Exit::Failed);
    }

    #[test]
    fn not_started_is_not_wrong() {
        check(&[Verdict::Passed, Verdict::NotStarted], Exit::NotStarted);
    }

    #[test]
    fn a_fault_of_the_judge_is_ours() {
        check(&[Verdict::Passed, Verdict::JudgeFault], Exit::Bug);
    }

    #[test]
    fn a_device_that_does_not_open_is_five() {
        check(&[Verdict::NoDevice, Verdict::NoDevice], Exit::NoDevice);
        check(&[Verdict::Passed, Verdict::NoDevice], Exit::NoDevice);
        check(&[Verdict::Refused, Verdict::NoDevice], Exit::NoDevice);
    }

    #[test]
    fn a_run_that_broke_off_is_ours() {
        assert_eq!(Outcome::default().exit(), Exit::Bug);
    }
}
