//! Hidden checks of `exercises/mlp`.

use crate::Suite;

mod dual;
mod numeric_gradient;
mod scalar;
mod topological_order;

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

mod diagnose;
mod severed;
mod train;
mod trainer;
mod training;

/// Everything that `cargo xtask check mlp` asks.
pub const SUITE: Suite = Suite {
    exercise: "mlp",
    parts: &[
        &numeric_gradient::NUMERIC_GRADIENT,
        &topological_order::TOPOLOGICAL_ORDER,
        &scalar::SCALAR,
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
        &train::TRAIN,
        &diagnose::DIAGNOSE,
        &severed::ASSERT_ALL_GRADIENTS,
    ],
    homebound: &[numeric_gradient::HOMEBOUND],
};
