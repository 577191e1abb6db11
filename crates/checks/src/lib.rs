//! What "right" means: one module an exercise, with its checks and impostors. The hidden tests.
//!
//! A suite is data: each part of an exercise has *checks* (promises in the present tense),
//! *impostors* (known wrong answers, each with a diagnosis) and *alternatives* (right answers that
//! look different).
//! Read an exercise's module from top to bottom: what must hold, which mistakes we recognise, and
//! only then how each check works.
//!
//! **Invariant:** expected values come by another route than the solutions, which this crate cannot
//! see.
//! **Invariant:** `caught_by` is the first check that an impostor fails, and every check is the
//! `caught_by` of some impostor; `tests/strength.rs` proves both.

mod args;
mod array;
mod compare;
mod generator;
mod gradient;
mod local;
mod named;
mod rule;
pub mod strength;
mod subject;
mod suite;
mod tolerance;
mod triage;
mod trial;

// One module an exercise, in the order of their names; `cargo xtask new` enters them here.
// exercises:begin
pub mod attention;
pub mod mlp;
pub mod tensors;
pub mod transformer;
// exercises:end

pub use array::Array;
pub use generator::{Generator, STREAM_VERSION};
pub use gradient::{Inputs, numeric_gradient};
pub use local::Local;
pub use named::Named;
pub use rule::SourceRule;
pub use subject::{Death, Outcome, Stop, Subject};
pub use suite::{Alternative, Check, Impostor, Kind, Part, Suite};
pub use tolerance::Tolerance;
pub use trial::{Margin, Trial};

/// Every exercise that can be judged, in the order of their names.
pub const SUITES: &[&Suite] = &[
    // suites:begin
    &attention::SUITE,
    &mlp::SUITE,
    &tensors::SUITE,
    &transformer::SUITE,
    // suites:end
];

/// Finds an exercise's suite.
#[must_use]
pub fn find(exercise: &str) -> Option<&'static Suite> {
    SUITES.iter().copied().find(|suite| suite.exercise == exercise)
}
