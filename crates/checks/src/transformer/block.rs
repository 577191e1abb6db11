//! `block`: attention and MLP, each added to the stream.

use protocol::{DType, Value};

use super::{
    drawing::{self, Widths, value, weight},
    mlp_block::{GRADIENT, named_in_refusal},
    oracle,
};
use crate::{Array, Check, Kind, Outcome, Part, Tolerance, Trial, args, named::Named};

mod answers;

pub(super) const BLOCK: Part = Part {
    name: "block",
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
            promise: "A later position changes no earlier result.",
            kind: Kind::Property,
            run: future_cannot_change_past,
        },
        Check {
            name: "pieces_make_the_whole",
            promise: "A text in pieces, each with the cache of the last, gives what it gives at \
                      once.",
            kind: Kind::Property,
            run: pieces_make_the_whole,
        },
        Check {
            name: "matches_definition",
            promise: "The results are what the definition says, in every shape and layout.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_every_weight",
            promise: "The gradient reaches the stream, both caches and all twelve weights, and is \
                      the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_every_weight,
        },
        Check {
            name: "what_does_not_fit_is_refused",
            promise: "Missing weights are named in an error; heads that do not divide the width, \
                      and one cache without the other, give one.",
            kind: Kind::Errors,
            run: what_does_not_fit_is_refused,
        },
    ],
    impostors: answers::IMPOSTORS,
    alternatives: answers::ALTERNATIVES,
};

/// Roundings of an honest `f32` answer: two norms, four projections, a pattern, a GELU.
const TOLERANCE: Tolerance = Tolerance::roundings(256.0).at_scale(16.0);

const WIDTHS: Widths = Widths { d_model: 6, d_mlp: 5 };

