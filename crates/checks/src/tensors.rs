//! Hidden checks of `exercises/tensors`.

use crate::Suite;

/// Everything that `cargo xtask check tensors` asks.
pub const SUITE: Suite = Suite { exercise: "tensors", parts: &[] };
