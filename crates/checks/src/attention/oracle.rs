//! The exact answers, by index in `f64`: no kernel is shared with what is judged.

use crate::Array;

/// Attention weights, eq. 1 of Vaswani et al. (2017), row by row.
///
/// `q` is `(batch, n_heads, seq_q, d_head)`, `k` is `(batch, n_heads, seq_k, d_head)`, `mask` is
/// `(seq_q, seq_k)` with 1 = may attend.
pub(super) fn pattern(q: &Array, k: &Array, mask: Option<&Array>) -> Array {
    let [batch, n_heads, seq_q, d_head] = q.shape() else { unreachable!("invariant: rank 4") };
    let seq_k = k.dim(2);
    let scale = (*d_head as f64).sqrt();
    let mut pattern = Array::full(&[*batch, *n_heads, *seq_q, seq_k], 0.0);
    for b in 0..*batch {
        for h in 0..*n_heads {
            for i in 0..*seq_q {
                let may = |j: usize| mask.is_none_or(|mask| mask.at(&[i, j]) != 0.0);
                let product = |j, d| q.at(&[b, h, i, d]) * k.at(&[b, h, j, d]);
                let dot = |j| (0..*d_head).map(|d| product(j, d)).sum::<f64>();
                let scores: Vec<f64> = (0..seq_k)
                    .map(|j| if may(j) { dot(j) / scale } else { f64::NEG_INFINITY })
                    .collect();
                let weights = softmax(&scores);
                weights.iter().enumerate().for_each(|(j, &w)| pattern.set(&[b, h, i, j], w));
            }
        }
    }
    pattern
}

/// Softmax of one row; a row of −∞ has no weights.
pub(super) fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = exps.iter().sum();
    exps.iter().map(|exp| exp / total).collect()
}

/// The causal mask `(seq, seq)`: position `i` may attend to `j` if `j <= i`.
pub(super) fn causal_mask(seq: usize) -> Array {
    Array::from_fn(&[seq, seq], |at| f64::from(u8::from(at[1] <= at[0]))).to(protocol::DType::U8)
}
