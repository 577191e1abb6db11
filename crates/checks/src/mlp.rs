//! Hidden checks of `exercises/mlp`.

use crate::Suite;

mod linear;
mod steps;

/// Everything that `cargo xtask check mlp` asks.
pub const SUITE: Suite = Suite { exercise: "mlp", parts: &[&linear::LINEAR] };
