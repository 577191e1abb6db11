//! Hidden checks of `exercises/transformer`.

use crate::Suite;

mod layer_norm;
mod oracle;
mod steps;

/// Everything that `cargo xtask check transformer` asks.
pub const SUITE: Suite = Suite {
    exercise: "transformer",
    parts: &[
        // Keep the order in which the parts are learned.
        &layer_norm::LAYER_NORM,
    ],
};
