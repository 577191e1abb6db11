//! Hidden checks of `exercises/tensors`.

use crate::Suite;

mod bin_count;
mod broadcast_shapes;
mod broadcast_to;
mod contract;
mod difference;
mod identity;
mod inputs;
mod log_sum_exp;
mod one_hot;
mod planted;
mod ray_triangles;
mod roll;
mod rows;
mod rules;
mod running_sum;
mod scatter_add;
mod scene;
mod sequence_mask;
mod softmax;
mod strided_view;
mod unbroadcast;
mod upper_triangle;
mod whiten;

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
        &contract::CONTRACT,
        &scatter_add::SCATTER_ADD,
        &log_sum_exp::LOG_SUM_EXP,
        &softmax::SOFTMAX,
        &ray_triangles::RAY_TRIANGLES,
        &whiten::WHITEN,
    ],
    homebound: &[identity::HOMEBOUND],
};
