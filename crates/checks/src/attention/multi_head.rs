//! `multi_head_attention`: a whole layer, from residual stream to residual stream.

use std::collections::BTreeMap;

use protocol::{DType, Value};

use super::oracle;
use crate::{Array, Check, Inputs, Kind, Outcome, Part, Tolerance, Trial, args};

mod answers;

pub(super) const MULTI_HEAD_ATTENTION: Part = Part {
    name: "multi_head_attention",
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
            promise: "With a causal mask, a later position changes no earlier result.",
            kind: Kind::Property,
            run: future_cannot_change_past,
        },
        Check {
            name: "heads_work_alone",
            promise: "If only one head is read by `o.weight`, the weights of the others cannot \
                      matter.",
            kind: Kind::Property,
            run: heads_work_alone,
        },
        Check {
            name: "matches_definition",
            promise: "Self-attention is what its definition says, in every shape, with and \
                      without each bias.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "keys_and_values_come_from_source",
            promise: "With a source, queries come from `resid_pre`, keys and values from it.",
            kind: Kind::Reference,
            run: keys_and_values_come_from_source,
        },
        Check {
            name: "gradient_reaches_every_weight",
            promise: "The gradient reaches both inputs and every weight and bias, and is the \
                      right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_every_weight,
        },
        Check {
            name: "bad_weights_are_refused",
            promise: "A missing weight, or heads that do not divide the width, give an error.",
            kind: Kind::Errors,
            run: bad_weights_are_refused,
        },
    ],
    impostors: answers::IMPOSTORS,
    alternatives: answers::ALTERNATIVES,
};

/// Roundings of an honest `f32` answer: three projections, the pattern, two sums.
const TOLERANCE: Tolerance = Tolerance::roundings(256.0);

/// Sizes of a layer; `n_heads * d_head` is never `d_model`.
#[derive(Clone, Copy)]
struct Sizes {
    n_heads: usize,
    d_head: usize,
    d_model: usize,
}

const SIZES: Sizes = Sizes { n_heads: 3, d_head: 2, d_model: 5 };

type Named = BTreeMap<String, Array>;

/// Random weights and biases, scaled so that scores and results are about 1.
fn random_weights(trial: &mut Trial, sizes: Sizes) -> Named {
    let Sizes { n_heads, d_head, d_model } = sizes;
    let mut weights = Named::new();
    for name in ["q", "k", "v", "o"] {
        let width = n_heads * d_head;
        let shape = if name == "o" { [d_model, width] } else { [width, d_model] };
        let scale = (shape[1] as f64).sqrt().recip();
        let weight = trial.rng.normal_array(&shape).map(|x| 1.5 * scale * x);
        weights.insert(format!("{name}.weight"), weight);
        weights.insert(format!("{name}.bias"), trial.rng.normal_array(&shape[..1]));
    }
    weights
}

fn named(weights: &Named, dtype: DType) -> Value {
    let raw = |(name, array): (&String, &Array)| (name.clone(), array.to(dtype).to_raw());
    Value::Named(weights.iter().map(raw).collect())
}

