//! `attention_pattern`: how much each query attends to each key.

use answer::answer;
use candle_core::{D, Result, Tensor, bail};
use candle_nn::ops;
use protocol::DType;

use super::{
    oracle,
    steps::{fill, masked_softmax, pattern, scaled, scores, softmax, softmax_without_backward},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const ATTENTION_PATTERN: Part = Part {
    name: "attention_pattern",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "matches_definition",
            promise: "The weights are softmax(q kᵀ / √d_head) over the keys.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "masked_weight_is_zero",
            promise: "A position whose mask is 0 gets no weight, and each row still sums to 1.",
            kind: Kind::Property,
            run: masked_weight_is_zero,
        },
        Check {
            name: "hidden_row_is_zero",
            promise: "A query that may attend to no key weighs every key 0.",
            kind: Kind::Property,
            run: hidden_row_is_zero,
        },
        Check {
            name: "large_scores_stay_finite",
            promise: "Scores near ±10⁴ still give finite weights, and masked ones of exactly 0.",
            kind: Kind::Property,
            run: large_scores_stay_finite,
        },
        Check {
            name: "gradient_reaches_q_and_k",
            promise: "The gradient reaches `q` and `k`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_q_and_k,
        },
        Check {
            name: "other_heads_are_refused",
            promise: "`q` and `k` that disagree on batch, n_heads or d_head give an error.",
            kind: Kind::Errors,
            run: other_heads_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "softmax_over_queries",
            diagnosis: "the softmax runs over the queries; it must run over the keys",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                ops::softmax(&fill(&scaled(q, k)?, mask, f64::NEG_INFINITY)?, D::Minus2)
            }),
        },
        Impostor {
            name: "scores_not_scaled",
            diagnosis: "the scores are not divided by √d_head",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                masked_softmax(&scores(q, k)?, mask)
            }),
        },
        Impostor {
            name: "scaled_by_d_head",
            diagnosis: "the scores are divided by d_head; divide by its square root",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                masked_softmax(&(scores(q, k)? / q.dim(D::Minus1)? as f64)?, mask)
            }),
        },
        Impostor {
            name: "scores_for_weights",
            diagnosis: "the softmax is missing: these are the scores",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                fill(&scaled(q, k)?, mask, 0.0)
            }),
        },
        Impostor {
            name: "scaled_by_d_model",
            diagnosis: "the scores are divided by √d_model; each head has only d_head dimensions",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let d_model = (q.dim(1)? * q.dim(D::Minus1)?) as f64;
                masked_softmax(&(scores(q, k)? / d_model.sqrt())?, mask)
            }),
        },
        Impostor {
            name: "not_made_contiguous",
            diagnosis: "split heads are not contiguous, and `matmul` needs that they are",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                masked_softmax(&(q.matmul(&k.t()?)? / (q.dim(3)? as f64).sqrt())?, mask)
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the weights are `f32` whatever the inputs are",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let single = candle_core::DType::F32;
                pattern(&q.to_dtype(single)?, &k.to_dtype(single)?, mask)
            }),
        },
        Impostor {
            name: "mask_ignored",
            diagnosis: "the mask is not used",
            caught_by: "masked_weight_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, _mask: Option<&Tensor>| pattern(q, k, None)),
        },
        Impostor {
            name: "mask_inverted",
            diagnosis: "1 is taken for hidden; it means that the query may attend there",
            caught_by: "masked_weight_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let inverted = mask.map(|mask| mask.eq(0u8)).transpose()?;
                pattern(q, k, inverted.as_ref())
            }),
        },
        Impostor {
            name: "mask_transposed",
            diagnosis: "the mask is read with its rows as keys; its rows are queries",
            caught_by: "masked_weight_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let transposed = mask.map(Tensor::t).transpose()?;
                pattern(q, k, transposed.as_ref())
            }),
        },
        Impostor {
            name: "mask_after_softmax",
            diagnosis: "the mask is applied after the softmax, so rows no longer sum to 1",
            caught_by: "masked_weight_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                fill(&pattern(q, k, None)?, mask, 0.0)
            }),
        },
        Impostor {
            name: "masked_score_is_zero",
            diagnosis: "masked scores are set to 0, and e⁰ is 1; −∞ is what gives a weight of 0",
            caught_by: "masked_weight_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                softmax(&fill(&scaled(q, k)?, mask, 0.0)?)
            }),
        },
        Impostor {
            name: "zero_times_infinity",
            diagnosis: "the mask is multiplied by −∞ and added, but 0 · −∞ is NaN; choose with \
                        `where_cond` instead",
            caught_by: "masked_weight_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                softmax(&add_where_hidden(&scaled(q, k)?, mask, f64::NEG_INFINITY)?)
            }),
        },
        Impostor {
            name: "one_mask_for_every_sequence",
            diagnosis: "the mask is given two more axes, so a mask for each sequence, \
                        `(batch, 1, seq_q, seq_k)`, no longer fits",
            caught_by: "masked_weight_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let deeper = mask.map(|mask| mask.unsqueeze(0)?.unsqueeze(0)).transpose()?;
                pattern(q, k, deeper.as_ref())
            }),
        },
        Impostor {
            name: "hidden_row_is_nan",
            diagnosis: "a row of nothing but −∞ gives 0/0 in the softmax, which is NaN",
            caught_by: "hidden_row_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                softmax(&fill(&scaled(q, k)?, mask, f64::NEG_INFINITY)?)
            }),
        },
        Impostor {
            name: "hidden_row_is_uniform",
            diagnosis: "a query that may attend to nothing weighs all keys alike, as if nothing \
                        were masked",
            caught_by: "hidden_row_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                softmax(&fill(&scaled(q, k)?, mask, -1e30)?)
            }),
        },
        Impostor {
            name: "no_maximum_subtracted",
            diagnosis: "the softmax does not subtract the row's maximum before `exp`",
            caught_by: "large_scores_stay_finite",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let exps = fill(&scaled(q, k)?.exp()?, mask, 0.0)?;
                let total = exps.sum_keepdim(D::Minus1)?;
                exps.broadcast_div(&(&total + total.eq(0.0)?.to_dtype(total.dtype())?)?)
            }),
        },
        Impostor {
            name: "hidden_by_minus_ten_thousand",
            diagnosis: "−10⁴ is added to masked scores, which large scores outweigh",
            caught_by: "large_scores_stay_finite",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let weights = softmax(&add_where_hidden(&scaled(q, k)?, mask, -1e4)?)?;
                let seen = mask.map(|mask| mask.max_keepdim(D::Minus1)).transpose()?;
                fill(&weights, seen.as_ref(), 0.0)
            }),
        },
        Impostor {
            name: "softmax_without_backward",
            diagnosis: "`softmax_last_dim` passes no gradient back; use `candle_nn::ops::softmax`",
            caught_by: "gradient_reaches_q_and_k",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let hidden = fill(&scaled(q, k)?, mask, f64::from(f32::MIN))?;
                fill(&softmax_without_backward(&hidden)?, mask, 0.0)
            }),
        },
        Impostor {
            name: "nan_overwritten",
            diagnosis: "−∞ is added, and the NaN of a hidden row overwritten; it comes back in \
                        the gradient, so choose with `where_cond` before the softmax too",
            caught_by: "gradient_reaches_q_and_k",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let scores = scaled(q, k)?;
                let hidden = fill(&scores.zeros_like()?, mask, f64::NEG_INFINITY)?;
                fill(&softmax(&(scores + hidden)?)?, mask, 0.0)
            }),
        },
        Impostor {
            name: "matmul_believed",
            diagnosis: "`matmul` compares only the product of the batch axes, so other heads of \
                        other sequences are mixed without an error",
            caught_by: "other_heads_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| pattern(q, k, mask)),
        },
    ],
    alternatives: &[
        Alternative {
            name: "by_broadcasting",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                fits(q, k)?;
                by_broadcasting(q, k, mask)
            }),
        },
        Alternative {
            name: "by_minus_infinity",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                fits(q, k)?;
                fill(&softmax(&fill(&scaled(q, k)?, mask, f64::NEG_INFINITY)?)?, mask, 0.0)
            }),
        },
    ],
};

