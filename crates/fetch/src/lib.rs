//! Brings published models to this machine, through the crate `hf-hub`.
//!
//! That crate asks, follows redirects, resumes and keeps apart who may see a token; it verifies
//! nothing. So files arrive in a folder of their own, are held to the length and SHA-256 that stand
//! in `catalogue.rs`, and only then get their names.
//!
//! No check ever needs what is fetched, and nothing but `cargo xtask fetch` builds this crate and
//! the network client below it.
//!
//! **Invariant:** a file that has its final name was whole and right when it got it, whatever a
//! server sends and whenever the program is stopped.

mod catalogue;
mod download;
mod settings;
mod trouble;
mod verified;

pub use catalogue::{GPT2, MODELS, Model, Remote};
pub use settings::Settings;
pub use trouble::Trouble;

use std::path::PathBuf;

use indicatif::ProgressBar;

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was there already.
    pub was_there: bool,
}

/// Brings every file of a model to this machine, unless it is there.
///
/// # Errors
///
/// Fails with a sentence that says what to do; what arrived so far is kept to be resumed, unless it
/// was wrong.
pub fn fetch(
    model: &Model,
    settings: &Settings,
    bar: &ProgressBar,
) -> Result<Vec<Fetched>, Trouble> {
    let mut fetched = Vec::new();
    for remote in model.files {
        fetched.push(download::file(model, remote, settings, bar)?);
    }
    Ok(fetched)
}
