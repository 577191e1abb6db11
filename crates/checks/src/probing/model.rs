//! A GPT by index loops in `f64`, which can be looked into and changed on the way.

use protocol::{DType, Value};

use crate::{
    Array, Trial,
    named::{Named, to_value},
};

/// Tensors in GPT-2's names, and the number of heads; what has no tensors is left out.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) weights: Named,
    pub(super) n_heads: usize,
}

/// What happens at a hook: its name and value, and the value that the model goes on with.
pub(super) type Edit<'a> = dyn FnMut(&str, Array) -> Array + 'a;

/// What a random model has.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) d_vocab: usize,
    pub(super) n_ctx: usize,
    pub(super) n_layers: usize,
    pub(super) n_heads: usize,
    pub(super) d_head: usize,
    pub(super) d_model: usize,
    /// Without one there are no MLPs, no norms, no biases and no positions.
    pub(super) d_mlp: Option<usize>,
}

/// A model with everything that a model can have; no two sizes are alike.
pub(super) const WHOLE: Sizes =
    Sizes { d_vocab: 7, n_ctx: 6, n_layers: 2, n_heads: 2, d_head: 3, d_model: 5, d_mlp: Some(8) };

/// A model with nothing that can be left out, in three layers.
pub(super) const BARE: Sizes =
    Sizes { d_vocab: 5, n_ctx: 4, n_layers: 3, n_heads: 3, d_head: 1, d_model: 4, d_mlp: None };

impl Model {
    /// Draws one, scaled so that every step shows in the result.
    pub(super) fn draw(trial: &mut Trial, sizes: Sizes) -> Self {
        let Sizes { d_vocab, n_ctx, n_layers, n_heads, d_head, d_model, d_mlp } = sizes;
        let mut weights = Named::new();
        let mut add = |name: String, shape: &[usize], mean: f64, deviation: f64| {
            let array = trial.rng.normal_array(shape).map(|x| mean + deviation * x);
            weights.insert(name, array);
        };
        let is_whole = d_mlp.is_some();
        // Without norms the stream grows from block to block, and a softmax of large scores is
        // steep: in `f32` it would make more of a right answer's roundings than a tolerance allows.
        let gain = if is_whole { 1.5 } else { 1.0 };
        add("wte.weight".to_owned(), &[d_vocab, d_model], 0.0, 1.0);
        add("lm_head.weight".to_owned(), &[d_vocab, d_model], 0.0, 1.0);
        let width = n_heads * d_head;
        for layer in 0..n_layers {
            let linear = [
                ("attn.c_attn", d_model, 3 * width),
                ("attn.c_proj", width, d_model),
                ("mlp.c_fc", d_model, d_mlp.unwrap_or(0)),
                ("mlp.c_proj", d_mlp.unwrap_or(0), d_model),
            ];
            for (name, d_in, d_out) in linear.into_iter().take(if is_whole { 4 } else { 2 }) {
                let deviation = gain / (d_in as f64).sqrt();
                add(format!("h.{layer}.{name}.weight"), &[d_in, d_out], 0.0, deviation);
                if is_whole {
                    add(format!("h.{layer}.{name}.bias"), &[d_out], 0.0, 0.5);
                }
            }
        }
        if is_whole {
            add("wpe.weight".to_owned(), &[n_ctx, d_model], 0.0, 1.0);
            let norms = (0..n_layers).flat_map(|n| [format!("h.{n}.ln_1"), format!("h.{n}.ln_2")]);
            for norm in norms.chain(["ln_f".to_owned()]) {
                add(format!("{norm}.weight"), &[d_model], 1.0, 0.3);
                add(format!("{norm}.bias"), &[d_model], 0.0, 0.5);
            }
        }
        Self { weights, n_heads }
    }

    /// The model that a circuit is.
    pub(super) fn compiled(circuit: &circuits::Circuit) -> Self {
        let array = |weight: &circuits::Weight| Array::new(&weight.shape, weight.values.clone());
        let weights = circuit.weights.iter().map(|(name, w)| (name.clone(), array(w))).collect();
        Self { weights, n_heads: circuit.n_heads }
    }

    /// Writes it for the border.
    pub(super) fn value(&self, dtype: DType) -> Value {
        let mut tensors: Named =
            self.weights.iter().map(|(name, array)| (name.clone(), array.to(dtype))).collect();
        let n_heads = Array::new(&[], vec![self.n_heads as f64]).to(DType::U32);
        tensors.insert("n_heads".to_owned(), n_heads);
        to_value(&tensors)
    }

