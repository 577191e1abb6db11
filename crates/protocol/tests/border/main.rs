//! The decoder against everything that may come across the border: nothing makes it panic, and
//! nothing makes it take more memory than its bound.
#![allow(clippy::unwrap_used, reason = "these are tests and their helpers")]

mod allocation;
mod arbitrary;
mod counting;
mod hostile;
mod round_trip;

use proptest::test_runner::{Config as ProptestConfig, RngSeed};

/// Draws the same cases every time; `PROPTEST_RNG_SEED` draws others.
pub(crate) fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    ProptestConfig { cases: 1024, rng_seed, failure_persistence: None, ..asked }
}
