//! Hidden checks of `exercises/tensors`.

use crate::Suite;

mod contract;

/// Everything that `cargo xtask check tensors` asks.
pub const SUITE: Suite = Suite { exercise: "tensors", parts: &[&contract::CONTRACT] };