/// Compares a layer's result with the definition.
fn close_to_definition(
    trial: &mut Trial,
    args: Vec<(&'static str, Value)>,
    n_heads: usize,
    mask: Option<&Array>,
    dtype: DType,
) -> Outcome {
    let expected = oracle::multi_head(&Inputs::of(&args), n_heads, mask).to(dtype);
    let attn_out = trial.array(args)?;
    // Projections add up numbers of about 4, however small a result may be.
    let tolerance = TOLERANCE.at_scale(expected.max_abs().max(4.0));
    trial.close("attn_out", &attn_out, &expected, tolerance)
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let random = |trial: &mut Trial, shape: &[usize]| trial.rng.normal_array(shape);
    let weights = Named::from([
        ("q.weight".to_owned(), Array::full(&[2, 2], 0.0)),
        ("k.weight".to_owned(), random(trial, &[2, 2])),
        ("v.weight".to_owned(), Array::matrix(&[[1., 0.], [0., 1.]])),
        ("o.weight".to_owned(), Array::matrix(&[[0., 1.], [1., 0.]])),
        ("o.bias".to_owned(), Array::vector(&[10., 20.])),
    ]);
    let resid_pre = Array::new(&[1, 2, 2], vec![2., 0., 4., 8.]).to(DType::F32);
    let attn_out = trial.array(args![
        weights: named(&weights, DType::F32),
        resid_pre: &resid_pre,
        source: None::<&Array>,
        n_heads: 2usize,
        mask: None::<&Array>,
    ])?;
    let expected = Array::new(&[1, 2, 2], vec![14., 23., 14., 23.]).to(DType::F32);
    trial.close("attn_out", &attn_out, &expected, TOLERANCE)
}

fn future_cannot_change_past(trial: &mut Trial) -> Outcome {
    let Sizes { n_heads, d_model, .. } = SIZES;
    let weights = named(&random_weights(trial, SIZES), DType::F32);
    let mask = oracle::causal_mask(4);
    let resid_pre = trial.rng.normal_array(&[2, 4, d_model]);
    let last = trial.rng.between(1, 3);
    let other = trial.rng.normal_array(&[2, 4, d_model]);
    let value = |at: &[usize]| if at[1] < last { resid_pre.at(at) } else { other.at(at) };
    let changed = Array::from_fn(resid_pre.shape(), value).to(DType::F32);
    let mut run = |resid_pre: &Array| {
        trial.array(args![
            weights: weights.clone(),
            resid_pre: resid_pre,
            source: None::<&Array>,
            n_heads: n_heads,
            mask: &mask,
        ])
    };
    let (before, after) = (run(&resid_pre)?, run(&changed)?);
    trial.close("shape of attn_out", &zeros_like(&after), &zeros_like(&resid_pre), TOLERANCE)?;
    let name = format!("attn_out before position {last}, with another stream from there on");
    trial.close(&name, &after.narrow(1, 0, last), &before.narrow(1, 0, last), TOLERANCE)
}

fn heads_work_alone(trial: &mut Trial) -> Outcome {
    let Sizes { n_heads, d_head, d_model } = SIZES;
    let mut weights = random_weights(trial, SIZES);
    let resid_pre = trial.rng.normal_array(&[2, 4, d_model]);
    let head = trial.rng.below(n_heads);
    let is_read = |row: usize| row / d_head == head;
    let output = &weights["o.weight"];
    let read = |at: &[usize]| if is_read(at[1]) { output.at(at) } else { 0.0 };
    let output = Array::from_fn(output.shape(), read);
    weights.insert("o.weight".to_owned(), output);

    let mut run = |weights: &Named| {
        trial.array(args![
            weights: named(weights, DType::F32),
            resid_pre: &resid_pre,
            source: None::<&Array>,
            n_heads: n_heads,
            mask: None::<&Array>,
        ])
    };
    let before = run(&weights)?;
    for weight in ["q.weight", "k.weight", "v.weight"] {
        let mine = &weights[weight];
        let turned = |at: &[usize]| if is_read(at[0]) { mine.at(at) } else { -2.0 * mine.at(at) };
        let turned = Array::from_fn(mine.shape(), turned);
        weights.insert(weight.to_owned(), turned);
    }
    let after = run(&weights)?;
    let name = format!("attn_out of head {head} alone, with other weights in the other heads");
    trial.close(&name, &after, &before, TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let one = Sizes { n_heads: 1, d_head: 1, d_model: 1 };
    let wide = Sizes { n_heads: 2, d_head: 4, d_model: 3 };
    for (sizes, [batch, seq]) in [(SIZES, [2, 4]), (one, [1, 1]), (wide, [3, 2])] {
        let weights = random_weights(trial, sizes);
        let resid_pre = trial.rng.normal_array(&[batch, seq, sizes.d_model]);
        let mask = oracle::causal_mask(seq);
        for dtype in [DType::F32, DType::F64] {
            let args = args![
                weights: named(&weights, dtype),
                resid_pre: &resid_pre.to(dtype).laid_out(&[1, 2, 0]),
                source: None::<&Array>,
                n_heads: sizes.n_heads,
                mask: &mask,
            ];
            close_to_definition(trial, args, sizes.n_heads, Some(&mask), dtype)?;
        }
    }
    matches_without_a_bias(trial)
}

/// Each bias may be absent on its own.
fn matches_without_a_bias(trial: &mut Trial) -> Outcome {
    let Sizes { n_heads, d_model, .. } = SIZES;
    for absent in ["q.bias", "k.bias", "v.bias", "o.bias"] {
        let mut weights = random_weights(trial, SIZES);
        weights.remove(absent);
        let args = args![
            weights: named(&weights, DType::F32),
            resid_pre: &trial.rng.normal_array(&[1, 2, d_model]),
            source: None::<&Array>,
            n_heads: n_heads,
            mask: None::<&Array>,
        ];
        close_to_definition(trial, args, n_heads, None, DType::F32)?;
    }
    Ok(())
}

fn keys_and_values_come_from_source(trial: &mut Trial) -> Outcome {
    let Sizes { n_heads, d_model, .. } = SIZES;
    let weights = random_weights(trial, SIZES);
    // As many queries as keys first, so that a swap of the two shows in numbers and not in shapes.
    for (seq_q, seq_k) in [(3, 3), (3, 5)] {
        let may = |at: &[usize]| f64::from(u8::from(at[0] == 0 || at[3] != 1));
        let mask = Array::from_fn(&[2, 1, 1, seq_k], may).to(DType::U8);
        let args = args![
            weights: named(&weights, DType::F32),
            resid_pre: &trial.rng.normal_array(&[2, seq_q, d_model]),
            source: &trial.rng.normal_array(&[2, seq_k, d_model]).laid_out(&[1, 0, 2]),
            n_heads: n_heads,
            mask: &mask,
        ];
        close_to_definition(trial, args, n_heads, Some(&mask), DType::F32)?;
    }
    Ok(())
}

fn gradient_reaches_every_weight(trial: &mut Trial) -> Outcome {
    let sizes = Sizes { n_heads: 2, d_head: 1, d_model: 3 };
    let weights = random_weights(trial, sizes);
    let args = args![
        weights: named(&weights, DType::F64),
        resid_pre: &trial.rng.normal_array(&[1, 1, 3]),
        source: &trial.rng.normal_array(&[1, 2, 3]),
        n_heads: 2usize,
        mask: None::<&Array>,
    ];
    trial.gradient_matches(args, |at| oracle::multi_head(at, 2, None))
}

fn bad_weights_are_refused(trial: &mut Trial) -> Outcome {
    let resid_pre = trial.rng.normal_array(&[2, 4, SIZES.d_model]);
    let whole = random_weights(trial, SIZES);
    let mut without = whole.clone();
    without.remove("v.weight");
    let cases = [
        ("`v.weight` is missing", without, 3),
        ("4 heads do not divide a width of 6", whole.clone(), 4),
        ("there are 0 heads", whole, 0usize),
    ];
    for (case, weights, n_heads) in cases {
        let args = args![
            weights: named(&weights, DType::F32),
            resid_pre: &resid_pre,
            source: None::<&Array>,
            n_heads: n_heads,
            mask: None::<&Array>,
        ];
        trial.refuses(case, args)?;
    }
    Ok(())
}

fn zeros_like(array: &Array) -> Array {
    array.map(|_| 0.0)
}
