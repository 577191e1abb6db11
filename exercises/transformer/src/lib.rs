//! A GPT from scratch: from bytes to generated text.
//!
//! A language model reads a row of tokens and says, at each position, how likely every token of its
//! vocabulary is to come next. A *residual stream* of width `d_model` runs through it, one vector a
//! position; every block reads the stream, and adds what it found:
//!
//! ```text
//! tokens → embed → resid ─┬───────────────────────(+)─┬───────────────────────(+)─ … → unembed → logits
//!                         └→ layer_norm → attention ─┘└→ layer_norm → mlp_block ─┘
//!                         └──────────────── block, n_layers times ───────────────┘
//! ```
//!
//! Tensors have the names and shapes of GPT-2's own files, so what you write can run its weights.
//! This file has the pieces of a block.
//!
//! Source: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", and the
//! code that came with it, `github.com/openai/gpt-2`.
//!
//! Check your work: `cargo xtask check transformer`.

use candle_core::{Result, Tensor};
use wick::part;

/// Brings every vector to mean 0 and variance 1, then scales and moves it as was learned.
///
/// # Shapes
///
/// | tensor   | shape          | dtype          |
/// |----------|----------------|----------------|
/// | `x`      | `(…, d_model)` | `f32` or `f64` |
/// | `weight` | `(d_model)`    | as `x`         |
/// | `bias`   | `(d_model)`    | as `x`         |
/// | result   | `(…, d_model)` | as `x`         |
///
/// # Contract
///
/// - The result is `(x − mean) / √(variance + eps) · weight + bias`, for each vector by itself.
/// - The variance is the mean of the squared distances from the mean: `d_model` of them are added
///   up, and divided by `d_model`, not by one less.
/// - Moving all numbers of a vector together changes nothing, not even by 4096 in `f32`.
/// - A vector of equal numbers gives `bias`, and a finite gradient.
/// - Gradients flow back to `x`, `weight` and `bias`.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `weight` or `bias` has another shape than `(d_model)`.
///
/// # Example: two numbers, and an `eps` that shows
///
/// ```text
/// x = [1, 3]    weight = [2, 4]    bias = [10, 20]    eps = 3
/// mean 2, variance 1, √(1 + 3) = 2: normed = [-0.5, 0.5]
/// result = [9, 22]
/// ```
///
/// Source: Ba, Kiros and Hinton (2016), "Layer Normalization", §3, eq. 3–4, arXiv:1607.06450; `eps`
/// is 1e-5 in GPT-2.
#[part]
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    todo!("centre, variance, divide, scale, move")
}
