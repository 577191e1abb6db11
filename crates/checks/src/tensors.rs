//! Hidden checks of `exercises/tensors`.

use crate::Suite;

mod bin_count;
mod broadcast_shapes;
mod broadcast_to;
mod difference;
mod identity;
mod inputs;
mod one_hot;
mod roll;
mod rules;
mod running_sum;
mod sequence_mask;
mod strided_view;
mod unbroadcast;
mod upper_triangle;

/// Everything that `cargo xtask check tensors` asks.
pub const SUITE: Suite = Suite {
    exercise: "tensors",
    parts: &[
        &strided_view::STRIDED_VIEW,
        &broadcast_shapes::BROADCAST_SHAPES,
        &broadcast_to::BROADCAST_TO,
        &unbroadcast::UNBROADCAST,
        &identity::IDENTITY,
        &upper_triangle::UPPER_TRIANGLE,
        &running_sum::RUNNING_SUM,
        &difference::DIFFERENCE,
        &roll::ROLL,
        &one_hot::ONE_HOT,
        &bin_count::BIN_COUNT,
        &sequence_mask::SEQUENCE_MASK,
    ],
};
