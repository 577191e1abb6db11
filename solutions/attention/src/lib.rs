//! Attention, every piece of it.
//!
//! Each query asks every key "how much do you matter to me?", turns the answers into weights that
//! sum to one, and takes the weighted average of the values:
//!
//! ```text
//! pattern = softmax(q kᵀ / √d_head)      z = pattern v
//! ```
//!
//! Source: Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762.
//!
//! Check your work: `cargo xtask check attention`.

pub mod by_hand;
pub mod positions;
pub mod variants;

use candle_core::{D, Result, Tensor, bail};
use candle_nn::ops;
use wick::{Weights, part};

/// Says which keys each query may attend to, if nobody may look into the future.
///
/// # Shapes
///
/// | tensor | shape                  | dtype                                       |
/// |--------|------------------------|---------------------------------------------|
/// | `q`    | `(…, seq_q, width)`    | any; only its shape and device count        |
/// | `k`    | `(…, seq_k, width)`    | any; only its shape counts                  |
/// | result | `(seq_q, seq_k)`       | `u8`, 1 = may attend; on the device of `q`  |
///
/// # Contract
///
/// - The queries are the *last* `seq_q` of the `seq_k` positions, so the last query may attend to
///   every key. (With a cache of old keys, only the new tokens ask.)
/// - Each query may attend to its own position and to all before it.
///
/// # Errors
///
/// Fails if there are more queries than keys.
///
/// # Example: two new tokens behind a cache of two
///
/// ```text
/// seq_q = 2, seq_k = 4      mask = [[1, 1, 1, 0],
///                                   [1, 1, 1, 1]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.2.3, arXiv:1706.03762. The alignment to the last key is that
/// of FlashAttention since version 2.1; `PyTorch`'s `is_causal` aligns to the first.
#[part(plan = "compare positions of queries, keys")]
pub fn causal_mask(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let (seq_q, seq_k) = (q.dim(D::Minus2)?, k.dim(D::Minus2)?);
    let Some(cached) = seq_k.checked_sub(seq_q) else {
        bail!("there are {seq_q} queries but only {seq_k} keys");
    };
    let positions_k = Tensor::arange(0, seq_k as u32, q.device())?.unsqueeze(0)?;
    let positions_q = Tensor::arange(cached as u32, seq_k as u32, q.device())?.unsqueeze(1)?;
    positions_k.broadcast_le(&positions_q) // (seq_q, seq_k)
}

/// Hides padding from every query, on top of another mask if there is one.
///
/// Sequences of different lengths share a batch by filling the short ones with a padding token.
///
/// # Shapes
///
/// | tensor   | shape                        | dtype                            |
/// |----------|------------------------------|----------------------------------|
/// | `tokens` | `(batch, seq_k)`             | `u32`                            |
/// | `mask`   | `(seq_q, seq_k)`             | `u8`, 1 = may attend             |
/// | result   | `(batch, 1, seq_q, seq_k)`   | `u8`; `seq_q` is 1 without `mask` |
///
/// # Contract
///
/// - A key may be attended to if its token is not `pad` and `mask`, if given, allows it.
/// - Padding may stand anywhere, to the left of a sequence as well as to the right.
/// - The result is 0 or 1, and one mask serves all heads of a sequence.
///
/// With padding on the left, a causal mask leaves the first queries no key at all; what then
/// happens is up to [`attention_pattern`].
///
/// # Errors
///
/// Fails if `tokens` and `mask` disagree on `seq_k`.
///
/// # Example: a short sequence beside a long one, with a causal mask
///
/// ```text
/// pad = 0, tokens = [[5, 6], [0, 7]]      causal = [[1, 0],
///                                                   [1, 1]]
/// mask of [5, 6] = [[1, 0],      mask of [0, 7] = [[0, 0],
///                   [1, 1]]                        [0, 1]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.2.3, arXiv:1706.03762, for masks; decoders pad on the left so
/// that the newest token always stands last.
#[part(plan = "compare, add axes, combine")]
pub fn padding_mask(tokens: &Tensor, pad: u32, mask: Option<&Tensor>) -> Result<Tensor> {
    let (batch, seq_k) = tokens.dims2()?;
    let is_token = tokens.ne(pad)?.reshape((batch, 1, 1, seq_k))?;
    let Some(mask) = mask else { return Ok(is_token) };
    if mask.dim(D::Minus1)? != seq_k {
        bail!("`tokens` has seq_k {seq_k} but `mask` has {:?}", mask.dims());
    }
    is_token.broadcast_mul(mask) // (batch, 1, seq_q, seq_k)
}

