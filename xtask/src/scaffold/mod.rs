//! A new exercise: what it may be called, what it is made of, where it is entered, the way back.
//!
//! **Invariant:** everything is computed before anything is written, and every write is taken down
//! first, so that [`undo`] leaves the clone as it was.

mod entries;
mod names;
mod steps;
mod templates;

use std::path::Path;

pub(crate) use names::Names;
pub(crate) use steps::{create, interrupt, keep, settle, undo, yield_to_interrupt};
pub(crate) use templates::{NewExercise, Template};

/// A file that is there and gets another line.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it is, below the root.
    pub(crate) file: String,
    pub(crate) text: String,
}

/// Every list that names the exercises, with the new one entered.
pub(crate) fn entries(root: &Path, new: &NewExercise) -> anyhow::Result<Vec<Entry>> {
    entries::all(root, new)
}

/// Replaces a file that [`undo`] can bring back.
pub(crate) fn enter(root: &Path, entry: &Entry) -> anyhow::Result<()> {
    steps::replace(&root.join(&entry.file), &entry.text)
}
