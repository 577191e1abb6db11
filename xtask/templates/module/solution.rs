//! Sample exercise.
//!
//! A gate is a number between 0 and 1 that the input itself sets; multiplied with another number,
//! it lets that one through or holds it back.
//!
//! Check your work: `cargo xtask check sample_exercise`.

use candle_core::{Result, Tensor};
use candle_nn::ops;
use wick::{Weights, part};

/// Projects the input twice, and lets one projection open and close the other.
///
/// # Shapes
///
/// | tensor         | shape            | dtype          |
/// |----------------|------------------|----------------|
/// | `gate.weight`  | `(d_out, d_in)`  | `f32` or `f64` |
/// | `gate.bias`    | `(d_out)`        | may be absent  |
/// | `value.weight` | `(d_out, d_in)`  |                |
/// | `x`            | `(batch, d_in)`  | as the weights |
/// | result         | `(batch, d_out)` | as `x`         |
///
/// # Contract
///
/// - The gate is `σ(x gate.weightᵀ + gate.bias)`, where σ is the logistic function.
/// - The result is the gate times `x value.weightᵀ`, entry by entry.
/// - Gradients flow back to `x` and to every weight.
/// - `x` may be non-contiguous.
///
/// # Errors
///
/// Fails if a weight is missing.
///
/// # Example: one gate half open, one a little more, one a little less
///
/// ```text
/// x = [[2, 4]]      gate.weight = [[0, 0], [½ ln 3, 0], [0, −¼ ln 3]]
///                   value.weight = [[1, 0], [1, 1], [0, 3]]
/// gate = σ([[0, ln 3, −ln 3]]) = [[0.5, 0.75, 0.25]]      value = [[2, 6, 12]]
/// result = [[1, 4.5, 3]]
/// ```
///
/// Source: Dauphin et al. (2017), eq. 1, arXiv:1612.08083.
#[part(plan = "project twice, squeeze, multiply")]
pub fn sample_part(weights: &Weights, x: &Tensor) -> Result<Tensor> {
    let gate = ops::sigmoid(&project(weights, "gate", x)?)?; // (batch, d_out)
    gate * project(weights, "value", x)?
}

/// `x weightᵀ + bias`, with the bias left out if there is none.
fn project(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    // A copy in row order, since not every product takes a view.
    let product = x.contiguous()?.matmul(&weights.get(&format!("{name}.weight"))?.t()?)?;
    match weights.find(&format!("{name}.bias")) {
        Some(bias) => product.broadcast_add(bias),
        None => Ok(product),
    }
}
