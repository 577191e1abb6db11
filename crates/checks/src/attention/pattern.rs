//! `attention_pattern`: how much each query attends to each key.

use answer::answer;
use candle_core::{D, Result, Tensor};
use candle_nn::ops;
use protocol::DType;

use super::oracle;
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
            name: "permuting_keys_permutes_weights",
            promise: "Reordering the keys reorders the weights in the same way.",
            kind: Kind::Property,
            run: permuting_keys_permutes_weights,
        },
        Check {
            name: "large_scores_stay_finite",
            promise: "Scores near ±10⁴ still give finite weights.",
            kind: Kind::Property,
            run: large_scores_stay_finite,
        },
        Check {
            name: "gradient_reaches_q_and_k",
            promise: "The gradient reaches `q` and `k`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_q_and_k,
        },
    ],
    impostors: &[
        Impostor {
            name: "softmax_over_queries",
            diagnosis: "the softmax runs over the queries; it must run over the keys",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                ops::softmax(&hide(&scaled(q, k)?, mask)?, D::Minus2)
            }),
        },
        Impostor {
            name: "scores_not_scaled",
            diagnosis: "the scores are not divided by √d_head",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                softmax(&hide(&scores(q, k)?, mask)?)
            }),
        },
        Impostor {
            name: "scaled_by_d_model",
            diagnosis: "the scores are divided by √d_model; each head has only d_head dimensions",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let d_model = (q.dim(1)? * q.dim(D::Minus1)?) as f64;
                softmax(&hide(&(scores(q, k)? / d_model.sqrt())?, mask)?)
            }),
        },
        Impostor {
            name: "mask_after_softmax",
            diagnosis: "the mask is applied after the softmax, so rows no longer sum to 1",
            caught_by: "masked_weight_is_zero",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                fill(&softmax(&scaled(q, k)?)?, mask, 0.0)
            }),
        },
        Impostor {
            name: "keys_weighted_by_place",
            diagnosis: "the weights depend on where a key stands, not only on what it is",
            caught_by: "permuting_keys_permutes_weights",
            // Right on short sequences: the bias starts behind the longest that came before.
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let scores = scaled(q, k)?;
                let seq_k = scores.dim(D::Minus1)?;
                let bias: Vec<f32> = (0..seq_k).map(|j| if j > 5 { 0.5 } else { 0.0 }).collect();
                let bias = Tensor::from_vec(bias, seq_k, q.device())?.to_dtype(q.dtype())?;
                softmax(&hide(&scores.broadcast_add(&bias)?, mask)?)
            }),
        },
        Impostor {
            name: "no_maximum_subtracted",
            diagnosis: "the softmax does not subtract the row's maximum before `exp`",
            caught_by: "large_scores_stay_finite",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                let weights = hide(&scaled(q, k)?, mask)?.exp()?;
                weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)
            }),
        },
        Impostor {
            name: "softmax_without_backward",
            diagnosis: "`softmax_last_dim` passes no gradient back; use `candle_nn::ops::softmax`",
            caught_by: "gradient_reaches_q_and_k",
            answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| {
                #[expect(clippy::disallowed_methods, reason = "this is the mistake")]
                ops::softmax_last_dim(&hide(&scaled(q, k)?, mask)?.contiguous()?)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_broadcasting",
        answer: answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| by_broadcasting(
            q, k, mask
        )),
    }],
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
    let mask = oracle::causal_mask(5);
    let (q, k) = queries_and_keys(trial, [2, 3, 5, 8], 5, DType::F32);
    let pattern = trial.array(args![q: &q, k: &k, mask: &mask])?;
    let expected = oracle::pattern(&q, &k, Some(&mask)).to(DType::F32);
    trial.close("pattern", &pattern, &expected, TOLERANCE)
}

fn permuting_keys_permutes_weights(trial: &mut Trial) -> Outcome {
    let (q, k) = queries_and_keys(trial, [2, 3, 4, 8], 9, DType::F32);
    let order = trial.rng.permutation(9);
    let before = trial.array(args![q: &q, k: &k, mask: None::<&Array>])?;
    let after = trial.array(args![q: &q, k: &k.select(2, &order), mask: None::<&Array>])?;
    trial.close("pattern of permuted keys", &after, &before.select(3, &order), TOLERANCE)
}

fn large_scores_stay_finite(trial: &mut Trial) -> Outcome {
    let (q, k) = queries_and_keys(trial, [2, 3, 4, 8], 5, DType::F32);
    let large = q.map(|x| 1e4 * x);
    let pattern = trial.array(args![q: &large, k: &k, mask: None::<&Array>])?;
    let sums = row_sums(&pattern);
    trial.close("row sums", &sums, &Array::full(sums.shape(), 1.0), Tolerance::relative(1e-5))
}

fn gradient_reaches_q_and_k(trial: &mut Trial) -> Outcome {
    let (q, k) = queries_and_keys(trial, [2, 1, 3, 4], 5, DType::F64);
    let args = args![q: &q, k: &k, mask: None::<&Array>];
    trial.gradient_matches(args, |at| oracle::pattern(at.get("q"), at.get("k"), None))
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

fn row_sums(pattern: &Array) -> Array {
    let (shape, length) = (&pattern.shape()[..3], pattern.dim(3));
    let sums = pattern.values().chunks(length).map(|row| row.iter().sum()).collect();
    Array::new(shape, sums)
}

/// Scores as sums over an explicit axis, softmax by hand.
fn by_broadcasting(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let d_head = q.dim(D::Minus1)? as f64;
    let products = q.unsqueeze(3)?.broadcast_mul(&k.unsqueeze(2)?)?;
    let scores = hide(&(products.sum(D::Minus1)? * d_head.powf(-0.5))?, mask)?;
    let exps = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exps.broadcast_div(&exps.sum_keepdim(D::Minus1)?)
}

fn scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    q.contiguous()?.matmul(&k.contiguous()?.t()?)
}

fn scaled(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    scores(q, k)? / (q.dim(D::Minus1)? as f64).sqrt()
}

fn hide(scores: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    fill(scores, mask, f64::NEG_INFINITY)
}

fn fill(t: &Tensor, mask: Option<&Tensor>, value: f64) -> Result<Tensor> {
    let Some(mask) = mask else { return Ok(t.clone()) };
    let value = Tensor::new(value, t.device())?.to_dtype(t.dtype())?.broadcast_as(t.shape())?;
    mask.broadcast_as(t.shape())?.where_cond(t, &value)
}

fn softmax(t: &Tensor) -> Result<Tensor> {
    ops::softmax(t, D::Minus1)
}
