//! `cached_attention`: new tokens attend to themselves and to a cache of earlier ones.

use answer::answer;
use candle_core::{Result, Tensor, bail};
use protocol::{DType, Value};

use super::{
    attend_oracle::{append, attend as exact, causal},
    pieces::{attend, attend_unscaled, attend_without_backward, average, in_single, mask, scaled},
};
use crate::{
    Alternative, Array, Check, Impostor, Inputs, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

/// An answer with this part's parameters and results.
macro_rules! step {
    (|$q:ident, $k:ident, $v:ident, $cache_k:ident, $cache_v:ident| $body:expr) => {
        answer!(|$q: &Tensor,
                 $k: &Tensor,
                 $v: &Tensor,
                 $cache_k: Option<&Tensor>,
                 $cache_v: Option<&Tensor>| {
            let answered = || -> Result<(Tensor, Tensor, Tensor)> { $body };
            answered()
        })
    };
}

pub(super) const CACHED_ATTENTION: Part = Part {
    name: "cached_attention",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "without_a_cache_it_is_causal",
            promise: "Without a cache, the outputs are those of causal attention.",
            kind: Kind::Reference,
            run: without_a_cache_it_is_causal,
        },
        Check {
            name: "one_by_one_is_all_at_once",
            promise: "Tokens fed one by one give the outputs of all at once.",
            kind: Kind::Property,
            run: one_by_one_is_all_at_once,
        },
        Check {
            name: "any_chunks_are_all_at_once",
            promise: "Tokens fed in chunks of any lengths give the outputs of all at once.",
            kind: Kind::Property,
            run: any_chunks_are_all_at_once,
        },
        Check {
            name: "gradient_reaches_all_inputs",
            promise: "The gradient reaches all five tensors, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_all_inputs,
        },
        Check {
            name: "broken_caches_are_refused",
            promise: "Half a cache, or the cache of another batch, gets an error.",
            kind: Kind::Errors,
            run: broken_caches_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "cache_ignored",
            diagnosis: "the new tokens attend to themselves only; the cache is not read",
            caught_by: "documented_example",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (all_k, all_v) = grown(k, v, cache_k, cache_v)?;
                Ok((attend_last(q, k, v)?, all_k, all_v))
            }),
        },
        Impostor {
            name: "new_tokens_first",
            diagnosis: "the new keys and values are put before the cached ones; they are the later",
            caught_by: "documented_example",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (Some(cache_k), Some(cache_v)) = both(cache_k, cache_v)? else {
                    return finish(q, k.clone(), v.clone());
                };
                finish(q, Tensor::cat(&[k, cache_k], 2)?, Tensor::cat(&[v, cache_v], 2)?)
            }),
        },
        Impostor {
            name: "cache_not_grown",
            diagnosis: "the new keys and values come back without the cached ones, so the next \
                        call forgets",
            caught_by: "documented_example",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (all_k, all_v) = grown(k, v, cache_k, cache_v)?;
                Ok((attend_last(q, &all_k, &all_v)?, k.clone(), v.clone()))
            }),
        },
        Impostor {
            name: "mask_counts_from_zero",
            diagnosis: "the causal mask takes the new tokens for the first positions; they stand \
                        behind the cached ones",
            caught_by: "documented_example",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (k, v) = grown(k, v, cache_k, cache_v)?;
                let mask = mask(q.dim(2)?, k.dim(2)?, causal)?;
                Ok((attend(q, &k, &v, Some(&mask))?, k, v))
            }),
        },
        Impostor {
            name: "new_tokens_see_each_other",
            diagnosis: "the new tokens are not masked from each other, so later ones leak into \
                        earlier ones",
            caught_by: "without_a_cache_it_is_causal",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (k, v) = grown(k, v, cache_k, cache_v)?;
                Ok((attend(q, &k, &v, None)?, k, v))
            }),
        },
        Impostor {
            name: "scores_not_scaled",
            diagnosis: "the scores are not divided by √d_head",
            caught_by: "without_a_cache_it_is_causal",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (k, v) = grown(k, v, cache_k, cache_v)?;
                let mask = last(q, &k)?;
                Ok((attend_unscaled(q, &k, &v, Some(&mask))?, k, v))
            }),
        },
        Impostor {
            name: "always_f32",
            diagnosis: "the work is done in f32 whatever the dtype of the inputs",
            caught_by: "without_a_cache_it_is_causal",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (k, v) = grown(k, v, cache_k, cache_v)?;
                let out = in_single(|t| attend_last(&t[0], &t[1], &t[2]), &[q, &k, &v])?;
                Ok((out, k, v))
            }),
        },
        Impostor {
            name: "batches_share_a_cache",
            diagnosis: "every row of the batch reads the cache of the first one",
            caught_by: "one_by_one_is_all_at_once",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let first = |cache: Option<&Tensor>| {
                    cache.map(|c| c.narrow(0, 0, 1)?.broadcast_as(c.shape())).transpose()
                };
                let (shared_k, shared_v) = (first(cache_k)?, first(cache_v)?);
                let (read_k, read_v) = grown(k, v, shared_k.as_ref(), shared_v.as_ref())?;
                let (k, v) = grown(k, v, cache_k, cache_v)?;
                Ok((attend_last(q, &read_k, &read_v)?, k, v))
            }),
        },
        Impostor {
            name: "only_the_last_token_cached",
            diagnosis: "the cache keeps the last token only, so earlier ones are forgotten",
            caught_by: "one_by_one_is_all_at_once",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let newest = |cache: Option<&Tensor>| {
                    cache.map(|c| c.narrow(2, c.dim(2)? - 1, 1)).transpose()
                };
                let (cache_k, cache_v) = (newest(cache_k)?, newest(cache_v)?);
                let (k, v) = grown(k, v, cache_k.as_ref(), cache_v.as_ref())?;
                finish(q, k, v)
            }),
        },
        Impostor {
            name: "mask_dropped_with_a_cache",
            diagnosis: "with a cache nothing is masked, which is right for one new token but not \
                        for several",
            caught_by: "any_chunks_are_all_at_once",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (k, v) = grown(k, v, cache_k, cache_v)?;
                let out = if cache_k.is_some() {
                    attend(q, &k, &v, None)
                } else {
                    attend_last(q, &k, &v)
                };
                Ok((out?, k, v))
            }),
        },
        Impostor {
            name: "cache_hidden_one_short",
            diagnosis: "the offset of the mask is one too small: a new token in a chunk cannot see \
                        itself",
            caught_by: "any_chunks_are_all_at_once",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (k, v) = grown(k, v, cache_k, cache_v)?;
                let (seq_new, seq) = (q.dim(2)?, k.dim(2)?);
                let old = seq - seq_new;
                let offset = if seq_new > 1 { old.saturating_sub(1) } else { old };
                let mask = mask(seq_new, seq, |i, j| j <= i + offset)?;
                Ok((attend(q, &k, &v, Some(&mask))?, k, v))
            }),
        },
        Impostor {
            name: "cache_detached",
            diagnosis: "the cache is detached, so no gradient flows to earlier tokens",
            caught_by: "gradient_reaches_all_inputs",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (cache_k, cache_v) = (cache_k.map(Tensor::detach), cache_v.map(Tensor::detach));
                let (k, v) = grown(k, v, cache_k.as_ref(), cache_v.as_ref())?;
                finish(q, k, v)
            }),
        },
        Impostor {
            name: "softmax_without_backward",
            diagnosis: "`softmax_last_dim` passes no gradient back; use `candle_nn::ops::softmax`",
            caught_by: "gradient_reaches_all_inputs",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (k, v) = grown(k, v, cache_k, cache_v)?;
                let mask = last(q, &k)?;
                Ok((attend_without_backward(q, &k, &v, Some(&mask))?, k, v))
            }),
        },
        Impostor {
            name: "half_a_cache_dropped",
            diagnosis: "a cache of keys without values counts as no cache",
            caught_by: "broken_caches_are_refused",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let (k, v) = match (cache_k, cache_v) {
                    (Some(_), Some(_)) => grown(k, v, cache_k, cache_v)?,
                    _ => (k.clone(), v.clone()),
                };
                finish(q, k, v)
            }),
        },
        Impostor {
            name: "cache_broadcast_to_the_batch",
            diagnosis: "the cache of one row is broadcast to a whole batch in silence",
            caught_by: "broken_caches_are_refused",
            answer: step!(|q, k, v, cache_k, cache_v| {
                let wide = |cache: Option<&Tensor>| -> Result<Option<Tensor>> {
                    let (batch, n_heads, _, d_head) = k.dims4()?;
                    let Some(cache) = cache else { return Ok(None) };
                    cache.broadcast_as((batch, n_heads, cache.dim(2)?, d_head)).map(Some)
                };
                let (cache_k, cache_v) = (wide(cache_k)?, wide(cache_v)?);
                let (k, v) = grown(k, v, cache_k.as_ref(), cache_v.as_ref())?;
                finish(q, k, v)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "token_by_token",
        answer: step!(|q, k, v, cache_k, cache_v| token_by_token(q, k, v, cache_k, cache_v)),
    }],
};

