//! Trains the small models that Wick ships under `datasets/models`, from nothing but a seed.
//!
//! A model's file says in its metadata how it came to be: configuration, seed, steps, losses, and
//! the revision that trained it.
//! What a shipped model must be able to do is a test, `tests/quality.rs`.
//!
//! This is a plain trainer of our own: it shares no code with the exercises' solutions, so each of
//! the two can find the other wrong.
//!
//! **Invariant:** the order of batches follows from seed and step alone, so a run that was stopped
//! and resumed, for as many steps as before, ends where one that was never stopped does.

mod adamw;
mod baseline;
mod batch;
mod config;
mod fused;
mod measure;
mod model;
mod run;
mod shipped;
mod tokens;

pub use baseline::{bigram, unigram};
pub use batch::{Batch, Source, legal_moves};
pub use config::{ALL, BPE_GPT, CHAR_GPT, Config, INDUCTION, OTHELLO, Task};
pub use measure::{HELD_OUT, Measured, measure_othello, measure_repeats};
pub use model::{Targets, logits, loss, start};
pub use run::{Progress, Run};
pub use shipped::{enter_in_ledger, ship};
pub use tokens::{Tokenizer, learn_merges};
