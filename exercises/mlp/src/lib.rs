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
//! [`autograd`] comes first: what a gradient is, and a machine that computes it.
//! This file has the functions that a network is made of; [`noise`] has those that need random
//! numbers, [`backward`] differentiates a whole network by hand, and [`optimisers`] take the step.
//! [`train`] puts them together; [`diagnose`] says why a network does not learn, and [`severed`]
//! finds what training would not tell you.
//!
//! Source: Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating
//! errors", doi:10.1038/323533a0.
//!
//! Check your work: `cargo xtask check mlp`.

pub mod autograd;
pub mod backward;
pub mod diagnose;
pub mod noise;
pub mod optimisers;
pub mod severed;
pub mod train;

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

/// Lets what is positive through, and makes all else 0.
///
/// # Shapes
///
/// | tensor | shape  | dtype          |
/// |--------|--------|----------------|
/// | `x`    | any    | `f32` or `f64` |
/// | result | as `x` | as `x`         |
///
/// # Contract
///
/// - Gradients flow back to `x`: 1 where it is positive, 0 elsewhere, and 0 where it is exactly 0.
///   (A kink has no slope; 0 is what everyone has agreed on, except candle, whose own `relu` lets
///   the whole gradient through there.)
/// - −∞ becomes 0, and ∞ stays.
/// - NaN stays NaN: an activation that swallowed it would hide where a network broke.
/// - `x` may be non-contiguous.
///
/// # Example: a negative, a zero, a positive
///
/// ```text
/// x        = [-2, 0, 3]
/// result   = [ 0, 0, 3]
/// gradient = [ 0, 0, 1]    (of the sum of the result)
/// ```
///
/// Source: Nair and Hinton (2010), "Rectified Linear Units Improve Restricted Boltzmann Machines".
#[part]
pub fn relu(x: &Tensor) -> Result<Tensor> {
    todo!("compare, then choose")
}

/// Weighs `x` by how likely a standard normal number is to be below it.
///
/// Far from 0 it is [`relu`]; near 0 it bends instead of having a kink.
///
/// # Shapes
///
/// | tensor | shape  | dtype          |
/// |--------|--------|----------------|
/// | `x`    | any    | `f32` or `f64` |
/// | result | as `x` | as `x`         |
///
/// # Contract
///
/// - The exact form is `x · Φ(x)`, with `Φ(x) = ½ (1 + erf(x / √2))`.
/// - With `approximate` it is `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`, which GPT-2 was trained
///   with: weights trained with one form expect that form.
/// - In both, `gelu(x) − gelu(−x) = x`.
/// - Values of ±10⁴ give finite results.
/// - Gradients flow back to `x`.
/// - `x` may be non-contiguous.
///
/// # Example: five of six standard normal numbers are below 1
///
/// ```text
/// x = [0, 1]
/// exact       = [0, 0.841345]
/// approximate = [0, 0.841192]
/// ```
///
/// Source: Hendrycks and Gimpel (2016), "Gaussian Error Linear Units", §2, arXiv:1606.08415.
#[part]
pub fn gelu(x: &Tensor, approximate: bool) -> Result<Tensor> {
    todo!("weigh by erf, or by tanh")
}

/// Computes how surprised the logits are by the right classes, in nats, on average.
///
/// The softmax of a row of logits is what the network believes; its cross entropy is `−ln` of the
/// belief in the right class.
///
/// # Shapes
///
/// | tensor    | shape                | dtype                    |
/// |-----------|----------------------|--------------------------|
/// | `logits`  | `(batch, n_classes)` | `f32` or `f64`           |
/// | `targets` | `(batch)`            | `u32`, below `n_classes` |
/// | result    | `()`                 | as `logits`              |
///
/// # Contract
///
/// - The loss of a batch is the mean of the losses of its rows.
/// - Adding one number to all logits of a row changes nothing.
/// - Logits of ±10⁴ give the loss that they should: 2 · 10⁴ for a confident mistake, not ∞ and
///   not 20.
/// - A logit of −∞ rules a class out; for any class but the target's, the loss stays finite.
/// - Gradients flow back to `logits`.
/// - `logits` may be non-contiguous.
///
/// # Errors
///
/// Fails if `logits` and `targets` differ in `batch`, or a target is not below `n_classes`.
///
/// # Example: believed at ⅗, and at ⅕
///
/// ```text
/// logits = [[ln 3, 0, 0], [ln 3, 0, 0]]    targets = [0, 1]
/// beliefs in the targets: ⅗ and ⅕
/// result = (ln 5/3 + ln 5) / 2 = 1.060132
/// ```
///
/// Source: Goodfellow, Bengio and Courville (2016), "Deep Learning", §6.2.2.3.
#[part]
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    todo!("normalise in logs, pick targets, average")
}
