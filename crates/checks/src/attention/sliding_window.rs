//! `sliding_window`: attention to the last few positions.

use answer::answer;
use candle_core::{Result, Tensor, bail};
use protocol::{DType, Value};

use super::{
    attend_oracle::{attend as exact, causal},
    pieces::{attend, attend_unscaled, attend_without_backward, average, in_single, mask, scaled},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const SLIDING_WINDOW: Part = Part {
    name: "sliding_window",
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
            promise: "Each query attends to its own position and the window − 1 before it.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "a_wide_window_is_causal",
            promise: "A window as long as the sequence, or longer, is causal attention.",
            kind: Kind::Property,
            run: a_wide_window_is_causal,
        },
        Check {
            name: "cached_keys_stand_before",
            promise: "The last queries alone, with all keys, get what they get in the whole.",
            kind: Kind::Property,
            run: cached_keys_stand_before,
        },
        Check {
            name: "outside_has_no_influence",
            promise: "A token outside the window changes nothing, however large its score.",
            kind: Kind::Property,
            run: outside_has_no_influence,
        },
        Check {
            name: "gradient_reaches_all_inputs",
            promise: "The gradient reaches `q`, `k` and `v`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_all_inputs,
        },
        Check {
            name: "impossible_windows_are_refused",
            promise: "A window of 0, or more queries than keys, get an error.",
            kind: Kind::Errors,
            run: impossible_windows_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "window_one_too_long",
            diagnosis: "each query sees `window` positions before its own; its own counts as one \
                        of them",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                banded(q, k, v, window, |i, j| j <= i && i <= j + window)
            }),
        },
        Impostor {
            name: "own_position_hidden",
            diagnosis: "a query cannot see its own position",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                banded(q, k, v, window, |i, j| (j < i && i <= j + window) || (i == 0 && j == 0))
            }),
        },
        Impostor {
            name: "window_to_both_sides",
            diagnosis: "the window also reaches forward, so later tokens leak in",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                banded(q, k, v, window, |i, j| i.abs_diff(j) < window)
            }),
        },
        Impostor {
            name: "blocks_for_windows",
            diagnosis: "the sequence is cut into blocks; the window has to slide with the query",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                banded(q, k, v, window, |i, j| j <= i && i / window == j / window)
            }),
        },
        Impostor {
            name: "causal_only",
            diagnosis: "every earlier token is seen; `window` is not used",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                banded(q, k, v, window, causal)
            }),
        },
        Impostor {
            name: "scores_not_scaled",
            diagnosis: "the scores are not divided by √d_head",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                attend_unscaled(q, k, v, Some(&band(q, k, window)?))
            }),
        },
        Impostor {
            name: "always_f32",
            diagnosis: "the work is done in f32 whatever the dtype of the inputs",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                let band = band(q, k, window)?;
                in_single(|t| attend(&t[0], &t[1], &t[2], Some(&band)), &[q, k, v])
            }),
        },
        Impostor {
            name: "left_edge_below_zero",
            diagnosis: "the window's first position is computed as `seq - window`, which goes \
                        below zero when the window is longer than the sequence",
            caught_by: "a_wide_window_is_causal",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                let Some(_) = k.dim(2)?.checked_sub(window) else {
                    panic!("attempt to subtract with overflow")
                };
                attend(q, k, v, Some(&band(q, k, window)?))
            }),
        },
        Impostor {
            name: "queries_counted_from_zero",
            diagnosis: "the queries are taken for the first positions; with a cache they are the \
                        last",
            caught_by: "cached_keys_stand_before",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                band(q, k, window)?;
                let seen = |i, j| j <= i && i < j + window;
                attend(q, k, v, Some(&mask(q.dim(2)?, k.dim(2)?, seen)?))
            }),
        },
        Impostor {
            name: "hidden_by_a_penalty",
            diagnosis: "10⁴ is taken from hidden scores, which a larger score outweighs; hide them \
                        with −∞",
            caught_by: "outside_has_no_influence",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                let band = band(q, k, window)?.to_dtype(q.dtype())?;
                average(&scaled(q, k)?.broadcast_add(&((band - 1.0)? * 1e4)?)?, v)
            }),
        },
        Impostor {
            name: "softmax_without_backward",
            diagnosis: "`softmax_last_dim` passes no gradient back; use `candle_nn::ops::softmax`",
            caught_by: "gradient_reaches_all_inputs",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                attend_without_backward(q, k, v, Some(&band(q, k, window)?))
            }),
        },
        Impostor {
            name: "window_of_zero_accepted",
            diagnosis: "a window of 0 hides every key, and the softmax of nothing is NaN",
            caught_by: "impossible_windows_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                let band = if window == 0 { (band(q, k, 1)? * 0.0)? } else { band(q, k, window)? };
                attend(q, k, v, Some(&band))
            }),
        },
        Impostor {
            name: "first_queries_before_the_start",
            diagnosis: "more queries than keys are accepted; the first ones see nothing",
            caught_by: "impossible_windows_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
                ensure_some(window)?;
                let (seq_q, seq_k) = (q.dim(2)?, k.dim(2)?);
                let seen = |i, j| j + seq_q <= i + seq_k && i + seq_k < j + seq_q + window;
                attend(q, k, v, Some(&mask(seq_q, seq_k, seen)?))
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "row_by_row",
        answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, window: usize| {
            row_by_row(q, k, v, window)
        }),
    }],
};

