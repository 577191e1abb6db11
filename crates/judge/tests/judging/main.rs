//! The judge as a whole: it recognises what we know, passes what is right, and repeats itself.
#![allow(clippy::unwrap_used, reason = "these are tests and their helpers")]

mod attended;
mod programs;
mod proving;
mod recognition;
mod repeatable;
mod runs;
mod solutions;