/// Roundings of an honest `f32` answer: a dot product over `d_head`, a softmax, an average; scores
/// of a few units pass their own error on to the weights.
const TOLERANCE: Tolerance = Tolerance::roundings(96.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let one = |value: f64| Array::full(&[1, 1, 1, 1], value).to(DType::F32);
    let [q, k, v] = [one(0.0), one(5.0), one(4.0)];
    let result = ask(trial, [&q, &k, &v], Some([&one(7.0), &one(2.0)]))?;
    let two = |first, second| Array::new(&[1, 1, 2, 1], vec![first, second]).to(DType::F32);
    trial.close("outputs", &result[0], &one(3.0), TOLERANCE)?;
    trial.close("keys", &result[1], &two(7.0, 5.0), Tolerance::EXACT)?;
    trial.close("values", &result[2], &two(2.0, 4.0), Tolerance::EXACT)
}

fn without_a_cache_it_is_causal(trial: &mut Trial) -> Outcome {
    for shape in [[2, 3, 5, 4], [3, 2, 4, 1], [1, 1, 1, 3]] {
        for dtype in [DType::F64, DType::F32] {
            let [q, k, v] = inputs(trial, shape).map(|array| array.to(dtype));
            let [out, keys, values] = ask(trial, [&q, &k, &v], None)?;
            trial.close("outputs", &out, &exact(&q, &k, &v, causal).to(dtype), TOLERANCE)?;
            trial.close("keys", &keys, &k, Tolerance::EXACT)?;
            trial.close("values", &values, &v, Tolerance::EXACT)?;
        }
    }
    Ok(())
}

