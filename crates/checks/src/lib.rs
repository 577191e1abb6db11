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

// One exercise alone does not use all that is for all.
#![cfg_attr(not(feature = "every"), allow(dead_code, unused_imports, unused_macros))]

mod args;
mod array;
mod compare;
mod data;
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

// One module an exercise, in the order of their names; `cargo xtask new` enters them here, and in
// the features of Cargo.toml.
// exercises:begin
#[cfg(any(feature = "every", feature = "attention"))]
pub mod attention;
#[cfg(any(feature = "every", feature = "mlp"))]
pub mod mlp;
#[cfg(any(feature = "every", feature = "probing"))]
pub mod probing;
#[cfg(any(feature = "every", feature = "tensors"))]
pub mod tensors;
#[cfg(any(feature = "every", feature = "transformer"))]
pub mod transformer;
// exercises:end

pub use array::Array;
pub use generator::{Generator, STREAM_VERSION};
pub use gradient::{Inputs, numeric_gradient};
pub use local::{Local, OnDevice};
pub use named::Named;
pub use rule::SourceRule;
pub use subject::{Death, Outcome, Stop, Subject};
pub use suite::{Alternative, Check, Homebound, Impostor, Kind, Part, Suite};
pub use tolerance::Tolerance;
pub use trial::{DEVICES_MIXED, Margin, Trial};

/// Every exercise that this build can judge, in the order of their names.
pub const SUITES: &[&Suite] = &[
    // suites:begin
    #[cfg(any(feature = "every", feature = "attention"))]
    &attention::SUITE,
    #[cfg(any(feature = "every", feature = "mlp"))]
    &mlp::SUITE,
    #[cfg(any(feature = "every", feature = "probing"))]
    &probing::SUITE,
    #[cfg(any(feature = "every", feature = "tensors"))]
    &tensors::SUITE,
    #[cfg(any(feature = "every", feature = "transformer"))]
    &transformer::SUITE,
    // suites:end
];

/// Finds an exercise's suite.
#[must_use]
pub fn find(exercise: &str) -> Option<&'static Suite> {
    SUITES.iter().copied().find(|suite| suite.exercise == exercise)
}
