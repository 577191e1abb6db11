//! The exact answers, by index in `f64`: no kernel is shared with what is judged.

use crate::{Array, Inputs};

/// Attention weights, eq. 1 of Vaswani et al. (2017), row by row.
///
/// `q` is `(batch, n_heads, seq_q, d_head)`, `k` is `(batch, n_heads, seq_k, d_head)`, and `mask`
/// broadcasts to `(batch, n_heads, seq_q, seq_k)`, with 1 = may attend.
pub(super) fn pattern(q: &Array, k: &Array, mask: Option<&Array>) -> Array {
    let [batch, n_heads, seq_q, d_head] = q.shape() else { unreachable!("invariant: rank 4") };
    let seq_k = k.dim(2);
    let scale = (*d_head as f64).sqrt();
    let mut pattern = Array::full(&[*batch, *n_heads, *seq_q, seq_k], 0.0);
    for b in 0..*batch {
        for h in 0..*n_heads {
            for i in 0..*seq_q {
                let may = |j| mask.is_none_or(|mask| broadcast_at(mask, &[b, h, i, j]) != 0.0);
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

/// The value that a position sees in an array that broadcasts to it.
fn broadcast_at(array: &Array, position: &[usize]) -> f64 {
    let missing = position.len() - array.rank();
    let axes = position[missing..].iter().zip(array.shape());
    let at: Vec<usize> = axes.map(|(&at, &length)| if length == 1 { 0 } else { at }).collect();
    array.at(&at)
}

/// Softmax of one row; a row of −∞ weighs nothing.
pub(super) fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return vec![0.0; scores.len()];
    }
    let exps: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = exps.iter().sum();
    exps.iter().map(|exp| exp / total).collect()
}

/// Values mixed by a pattern: `z[b, h, i, d] = Σ_j pattern[b, h, i, j] v[b, h, j, d]`.
pub(super) fn mix(pattern: &Array, v: &Array) -> Array {
    let [batch, n_heads, seq_q, seq_k] = pattern.shape() else { unreachable!("invariant: rank 4") };
    Array::from_fn(&[*batch, *n_heads, *seq_q, v.dim(3)], |at| {
        let weighted = |j| pattern.at(&[at[0], at[1], at[2], j]) * v.at(&[at[0], at[1], j, at[3]]);
        (0..*seq_k).map(weighted).sum()
    })
}

/// A whole attention layer, with the inputs `weights`, `resid_pre` and perhaps `source`.
pub(super) fn multi_head(at: &Inputs, n_heads: usize, mask: Option<&Array>) -> Array {
    let resid_pre = at.get("resid_pre");
    let source = at.find("source").unwrap_or(resid_pre);
    let head_of = |name, x| split(&project(at, name, x), n_heads);
    let (q, k, v) = (head_of("q", resid_pre), head_of("k", source), head_of("v", source));
    let z = mix(&pattern(&q, &k, mask), &v);
    let (d_head, width) = (z.dim(3), n_heads * z.dim(3));
    let merged = Array::from_fn(&[z.dim(0), z.dim(2), width], |at| {
        z.at(&[at[0], at[2] / d_head, at[1], at[2] % d_head])
    });
    project(at, "o", &merged)
}

/// Heads of `(batch, seq, n_heads * d_head)` as `(batch, n_heads, seq, d_head)`.
pub(super) fn split(x: &Array, n_heads: usize) -> Array {
    let d_head = x.dim(2) / n_heads;
    Array::from_fn(&[x.dim(0), n_heads, x.dim(1), d_head], |at| {
        x.at(&[at[0], at[2], at[1] * d_head + at[3]])
    })
}

/// `x weightᵀ + bias`, with the weight and perhaps the bias of that name.
fn project(at: &Inputs, name: &str, x: &Array) -> Array {
    let weight = at.get(&format!("weights.{name}.weight"));
    let bias = at.find(&format!("weights.{name}.bias"));
    Array::from_fn(&[x.dim(0), x.dim(1), weight.dim(0)], |to| {
        let product = |d| x.at(&[to[0], to[1], d]) * weight.at(&[to[2], d]);
        let sum: f64 = (0..weight.dim(1)).map(product).sum();
        sum + bias.map_or(0.0, |bias| bias.at(&[to[2]]))
    })
}

/// The causal mask `(seq, seq)`: position `i` may attend to `j` if `j <= i`.
pub(super) fn causal_mask(seq: usize) -> Array {
    Array::from_fn(&[seq, seq], |at| f64::from(u8::from(at[1] <= at[0]))).to(protocol::DType::U8)
}
