//! What the judge says when it proves an exercise: one [`Proof`] a line.
//!
//! **Invariant:** a fault names its rule, and a proof without its last line proves nothing.

use serde::{Deserialize, Serialize};

use crate::Rule;

/// One line of `judge --prove`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "snake_case")]
pub enum Proof {
    /// After each part: what its checks did to the answers that we wrote.
    Part(PartProof),
    /// After solution and stub were judged behind the border.
    Programs(ProgramsProof),
    /// After everything. Its absence means that the judge itself broke.
    Proved,
}

/// Something that a rule does not allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The rule.
    pub rule: Rule,
    /// The part that it is about; empty if about the whole exercise.
    pub part: String,
    /// The check, impostor or alternative that it is about; empty if about the whole part.
    pub about: String,
    /// What is wrong and what to do, in whole sentences.
    pub sentence: String,
}

/// How strong the checks of one part are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartProof {
    /// The part's name.
    pub part: String,
    /// Names of its checks, in order.
    pub checks: Vec<String>,
    /// Its impostors, in order.
    pub impostors: Vec<ImpostorProof>,
    /// How many impostors failed first where they should, with every seed.
    pub killed: usize,
    /// How many alternatives there are.
    pub right_answers: usize,
    /// How many of those did some check fail.
    pub false_alarms: usize,
    /// How many lazy answers were tried.
    pub lazy_answers: usize,
    /// How many of those passed.
    pub lazy_passed: usize,
    /// The most that a right answer used of a tolerance.
    pub noise: f64,
    /// By how many tolerances the nearest impostor was off; absent if none can be measured.
    pub nearest: Option<f64>,
    /// What must be mended.
    pub faults: Vec<Fault>,
}

/// What the checks of a part did to one impostor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImpostorProof {
    /// Its name.
    pub name: String,
    /// What it fails first; absent if nothing.
    pub first: Option<String>,
    /// For each check, put to it alone: whether it fails; absent where a training was left out.
    pub fails: Vec<Option<bool>>,
}

/// What came of the solution and the stub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramsProof {
    /// Where they computed.
    pub device: String,
    /// Seeds that the solution was judged with, twice each.
    pub seeds: Vec<u64>,
    /// The most that the solution used of a tolerance.
    pub noise: f64,
    /// Each part with the least wall time that the judge took for it, in milliseconds.
    pub millis: Vec<(String, f64)>,
    /// The least wall time of a whole run on the solution, in milliseconds.
    pub run_millis: f64,
    /// What must be mended.
    pub faults: Vec<Fault>,
}
