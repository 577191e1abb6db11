//! Attention as deployed models run it: fewer keys, nearer keys, keys in blocks, keys kept.
//!
//! Shapes are those of the first parts; each function here gives what plain attention would give,
//! and differs in what it stores or in which keys it looks at.

use candle_core::{Result, Tensor};
use wick::part;

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
#[part]
pub fn grouped_query_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    todo!("repeat keys and values, attend")
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
#[part]
pub fn sliding_window(q: &Tensor, k: &Tensor, v: &Tensor, window: usize) -> Result<Tensor> {
    todo!("a banded mask, attend")
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
#[part]
pub fn online_softmax_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    block: usize,
) -> Result<Tensor> {
    todo!("block by block: maximum, sum, accumulator")
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
#[part]
pub fn cached_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cache_k: Option<&Tensor>,
    cache_v: Option<&Tensor>,
) -> Result<(Tensor, Tensor, Tensor)> {
    todo!("append, mask with an offset, attend")
}