/// Roundings of an honest `f32` answer: a dot product over `d_head`, a division, a softmax.
const TOLERANCE: Tolerance = Tolerance::roundings(64.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let q = Array::new(&[1, 1, 2, 4], vec![2., 0., 0., 0., 0., 0., 0., 0.]).to(DType::F32);
    let k = Array::new(&[1, 1, 2, 4], vec![3f64.ln(), 0., 0., 0., 0., 0., 0., 0.]).to(DType::F32);
    let pattern = trial.array(args![q: &q, k: &k, mask: None::<&Array>])?;
    let expected = Array::new(&[1, 1, 2, 2], vec![0.75, 0.25, 0.5, 0.5]).to(DType::F32);
    trial.close("pattern", &pattern, &expected, TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, seq_k) in [([2, 3, 4, 8], 5), ([1, 1, 1, 1], 3), ([3, 2, 5, 6], 1)] {
        for dtype in [DType::F64, DType::F32] {
            let (q, k) = queries_and_keys(trial, shape, seq_k, dtype);
            let pattern = trial.array(args![q: &q, k: &k, mask: None::<&Array>])?;
            let expected = oracle::pattern(&q, &k, None).to(dtype);
            trial.close("pattern", &pattern, &expected, TOLERANCE)?;
        }
    }
    Ok(())
}

