//! The trusted end: spawns the subject, asks, compares, recognises, and reports.
//!
//! [`Run`] judges an exercise part by part and hands every [`report::Event`] to its listener; the
//! binary prints them as JSON lines.
//!
//! **Invariant:** a learner's code runs only behind [`jail`], never in this process, and nothing
//! that it prints, returns or exits with becomes a verdict.

mod cell;
mod ear;
mod ending;
mod prints;
mod process;
mod prove;
mod recognise;
mod run;
mod source;
mod who;

pub use process::{Budget, Process};
pub use prove::Prove;
pub use run::Run;
pub use source::{Offence, Sources};
pub use who::{Own, Who};
