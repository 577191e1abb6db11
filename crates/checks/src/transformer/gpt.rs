//! `gpt`: the whole forward pass, in GPT-2's tensor names.

use protocol::{DType, Value};

use super::{
    drawing::{self, Sizes, Widths, value, weight},
    mlp_block::{GRADIENT, named_in_refusal},
    oracle,
};
use crate::{
    Array, Check, Kind, Outcome, Part, Tolerance, Trial, args,
    data::{Trained, trained},
    named::Named,
};

mod answers;
pub(super) mod model;

pub(super) const GPT: Part = Part {
    name: "gpt",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "future_cannot_change_past",
            promise: "A later token changes no logits of an earlier position.",
            kind: Kind::Property,
            run: future_cannot_change_past,
        },
        Check {
            name: "sequences_stand_alone",
            promise: "A sequence gets in a batch what it gets alone.",
            kind: Kind::Property,
            run: sequences_stand_alone,
        },
        Check {
            name: "matches_definition",
            promise: "The logits are what the definition says, for one, two and eleven blocks, \
                      with the masks of GPT-2's files and without, and for a trained model.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_every_weight",
            promise: "The gradient reaches every weight of every block and of both ends, and is \
                      the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_every_weight,
        },
        Check {
            name: "damaged_tensors_are_named",
            promise: "A tensor that is missing, misshapen, not finite, or used by nothing is named \
                      in an error.",
            kind: Kind::Errors,
            run: damaged_tensors_are_named,
        },
    ],
    impostors: answers::IMPOSTORS,
    alternatives: answers::ALTERNATIVES,
};

/// Roundings of an honest `f32` answer: some 64 for each of a few blocks, on a stream of about 16.
const TOLERANCE: Tolerance = Tolerance::roundings(512.0).at_scale(16.0);

const SIZES: Sizes =
    Sizes { d_vocab: 7, n_ctx: 5, n_layers: 2, widths: Widths { d_model: 6, d_mlp: 4 } };

fn asked(weights: &Named, tokens: &Array, n_heads: usize) -> Vec<(&'static str, Value)> {
    args![weights: value(weights, DType::F32), tokens: tokens, n_heads: n_heads]
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = Named::from([
        ("wte.weight".to_owned(), Array::matrix(&[[1., 0.], [0., 1.], [2., 2.]])),
        ("wpe.weight".to_owned(), Array::matrix(&[[0., 1.], [5., 5.]])),
        ("ln_f.weight".to_owned(), Array::vector(&[1., 1.])),
        ("ln_f.bias".to_owned(), Array::vector(&[0., 1.])),
    ]);
    let tokens = Array::matrix(&[[2.]]).to(DType::U32);
    let logits = trial.array(asked(&weights, &tokens, 1))?;
    let expected = Array::new(&[1, 1, 3], vec![-1., 2., 2.]).to(DType::F32);
    // `eps` moves the fifth digit.
    trial.close("logits", &logits, &expected, Tolerance::relative(2e-4))
}

fn future_cannot_change_past(trial: &mut Trial) -> Outcome {
    let weights = drawing::gpt(trial, SIZES);
    let tokens = drawing::tokens(trial, [2, 5], 7);
    let before = trial.array(asked(&weights, &tokens, 3))?;
    trial.has_shape("logits", &before, &[2, 5, 7])?;
    for last in [1, 4] {
        let other = |at: &[usize]| (tokens.at(at) + f64::from(u8::from(at[1] >= last))) % 7.0;
        let changed = Array::from_fn(&[2, 5], other).to(DType::U32);
        let after = trial.array(asked(&weights, &changed, 3))?;
        trial.has_shape("logits", &after, &[2, 5, 7])?;
        let name = format!("logits before position {last}, with other tokens from there on");
        let (after, before) = (after.narrow(1, 0, last), before.narrow(1, 0, last));
        trial.close(&name, &after, &before, TOLERANCE)?;
    }
    Ok(())
}