fn masked_weight_is_zero(trial: &mut Trial) -> Outcome {
    let (q, k) = queries_and_keys(trial, [2, 3, 5, 8], 5, DType::F32);
    let causal = oracle::causal_mask(5);
    // One mask for each sequence: the first may see all but key 1, the second all but key 3.
    let padding = Array::from_fn(&[2, 1, 1, 5], |at| f64::from(u8::from(at[3] != 1 + 2 * at[0])));
    for mask in [causal, padding.to(DType::U8)] {
        let pattern = trial.array(args![q: &q, k: &k, mask: &mask])?;
        let expected = oracle::pattern(&q, &k, Some(&mask)).to(DType::F32);
        trial.close("pattern", &pattern, &expected, TOLERANCE)?;
        exactly_zero_where_hidden(trial, &pattern, &expected)?;
    }
    Ok(())
}

fn hidden_row_is_zero(trial: &mut Trial) -> Outcome {
    let (q, k) = queries_and_keys(trial, [2, 3, 4, 8], 5, DType::F32);
    let mask = left_padding();
    let pattern = trial.array(args![q: &q, k: &k, mask: &mask])?;
    let expected = oracle::pattern(&q, &k, Some(&mask)).to(DType::F32);
    trial.close("pattern", &pattern, &expected, TOLERANCE)
}

fn large_scores_stay_finite(trial: &mut Trial) -> Outcome {
    let (q, k) = queries_and_keys(trial, [2, 3, 4, 8], 5, DType::F32);
    let large = q.map(|x| 2e4 * x);
    // Hides the favourite key of each query, the one that a weak mask lets through.
    let favourite = oracle::pattern(&large, &k, None);
    let mask = favourite.map(|weight| f64::from(u8::from(weight < 0.5))).to(DType::U8);
    let pattern = trial.array(args![q: &large, k: &k, mask: &mask])?;
    exactly_zero_where_hidden(trial, &pattern, &mask)?;
    let sums = row_sums(&pattern);
    trial.close("row sums", &sums, &Array::full(sums.shape(), 1.0), Tolerance::relative(1e-5))
}

fn gradient_reaches_q_and_k(trial: &mut Trial) -> Outcome {
    let (q, k) = queries_and_keys(trial, [1, 2, 3, 2], 4, DType::F64);
    let mask = left_padding().narrow(0, 0, 1).narrow(2, 0, 3).narrow(3, 0, 4);
    trial.gradient_matches(args![q: &q, k: &k, mask: &mask], |at| {
        oracle::pattern(at.get("q"), at.get("k"), Some(&mask))
    })
}

