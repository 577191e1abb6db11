//! Random weights under GPT-2's names, scaled so that every step shows in the result.

use protocol::{DType, Value};

use crate::{Array, Inputs, Trial, named::Named};

/// Widths of a block.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub(super) d_model: usize,
    pub(super) d_mlp: usize,
}

/// Sizes of a model.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) d_vocab: usize,
    pub(super) n_ctx: usize,
    pub(super) n_layers: usize,
    pub(super) widths: Widths,
}

/// Draws a projection: `NAME.weight` as `(d_in, d_out)`, and `NAME.bias`.
pub(super) fn projection(trial: &mut Trial, name: &str, [d_in, d_out]: [usize; 2]) -> Named {
    let scale = 1.5 / (d_in as f64).sqrt();
    let weight = trial.rng.normal_array(&[d_in, d_out]).map(|x| scale * x);
    let bias = trial.rng.normal_array(&[d_out]).map(|x| 0.5 * x);
    Named::from([(format!("{name}.weight"), weight), (format!("{name}.bias"), bias)])
}

/// Draws the two projections of an MLP.
pub(super) fn mlp(trial: &mut Trial, prefix: &str, widths: Widths) -> Named {
    let Widths { d_model, d_mlp } = widths;
    let mut weights = projection(trial, &format!("{prefix}c_fc"), [d_model, d_mlp]);
    weights.extend(projection(trial, &format!("{prefix}c_proj"), [d_mlp, d_model]));
    weights
}

/// Draws what a norm has learned.
pub(super) fn norm(trial: &mut Trial, name: &str, d_model: usize) -> Named {
    let weight = trial.rng.normal_array(&[d_model]).map(|x| 1.0 + 0.3 * x);
    let bias = trial.rng.normal_array(&[d_model]).map(|x| 0.3 * x);
    Named::from([(format!("{name}.weight"), weight), (format!("{name}.bias"), bias)])
}

/// Draws a block.
pub(super) fn block(trial: &mut Trial, prefix: &str, widths: Widths) -> Named {
    let d_model = widths.d_model;
    let mut weights = mlp(trial, &format!("{prefix}mlp."), widths);
    weights.extend(norm(trial, &format!("{prefix}ln_1"), d_model));
    weights.extend(norm(trial, &format!("{prefix}ln_2"), d_model));
    let qkv = projection(trial, &format!("{prefix}attn.c_attn"), [d_model, 3 * d_model]);
    weights.extend(qkv);
    weights.extend(projection(trial, &format!("{prefix}attn.c_proj"), [d_model, d_model]));
    weights
}

/// Draws a whole model.
pub(super) fn gpt(trial: &mut Trial, sizes: Sizes) -> Named {
    let Sizes { d_vocab, n_ctx, n_layers, widths } = sizes;
    let mut weights = norm(trial, "ln_f", widths.d_model);
    for (name, rows) in [("wte.weight", d_vocab), ("wpe.weight", n_ctx)] {
        weights.insert(name.to_owned(), trial.rng.normal_array(&[rows, widths.d_model]));
    }
    for layer in 0..n_layers {
        weights.extend(block(trial, &format!("h.{layer}."), widths));
    }
    weights
}

/// Draws tokens.
pub(super) fn tokens(trial: &mut Trial, shape: [usize; 2], d_vocab: usize) -> Array {
    Array::from_fn(&shape, |_| trial.rng.below(d_vocab) as f64).to(DType::U32)
}

/// Writes weights for the border, in one dtype.
pub(super) fn value(weights: &Named, dtype: DType) -> Value {
    Value::Named(
        weights.iter().map(|(name, array)| (name.clone(), array.to(dtype).to_raw())).collect(),
    )
}

/// Looks a weight up among the inputs of a gradient.
pub(super) fn weight<'a>(inputs: &'a Inputs, name: &str) -> &'a Array {
    inputs.get(&format!("weights.{name}"))
}