/// Computes how much each query attends to each key.
///
/// # Shapes
///
/// | tensor | shape                             | dtype                          |
/// |--------|-----------------------------------|--------------------------------|
/// | `q`    | `(batch, n_heads, seq_q, d_head)` | `f32` or `f64`                 |
/// | `k`    | `(batch, n_heads, seq_k, d_head)` | as `q`                         |
/// | `mask` | broadcasts to the result          | `u8`, 1 = may attend           |
/// | result | `(batch, n_heads, seq_q, seq_k)`  | as `q`; rows sum to 1          |
///
/// # Contract
///
/// - A position whose mask is 0 receives a weight of exactly 0.
/// - A query that may attend to no key at all gives every key a weight of 0, not NaN, and sends no
///   NaN back to `q` and `k`.
/// - Scores of ±10⁴ still give finite weights.
/// - Gradients flow back to `q` and `k`.
/// - Inputs may be non-contiguous, as splitting heads leaves them.
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
    // matmul compares only the product of the batch axes: (2, 3, …) against (3, 2, …) would pass.
    let ((batch, n_heads, _, d_head), other) = (q.dims4()?, k.dims4()?);
    if (batch, n_heads, d_head) != (other.0, other.1, other.3) {
        bail!("`q` {:?} and `k` {:?} disagree on batch, n_heads or d_head", q.dims(), k.dims());
    }
    let scores = q.contiguous()?.matmul(&k.t()?.contiguous()?)?; // (batch, n_heads, seq_q, seq_k)
    let scores = (scores / (d_head as f64).sqrt())?;
    let Some(mask) = mask else { return ops::softmax(&scores, D::Minus1) };
    // The lowest number, not −∞: the softmax of a row of nothing but −∞ is NaN.
    let pattern = ops::softmax(&fill(&scores, mask, f64::from(f32::MIN))?, D::Minus1)?;
    fill(&pattern, mask, 0.0)
}

/// Puts `value` where the mask is 0.
fn fill(t: &Tensor, mask: &Tensor, value: f64) -> Result<Tensor> {
    let value = Tensor::new(value, t.device())?.to_dtype(t.dtype())?.broadcast_as(t.shape())?;
    mask.broadcast_as(t.shape())?.where_cond(t, &value)
}

/// Mixes the values, for each query by its attention pattern.
///
/// # Shapes
///
/// | tensor | shape                             | dtype                          |
/// |--------|-----------------------------------|--------------------------------|
/// | `q`    | `(batch, n_heads, seq_q, d_head)` | `f32` or `f64`                 |
/// | `k`    | `(batch, n_heads, seq_k, d_head)` | as `q`                         |
/// | `v`    | `(batch, n_heads, seq_k, d_v)`    | as `q`                         |
/// | `mask` | broadcasts to the pattern         | `u8`, 1 = may attend           |
/// | result | `(batch, n_heads, seq_q, d_v)`    | as `q`; called `z`             |
///
/// # Contract
///
/// - Each row of the result is an average of the values, weighted as [`attention_pattern`] says.
/// - With a causal mask, nothing about a later position changes an earlier result.
/// - A query that may attend to no key gets a result of 0.
/// - Gradients flow back to `q`, `k` and `v`.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails where [`attention_pattern`] does, or if `v` and `k` disagree on `batch`, `n_heads` or
/// `seq_k`.
///
/// # Example: one query finds its key, the other finds none
///
/// ```text
/// q = [[300], [0]]    k = [[1], [-1]]    v = [[1, 4], [3, 8]]
/// scores  = [[300, -300], [0, 0]]        (√d_head = 1)
/// z = [[1, 4], [2, 6]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.2.1, eq. 1, arXiv:1706.03762.
#[part(plan = "check shapes, pattern, mix values")]
pub fn scaled_dot_product_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    if k.dims4()?.0 != v.dims4()?.0 || k.dims()[1..3] != v.dims()[1..3] {
        bail!("`k` {:?} and `v` {:?} disagree on batch, n_heads or seq_k", k.dims(), v.dims());
    }
    let pattern = attention_pattern(q, k, mask)?; // (batch, n_heads, seq_q, seq_k)
    pattern.matmul(&v.contiguous()?) // (batch, n_heads, seq_q, d_v)
}

/// Cuts the width of every position into heads, and puts the heads before the positions.
///
/// # Shapes
///
/// | tensor | shape                             | dtype   |
/// |--------|-----------------------------------|---------|
/// | `x`    | `(batch, seq, n_heads * d_head)`  | any     |
/// | result | `(batch, n_heads, seq, d_head)`   | as `x`  |
///
/// # Contract
///
/// - Head `h` of a position holds the numbers `h * d_head .. (h + 1) * d_head` of that position.
/// - Gradients flow back to `x`.
/// - `x` may be non-contiguous, and so may the result.
///
/// # Errors
///
/// Fails if `n_heads` is 0 or does not divide the width.
///
/// # Example: three positions, two heads
///
/// ```text
/// x = [[1,  2,  3,  4],        head 0 = [[1,  2],    head 1 = [[3,  4],
///      [5,  6,  7,  8],                  [5,  6],              [7,  8],
///      [9, 10, 11, 12]]                  [9, 10]]              [11, 12]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.2.2, arXiv:1706.03762.
#[part(plan = "cut last axis, move heads forward")]
pub fn split_heads(x: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (batch, seq, width) = x.dims3()?;
    if n_heads == 0 || !width.is_multiple_of(n_heads) {
        bail!("a width of {width} cannot be split into {n_heads} heads");
    }
    let heads_last = x.reshape((batch, seq, n_heads, width / n_heads))?;
    heads_last.transpose(1, 2) // (batch, n_heads, seq, d_head)
}