fn one_by_one_is_all_at_once(trial: &mut Trial) -> Outcome {
    fed_in_chunks(trial, [2, 3, 4, 5], &[1, 1, 1, 1])
}

fn any_chunks_are_all_at_once(trial: &mut Trial) -> Outcome {
    let first = trial.rng.between(1, 3);
    fed_in_chunks(trial, [2, 1, 8, 3], &[first, 4 - first, 1, 3])?;
    fed_in_chunks(trial, [1, 2, 5, 4], &[1, 4])
}

fn gradient_reaches_all_inputs(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [1, 2, 2, 2]);
    let [_, cache_k, cache_v] = inputs(trial, [1, 2, 1, 2]);
    trial.gradients_match(question([&q, &k, &v], Some([&cache_k, &cache_v])), |at: &Inputs| {
        let k = append(at.get("cache_k"), at.get("k"));
        let v = append(at.get("cache_v"), at.get("v"));
        [exact(at.get("q"), &k, &v, causal), k, v]
    })
}

fn broken_caches_are_refused(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [2, 3, 1, 4]);
    let [_, cache_k, cache_v] = inputs(trial, [2, 3, 2, 4]);
    let no = None::<&Array>;
    let half = args![q: &q, k: &k, v: &v, cache_k: &cache_k, cache_v: no];
    trial.refuses("there are cached keys but no cached values", half)?;
    let half = args![q: &q, k: &k, v: &v, cache_k: no, cache_v: &cache_v];
    trial.refuses("there are cached values but no cached keys", half)?;
    let [cache_k, cache_v] = [cache_k, cache_v].map(|cache| cache.narrow(0, 0, 1));
    let args = question([&q, &k, &v], Some([&cache_k, &cache_v]));
    trial.refuses("the cache is of batch 1 and `k` of batch 2", args).map(drop)
}