fn other_heads_are_refused(trial: &mut Trial) -> Outcome {
    let q = trial.rng.normal_array(&[2, 3, 4, 8]);
    let cases = [([3, 2, 5, 8], "batch and n_heads"), ([2, 3, 5, 6], "d_head")];
    for (shape, what) in cases {
        let k = trial.rng.normal_array(&shape);
        let case = format!("`q` is [2, 3, 4, 8] and `k` {shape:?}: they disagree on {what}");
        trial.refuses(&case, args![q: &q, k: &k, mask: None::<&Array>])?;
    }
    Ok(())
}

/// A mask `(2, 1, 4, 5)` for two sequences: causal behind two, one, and no padding tokens.
///
/// The first query of the first sequence may attend to nothing.
fn left_padding() -> Array {
    let may = |at: &[usize]| at[3] <= at[2] + at[0] && at[3] > 0;
    Array::from_fn(&[2, 1, 4, 5], |at| f64::from(u8::from(may(at)))).to(DType::U8)
}

/// Random queries and keys, laid out as splitting the heads of a projection leaves them.
fn queries_and_keys(
    trial: &mut Trial,
    [batch, n_heads, seq_q, d_head]: [usize; 4],
    seq_k: usize,
    dtype: DType,
) -> (Array, Array) {
    let q = trial.rng.normal_array(&[batch, n_heads, seq_q, d_head]).to(dtype);
    let k = trial.rng.normal_array(&[batch, n_heads, seq_k, d_head]).to(dtype);
    (q.laid_out(&[0, 2, 1, 3]), k.laid_out(&[0, 2, 1, 3]))
}

/// Weights are not merely small where `seen` is 0.
fn exactly_zero_where_hidden(trial: &mut Trial, pattern: &Array, seen: &Array) -> Outcome {
    trial.has_shape("pattern", pattern, seen.shape())?;
    let only_hidden = |weight: f64, seen: f64| if seen == 0.0 { weight } else { 0.0 };
    let hidden = pattern.zip_map(seen, only_hidden);
    let zero = hidden.map(|_| 0.0);
    trial.close("pattern where the mask is 0", &hidden, &zero, Tolerance::EXACT)
}

fn row_sums(pattern: &Array) -> Array {
    let (shape, length) = (&pattern.shape()[..3], pattern.dim(3));
    let sums = pattern.values().chunks(length).map(|row| row.iter().sum()).collect();
    Array::new(shape, sums)
}

/// Adds a value where the mask is 0, by arithmetic.
fn add_where_hidden(scores: &Tensor, mask: Option<&Tensor>, value: f64) -> Result<Tensor> {
    let Some(mask) = mask else { return Ok(scores.clone()) };
    let hidden = mask.eq(0u8)?.to_dtype(scores.dtype())?;
    scores.broadcast_add(&(hidden * value)?)
}

fn fits(q: &Tensor, k: &Tensor) -> Result<()> {
    if q.dims()[..2] != k.dims()[..2] || q.dim(3)? != k.dim(3)? {
        bail!("`q` {:?} does not fit `k` {:?}", q.dims(), k.dims());
    }
    Ok(())
}

/// Scores as sums over an explicit axis, softmax by hand.
fn by_broadcasting(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let d_head = q.dim(D::Minus1)? as f64;
    let products = q.unsqueeze(3)?.broadcast_mul(&k.unsqueeze(2)?)?;
    let scores = fill(&(products.sum(D::Minus1)? * d_head.powf(-0.5))?, mask, f64::NEG_INFINITY)?;
    let largest = scores.max_keepdim(D::Minus1)?.detach().maximum(f64::from(f32::MIN))?;
    let exps = scores.broadcast_sub(&largest)?.exp()?;
    let total = exps.sum_keepdim(D::Minus1)?;
    let nothing = total.eq(0.0)?.to_dtype(total.dtype())?;
    exps.broadcast_div(&(total + nothing)?)
}
