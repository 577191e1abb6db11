//! Exact attention, by index in `f64`, for every variant: no kernel is shared with what is judged.

use super::oracle::softmax;
use crate::Array;

/// Averages the values by softmax(q kᵀ / √`d_head`), for the keys that each query may attend to.
///
/// `q` is `(batch, n_heads, seq_q, d_head)`; `k` and `v` are `(batch, n_kv_heads, seq_k, d_head)`,
/// where `n_kv_heads` divides `n_heads`. `may` takes the *position* of a query, the queries being
/// the last `seq_q` of the `seq_k` positions where there are as many, and the index of a key.
pub(super) fn attend(q: &Array, k: &Array, v: &Array, may: impl Fn(usize, usize) -> bool) -> Array {
    let [_, n_heads, seq_q, d_head] = *q.shape() else { unreachable!("invariant: rank 4") };
    let (n_kv_heads, seq_k) = (k.dim(1), k.dim(2));
    let scale = (d_head as f64).sqrt();
    let mut out = Vec::with_capacity(q.values().len());
    for (row, query) in q.values().chunks(d_head).enumerate() {
        let (b, h, i) = (row / (n_heads * seq_q), row / seq_q % n_heads, row % seq_q);
        let position = seq_k.saturating_sub(seq_q) + i;
        let first = (b * n_kv_heads + h / (n_heads / n_kv_heads)) * seq_k;
        let score = |j: usize| {
            let dot: f64 = query.iter().zip(vector(k, first + j)).map(|(q, k)| q * k).sum();
            if may(position, j) { dot / scale } else { f64::NEG_INFINITY }
        };
        let weights = softmax(&(0..seq_k).map(score).collect::<Vec<_>>());
        let mut mean = vec![0.0; d_head];
        for (j, weight) in weights.into_iter().enumerate() {
            mean.iter_mut().zip(vector(v, first + j)).for_each(|(mean, v)| *mean += weight * v);
        }
        out.extend(mean);
    }
    Array::new(q.shape(), out)
}

/// The `n`-th vector along the last axis, in row-major order.
fn vector(array: &Array, n: usize) -> &[f64] {
    let length = array.dim(3);
    &array.values()[n * length..(n + 1) * length]
}

/// Joins two arrays along the axis of positions.
pub(super) fn append(before: &Array, after: &Array) -> Array {
    let mut shape = before.shape().to_vec();
    shape[2] += after.dim(2);
    let joined = Array::from_fn(&shape, |at| match at[2].checked_sub(before.dim(2)) {
        None => before.at(at),
        Some(new) => after.at(&[at[0], at[1], new, at[3]]),
    });
    joined.to(before.dtype())
}

/// Any key, wherever it stands.
pub(super) fn any(_: usize, _: usize) -> bool {
    true
}

/// The key at the query's own position, and those before.
pub(super) fn causal(i: usize, j: usize) -> bool {
    j <= i
}
