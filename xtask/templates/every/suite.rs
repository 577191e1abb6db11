//! Hidden checks of `exercises/sample_exercise`.

use crate::Suite;

mod sample_part;

/// Everything that `cargo xtask check sample_exercise` asks.
pub const SUITE: Suite = Suite {
    exercise: "sample_exercise",
    // In the order in which they are learned.
    parts: &[&sample_part::SAMPLE_PART],
    homebound: &[],
};