fn sequences_stand_alone(trial: &mut Trial) -> Outcome {
    let weights = drawing::gpt(trial, SIZES);
    let tokens = drawing::tokens(trial, [3, 2], 7);
    let together = trial.array(asked(&weights, &tokens, 2))?;
    trial.has_shape("logits", &together, &[3, 2, 7])?;
    for sequence in 0..3 {
        let alone = trial.array(asked(&weights, &tokens.narrow(0, sequence, 1), 2))?;
        let name = format!("logits of sequence {sequence} in the batch, against the same alone");
        trial.close(&name, &together.narrow(0, sequence, 1), &alone, TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let thin = Widths { d_model: 3, d_mlp: 1 };
    let one = Sizes { d_vocab: 3, n_ctx: 1, n_layers: 1, widths: thin };
    let many = Sizes { d_vocab: 4, n_ctx: 3, n_layers: 11, widths: thin };
    for (sizes, n_heads, shape) in [(SIZES, 2, [2, 4]), (one, 3, [1, 1]), (many, 1, [1, 2])] {
        let mut weights = drawing::gpt(trial, sizes);
        let tokens = drawing::tokens(trial, shape, sizes.d_vocab);
        let expected = oracle::gpt(&|name| &weights[name], sizes.n_layers, &tokens, n_heads);
        for dtype in [DType::F64, DType::F32] {
            let laid_out = tokens.laid_out(&[1, 0]);
            let args = args![weights: value(&weights, dtype), tokens: &laid_out, n_heads: n_heads];
            let logits = trial.array(args)?;
            let name = format!("logits of {} blocks", sizes.n_layers);
            trial.close(&name, &logits, &expected.to(dtype), TOLERANCE)?;
            // What the released files hold beside the weights.
            let mask = Array::full(&[1, 1, sizes.n_ctx, sizes.n_ctx], 1.0);
            weights.insert("h.0.attn.bias".to_owned(), mask);
            weights.insert("h.0.attn.masked_bias".to_owned(), Array::new(&[], vec![-1e4]));
        }
    }
    let Trained { weights, n_heads, n_layers } = trained("char_gpt")?;
    let text = "First Citizen:\nBefore we proceed".bytes().map(f64::from).collect();
    let tokens = Array::new(&[2, 16], text).to(DType::U32);
    let expected = oracle::gpt(&|name| &weights[name], n_layers, &tokens, n_heads);
    let args = args![weights: value(&weights, DType::F32), tokens: &tokens, n_heads: n_heads];
    let logits = trial.array(args)?;
    trial.close("logits of the trained char_gpt", &logits, &expected.to(DType::F32), TOLERANCE)
}

fn gradient_reaches_every_weight(trial: &mut Trial) -> Outcome {
    let widths = Widths { d_model: 3, d_mlp: 1 };
    let sizes = Sizes { d_vocab: 3, n_ctx: 2, n_layers: 2, widths };
    let weights = drawing::gpt(trial, sizes);
    let tokens = Array::matrix(&[[2., 0.]]).to(DType::U32);
    trial.gradients_match_within(GRADIENT, asked(&weights, &tokens, 3), |at| {
        [oracle::gpt(&|name| weight(at, name), 2, &tokens, 3)]
    })
}

fn damaged_tensors_are_named(trial: &mut Trial) -> Outcome {
    let whole = drawing::gpt(trial, SIZES);
    let tokens = drawing::tokens(trial, [1, 2], 7);
    let mut damaged = |name: &str, what: &str, array: Option<Array>| {
        let mut weights = whole.clone();
        match array {
            Some(array) => weights.insert(name.to_owned(), array),
            None => weights.remove(name),
        };
        named_in_refusal(trial, &format!("`{name}` {what}"), name, asked(&weights, &tokens, 3))
    };
    for name in ["h.1.attn.c_proj.bias", "h.0.ln_2.weight", "wpe.weight", "ln_f.bias"] {
        damaged(name, "is missing", None)?;
    }
    for name in ["lm_head.weight", "h.0.attn.rotary", "h.1.mlp.c_fc.scale"] {
        damaged(name, "is no tensor of a GPT", Some(Array::full(&[7, 6], 0.5)))?;
    }
    for (name, shape) in [
        ("h.1.mlp.c_proj.weight", vec![6, 4]),
        ("h.0.ln_1.bias", vec![1]),
        ("wpe.weight", vec![5, 1]),
        ("h.0.attn.c_attn.weight", vec![18, 6]),
    ] {
        damaged(name, &format!("has shape {shape:?}"), Some(Array::full(&shape, 0.5)))?;
    }
    // The last position and the last token are not in this text, so no logit would show it.
    for (name, number) in [("wpe.weight", f64::NAN), ("h.1.ln_1.bias", f64::INFINITY)] {
        let mut array = whole[name].clone();
        let last: Vec<usize> = array.shape().iter().map(|length| length - 1).collect();
        array.set(&last, number);
        damaged(name, &format!("holds {number}"), Some(array))?;
    }
    Ok(())
}
