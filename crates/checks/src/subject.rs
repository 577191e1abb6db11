//! What a check talks to, and how it can end.

use std::time::Duration;

use protocol::{Progress, Question, Reply};
use report::{Finding, Verdict};

/// Something that answers questions: a process behind the border, or an impostor in our own.
pub trait Subject {
    /// Asks one question.
    ///
    /// # Errors
    ///
    /// Fails if the subject died, took too long, or sent something that is no answer.
    fn ask(&mut self, question: &Question) -> Result<Reply, Death>;

    /// Asks one question, and hands on what it tells of its progress meanwhile.
    ///
    /// # Errors
    ///
    /// Fails as [`Subject::ask`] does.
    fn ask_live(
        &mut self,
        question: &Question,
        _live: &mut dyn FnMut(&Progress),
    ) -> Result<Reply, Death> {
        self.ask(question)
    }

    /// Sets the processor time that each question from now on may take, if it is bounded at all.
    fn allow(&mut self, _cpu: Duration) {}
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Which kind of end it was.
    pub verdict: Verdict,
    /// What to tell the learner, in whole sentences.
    pub what: Vec<String>,
}

/// Why a check did not hold.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The answer is wrong.
    Wrong(Box<Finding>),
    /// The part, or one that it calls, still says `todo!`; its plan is here.
    NotStarted(String),
    /// No answer came.
    Died(Death),
}

/// What a check says: it holds, or why not.
pub type Outcome = Result<(), Stop>;