/// Roundings of an honest `f32` answer: a dot product over `d_head`, a softmax, an average; scores
/// of a few units pass their own error on to the weights.
const TOLERANCE: Tolerance = Tolerance::roundings(96.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let q = Array::full(&[1, 1, 4, 1], 0.0).to(DType::F32);
    let k = trial.rng.normal_array(&[1, 1, 4, 1]);
    let v = Array::new(&[1, 1, 4, 1], vec![1.0, 2.0, 3.0, 4.0]).to(DType::F32);
    let result = trial.array(question(&q, &k, &v, 2))?;
    let expected = Array::new(&[1, 1, 4, 1], vec![1.0, 1.5, 2.5, 3.5]).to(DType::F32);
    trial.close("result", &result, &expected, TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, window) in
        [([2, 3, 5, 4], 2), ([3, 2, 4, 1], 1), ([1, 1, 7, 3], 4), ([1, 2, 1, 3], 1)]
    {
        for dtype in [DType::F64, DType::F32] {
            let [q, k, v] = inputs(trial, shape).map(|array| array.to(dtype));
            let result = trial.array(question(&q, &k, &v, window))?;
            let expected = exact(&q, &k, &v, |i, j| j <= i && i < j + window).to(dtype);
            trial.close("result", &result, &expected, TOLERANCE)?;
        }
    }
    Ok(())
}

fn a_wide_window_is_causal(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [2, 1, 5, 3]);
    let expected = exact(&q, &k, &v, causal).to(DType::F32);
    for window in [5, 6, 1000] {
        let result = trial.array(question(&q, &k, &v, window))?;
        trial.close(&format!("result with window {window}"), &result, &expected, TOLERANCE)?;
    }
    Ok(())
}

fn cached_keys_stand_before(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [2, 3, 7, 4]);
    let whole = trial.array(question(&q, &k, &v, 3))?;
    trial.has_shape("result", &whole, q.shape())?;
    for count in [1, 4] {
        let last = trial.array(question(&q.narrow(2, 7 - count, count), &k, &v, 3))?;
        let name = format!("result of the last {count} of 7 queries");
        trial.close(&name, &last, &whole.narrow(2, 7 - count, count), TOLERANCE)?;
    }
    Ok(())
}

