//! Hidden checks of `exercises/probing`.

use crate::Suite;

// Parts 1 to 8: hooks, lenses, circuits.
mod head_scores;

// Parts 9 to 16: probes, directions, Othello, a claim.

/// Everything that `cargo xtask check probing` asks.
pub const SUITE: Suite = Suite {
    exercise: "probing",
    parts: &[
        // Parts 1 to 8.
        &head_scores::HEAD_SCORES,
        // Parts 9 to 16.
    ],
};
