//! Hidden checks of `exercises/mlp`.

use crate::Suite;

mod adam;
mod adamw;
mod backward;
mod cross_entropy;
mod descent;
mod dropout;
mod gelu;
mod kaiming;
mod linear;
mod memory;
mod network;
mod relu;
mod sgd;
mod steps;

/// Everything that `cargo xtask check mlp` asks.
pub const SUITE: Suite = Suite {
    exercise: "mlp",
    parts: &[
        &linear::LINEAR,
        &relu::RELU,
        &gelu::GELU,
        &cross_entropy::CROSS_ENTROPY,
        &kaiming::KAIMING_INIT,
        &backward::MLP_BACKWARD,
        &sgd::SGD,
        &adam::ADAM,
        &adamw::ADAMW,
        &dropout::DROPOUT,
    ],
};
