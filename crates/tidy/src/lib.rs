//! The house rules that a machine can read; `tests/` holds them, this reads the house.
//!
//! A crate of its own, so that `cargo test -p tidy` needs no candle and takes seconds.
//!
//! **Invariant:** nothing here depends on another room, and nothing is written.

mod cargo;
mod files;

pub use cargo::{Edge, Variants, edges, packages_below, variants_below};
pub use files::{File, files, manifests, sources};

use std::path::Path;

/// The workspace's root.
///
/// # Panics
///
/// Panics if this crate has left `crates/tidy`.
#[must_use]
pub fn root() -> &'static Path {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.ancestors().nth(2).expect("invariant: tidy lies two folders below the root")
}

/// Fails once, with every complaint.
///
/// # Panics
///
/// Panics if there is a complaint.
#[track_caller]
pub fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}
