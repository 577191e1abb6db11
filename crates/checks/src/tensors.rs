//! Hidden checks of `exercises/tensors`.

use crate::Suite;

mod contract;
mod log_sum_exp;
mod planted;
mod ray_triangles;
mod rows;
mod scatter_add;
mod scene;
mod softmax;
mod whiten;

/// Everything that `cargo xtask check tensors` asks.
pub const SUITE: Suite = Suite {
    exercise: "tensors",
    parts: &[
        &contract::CONTRACT,
        &scatter_add::SCATTER_ADD,
        &log_sum_exp::LOG_SUM_EXP,
        &softmax::SOFTMAX,
        &ray_triangles::RAY_TRIANGLES,
        &whiten::WHITEN,
    ],
};
