//! Attention as deployed models run it: fewer keys, nearer keys, keys in blocks, keys kept.
//!
//! Shapes are those of the first parts; each function here gives what plain attention would give,
//! and differs in what it stores or in which keys it looks at.

use candle_core::{D, Device, Result, Tensor, bail};
use wick::part;

use crate::attention_pattern;

/// Attends with fewer heads of keys and values than of queries.
///
/// The query heads form `n_kv_heads` groups of neighbours; each group shares one head of keys and
/// values, which makes the cache `n_heads / n_kv_heads` times smaller.
///
/// # Shapes
///
/// | tensor | shape                                | dtype                |
/// |--------|--------------------------------------|----------------------|
/// | `q`    | `(batch, n_heads, seq_q, d_head)`    | `f32` or `f64`       |
/// | `k`    | `(batch, n_kv_heads, seq_k, d_head)` | as `q`               |
/// | `v`    | `(batch, n_kv_heads, seq_k, d_head)` | as `q`               |
/// | `mask` | `(seq_q, seq_k)`                     | `u8`, 1 = may attend |
/// | result | as `q`                               | as `q`               |
///
/// # Contract
///
/// - With as many heads of keys as of queries, it is plain attention; with one, every query head
///   shares it.
/// - Changing one head of keys or values changes nothing outside its group.
/// - A key whose mask is 0 has no influence on that query.
/// - Gradients flow back to `q`, `k` and `v`.
/// - Inputs may be non-contiguous, as splitting heads leaves them.
///
/// # Errors
///
/// Fails if `n_heads` is not a multiple of `n_kv_heads`.
///
/// # Example: four query heads on two heads of values
///
/// With one key, its weight is 1, so each query head returns the value of its group:
///
/// ```text
/// batch 1, n_heads 4, n_kv_heads 2, one query, one key, d_head 1
/// v      = [[[10]], [[20]]]    (any q, any k)
/// result = [[[10]], [[10]], [[20]], [[20]]]
/// ```
///
/// Source: Ainslie et al. (2023), "GQA", §2.2, arXiv:2305.13245.
#[part(plan = "repeat keys and values, attend")]
pub fn grouped_query_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let (n_heads, n_kv_heads) = (q.dim(1)?, k.dim(1)?);
    if n_kv_heads == 0 || n_heads % n_kv_heads != 0 {
        bail!("`q` has {n_heads} heads, which is no multiple of the {n_kv_heads} heads of `k`");
    }
    let group = n_heads / n_kv_heads;
    attend(q, &repeat_heads(k, group)?, &repeat_heads(v, group)?, mask)
}

/// Puts `times` copies of each head next to each other.
fn repeat_heads(t: &Tensor, times: usize) -> Result<Tensor> {
    let (batch, n_kv_heads, seq, d_head) = t.dims4()?;
    t.unsqueeze(2)?.broadcast_as((batch, n_kv_heads, times, seq, d_head))?.reshape((
        batch,
        n_kv_heads * times,
        seq,
        d_head,
    ))
}

/// Averages the values by the pattern of plain attention.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    attention_pattern(q, k, mask)?.matmul(&v.contiguous()?)
}

/// Attends to the last `window` positions only, the query's own included.
///
/// The query at position `i` sees the keys at positions `i − window + 1` to `i`, as far as they
/// exist, so the cost grows with `seq · window` instead of `seq²`.
///
/// # Shapes
///
/// | tensor | shape                             | dtype          |
/// |--------|-----------------------------------|----------------|
/// | `q`    | `(batch, n_heads, seq_q, d_head)` | `f32` or `f64` |
/// | `k`    | `(batch, n_heads, seq_k, d_head)` | as `q`         |
/// | `v`    | `(batch, n_heads, seq_k, d_head)` | as `q`         |
/// | result | as `q`                            | as `q`         |
///
/// # Contract
///
/// - The queries are the last `seq_q` of the `seq_k` positions, as with a cache of keys.
/// - A token outside a query's window has no influence on it, however large its score.
/// - A window at least as long as the sequence gives causal attention.
/// - Gradients flow back to `q`, `k` and `v`.
/// - Inputs may be non-contiguous, as splitting heads leaves them.
///
/// You may build all scores and hide what is outside; real systems compute only the band.
///
/// # Errors
///
/// Fails if `window` is 0, or if there are more queries than keys.
///
/// # Example: averages of two
///
/// A zero query likes every key that it sees equally:
///
/// ```text
/// q = [[0], [0], [0], [0]]    v = [[1], [2], [3], [4]]    window = 2    (any k)
/// result = [[1], [1.5], [2.5], [3.5]]
/// ```
///
/// Source: Beltagy et al. (2020), "Longformer", §3.1, arXiv:2004.05150; causal as in Jiang et al.
/// (2023), "Mistral 7B", §2, arXiv:2310.06825.
#[part(plan = "a banded mask, attend")]
pub fn sliding_window(q: &Tensor, k: &Tensor, v: &Tensor, window: usize) -> Result<Tensor> {
    let (seq_q, seq_k) = (q.dim(2)?, k.dim(2)?);
    if window == 0 {
        bail!("`window` is 0, so no query may attend to anything");
    }
    if seq_q > seq_k {
        bail!("`q` has {seq_q} positions but `k` has only {seq_k} for them to stand at");
    }
    // Written without a subtraction of sizes that could go below zero at the left edge.
    let in_band = |i: usize, j: usize| j <= i && i < j + window;
    let mask = mask_of_last(seq_q, seq_k, q.device(), in_band)?;
    attend(q, k, v, Some(&mask))
}

