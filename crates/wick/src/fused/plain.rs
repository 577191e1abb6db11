//! The plain formulas, in candle's own operations: what runs on other devices and dtypes, and what
//! the kernels are tested against.

use candle_core::{D, Result, Tensor};

/// Layer norm over the last axis.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    rms_norm(&centred, gain, eps)?.broadcast_add(bias)
}

/// RMS norm over the last axis.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f64) -> Result<Tensor> {
    let spread = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&spread)?.broadcast_mul(gain)
}

/// Softmax over the last axis.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let moved = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    moved.broadcast_div(&moved.sum_keepdim(D::Minus1)?)
}

/// GELU by the tanh of a cubic, as GPT-2 has it.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    let cubic = (x + (x.sqr()? * x)?.affine(0.044_715, 0.0)?)?;
    let inside = (cubic * std::f64::consts::FRAC_2_PI.sqrt())?.tanh()?;
    x * ((inside + 1.0)? * 0.5)?
}

/// GELU by the normal distribution itself.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    x * (((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?
}

/// x · logistic(x).
pub fn silu(x: &Tensor) -> Result<Tensor> {
    // Of exp(−x) and exp(x), one is never large.
    let (small, zero) = (x.abs()?.neg()?.exp()?, x.zeros_like()?);
    let upper = x.ge(&zero)?.where_cond(&small.ones_like()?, &small)?;
    x * (upper / (small + 1.0)?)?
}

/// x · w, plus a bias; `w` is `(d_in, d_out)`.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (d_in, d_out) = w.dims2()?;
    let mut shape = x.dims().to_vec();
    let rows = shape[..shape.len().saturating_sub(1)].iter().product::<usize>();
    if let Some(last) = shape.last_mut() {
        *last = d_out;
    }
    let y = x.reshape((rows, d_in))?.matmul(w)?.reshape(shape)?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// Rows of a table by their number.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let mut shape = ids.dims().to_vec();
    shape.push(table.dim(1)?);
    table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)
}

/// The mean of −log softmax(row) at the target.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let moved = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = moved.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let target = targets.flatten_all()?.unsqueeze(1)?;
    (log_sum - moved.gather(&target, 1)?)?.mean_all()
}

/// Causal attention; q, k and v are `(batch, n_heads, seq, d_head)`.
pub fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (_, _, seq, d_head) = q.dims4()?;
    let q = (q * (1.0 / (d_head as f64).sqrt()))?.contiguous()?;
    let scores = q.matmul(&k.t()?.contiguous()?)?;
    let hidden: Vec<f32> = (0..seq * seq)
        .map(|at| if at % seq <= at / seq { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let hidden = Tensor::from_vec(hidden, (seq, seq), q.device())?.to_dtype(q.dtype())?;
    softmax(&scores.broadcast_add(&hidden)?)?.matmul(&v.contiguous()?)
}

/// The same from `(batch, seq, 3 · d_model)` to `(batch, seq, d_model)`.
pub fn causal_self_attention(qkv: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (batch, seq, width) = qkv.dims3()?;
    let parts = qkv.reshape((batch, seq, 3, n_heads, width / 3 / n_heads))?;
    let parts = parts.permute((2, 0, 3, 1, 4))?; // (3, batch, n_heads, seq, d_head)
    let z = causal_attention(&parts.get(0)?, &parts.get(1)?, &parts.get(2)?)?;
    z.transpose(1, 2)?.reshape((batch, seq, width / 3))
}

/// Turns pairs of numbers, one in each half of the last axis, by the angles of `cos` and `sin`.
pub fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let second = (b.broadcast_mul(cos)? + a.broadcast_mul(sin)?)?;
    Tensor::cat(&[first, second], D::Minus1)
}
