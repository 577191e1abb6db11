//! A GPT by index loops in `f64`, as its definition says.

use crate::Array;

/// `(x − mean) / √(variance + eps) · weight + bias` for every vector.
pub(super) fn layer_norm(x: &Array, weight: &Array, bias: &Array, eps: f64) -> Array {
    let d_model = weight.dim(0);
    let mut values = Vec::with_capacity(x.values().len());
    for vector in x.values().chunks(d_model) {
        let mean = vector.iter().sum::<f64>() / d_model as f64;
        let variance = vector.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d_model as f64;
        let deviation = (variance + eps).sqrt();
        let learned = weight.values().iter().zip(bias.values());
        let out = vector.iter().zip(learned).map(|(x, (w, b))| (x - mean) / deviation * w + b);
        values.extend(out);
    }
    Array::new(x.shape(), values)
}

/// Looks a weight up by its name.
pub(super) type Find<'f, 'a> = &'f dyn Fn(&str) -> &'a Array;

/// `x weight + bias` for every vector, with the weight as `(d_in, d_out)`.
pub(super) fn conv1d(find: Find<'_, '_>, name: &str, x: &Array) -> Array {
    let (weight, bias) = (find(&format!("{name}.weight")), find(&format!("{name}.bias")));
    let (d_in, d_out) = (weight.dim(0), weight.dim(1));
    let mut values = Vec::new();
    for vector in x.values().chunks(d_in) {
        let start = values.len();
        values.extend_from_slice(bias.values());
        for (number, row) in vector.iter().zip(weight.values().chunks(d_out)) {
            values[start..].iter_mut().zip(row).for_each(|(sum, weight)| *sum += number * weight);
        }
    }
    let mut shape = x.shape().to_vec();
    shape[x.rank() - 1] = d_out;
    Array::new(&shape, values)
}

/// The GELU by tanh, as GPT-2 has it.
pub(super) fn gelu(x: f64) -> f64 {
    let cubic = x + 0.044_715 * x * x * x;
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * cubic).tanh())
}

/// Wider, bent, and narrow again.
pub(super) fn mlp(find: Find<'_, '_>, prefix: &str, x: &Array) -> Array {
    let inside = conv1d(find, &format!("{prefix}c_fc"), x);
    let bent = Array::new(inside.shape(), inside.values().iter().map(|&x| gelu(x)).collect());
    conv1d(find, &format!("{prefix}c_proj"), &bent)
}

/// One block: `resid_post`, and all keys and values.
pub(super) fn block(
    find: Find<'_, '_>,
    resid_pre: &Array,
    n_heads: usize,
    cache: Option<[&Array; 2]>,
) -> [Array; 3] {
    let norm = |name: &str, x: &Array| {
        layer_norm(x, find(&format!("{name}.weight")), find(&format!("{name}.bias")), 1e-5)
    };
    let qkv = conv1d(find, "attn.c_attn", &norm("ln_1", resid_pre));
    let [k, v] = [1, 2].map(|part| extended(&qkv, part, n_heads, cache.map(|c| c[part - 1])));
    let z = attend(&qkv, n_heads, &k, &v);
    let resid_mid = plus(resid_pre, &conv1d(find, "attn.c_proj", &z));
    let mlp_out = mlp(find, "mlp.", &norm("ln_2", &resid_mid));
    [plus(&resid_mid, &mlp_out), k, v]
}

fn plus(a: &Array, b: &Array) -> Array {
    Array::new(a.shape(), a.values().iter().zip(b.values()).map(|(a, b)| a + b).collect())
}

/// The keys or values of a text, in heads, behind those of a cache: part 1 or 2 of the projection.
fn extended(qkv: &Array, part: usize, n_heads: usize, cache: Option<&Array>) -> Array {
    let (batch, seq, d_model) = (qkv.dim(0), qkv.dim(1), qkv.dim(2) / 3);
    let (d_head, cached) = (d_model / n_heads, cache.map_or(0, |cache| cache.dim(2)));
    Array::from_fn(&[batch, n_heads, cached + seq, d_head], |at| match cache {
        Some(cache) if at[2] < cached => cache.at(at),
        _ => qkv.at(&[at[0], at[2] - cached, part * d_model + at[1] * d_head + at[3]]),
    })
}

/// Causal attention of every head, the heads side by side.
fn attend(qkv: &Array, n_heads: usize, k: &Array, v: &Array) -> Array {
    let (batch, seq, d_model) = (qkv.dim(0), qkv.dim(1), qkv.dim(2) / 3);
    let (d_head, cached) = (d_model / n_heads, k.dim(2) - seq);
    let mut z = Array::full(&[batch, seq, d_model], 0.0);
    for (b, t) in (0..batch).flat_map(|b| (0..seq).map(move |t| (b, t))) {
        for head in 0..n_heads {
            let score = |key: usize| {
                let product = |e| qkv.at(&[b, t, head * d_head + e]) * k.at(&[b, head, key, e]);
                (0..d_head).map(product).sum::<f64>() / (d_head as f64).sqrt()
            };
            let scores: Vec<f64> = (0..=cached + t).map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f64 = powers.iter().sum();
            for e in 0..d_head {
                let mixed = powers.iter().enumerate().map(|(key, p)| p * v.at(&[b, head, key, e]));
                z.set(&[b, t, head * d_head + e], mixed.sum::<f64>() / sum);
            }
        }
    }
    z
}

/// The whole model.
pub(super) fn gpt(find: Find<'_, '_>, n_layers: usize, tokens: &Array, n_heads: usize) -> Array {
    let (wte, wpe) = (find("wte.weight"), find("wpe.weight"));
    let d_model = wte.dim(1);
    let mut resid = Array::from_fn(&[tokens.dim(0), tokens.dim(1), d_model], |at| {
        wte.at(&[tokens.at(&at[..2]) as usize, at[2]]) + wpe.at(&at[1..])
    });
    for layer in 0..n_layers {
        let of_layer = |name: &str| find(&format!("h.{layer}.{name}"));
        [resid, _, _] = block(&of_layer, &resid, n_heads, None);
    }
    let normed = layer_norm(&resid, find("ln_f.weight"), find("ln_f.bias"), 1e-5);
    let mut logits = Vec::new();
    for vector in normed.values().chunks(d_model) {
        let product = |row: &[f64]| row.iter().zip(vector).map(|(a, b)| a * b).sum::<f64>();
        logits.extend(wte.values().chunks(d_model).map(product));
    }
    Array::new(&[tokens.dim(0), tokens.dim(1), wte.dim(0)], logits)
}