/// Makes a mask `(seq_q, seq_k)` for queries that are the last of the positions.
fn mask_of_last(
    seq_q: usize,
    seq_k: usize,
    device: &Device,
    may_attend: impl Fn(usize, usize) -> bool,
) -> Result<Tensor> {
    let rows = seq_k - seq_q..seq_k;
    let may_attend = &may_attend;
    let mask: Vec<u8> =
        rows.flat_map(|i| (0..seq_k).map(move |j| u8::from(may_attend(i, j)))).collect();
    Tensor::from_vec(mask, (seq_q, seq_k), device)
}

/// Attends in one pass over blocks of keys, without ever holding all scores.
///
/// This is the idea inside `FlashAttention`: softmax needs the largest score and the sum of the
/// exponentials of a whole row, but both can be kept up to date as blocks of keys come in.
///
/// # Shapes
///
/// | tensor | shape                             | dtype          |
/// |--------|-----------------------------------|----------------|
/// | `q`    | `(batch, n_heads, seq_q, d_head)` | `f32` or `f64` |
/// | `k`    | `(batch, n_heads, seq_k, d_head)` | as `q`         |
/// | `v`    | `(batch, n_heads, seq_k, d_head)` | as `q`         |
/// | result | as `q`                            | as `q`         |
///
/// # Contract
///
/// - Every block length gives the result of plain attention, also one that does not divide
///   `seq_k` or is longer than it.
/// - Scores of ±10⁴ still give finite results, also where all scores of a row are near −10⁴.
/// - No tensor of `seq_q · seq_k` elements is ever made: `seq_q · block` is the largest.
/// - Gradients flow back to `q`, `k` and `v`.
/// - Inputs may be non-contiguous, as splitting heads leaves them.
///
/// # Errors
///
/// Fails if `block` is 0, or if `k` and `v` differ in `seq_k`.
///
/// # Example: the average of three values in blocks of two
///
/// A zero query likes every key equally, whichever block it came in:
///
/// ```text
/// q = [[0]]    v = [[1], [2], [6]]    block = 2    (any k)
/// result = [[3]]
/// ```
///
/// Source: Milakov and Gimelshein (2018), "Online normalizer calculation for softmax", alg. 3,
/// arXiv:1805.02867; Dao et al. (2022), "`FlashAttention`", alg. 1, arXiv:2205.14135.
#[part(plan = "block by block: maximum, sum, accumulator")]
pub fn online_softmax_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    block: usize,
) -> Result<Tensor> {
    let (seq_k, d_head) = (k.dim(2)?, k.dim(3)?);
    if block == 0 {
        bail!("`block` is 0, so no key would ever be read");
    }
    if v.dim(2)? != seq_k {
        bail!("`v` has {} positions but `k` has {seq_k}", v.dim(2)?);
    }
    let q = (q.contiguous()? / (d_head as f64).sqrt())?;
    let mut running: Option<Running> = None;
    for start in (0..seq_k).step_by(block) {
        let length = block.min(seq_k - start);
        let k = k.narrow(2, start, length)?.contiguous()?;
        let v = v.narrow(2, start, length)?.contiguous()?;
        let scores = q.matmul(&k.t()?)?; // (batch, n_heads, seq_q, length)
        running = Some(Running::after(running, &scores, &v)?);
    }
    let Some(Running { sum, accumulator, .. }) = running else {
        bail!("`k` has no positions to attend to");
    };
    accumulator.broadcast_div(&sum)
}

