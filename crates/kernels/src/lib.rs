//! The loops over slices of `f32` that training spends its time in, forward and backward.
//!
//! Every loop is written so that the compiler vectorises it, and is compiled for each instruction
//! set that `pulp` knows; which of them runs is found out at run time.
//! Products of matrices are `gemm`'s, on views whose strides say what is transposed.
//!
//! A crate of its own, so that `wick`, which learners' answers are linked with, can be built
//! without optimisation while this is built with all of it.
//!
//! **Invariants:** no tensor library below this; sums are taken in an order that does not depend
//! on the number of threads.

#![expect(clippy::inline_always, reason = "a loop is vectorised only where its body is inlined")]

mod activation;
mod attention;
mod embedding;
mod linear;
mod loss;
mod matrix;
mod norm;
mod optimiser;
mod pool;
mod rotary;
mod scalar;
mod simd;
mod softmax;
mod threads;

pub use activation::{Activation, activate, activate_with_slope, scale_by_slope, slope};
pub use attention::{
    Packed, Saved as SavedAttention, backward as attend_backward, forward as attend,
};
pub use embedding::{gather, scatter};
pub use linear::{Linear, add, fill_rows, sum_rows};
pub use loss::{cross_entropy, scale};
pub use matrix::{Matrix, MatrixMut, multiply};
pub use norm::{Norm, Statistics, Upstream, backward as normalise_backward, forward as normalise};
pub use optimiser::{AdamW, adamw, sum_of_squares};
pub use pool::{Buffer, buffer};
pub use rotary::rotate;
pub use softmax::{backward as softmax_backward, forward as softmax};

/// What a kernel does with what stood in its output before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Overwrites it.
    Replace,
    /// Adds to it.
    Add,
}
