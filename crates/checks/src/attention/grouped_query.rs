//! `grouped_query_attention`: groups of query heads share keys and values.

use answer::answer;
use candle_core::{Result, Tensor, bail};
use protocol::{DType, Value};

use super::{
    attend_oracle::{any, attend as exact, causal},
    oracle::causal_mask,
    pieces::{attend, attend_unscaled, attend_without_backward, average, hide, in_single, scaled},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const GROUPED_QUERY_ATTENTION: Part = Part {
    name: "grouped_query_attention",
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
            promise: "Each group of neighbouring query heads attends by its own keys and values.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "future_cannot_change_past",
            promise: "Under a causal mask, the last token changes no earlier result.",
            kind: Kind::Property,
            run: future_cannot_change_past,
        },
        Check {
            name: "a_head_reaches_its_group_only",
            promise: "Wild keys and values in one head leave other groups as they were.",
            kind: Kind::Property,
            run: a_head_reaches_its_group_only,
        },
        Check {
            name: "gradient_reaches_all_inputs",
            promise: "The gradient reaches `q`, `k` and `v`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_all_inputs,
        },
        Check {
            name: "uneven_groups_are_refused",
            promise: "Query heads that do not divide into equal groups get an error.",
            kind: Kind::Errors,
            run: uneven_groups_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "heads_tiled",
            diagnosis: "the heads of keys and values are repeated as 0, 1, 0, 1; neighbours share: \
                        0, 0, 1, 1",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let times = group(q, k)?;
                attend(q, &tile(k, times)?, &tile(v, times)?, mask)
            }),
        },
        Impostor {
            name: "first_head_for_all",
            diagnosis: "every query head reads the first head of keys and values",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let n_heads = group(q, k)? * k.dim(1)?;
                let first = |t: &Tensor| tile(&t.narrow(1, 0, 1)?, n_heads);
                attend(q, &first(k)?, &first(v)?, mask)
            }),
        },
        Impostor {
            name: "groups_averaged",
            diagnosis: "the query heads of a group are averaged into one; each attends on its own",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let times = group(q, k)?;
                let (batch, n_heads, seq_q, d_head) = q.dims4()?;
                let q = q.reshape((batch, n_heads / times, times, seq_q, d_head))?.mean(2)?;
                repeat(&attend(&q, k, v, mask)?, times)
            }),
        },
        Impostor {
            name: "keys_tiled_values_repeated",
            diagnosis: "the keys are repeated in another order than the values",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let times = group(q, k)?;
                attend(q, &tile(k, times)?, &repeat(v, times)?, mask)
            }),
        },
        Impostor {
            name: "scores_not_scaled",
            diagnosis: "the scores are not divided by √d_head",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let times = group(q, k)?;
                attend_unscaled(q, &repeat(k, times)?, &repeat(v, times)?, mask)
            }),
        },
        Impostor {
            name: "always_f32",
            diagnosis: "the work is done in f32 whatever the dtype of the inputs",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let times = group(q, k)?;
                in_single(
                    |t| attend(&t[0], &repeat(&t[1], times)?, &repeat(&t[2], times)?, mask),
                    &[q, k, v],
                )
            }),
        },
        Impostor {
            name: "mask_not_handed_on",
            diagnosis: "the mask is not handed on to the attention",
            caught_by: "future_cannot_change_past",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, _mask: Option<&Tensor>| {
                let times = group(q, k)?;
                attend(q, &repeat(k, times)?, &repeat(v, times)?, None)
            }),
        },
        Impostor {
            name: "one_maximum_for_all_heads",
            diagnosis: "the softmax subtracts the largest score of all heads, so a head of far \
                        smaller scores is left with 0 / 0",
            caught_by: "a_head_reaches_its_group_only",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let times = group(q, k)?;
                let scores = hide(&scaled(q, &repeat(k, times)?)?, mask)?;
                let exps = scores.broadcast_sub(&scores.max_all()?)?.exp()?;
                let pattern = exps.broadcast_div(&exps.sum_keepdim(3)?)?;
                pattern.matmul(&repeat(v, times)?.contiguous()?)
            }),
        },
        Impostor {
            name: "softmax_without_backward",
            diagnosis: "`softmax_last_dim` passes no gradient back; use `candle_nn::ops::softmax`",
            caught_by: "gradient_reaches_all_inputs",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let times = group(q, k)?;
                attend_without_backward(q, &repeat(k, times)?, &repeat(v, times)?, mask)
            }),
        },
        Impostor {
            name: "uneven_groups_accepted",
            diagnosis: "heads that do not divide into equal groups are spread in silence",
            caught_by: "uneven_groups_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let (n_heads, n_kv_heads) = (q.dim(1)?, k.dim(1)?);
                let heads: Vec<u32> =
                    (0..n_heads).map(|head| (head * n_kv_heads / n_heads) as u32).collect();
                let heads = Tensor::from_vec(heads, n_heads, q.device())?;
                let spread = |t: &Tensor| t.contiguous()?.index_select(&heads, 1);
                attend(q, &spread(k)?, &spread(v)?, mask)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_folding_queries",
        answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
            by_folding_queries(q, k, v, mask)
        }),
    }],
};