/// What is known of each row after the blocks so far.
struct Running {
    /// The largest score, `(batch, n_heads, seq_q, 1)`.
    maximum: Tensor,
    /// Σ exp(score − maximum), `(batch, n_heads, seq_q, 1)`.
    sum: Tensor,
    /// Σ exp(score − maximum) · value, `(batch, n_heads, seq_q, d_head)`.
    accumulator: Tensor,
}

impl Running {
    /// Takes in a block: its scores, and its values.
    fn after(before: Option<Self>, scores: &Tensor, v: &Tensor) -> Result<Self> {
        // The result does not depend on the maximum, so no gradient has to pass through it.
        let in_block = scores.max_keepdim(D::Minus1)?.detach();
        let maximum = match &before {
            Some(before) => before.maximum.maximum(&in_block)?,
            None => in_block,
        };
        let exps = scores.broadcast_sub(&maximum)?.exp()?;
        let (mut sum, mut accumulator) = (exps.sum_keepdim(D::Minus1)?, exps.matmul(v)?);
        if let Some(before) = before {
            // What was summed relative to the old maximum is now relative to the new one.
            let rescale = (before.maximum - &maximum)?.exp()?;
            sum = (sum + (before.sum * &rescale)?)?;
            accumulator = (accumulator + before.accumulator.broadcast_mul(&rescale)?)?;
        }
        Ok(Self { maximum, sum, accumulator })
    }
}

/// Attends with new tokens to themselves and to those of earlier calls.
///
/// Returns the outputs of the new tokens, and all keys and all values so far: the cache of the
/// next call. Rotary positions, if any, are already in `q` and `k`.
///
/// # Shapes
///
/// | tensor    | shape                                         | dtype          |
/// |-----------|-----------------------------------------------|----------------|
/// | `q`       | `(batch, n_heads, seq_new, d_head)`           | `f32` or `f64` |
/// | `k`       | `(batch, n_heads, seq_new, d_head)`           | as `q`         |
/// | `v`       | `(batch, n_heads, seq_new, d_head)`           | as `q`         |
/// | `cache_k` | `(batch, n_heads, seq_old, d_head)`           | as `q`         |
/// | `cache_v` | `(batch, n_heads, seq_old, d_head)`           | as `q`         |
/// | outputs   | as `q`                                        | as `q`         |
/// | keys      | `(batch, n_heads, seq_old + seq_new, d_head)` | as `q`         |
/// | values    | `(batch, n_heads, seq_old + seq_new, d_head)` | as `q`         |
///
/// # Contract
///
/// - A token attends to every token before it, cached or new, and to itself.
/// - A sequence fed token by token, or in chunks of any lengths, gives the outputs that it gives
///   when fed at once.
/// - Every row of the batch has its own cache.
/// - Gradients flow back to all five tensors.
/// - Inputs may be non-contiguous, as splitting heads leaves them.
///
/// # Errors
///
/// Fails if only one of `cache_k` and `cache_v` is given, or if a cache differs from `k` in
/// `batch`, `n_heads` or `d_head`.
///
/// # Example: the second token averages two values
///
/// A zero query likes every key equally:
///
/// ```text
/// q = [[0]]    k = [[5]]    v = [[4]]    cache_k = [[7]]    cache_v = [[2]]
/// outputs = [[3]]    keys = [[7], [5]]    values = [[2], [4]]
/// ```
///
/// Source: Shazeer (2019), "Fast Transformer Decoding", §2.4 (incremental inference),
/// arXiv:1911.02150. Real systems write into preallocated pages instead of joining tensors.
#[part(plan = "append, mask with an offset, attend")]
pub fn cached_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cache_k: Option<&Tensor>,
    cache_v: Option<&Tensor>,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (k, v) = match (cache_k, cache_v) {
        (None, None) => (k.clone(), v.clone()),
        (Some(cache_k), Some(cache_v)) => {
            (Tensor::cat(&[cache_k, k], 2)?, Tensor::cat(&[cache_v, v], 2)?)
        }
        _ => bail!("only one of `cache_k` and `cache_v` is given; they belong together"),
    };
    let (seq_new, seq) = (q.dim(2)?, k.dim(2)?);
    let mask = mask_of_last(seq_new, seq, q.device(), |i, j| j <= i)?;
    Ok((attend(q, &k, &v, Some(&mask))?, k, v))
}
