//! Probing.
//!
//! What many layers do first: they move each row of numbers so that it has the mean 0, and what is
//! left says how the entries of a row differ from each other.
//!
//! Check your work: `cargo xtask check probing`.

use candle_core::{Result, Tensor};
use wick::part;

/// Moves each row so that its mean is 0.
///
/// # Shapes
///
/// | tensor | shape        | dtype                             |
/// |--------|--------------|-----------------------------------|
/// | `x`    | `(…, width)` | `f32` or `f64`; at least one axis |
/// | result | as `x`       | as `x`                            |
///
/// # Contract
///
/// - A row lies along the last axis; each is moved by its own mean.
/// - The differences between the entries of a row stay.
/// - Gradients flow back to `x`, also through the mean.
/// - `x` may be non-contiguous.
///
/// # Errors
///
/// Fails if `x` is a lone number, without any axis.
///
/// # Example: a row of two numbers
///
/// ```text
/// x = [[1, 3]]      result = [[-1, 1]]
/// ```
///
/// Source: Ba et al. (2016), §3, eq. 4, arXiv:1607.06450, for the mean alone.
#[part]
pub fn head_scores(x: &Tensor) -> Result<Tensor> {
    todo!("mean of each row, subtract")
}
