//! What the judge says: one [`Event`] a line, as JSON, on its standard output.
//!
//! The judge writes them, `xtask` renders them, and `check --format json` passes them on.
//!
//! **Invariant:** a [`Verdict`] is [`Verdict::Passed`] only if every declared check ran and held.

mod proof;
mod rule;

use std::collections::BTreeMap;

pub use proof::{Fault, ImpostorProof, PartProof, ProgramsProof, Proof};
pub use rule::{Rule, Stage};
use serde::{Deserialize, Serialize};

/// Version of these lines; it changes when a reader of the old ones could misread the new.
pub const VERSION: u32 = 2;

/// One line of the judge's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one is made at a time, and written at once")]
pub enum Event {
    /// Before the first part.
    Started(Started),
    /// While a part computes, if it tells how far it has come.
    Progress(Progress),
    /// After each part.
    Part(PartReport),
    /// After the last part. Its absence means that the judge itself broke.
    Finished(Finished),
}

/// What is about to be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// [`VERSION`] of these lines.
    pub version: u32,
    /// The exercise.
    pub exercise: String,
    /// `--seed` with this number repeats the run exactly.
    pub seed: u64,
    /// Where the subject computes: `cpu`, `cuda`, `metal`.
    pub device: String,
    /// What keeps the subject in.
    pub isolation: Isolation,
    /// The parts to come, in order.
    pub parts: Vec<Declared>,
}

/// How well the subject is confined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Whether every layer that we know on this system is in force.
    pub full: bool,
    /// The layers in force: `landlock`, `seccomp`, `rlimits`, `namespaces`.
    pub layers: Vec<String>,
    /// One honest sentence, empty when `full`.
    pub weakness: String,
}

/// A part that will be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// The part's name.
    pub part: String,
    /// How many checks it has.
    pub checks: usize,
}

/// How far a part has come, in its own words: never a reason for a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The part's name.
    pub part: String,
    /// The check that waits for it.
    pub check: String,
    /// Which of the check's questions it answers, from 0.
    pub question: usize,
    /// Steps taken so far.
    pub step: u64,
    /// Steps in all; 0 if not known.
    pub total: u64,
    /// What was measured, by name; `None` (null) stands for what is not finite.
    pub metrics: Vec<(String, Option<f64>)>,
}

/// The judgement of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartReport {
    /// The part's name.
    pub part: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Checks that ran, the failed one included.
    pub checks_run: usize,
    /// Checks that exist.
    pub checks_declared: usize,
    /// What the learner is told; absent if passed.
    pub finding: Option<Finding>,
    /// What the answer printed while this part was judged, control characters neutralised.
    pub prints: Prints,
    /// What checks have to show of the answer, such as a text that its model wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exhibits: Vec<Exhibit>,
    /// How far a device's results are from the CPU's; absent on the CPU itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
    /// Wall time of this part, in milliseconds.
    pub millis: f64,
}

/// How far the results of a device are from the expected values, which are computed on the CPU in
/// `f64`; of the comparisons that held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parity {
    /// Largest difference of two numbers, relative to the size of those that are added up.
    pub difference: f64,
    /// Largest share of a tolerance that was used; 1 is all of it.
    pub used: f64,
    /// How many tensors were compared.
    pub compared: usize,
}

impl Parity {
    /// Adds a comparison that held.
    #[must_use]
    pub fn with(self, difference: f64, used: f64) -> Self {
        Self {
            difference: self.difference.max(difference),
            used: self.used.max(used),
            compared: self.compared + 1,
        }
    }
}

/// What came of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every declared check ran and held.
    Passed,
    /// The answer is wrong.
    Wrong,
    /// The part, or one that it calls, still says `todo!`.
    NotStarted,
    /// The answer breaks a rule of the exercise, such as a forbidden call.
    Refused,
    /// The answer's process ended: a signal, an exit, a stack overflow.
    RuntimeError,
    /// It used more memory than it may.
    Memory,
    /// It used more processor time than it may.
    TimeCpu,
    /// It waited longer than it may.
    TimeWall,
    /// It printed more than it may.
    OutputLimit,
    /// What it sent is not an answer.
    ProtocolViolation,
    /// The device could not be opened; nothing was judged.
    NoDevice,
    /// The judge could not do its work; says nothing about the answer.
    JudgeFault,
}

/// What a failed check tells the learner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The check that failed; empty if none was reached.
    pub check: String,
    /// What the check promises, as a sentence.
    pub promise: String,
    /// Where: a result and the position in it, such as ``` `pattern` at `[0, 0, 0, 1]` ```.
    pub place: Option<String>,
    /// What: whole sentences, the most telling first.
    pub what: Vec<String>,
    /// How each of several results stands, a line for each; empty if there is only one.
    #[serde(default)]
    pub each: Vec<String>,
    /// Relations that hold between what came and what was expected.
    pub triage: Vec<String>,
    /// The known mistake that gives exactly this.
    pub recognised: Option<Recognised>,
    /// `file:line:column` of a panic.
    pub location: Option<String>,
    /// The inputs of the failing question, shortened: argument and its description.
    pub inputs: Vec<Input>,
}

/// An argument, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Name of the argument.
    pub name: String,
    /// Its dtype, shape and layout, or its value.
    pub description: String,
}

/// A known mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognised {
    /// The impostor's name.
    pub impostor: String,
    /// What it does wrong, as a clause.
    pub diagnosis: String,
}

/// Something to look at, made by a check: never a reason for a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exhibit {
    /// What it is, in a few words, such as `a sample of its text`.
    pub title: String,
    /// What there is to see.
    pub shown: Shown,
}

/// What there is to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Lines of text, shown where the verdict is.
    Text(String),
    /// A self-contained HTML page, kept in a file that the verdict names.
    Page(String),
}

/// What an answer printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prints {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Whether either was cut.
    pub cut: bool,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Parts by verdict.
    pub tally: BTreeMap<String, usize>,
    /// Checks that ran.
    pub checks_run: usize,
    /// Checks that exist, in the parts that were asked for.
    pub checks_declared: usize,
    /// Wall time of the run, in milliseconds.
    pub millis: f64,
    /// Wall time from spawning the first subject to its first answer, in milliseconds.
    pub start_millis: f64,
}
