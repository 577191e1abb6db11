//! The honest steps of attention, for impostors to leave out, swap, or spoil one of.

use candle_core::{D, Result, Tensor, bail};
use candle_nn::ops;

/// `q kᵀ`, not scaled.
pub(super) fn scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    q.contiguous()?.matmul(&k.contiguous()?.t()?)
}

/// `q kᵀ / √d_head`.
pub(super) fn scaled(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    scores(q, k)? / (q.dim(D::Minus1)? as f64).sqrt()
}

/// Softmax over the keys.
pub(super) fn softmax(scores: &Tensor) -> Result<Tensor> {
    ops::softmax(scores, D::Minus1)
}

/// Softmax over the keys that may be attended to.
pub(super) fn masked_softmax(scores: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    fill(&softmax(&fill(scores, mask, f64::from(f32::MIN))?)?, mask, 0.0)
}

/// The right pattern.
pub(super) fn pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    masked_softmax(&scaled(q, k)?, mask)
}

/// The right mixture of values.
pub(super) fn mix(pattern: &Tensor, v: &Tensor) -> Result<Tensor> {
    pattern.contiguous()?.matmul(&v.contiguous()?)
}

/// Puts a value where the mask is 0.
pub(super) fn fill(t: &Tensor, mask: Option<&Tensor>, value: f64) -> Result<Tensor> {
    let Some(mask) = mask else { return Ok(t.clone()) };
    let value = Tensor::new(value, t.device())?.to_dtype(t.dtype())?.broadcast_as(t.shape())?;
    // Those that are made here are made on the processor.
    mask.to_device(t.device())?.broadcast_as(t.shape())?.where_cond(t, &value)
}

/// Weights by candle's fused softmax, which has no backward pass.
pub(super) fn softmax_without_backward(scores: &Tensor) -> Result<Tensor> {
    #[expect(clippy::disallowed_methods, reason = "this is the mistake")]
    ops::softmax_last_dim(&scores.contiguous()?)
}

/// Heads of `(batch, seq, n_heads * d_head)` as `(batch, n_heads, seq, d_head)`.
pub(super) fn split(x: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (batch, seq, width) = x.dims3()?;
    if n_heads == 0 || width % n_heads != 0 {
        bail!("a width of {width} cannot be split into {n_heads} heads");
    }
    x.reshape((batch, seq, n_heads, width / n_heads))?.transpose(1, 2)
}

/// Heads of `(batch, n_heads, seq, d_head)` side by side, as `(batch, seq, n_heads * d_head)`.
pub(super) fn merge(z: &Tensor) -> Result<Tensor> {
    let (batch, n_heads, seq, d_head) = z.dims4()?;
    z.transpose(1, 2)?.reshape((batch, seq, n_heads * d_head))
}
