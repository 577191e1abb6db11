//! Whose answer is judged: a learner's program, or answers of our own.
//!
//! **Invariant:** an answer of our own is an impostor or an alternative from the suite, so no
//! learner's code can run in this process.

use std::path::PathBuf;

use anyhow::Context as _;
use checks::{Alternative, Impostor, Local, Part, Suite};

/// Whose answer is judged.
#[derive(Clone, Debug)]
pub enum Who {
    /// A program in the jail, or a shared library that one serves there.
    Program(PathBuf),
    /// Answers of our own in our own process, each to one part.
    Own(Vec<Own>),
}

/// An answer of our own to one part.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    pub(crate) part: &'static str,
    pub(crate) answer: Local,
}

impl Own {
    /// Takes a part's known wrong answer.
    #[must_use]
    pub fn impostor(part: &'static Part, impostor: &Impostor) -> Self {
        Self { part: part.name, answer: Local::new(impostor.answer) }
    }

    /// Takes a part's right answer that is written differently.
    #[must_use]
    pub fn alternative(part: &'static Part, alternative: &Alternative) -> Self {
        Self { part: part.name, answer: Local::new(alternative.answer) }
    }
}

impl Who {
    /// Finds the impostor `part::name`.
    ///
    /// # Errors
    ///
    /// Fails if there is none.
    pub fn impostor(suite: &'static Suite, place: &str) -> anyhow::Result<Self> {
        let (part, name) = place.split_once("::").context("name an impostor as part::impostor")?;
        let part = suite.part(part).with_context(|| format!("there is no part {part}"))?;
        let found = part.impostors.iter().find(|impostor| impostor.name == name);
        let impostor = found.with_context(|| {
            let names: Vec<_> = part.impostors.iter().map(|impostor| impostor.name).collect();
            format!("{} has no impostor {name}; it has {}", part.name, names.join(", "))
        })?;
        Ok(Self::Own(vec![Own::impostor(part, impostor)]))
    }

    /// Whether there is anything to ask about `part`.
    pub(crate) fn answers(&self, part: &Part) -> bool {
        match self {
            Self::Program(_) => true,
            Self::Own(answers) => answers.iter().any(|own| own.part == part.name),
        }
    }
}
