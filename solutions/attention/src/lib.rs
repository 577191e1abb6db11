//! Attention, every piece of it.
//!
//! Each query asks every key "how much do you matter to me?", turns the answers into weights that
//! sum to one, and takes the weighted average of the values:
//!
//! ```text
//! pattern = softmax(q kᵀ / √d_head)      out = pattern v
//! ```
//!
//! Source: Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762.
//!
//! Check your work: `cargo xtask check attention`.

pub mod positions;
pub mod variants;

use candle_core::{D, Result, Tensor, bail};
use candle_nn::ops;
use wick::part;

/// Computes how much each query attends to each key.
///
/// # Shapes
///
/// | tensor | shape                             | dtype                          |
/// |--------|-----------------------------------|--------------------------------|
/// | `q`    | `(batch, n_heads, seq_q, d_head)` | `f32` or `f64`                 |
/// | `k`    | `(batch, n_heads, seq_k, d_head)` | as `q`                         |
/// | `mask` | `(seq_q, seq_k)`                  | `u8`, 1 = may attend           |
/// | result | `(batch, n_heads, seq_q, seq_k)`  | as `q`; rows sum to 1          |
///
/// # Contract
///
/// - A position whose mask is 0 receives a weight of exactly 0.
/// - Scores of ±10⁴ still give finite weights.
/// - Gradients flow back to `q` and `k`.
/// - Inputs may be non-contiguous, as splitting heads leaves them.
///
/// You may assume that every query may attend to at least one key.
///
/// # Errors
///
/// Fails if `q` and `k` disagree on `batch`, `n_heads` or `d_head`.
///
/// # Example: a score of ln 3 against 0 weighs three to one
///
/// ```text
/// q = [[2, 0, 0, 0], [0, 0, 0, 0]]    k = [[ln 3, 0, 0, 0], [0, 0, 0, 0]]
/// scores  = [[ln 3, 0], [0, 0]]       (√d_head = 2)
/// pattern = [[0.75, 0.25], [0.5, 0.5]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.2.1, eq. 1, arXiv:1706.03762. *Pattern* is the name that
/// interpretability work gives the weights; you will read them again in `exercises/probing`.
#[part(plan = "scores, scale, mask, softmax")]
pub fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    // matmul compares only the product of the batch axes, so (2, 3, …) against (3, 2, …) would pass.
    let ((batch, n_heads, _, d_head), other) = (q.dims4()?, k.dims4()?);
    if (batch, n_heads, d_head) != (other.0, other.1, other.3) {
        bail!("`q` {:?} and `k` {:?} disagree on batch, n_heads or d_head", q.dims(), k.dims());
    }
    let scores = q.contiguous()?.matmul(&k.t()?.contiguous()?)?; // (batch, n_heads, seq_q, seq_k)
    let scores = (scores / (d_head as f64).sqrt())?;
    ops::softmax(&hide(&scores, mask)?, D::Minus1)
}

/// Puts −∞ where the mask is 0, so that `softmax` gives a weight of exactly 0 there.
fn hide(scores: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else { return Ok(scores.clone()) };
    let hidden = Tensor::new(f32::NEG_INFINITY, scores.device())?.to_dtype(scores.dtype())?;
    mask.broadcast_as(scores.shape())?.where_cond(scores, &hidden.broadcast_as(scores.shape())?)
}