    /// Blocks.
    pub(super) fn n_layers(&self) -> usize {
        (0..self.weights.len())
            .take_while(|n| self.weights.contains_key(&format!("h.{n}.attn.c_attn.weight")))
            .count()
    }

    /// The logits, and everything that it passes, by the names of the hooks.
    pub(super) fn look(&self, tokens: &Array) -> (Array, Named) {
        let mut cache = Named::new();
        let logits = self.run(tokens, &mut |name, value| {
            cache.insert(name.to_owned(), value.clone());
            value
        });
        (logits, cache)
    }

    /// The logits, `(batch, seq, d_vocab)`, if `edit` happens at every hook.
    pub(super) fn run(&self, tokens: &Array, edit: &mut Edit) -> Array {
        let (wte, wpe) = (&self.weights["wte.weight"], self.weights.get("wpe.weight"));
        let shape = [tokens.dim(0), tokens.dim(1), wte.dim(1)];
        let embed = Array::from_fn(&shape, |at| wte.at(&[tokens.at(&at[..2]) as usize, at[2]]));
        let mut resid = edit("hook_embed", embed);
        if let Some(wpe) = wpe {
            let positions = Array::from_fn(&shape, |at| wpe.at(&at[1..]));
            resid = plus(&resid, &edit("hook_pos_embed", positions));
        }
        for layer in 0..self.n_layers() {
            resid = self.block(layer, resid, edit);
        }
        self.unembed(&self.norm("ln_f", "ln_final", &resid, edit))
    }

