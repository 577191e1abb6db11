//! What each exit code means, and how an error becomes one.
//!
//! **Invariant:** scripts and CI depend on these numbers; README.md lists them.

use std::io;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Passed = 0,
    Failed = 1,
    Usage = 2,
    DoesNotCompile = 3,
    Crashed = 4,
    NoDevice = 5,
    NotStarted = 6,
    Bug = 70,
    Temporary = 75,
    Interrupted = 130,
}

/// A mishap that a person can mend, with the sentence that says how.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct Problem {
    exit: Exit,
    sentence: String,
}

/// Makes an error of a mishap that a person can mend.
pub(crate) fn problem(exit: Exit, sentence: impl Into<String>) -> anyhow::Error {
    Problem { exit, sentence: sentence.into() }.into()
}

/// Finds the exit code for an error.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    if let Some(problem) = error.chain().find_map(|cause| cause.downcast_ref::<Problem>()) {
        return problem.exit;
    }
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    let full = |kind| {
        matches!(
            kind,
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::PermissionDenied
        )
    };
    if kinds.map(io::Error::kind).any(full) { Exit::Temporary } else { Exit::Bug }
}

/// Says an error to a person.
pub(crate) fn sentence(error: &anyhow::Error, exit: Exit) -> String {
    match exit {
        Exit::Bug => format!("{error:#}.\nThis is a bug in Wick; nothing of yours is lost."),
        Exit::Temporary if error.downcast_ref::<Problem>().is_none() => {
            format!("{error:#}. Nothing is lost; make room or give permission, and try again.")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_temporary() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(of(&error.context("saving progress")), Exit::Temporary);
    }

    #[test]
    fn a_problem_keeps_its_code_under_context() {
        let error = problem(Exit::Usage, "no such exercise").context("on the way");
        assert_eq!(of(&error), Exit::Usage);
    }

    #[test]
    fn anything_else_is_ours() {
        assert_eq!(of(&anyhow::anyhow!("surprise")), Exit::Bug);
    }
}