fn outside_has_no_influence(trial: &mut Trial) -> Outcome {
    let (window, token) = (3, trial.rng.between(0, 3));
    let [q, k, v] = inputs(trial, [1, 2, 8, 3]);
    let before = trial.array(question(&q, &k, &v, window))?;
    let wild = |array: &Array| {
        let value = |at: &[usize]| if at[2] == token { 1e6 } else { 1.0 } * array.at(at);
        Array::from_fn(array.shape(), value).to(DType::F32)
    };
    let after = trial.array(question(&q, &wild(&k), &wild(&v), window))?;
    trial.has_shape("result", &before, q.shape())?;
    trial.has_shape("result", &after, q.shape())?;
    let sees = |i: usize| token <= i && i < token + window;
    let blind: Vec<usize> = (0..8).filter(|&i| !sees(i)).collect();
    let name = format!("result at positions {blind:?} when token {token} changes");
    trial.close(&name, &after.select(2, &blind), &before.select(2, &blind), TOLERANCE)
}

fn gradient_reaches_all_inputs(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [1, 2, 3, 2]);
    trial.gradient_matches(question(&q, &k, &v, 2), |at| {
        exact(at.get("q"), at.get("k"), at.get("v"), |i, j| j <= i && i < j + 2)
    })
}

fn impossible_windows_are_refused(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [1, 2, 4, 3]);
    trial.refuses("`window` is 0", question(&q, &k, &v, 0))?;
    let [k, v] = [&k, &v].map(|array| array.narrow(2, 0, 3));
    trial.refuses("there are 4 queries and 3 keys", question(&q, &k, &v, 2)).map(drop)
}

/// Random queries, keys and values, laid out as splitting the heads of a projection leaves them.
fn inputs(trial: &mut Trial, shape: [usize; 4]) -> [Array; 3] {
    [(); 3].map(|()| trial.rng.normal_array(&shape).laid_out(&[0, 2, 1, 3]))
}

fn question(q: &Array, k: &Array, v: &Array, window: usize) -> Vec<(&'static str, Value)> {
    args![q: q, k: k, v: v, window: window]
}

/// Each query with its own slice of keys and values: nothing is hidden, nothing is masked.
fn row_by_row(q: &Tensor, k: &Tensor, v: &Tensor, window: usize) -> Result<Tensor> {
    band(q, k, window)?;
    let before = k.dim(2)? - q.dim(2)?;
    let row = |i: usize| {
        let end = before + i + 1;
        let start = end.saturating_sub(window);
        let seen = |t: &Tensor| t.narrow(2, start, end - start);
        average(&scaled(&q.narrow(2, i, 1)?, &seen(k)?)?, &seen(v)?)
    };
    Tensor::cat(&(0..q.dim(2)?).map(row).collect::<Result<Vec<_>>>()?, 2)
}

fn ensure_some(window: usize) -> Result<()> {
    if window == 0 {
        bail!("the window is 0");
    }
    Ok(())
}

/// Attends where `may` says, and refuses what the contract says.
fn banded(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    window: usize,
    may: impl Fn(usize, usize) -> bool,
) -> Result<Tensor> {
    let (seq_q, seq_k) = (q.dim(2)?, k.dim(2)?);
    ensure_some(window)?;
    if seq_q > seq_k {
        bail!("{seq_q} queries for {seq_k} keys");
    }
    attend(q, k, v, Some(&mask(seq_q, seq_k, |i, j| may(seq_k - seq_q + i, j))?))
}

/// The right mask.
fn band(q: &Tensor, k: &Tensor, window: usize) -> Result<Tensor> {
    let (seq_q, seq_k) = (q.dim(2)?, k.dim(2)?);
    ensure_some(window)?;
    if seq_q > seq_k {
        bail!("{seq_q} queries for {seq_k} keys");
    }
    mask(seq_q, seq_k, |i, j| {
        let i = seq_k - seq_q + i;
        j <= i && i < j + window
    })
}
