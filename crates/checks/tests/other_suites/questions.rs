//! The one question that a usual test asks of each part of `attention`.
//!
//! Sizes are as such tests have them: batch and heads of 2, as many queries as keys, contiguous
//! `f32`, and a causal mask wherever one may be given.

use checks::{Array, Generator, args};
use protocol::{DType, Value};

/// Sequences, heads, positions, and the width of a head.
const SHAPE: [usize; 4] = [2, 2, 4, 4];

/// The arguments of a part, in order.
///
/// With `saturation` above 1, what is compared by a softmax is that much larger, so that each query
/// finds one key and no other. Only some parts compare anything by a softmax; for the others there
/// is no such question.
pub(crate) fn question(part: &str, saturation: f64) -> Option<Vec<Value>> {
    let rng = &mut Generator::new(0, &["other suites", part]);
    let [q, k, v] = [(); 3].map(|()| rng.normal_array(&SHAPE));
    let q = q.map(|x| saturation * x);
    let mask = causal_mask();
    let args = match part {
        "attention_pattern" => args![q: &q, k: &k, mask: &mask],
        "scaled_dot_product_attention" => args![q: &q, k: &k, v: &v, mask: &mask],
        "grouped_query_attention" => {
            let shared = |t: &Array| t.narrow(1, 0, 1);
            args![q: &q, k: &shared(&k), v: &shared(&v), mask: &mask]
        }
        "sliding_window" => args![q: &q, k: &k, v: &v, window: 2usize],
        "online_softmax_attention" => args![q: &q, k: &k, v: &v, block: 2usize],
        "cached_attention" => {
            let new = |t: &Array| t.narrow(2, 3, 1);
            let old = |t: &Array| t.narrow(2, 0, 3);
            let (cache_k, cache_v) = (old(&k), old(&v));
            args![q: &new(&q), k: &new(&k), v: &new(&v), cache_k: &cache_k, cache_v: &cache_v]
        }
        "multi_head_attention" => layer(rng, saturation),
        _ if saturation > 1.0 => return None,
        _ => without_softmax(part, rng)?,
    };
    Some(args.into_iter().map(|(_, value)| value).collect())
}

/// Questions about parts that compare nothing by a softmax.
fn without_softmax(part: &str, rng: &mut Generator) -> Option<Vec<(&'static str, Value)>> {
    let heads = rng.normal_array(&SHAPE);
    let tokens = Array::matrix(&[[5., 6., 7., 0.], [8., 9., 0., 0.]]).to(DType::U32);
    let positions = Array::matrix(&[[0., 1., 2., 3.]]).to(DType::F32);
    Some(match part {
        "causal_mask" => args![q: &heads, k: &heads],
        "padding_mask" => args![tokens: &tokens, pad: 0i64, mask: &causal_mask()],
        "split_heads" => args![x: &rng.normal_array(&[2, 4, 8]), n_heads: 2usize],
        "merge_heads" => args![z: &heads],
        "sinusoidal" => args![positions: &positions, d_model: 8usize],
        "rotary" => args![x: &heads, offset: 0usize, base: 10_000f64, interleaved: true],
        "alibi" => args![scores: &heads],
        _ => return None,
    })
}

/// A whole layer; its queries are made large by their weight.
fn layer(rng: &mut Generator, saturation: f64) -> Vec<(&'static str, Value)> {
    let resid_pre = rng.normal_array(&[2, 4, 8]);
    let mut weight = |name: &str| {
        let size = if name == "q" { saturation } else { 1.0 };
        let weight = rng.normal_array(&[8, 8]).map(|x| size * x / 8f64.sqrt());
        (format!("{name}.weight"), weight.to_raw())
    };
    let mut weights: Vec<_> = ["q", "k", "v", "o"].map(&mut weight).into();
    for name in ["q", "k", "v", "o"] {
        weights.push((format!("{name}.bias"), rng.normal_array(&[8]).to_raw()));
    }
    let weights = Value::Named(weights.into_iter().collect());
    let source = None::<&Array>;
    args![weights: weights, resid_pre: &resid_pre, source: source, n_heads: 2usize,
        mask: &causal_mask()]
}

fn causal_mask() -> Array {
    Array::from_fn(&[4, 4], |at| f64::from(u8::from(at[1] <= at[0]))).to(DType::U8)
}