/// Lays the heads of every position side by side again; undoes [`split_heads`].
///
/// # Shapes
///
/// | tensor | shape                             | dtype   |
/// |--------|-----------------------------------|---------|
/// | `z`    | `(batch, n_heads, seq, d_head)`   | any     |
/// | result | `(batch, seq, n_heads * d_head)`  | as `z`  |
///
/// # Contract
///
/// - The numbers `h * d_head .. (h + 1) * d_head` of a position are those of its head `h`.
/// - Gradients flow back to `z`.
/// - `z` may be non-contiguous.
///
/// # Errors
///
/// Fails if `z` does not have four axes.
///
/// # Example: two heads, three positions
///
/// ```text
/// head 0 = [[1,  2],    head 1 = [[3,  4],        result = [[1,  2,  3,  4],
///           [5,  6],              [7,  8],                  [5,  6,  7,  8],
///           [9, 10]]              [11, 12]]                 [9, 10, 11, 12]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.2.2 ("Concat"), arXiv:1706.03762.
#[part(plan = "move heads back, join axes")]
pub fn merge_heads(z: &Tensor) -> Result<Tensor> {
    let (batch, n_heads, seq, d_head) = z.dims4()?;
    z.transpose(1, 2)?.reshape((batch, seq, n_heads * d_head))
}

/// Lets every position gather from others, through several heads at once.
///
/// Queries are made from `resid_pre`; keys and values from `source`, or from `resid_pre` too if
/// there is none. With a `source` it is *cross-attention*: a decoder that reads an encoder.
///
/// # Shapes
///
/// | tensor                             | shape                         | dtype                |
/// |------------------------------------|-------------------------------|----------------------|
/// | `q.weight`, `k.weight`, `v.weight` | `(n_heads * d_head, d_model)` | `f32` or `f64`       |
/// | `q.bias`, `k.bias`, `v.bias`       | `(n_heads * d_head)`          | each may be absent   |
/// | `o.weight`                         | `(d_model, n_heads * d_head)` |                      |
/// | `o.bias`                           | `(d_model)`                   | may be absent        |
/// | `resid_pre`                        | `(batch, seq_q, d_model)`     | as the weights       |
/// | `source`                           | `(batch, seq_k, d_model)`     | as the weights       |
/// | `mask`                             | broadcasts to the pattern     | `u8`, 1 = may attend |
/// | result                             | `(batch, seq_q, d_model)`     | as `resid_pre`       |
///
/// # Contract
///
/// - A projection of `x` is `x weightᵀ + bias`, as in `PyTorch`'s `Linear`.
/// - `n_heads * d_head` need not be `d_model`.
/// - Gradients flow back to `resid_pre`, `source`, and every weight and bias. (The true gradient of
///   `k.bias` is 0: moving all keys together changes no pattern.)
///
/// # Errors
///
/// Fails if a weight is missing, or `n_heads` does not divide the rows of `q.weight`.
///
/// # Example: everyone gathers the mean, in two heads of width one
///
/// ```text
/// resid_pre = [[2, 0], [4, 8]]    q.weight = 0    v.weight = [[1, 0], [0, 1]]
/// o.weight = [[0, 1], [1, 0]]     o.bias = [10, 20]
/// z = [[3, 4], [3, 4]]            attn_out = [[14, 23], [14, 23]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.2.2, arXiv:1706.03762.
#[part(plan = "project, split, attend, merge, project")]
pub fn multi_head_attention(
    weights: &Weights,
    resid_pre: &Tensor,
    source: Option<&Tensor>,
    n_heads: usize,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let source = source.unwrap_or(resid_pre);
    // Each (batch, n_heads, seq, d_head), with seq_q for the queries and seq_k for the others.
    let q = split_heads(&project(weights, "q", resid_pre)?, n_heads)?;
    let k = split_heads(&project(weights, "k", source)?, n_heads)?;
    let v = split_heads(&project(weights, "v", source)?, n_heads)?;
    let z = merge_heads(&scaled_dot_product_attention(&q, &k, &v, mask)?)?;
    project(weights, "o", &z) // (batch, seq_q, d_model)
}

/// `x weightᵀ + bias`, with the bias left out if there is none.
fn project(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    let weight = weights.get(&format!("{name}.weight"))?;
    let projected = x.contiguous()?.broadcast_matmul(&weight.t()?)?;
    match weights.find(&format!("{name}.bias")) {
        Some(bias) => projected.broadcast_add(bias),
        None => Ok(projected),
    }
}