type Arguments = Vec<(&'static str, Value)>;

fn asked(weights: &Named, resid: &Array, n_heads: usize, cache: Option<[&Array; 2]>) -> Arguments {
    args![
        weights: value(weights, resid.dtype()),
        resid_pre: resid,
        n_heads: n_heads,
        cache_k: cache.map(|cache| cache[0]),
        cache_v: cache.map(|cache| cache[1]),
    ]
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let mut weights = drawing::block(trial, "", Widths { d_model: 2, d_mlp: 3 });
    let mut set = |name: &str, array: Array| weights.insert(name.to_owned(), array);
    let random = trial.rng.normal_array(&[2, 6]);
    let values_as_they_are = |at: &[usize]| {
        if at[1] < 4 { random.at(at) } else { f64::from(u8::from(at[1] == at[0] + 4)) }
    };
    set("attn.c_attn.weight", Array::from_fn(&[2, 6], values_as_they_are));
    set("attn.c_attn.bias", Array::full(&[6], 0.0));
    set("attn.c_proj.weight", Array::matrix(&[[1., 0.], [0., 1.]]));
    set("attn.c_proj.bias", Array::full(&[2], 0.0));
    set("ln_1.weight", Array::full(&[2], 0.0));
    set("ln_1.bias", Array::vector(&[1., 2.]));
    set("mlp.c_proj.weight", Array::full(&[3, 2], 0.0));
    set("mlp.c_proj.bias", Array::vector(&[10., 20.]));
    let resid = Array::new(&[1, 1, 2], vec![3., 5.]).to(DType::F32);
    let [resid_post, _, v] = trial.arrays(asked(&weights, &resid, 1, None))?;
    let expected = Array::new(&[1, 1, 2], vec![14., 27.]).to(DType::F32);
    trial.close("resid_post", &resid_post, &expected, TOLERANCE)?;
    let expected = Array::new(&[1, 1, 1, 2], vec![1., 2.]).to(DType::F32);
    trial.close("v", &v, &expected, TOLERANCE)
}

fn future_cannot_change_past(trial: &mut Trial) -> Outcome {
    let weights = drawing::block(trial, "", WIDTHS);
    let resid = trial.rng.normal_array(&[2, 4, 6]);
    let other = trial.rng.normal_array(&[2, 4, 6]);
    let [before, _, _] = trial.arrays(asked(&weights, &resid, 3, None))?;
    trial.has_shape("resid_post", &before, &[2, 4, 6])?;
    for last in 1..4 {
        let value = |at: &[usize]| if at[1] < last { resid.at(at) } else { other.at(at) };
        let changed = Array::from_fn(resid.shape(), value).to(DType::F32);
        let [after, _, _] = trial.arrays(asked(&weights, &changed, 3, None))?;
        trial.has_shape("resid_post", &after, &[2, 4, 6])?;
        let name = format!("resid_post before position {last}, with another stream from there on");
        let (after, before) = (after.narrow(1, 0, last), before.narrow(1, 0, last));
        trial.close(&name, &after, &before, TOLERANCE)?;
    }
    Ok(())
}

fn pieces_make_the_whole(trial: &mut Trial) -> Outcome {
    let weights = drawing::block(trial, "", WIDTHS);
    let resid = trial.rng.normal_array(&[2, 6, 6]);
    let [whole, whole_k, whole_v] = trial.arrays(asked(&weights, &resid, 2, None))?;
    trial.has_shape("resid_post", &whole, &[2, 6, 6])?;
    trial.has_shape("k", &whole_k, &[2, 2, 6, 3])?;
    trial.has_shape("v", &whole_v, &[2, 2, 6, 3])?;
    let mut cache: Option<[Array; 2]> = None;
    for (start, length) in [(0, 2), (2, 1), (3, 3)] {
        let piece = resid.narrow(1, start, length);
        let past = cache.as_ref().map(|[k, v]| [k, v]);
        let [resid_post, k, v] = trial.arrays(asked(&weights, &piece, 2, past))?;
        let name = format!("resid_post of {length} positions from {start} on, with a cache");
        trial.close(&name, &resid_post, &whole.narrow(1, start, length), TOLERANCE)?;
        let seen = start + length;
        trial.close("k behind its cache", &k, &whole_k.narrow(2, 0, seen), TOLERANCE)?;
        trial.close("v behind its cache", &v, &whole_v.narrow(2, 0, seen), TOLERANCE)?;
        cache = Some([k, v]);
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let one = Widths { d_model: 1, d_mlp: 1 };
    let wide = Widths { d_model: 4, d_mlp: 7 };
    // A faint stream first: there the `eps` of the norms shows.
    for (widths, n_heads, [batch, seq], loud) in [
        (WIDTHS, 2, [2, 4], 0.003),
        (one, 1, [1, 1], 1.0),
        (wide, 4, [3, 2], 1.0),
        (WIDTHS, 1, [1, 3], 1.0),
    ] {
        let weights = drawing::block(trial, "", widths);
        let resid = trial.rng.normal_array(&[batch, seq, widths.d_model]).map(|x| loud * x);
        let expected = oracle::block(&|name| &weights[name], &resid, n_heads, None);
        for dtype in [DType::F64, DType::F32] {
            let laid_out = resid.to(dtype).laid_out(&[1, 2, 0]);
            let results: [_; 3] = trial.arrays(asked(&weights, &laid_out, n_heads, None))?;
            for ((name, got), expected) in
                ["resid_post", "k", "v"].iter().zip(&results).zip(&expected)
            {
                trial.close(name, got, &expected.to(dtype), TOLERANCE)?;
            }
        }
    }
    Ok(())
}

fn gradient_reaches_every_weight(trial: &mut Trial) -> Outcome {
    let weights = drawing::block(trial, "", Widths { d_model: 4, d_mlp: 2 });
    let resid = trial.rng.normal_array(&[1, 2, 4]).to(DType::F64);
    let cache = [0, 1].map(|_| trial.rng.normal_array(&[1, 2, 1, 2]));
    let args = asked(&weights, &resid, 2, Some([&cache[0], &cache[1]]));
    trial.gradients_match_within(GRADIENT, args, |at| {
        let cache = [at.get("cache_k"), at.get("cache_v")];
        oracle::block(&|name| weight(at, name), at.get("resid_pre"), 2, Some(cache))
    })
}

fn what_does_not_fit_is_refused(trial: &mut Trial) -> Outcome {
    let whole = drawing::block(trial, "", WIDTHS);
    let resid = trial.rng.normal_array(&[2, 3, 6]);
    for name in ["ln_2.bias", "attn.c_attn.bias", "mlp.c_proj.weight"] {
        let mut without = whole.clone();
        without.remove(name);
        let case = format!("`{name}` is missing");
        // Inside `mlp_block` the weight has its short name.
        let short = name.strip_prefix("mlp.").unwrap_or(name);
        named_in_refusal(trial, &case, short, asked(&without, &resid, 3, None))?;
    }
    for n_heads in [0, 4] {
        let case = format!("{n_heads} heads do not divide a d_model of 6");
        trial.refuses(&case, asked(&whole, &resid, n_heads, None))?;
    }
    let cache = trial.rng.normal_array(&[2, 3, 1, 2]);
    for (name, position) in [("cache_k", 3), ("cache_v", 4)] {
        let mut args = asked(&whole, &resid, 3, None);
        args[position].1 = Value::from(&cache);
        trial.refuses(&format!("`{name}` came without the other cache"), args)?;
    }
    Ok(())
}
