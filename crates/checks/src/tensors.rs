//! Hidden checks of `exercises/tensors`.

use crate::Suite;

mod contract;
mod scatter_add;

/// Everything that `cargo xtask check tensors` asks.
pub const SUITE: Suite =
    Suite { exercise: "tensors", parts: &[&contract::CONTRACT, &scatter_add::SCATTER_ADD] };