/// Roundings of an honest `f32` answer: a dot product over `d_head`, a softmax, an average; scores
/// of a few units pass their own error on to the weights.
const TOLERANCE: Tolerance = Tolerance::roundings(96.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let q = trial.rng.normal_array(&[1, 4, 1, 1]);
    let k = trial.rng.normal_array(&[1, 2, 1, 1]);
    let v = Array::new(&[1, 2, 1, 1], vec![10.0, 20.0]).to(DType::F32);
    let result = trial.array(question(&q, &k, &v, None))?;
    let expected = Array::new(&[1, 4, 1, 1], vec![10.0, 10.0, 20.0, 20.0]).to(DType::F32);
    trial.close("result", &result, &expected, TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, n_kv_heads, seq_k) in
        [([2, 6, 3, 4], 2, 5), ([3, 2, 4, 1], 2, 3), ([1, 4, 1, 5], 1, 3), ([1, 1, 2, 3], 1, 1)]
    {
        for dtype in [DType::F64, DType::F32] {
            let [q, k, v] = inputs(trial, shape, n_kv_heads, seq_k).map(|array| array.to(dtype));
            let result = trial.array(question(&q, &k, &v, None))?;
            trial.close("result", &result, &exact(&q, &k, &v, any).to(dtype), TOLERANCE)?;
        }
    }
    Ok(())
}

fn future_cannot_change_past(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [2, 4, 5, 3], 2, 5);
    let mask = causal_mask(5);
    let change = |array: &Array| edit(array, |at| at[2] == 4, |x| x + 3.0);
    let before = trial.array(question(&q, &k, &v, Some(&mask)))?;
    let after = trial.array(question(&q, &change(&k), &change(&v), Some(&mask)))?;
    trial.has_shape("result", &before, q.shape())?;
    trial.has_shape("result", &after, q.shape())?;
    let past = |array: &Array| array.narrow(2, 0, 4);
    let name = "result before a changed token";
    trial.close(name, &past(&after), &past(&before), TOLERANCE)?;
    let expected = exact(&q, &k, &v, causal).to(DType::F32);
    trial.close("result under a causal mask", &before, &expected, TOLERANCE)
}

fn a_head_reaches_its_group_only(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [1, 6, 3, 4], 3, 5);
    let head = trial.rng.below(3);
    let wild = |array: &Array| edit(array, |at| at[1] == head, |x| 1e4 * x);
    let before = trial.array(question(&q, &k, &v, None))?;
    let after = trial.array(question(&q, &wild(&k), &wild(&v), None))?;
    trial.has_shape("result", &before, q.shape())?;
    trial.has_shape("result", &after, q.shape())?;
    let others: Vec<usize> = (0..6).filter(|query_head| query_head / 2 != head).collect();
    let name = format!("result of query heads {others:?}, when head {head} of `k`, `v` changes");
    trial.close(&name, &after.select(1, &others), &before.select(1, &others), TOLERANCE)
}

fn gradient_reaches_all_inputs(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [1, 4, 1, 2], 2, 3);
    trial.gradient_matches(question(&q, &k, &v, None), |at| {
        exact(at.get("q"), at.get("k"), at.get("v"), any)
    })
}

fn uneven_groups_are_refused(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [1, 5, 2, 3], 2, 3);
    let case = "5 query heads cannot share 2 heads of keys evenly";
    trial.refuses(case, question(&q, &k, &v, None)).map(drop)
}

/// Random queries, keys and values, laid out as splitting the heads of a projection leaves them.
fn inputs(
    trial: &mut Trial,
    [batch, n_heads, seq_q, d_head]: [usize; 4],
    n_kv_heads: usize,
    seq_k: usize,
) -> [Array; 3] {
    [[n_heads, seq_q], [n_kv_heads, seq_k], [n_kv_heads, seq_k]].map(|[n_heads, seq]| {
        trial.rng.normal_array(&[batch, n_heads, seq, d_head]).laid_out(&[0, 2, 1, 3])
    })
}

fn question(q: &Array, k: &Array, v: &Array, mask: Option<&Array>) -> Vec<(&'static str, Value)> {
    args![q: q, k: k, v: v, mask: mask]
}

/// Changes the values at some positions.
fn edit(array: &Array, at: impl Fn(&[usize]) -> bool, change: impl Fn(f64) -> f64) -> Array {
    let value = |place: &[usize]| {
        if at(place) { change(array.at(place)) } else { array.at(place) }
    };
    Array::from_fn(array.shape(), value).to(array.dtype()).laid_out(&[0, 2, 1, 3])
}

/// The queries of a group as more positions of one head: nothing is repeated.
fn by_folding_queries(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let (batch, n_heads, seq_q, d_head) = q.dims4()?;
    let times = group(q, k)?;
    let folded = q.reshape((batch, n_heads / times, times * seq_q, d_head))?;
    let mask = mask.map(|mask| mask.repeat((times, 1))).transpose()?;
    average(&hide(&scaled(&folded, k)?, mask.as_ref())?, v)?.reshape(q.dims())
}

/// How many query heads share a head of keys.
fn group(q: &Tensor, k: &Tensor) -> Result<usize> {
    let (n_heads, n_kv_heads) = (q.dim(1)?, k.dim(1)?);
    if n_heads % n_kv_heads != 0 {
        bail!("{n_heads} heads do not divide by {n_kv_heads}");
    }
    Ok(n_heads / n_kv_heads)
}

/// Heads as 0, 0, 1, 1.
fn repeat(t: &Tensor, times: usize) -> Result<Tensor> {
    let heads: Vec<Tensor> = t.chunk(t.dim(1)?, 1)?;
    let each: Vec<&Tensor> = heads.iter().flat_map(|head| vec![head; times]).collect();
    Tensor::cat(&each, 1)
}

/// Heads as 0, 1, 0, 1.
fn tile(t: &Tensor, times: usize) -> Result<Tensor> {
    Tensor::cat(&vec![t; times], 1)
}
