//! From the chain rule to a trained network.
//!
//! A network is a chain of plain functions; training asks how the loss at its end moves with each
//! weight on the way, and takes a step downhill:
//!
//! ```text
//! x → linear → layer norm → relu → linear → cross entropy → loss
//!                                                            │
//! weights ← weights − step(gradients) ←──── backward ────────┘
//! ```
//!
//! This file has the functions that a network is made of.
//!
//! Source: Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating
//! errors", doi:10.1038/323533a0.
//!
//! Check your work: `cargo xtask check mlp`.

use candle_core::{Result, Tensor};
use wick::part;

/// Maps every vector of `x` by a matrix, and moves it by a bias if there is one.
///
/// # Shapes
///
/// | tensor   | shape           | dtype          |
/// |----------|-----------------|----------------|
/// | `x`      | `(…, d_in)`     | `f32` or `f64` |
/// | `weight` | `(d_out, d_in)` | as `x`         |
/// | `bias`   | `(d_out)`       | as `x`         |
/// | result   | `(…, d_out)`    | as `x`         |
///
/// # Contract
///
/// - The result is `x weightᵀ + bias`: row `j` of `weight` makes output `j`.
/// - `x` may have any number of leading axes, none included; they stay as they are.
/// - Gradients flow back to `x`, `weight` and `bias`.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if the last axis of `x` is not `d_in` long, or `bias` has another shape than `(d_out)`.
///
/// # Example: three outputs of two inputs
///
/// ```text
/// x = [[1, 2]]    weight = [[1, 10], [0, 1], [3, 0]]    bias = [0, 0, 100]
/// result = [[21, 2, 103]]
/// ```
///
/// Source: the layout of the weight is that of `PyTorch`'s `nn.Linear`, and of candle's.
#[part]
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    todo!("flatten, matmul, add the bias")
}