/// Feeds a sequence in chunks of these lengths, each with the cache that came before.
fn fed_in_chunks(trial: &mut Trial, shape: [usize; 4], chunks: &[usize]) -> Outcome {
    let [q, k, v] = inputs(trial, shape);
    let expected = exact(&q, &k, &v, causal).to(DType::F32);
    let mut cache: Option<[Array; 2]> = None;
    let mut start = 0;
    for &length in chunks {
        let chunk = |array: &Array| array.narrow(2, start, length).laid_out(&[0, 2, 1, 3]);
        let new = [&q, &k, &v].map(chunk);
        let [out, keys, values] =
            ask(trial, new.each_ref(), cache.as_ref().map(<[_; 2]>::each_ref))?;
        let end = start + length;
        let name = format!("outputs of tokens {start} to {} of chunks {chunks:?}", end - 1);
        trial.close(&name, &out, &expected.narrow(2, start, length), TOLERANCE)?;
        trial.close("keys", &keys, &k.narrow(2, 0, end), Tolerance::EXACT)?;
        trial.close("values", &values, &v.narrow(2, 0, end), Tolerance::EXACT)?;
        (start, cache) = (end, Some([keys, values]));
    }
    Ok(())
}

/// Random queries, keys and values, laid out as splitting the heads of a projection leaves them.
fn inputs(trial: &mut Trial, shape: [usize; 4]) -> [Array; 3] {
    [(); 3].map(|()| trial.rng.normal_array(&shape).laid_out(&[0, 2, 1, 3]))
}

fn ask(
    trial: &mut Trial,
    new: [&Array; 3],
    cache: Option<[&Array; 2]>,
) -> std::result::Result<[Array; 3], Stop> {
    trial.arrays(question(new, cache))
}

fn question([q, k, v]: [&Array; 3], cache: Option<[&Array; 2]>) -> Vec<(&'static str, Value)> {
    let [cache_k, cache_v] = [0, 1].map(|which| cache.map(|cache| cache[which]));
    args![q: q, k: k, v: v, cache_k: cache_k, cache_v: cache_v]
}

/// Each new token alone, with the keys up to its own: nothing is masked.
fn token_by_token(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cache_k: Option<&Tensor>,
    cache_v: Option<&Tensor>,
) -> Result<(Tensor, Tensor, Tensor)> {
    let old = cache_k.map_or(Ok(0), |cache| cache.dim(2))?;
    let (k, v) = grown(k, v, cache_k, cache_v)?;
    let token = |i: usize| {
        let seen = |t: &Tensor| t.narrow(2, 0, old + i + 1);
        average(&scaled(&q.narrow(2, i, 1)?, &seen(&k)?)?, &seen(&v)?)
    };
    let out = Tensor::cat(&(0..q.dim(2)?).map(token).collect::<Result<Vec<_>>>()?, 2)?;
    Ok((out, k, v))
}

/// Keys and values with the cached ones before them.
fn grown(
    k: &Tensor,
    v: &Tensor,
    cache_k: Option<&Tensor>,
    cache_v: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    match both(cache_k, cache_v)? {
        (Some(cache_k), Some(cache_v)) => {
            Ok((Tensor::cat(&[cache_k, k], 2)?, Tensor::cat(&[cache_v, v], 2)?))
        }
        _ => Ok((k.clone(), v.clone())),
    }
}

/// Refuses half a cache.
fn both<'a>(
    cache_k: Option<&'a Tensor>,
    cache_v: Option<&'a Tensor>,
) -> Result<(Option<&'a Tensor>, Option<&'a Tensor>)> {
    if cache_k.is_some() != cache_v.is_some() {
        bail!("there is half a cache");
    }
    Ok((cache_k, cache_v))
}

/// The right mask for queries that are the last of the keys' positions.
fn last(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let (seq_new, seq) = (q.dim(2)?, k.dim(2)?);
    mask(seq_new, seq, |i, j| j <= seq - seq_new + i)
}

fn attend_last(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    attend(q, k, v, Some(&last(q, k)?))
}

fn finish(q: &Tensor, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    Ok((attend_last(q, &k, &v)?, k, v))
}