    /// The products of vectors with the rows of the last matrix.
    pub(super) fn unembed(&self, normed: &Array) -> Array {
        let lm_head = self.weights.get("lm_head.weight");
        let lm_head = lm_head.unwrap_or_else(|| &self.weights["wte.weight"]);
        let mut shape = normed.shape().to_vec();
        shape[normed.rank() - 1] = lm_head.dim(0);
        let (rows, d_model) = (lm_head.values(), lm_head.dim(1));
        let logits = normed.values().chunks(d_model).flat_map(|vector| {
            rows.chunks(d_model).map(move |row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
        });
        Array::new(&shape, logits.collect())
    }

    fn block(&self, layer: usize, resid: Array, edit: &mut Edit) -> Array {
        let mut at = |name: &str, value| edit(&format!("blocks.{layer}.{name}"), value);
        let mut resid = at("hook_resid_pre", resid);
        let normed = self.norm(&format!("h.{layer}.ln_1"), "ln1", &resid, &mut at);
        let z = self.attend(layer, &normed, &mut at);
        let (batch, seq) = (z.dim(0), z.dim(1));
        let z = z.reshape(&[batch, seq, z.dim(2) * z.dim(3)]);
        let attn_out = self.linear(&format!("h.{layer}.attn.c_proj"), &z);
        resid = plus(&resid, &at("hook_attn_out", attn_out));
        if self.weights.contains_key(&format!("h.{layer}.mlp.c_fc.weight")) {
            resid = at("hook_resid_mid", resid);
            let normed = self.norm(&format!("h.{layer}.ln_2"), "ln2", &resid, &mut at);
            let inside = self.linear(&format!("h.{layer}.mlp.c_fc"), &normed);
            let inside = at("mlp.hook_pre", inside);
            let inside = at("mlp.hook_post", inside.map(gelu));
            let mlp_out = self.linear(&format!("h.{layer}.mlp.c_proj"), &inside);
            resid = plus(&resid, &at("hook_mlp_out", mlp_out));
        }
        at("hook_resid_post", resid)
    }

    /// Attention of every head, `(batch, seq, n_heads, d_head)`.
    fn attend(&self, layer: usize, normed: &Array, at: &mut Edit) -> Array {
        let qkv = self.linear(&format!("h.{layer}.attn.c_attn"), normed);
        let (batch, seq, width) = (qkv.dim(0), qkv.dim(1), qkv.dim(2) / 3);
        let (n_heads, d_head) = (self.n_heads, width / self.n_heads);
        let part = |n: usize| {
            Array::from_fn(&[batch, seq, n_heads, d_head], |to| {
                qkv.at(&[to[0], to[1], n * width + to[2] * d_head + to[3]])
            })
        };
        let q = at("attn.hook_q", part(0));
        let k = at("attn.hook_k", part(1));
        let v = at("attn.hook_v", part(2));
        let scores = Array::from_fn(&[batch, n_heads, seq, seq], |to| {
            let [b, head, query, key] = *to else { unreachable!("invariant: four axes") };
            if key > query {
                return f64::NEG_INFINITY;
            }
            let product = |d| q.at(&[b, query, head, d]) * k.at(&[b, key, head, d]);
            (0..d_head).map(product).sum::<f64>() / (d_head as f64).sqrt()
        });
        let scores = at("attn.hook_attn_scores", scores);
        let pattern =
            Array::new(scores.shape(), scores.values().chunks(seq).flat_map(softmax).collect());
        let pattern = at("attn.hook_pattern", pattern);
        let z = Array::from_fn(&[batch, seq, n_heads, d_head], |to| {
            let weighted =
                |key| pattern.at(&[to[0], to[2], to[1], key]) * v.at(&[to[0], key, to[2], to[3]]);
            (0..seq).map(weighted).sum()
        });
        at("attn.hook_z", z)
    }

    /// `x weight + bias` for every vector, with the weight as `(d_in, d_out)`.
    fn linear(&self, name: &str, x: &Array) -> Array {
        let weight = &self.weights[&format!("{name}.weight")];
        let bias = self.weights.get(&format!("{name}.bias"));
        let (d_in, d_out) = (weight.dim(0), weight.dim(1));
        let mut values = Vec::new();
        for vector in x.values().chunks(d_in) {
            let start = values.len();
            values.extend((0..d_out).map(|out| bias.map_or(0.0, |bias| bias.at(&[out]))));
            for (number, row) in vector.iter().zip(weight.values().chunks(d_out)) {
                let sums = values[start..].iter_mut();
                sums.zip(row).for_each(|(sum, weight)| *sum += number * weight);
            }
        }
        let mut shape = x.shape().to_vec();
        shape[x.rank() - 1] = d_out;
        Array::new(&shape, values)
    }

    /// A norm, if there is one; `hook` is what its hooks are called.
    fn norm(&self, name: &str, hook: &str, x: &Array, edit: &mut Edit) -> Array {
        let Some(weight) = self.weights.get(&format!("{name}.weight")) else { return x.clone() };
        let scale = edit(&format!("{hook}.hook_scale"), deviations(x));
        let bias = self.weights.get(&format!("{name}.bias"));
        let scaled = scaled(x, &scale, weight);
        let normed = Array::from_fn(x.shape(), |at| {
            scaled.at(at) + bias.map_or(0.0, |bias| bias.at(&at[at.len() - 1..]))
        });
        edit(&format!("{hook}.hook_normalized"), normed)
    }
}

/// `√(variance + ε)` of every vector; the last axis is 1 long.
pub(super) fn deviations(x: &Array) -> Array {
    let mut shape = x.shape().to_vec();
    let d_model = std::mem::replace(&mut shape[x.rank() - 1], 1);
    let deviation = |vector: &[f64]| {
        let mean = vector.iter().sum::<f64>() / d_model as f64;
        let variance = vector.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d_model as f64;
        (variance + 1e-5).sqrt()
    };
    Array::new(&shape, x.values().chunks(d_model).map(deviation).collect())
}

/// Every vector less its mean, over its scale, times what was learned; without the bias.
pub(super) fn scaled(x: &Array, scale: &Array, weight: &Array) -> Array {
    let d_model = weight.dim(0);
    let mut values = Vec::with_capacity(x.values().len());
    for (vector, scale) in x.values().chunks(d_model).zip(scale.values()) {
        let mean = vector.iter().sum::<f64>() / d_model as f64;
        values.extend(vector.iter().zip(weight.values()).map(|(x, w)| (x - mean) / scale * w));
    }
    Array::new(x.shape(), values)
}

pub(super) fn plus(a: &Array, b: &Array) -> Array {
    a.zip_map(b, |a, b| a + b)
}

/// Draws tokens.
pub(super) fn tokens(trial: &mut Trial, shape: [usize; 2], sizes: Sizes) -> Array {
    Array::from_fn(&shape, |_| trial.rng.below(sizes.d_vocab) as f64).to(DType::U32)
}

/// Writes arrays by name for the border, in one dtype.
pub(super) fn cache_value(cache: &Named, dtype: DType) -> Value {
    to_value(&cache.iter().map(|(name, array)| (name.clone(), array.to(dtype))).collect())
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// The GELU by tanh, as GPT-2 has it.
fn gelu(x: f64) -> f64 {
    let cubic = x + 0.044_715 * x * x * x;
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * cubic).tanh())
}
