//! `alibi`: scores that fall with the distance.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const ALIBI: Part = Part {
    name: "alibi",
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
            promise: "Head h takes 2^(-8 (h + 1) / n_heads) · |i − j| from the score.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "cached_keys_stand_before",
            promise: "The last queries alone, with all keys, get what they get in the whole.",
            kind: Kind::Property,
            run: cached_keys_stand_before,
        },
        Check {
            name: "hidden_scores_stay_hidden",
            promise: "A score of −∞ stays −∞, and disturbs no other.",
            kind: Kind::Property,
            run: hidden_scores_stay_hidden,
        },
        Check {
            name: "gradient_reaches_scores",
            promise: "The gradient reaches `scores`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_scores,
        },
        Check {
            name: "more_queries_than_keys_are_refused",
            promise: "More queries than keys get an error.",
            kind: Kind::Errors,
            run: more_queries_than_keys_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "bias_added",
            diagnosis: "scores grow with the distance; they must fall",
            caught_by: "documented_example",
            answer: answer!(|scores: &Tensor| scores.broadcast_add(&taken(scores, slope, apart)?)),
        },
        Impostor {
            name: "later_keys_favoured",
            diagnosis: "the distance has a sign, so keys after the query gain; take its absolute \
                        value",
            caught_by: "documented_example",
            answer: answer!(|scores: &Tensor| subtract(scores, slope, |i, j| i as f64 - j as f64)),
        },
        Impostor {
            name: "first_slope_is_one",
            diagnosis: "the slopes start at 1; head 0 already has 2^(-8 / n_heads)",
            caught_by: "documented_example",
            answer: answer!(|scores: &Tensor| {
                subtract(scores, |h, n_heads| slope(h, n_heads) * 256f64.powf(1.0 / n_heads), apart)
            }),
        },
        Impostor {
            name: "slopes_of_eight_heads",
            diagnosis: "the slopes are 1/2, 1/4, 1/8, … for any number of heads; those are the \
                        slopes of eight",
            caught_by: "documented_example",
            answer: answer!(|scores: &Tensor| subtract(scores, |h, _| slope(h, 8.0), apart)),
        },
        Impostor {
            name: "one_slope_for_all",
            diagnosis: "all heads share the slope of the first",
            caught_by: "documented_example",
            answer: answer!(|scores: &Tensor| {
                subtract(scores, |_, n_heads| slope(0.0, n_heads), apart)
            }),
        },
        Impostor {
            name: "scores_forgotten",
            diagnosis: "only the bias comes back; it has to be added to the scores",
            caught_by: "matches_definition",
            answer: answer!(|scores: &Tensor| {
                taken(scores, slope, apart)?.neg()?.broadcast_as(scores.shape())?.contiguous()
            }),
        },
        Impostor {
            name: "always_f32",
            diagnosis: "the bias is made in f32 and rounds an f64 answer",
            caught_by: "matches_definition",
            answer: answer!(|scores: &Tensor| {
                let taken = taken(scores, slope, apart)?.to_dtype(CandleDType::F32)?;
                scores.broadcast_sub(&taken.to_dtype(scores.dtype())?)
            }),
        },
        Impostor {
            name: "neighbour_power_of_two",
            diagnosis: "the number of heads is rounded up to a power of two before the slopes are \
                        computed",
            caught_by: "matches_definition",
            answer: answer!(|scores: &Tensor| {
                let rounded = |n_heads: f64| n_heads.log2().ceil().exp2();
                subtract(scores, |h, n_heads| slope(h, rounded(n_heads)), apart)
            }),
        },
        Impostor {
            name: "queries_counted_from_zero",
            diagnosis: "the queries are taken for the first positions; with a cache they are the \
                        last",
            caught_by: "cached_keys_stand_before",
            answer: answer!(|scores: &Tensor| {
                let before = scores.dim(3)? - scores.dim(2)?;
                subtract(scores, slope, |i, j| apart(i - before, j))
            }),
        },
        Impostor {
            name: "zeros_by_multiplying",
            diagnosis: "the scores are multiplied by 0 on the way, which makes NaN of −∞",
            caught_by: "hidden_scores_stay_hidden",
            answer: answer!(|scores: &Tensor| {
                let taken = (scores * 0.0)?.broadcast_add(&taken(scores, slope, apart)?)?;
                scores - taken
            }),
        },
        Impostor {
            name: "loops_outside_the_graph",
            diagnosis: "the scores are read into a Vec and the result is built from numbers, so no \
                        gradient can flow back",
            caught_by: "gradient_reaches_scores",
            answer: answer!(|scores: &Tensor| subtract(&scores.detach(), slope, apart)),
        },
        Impostor {
            name: "first_queries_before_the_start",
            diagnosis: "more queries than keys are accepted, and the first ones stand before the \
                        first key",
            caught_by: "more_queries_than_keys_are_refused",
            answer: answer!(|scores: &Tensor| {
                let (_, n_heads, seq_q, seq_k) = scores.dims4()?;
                let distance =
                    |i: usize, j: usize| (i as f64 - j as f64 + seq_k as f64 - seq_q as f64).abs();
                scores.broadcast_sub(&table([n_heads, seq_q, seq_k], slope, distance, scores)?)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_arange",
        answer: answer!(|scores: &Tensor| by_arange(scores)),
    }],
};

/// Roundings of an honest `f32` answer: slope, product and difference, with a power that may err by
/// a few units; scores and what is taken stay below 8.
const TOLERANCE: Tolerance = Tolerance::roundings(12.0).at_scale(8.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let scores = Array::full(&[1, 2, 2, 2], 0.0).to(DType::F32);
    let result = trial.array(args![scores: &scores])?;
    let (near, far) = (-1.0 / 16.0, -1.0 / 256.0);
    let expected = Array::new(&[1, 2, 2, 2], vec![0., near, near, 0., 0., far, far, 0.]);
    trial.close("result", &result, &expected.to(DType::F32), Tolerance::roundings(12.0))
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for [batch, n_heads, seq] in [[2, 3, 5], [1, 8, 4], [3, 1, 1], [1, 6, 2]] {
        for dtype in [DType::F64, DType::F32] {
            let scores = trial.rng.normal_array(&[batch, n_heads, seq, seq]).to(dtype);
            let result = trial.array(args![scores: &scores.laid_out(&[0, 3, 1, 2])])?;
            let expected = by_distance(&scores).to(dtype);
            trial.close("result", &result, &expected, TOLERANCE.in_double(1e-11))?;
        }
    }
    Ok(())
}

fn cached_keys_stand_before(trial: &mut Trial) -> Outcome {
    let scores = trial.rng.normal_array(&[2, 4, 7, 7]);
    let whole = trial.array(args![scores: &scores])?;
    trial.has_shape("result", &whole, scores.shape())?;
    for count in [1, 3] {
        let last = trial.array(args![scores: &scores.narrow(2, 7 - count, count)])?;
        let name = format!("result of the last {count} of 7 queries");
        trial.close(&name, &last, &whole.narrow(2, 7 - count, count), TOLERANCE)?;
    }
    Ok(())
}

fn hidden_scores_stay_hidden(trial: &mut Trial) -> Outcome {
    let scores = trial.rng.normal_array(&[2, 4, 5, 5]);
    let seen = trial.array(args![scores: &scores])?;
    trial.has_shape("result", &seen, scores.shape())?;
    let hide = |array: &Array| {
        let value = |at: &[usize]| if at[3] > at[2] { f64::NEG_INFINITY } else { array.at(at) };
        Array::from_fn(array.shape(), value).to(DType::F32)
    };
    let result = trial.array(args![scores: &hide(&scores)])?;
    trial.close("result of scores hidden by a mask", &result, &hide(&seen), TOLERANCE)
}

fn gradient_reaches_scores(trial: &mut Trial) -> Outcome {
    let scores = trial.rng.normal_array(&[2, 3, 2, 4]).laid_out(&[0, 2, 1, 3]);
    trial.gradient_matches(args![scores: &scores], |at| by_distance(at.get("scores")))
}

fn more_queries_than_keys_are_refused(trial: &mut Trial) -> Outcome {
    let scores = trial.rng.normal_array(&[1, 2, 4, 3]);
    trial.refuses("there are 4 queries and 3 keys", args![scores: &scores]).map(drop)
}

/// The definition by index.
fn by_distance(scores: &Array) -> Array {
    let (n_heads, seq_q, seq_k) = (scores.dim(1), scores.dim(2), scores.dim(3));
    Array::from_fn(scores.shape(), |at| {
        let slope = 0.5f64.powf(8.0 * (at[1] + 1) as f64 / n_heads as f64);
        scores.at(at) - slope * ((seq_k - seq_q + at[2]) as f64 - at[3] as f64).abs()
    })
}

/// Positions as tensors, slopes as powers of a ratio.
fn by_arange(scores: &Tensor) -> Result<Tensor> {
    let (_, n_heads, seq_q, seq_k) = scores.dims4()?;
    if seq_q > seq_k {
        bail!("{seq_q} queries for {seq_k} keys");
    }
    let j = Tensor::arange(0f64, seq_k as f64, scores.device())?;
    let i = j.narrow(0, seq_k - seq_q, seq_q)?.unsqueeze(1)?;
    let distance = i.broadcast_sub(&j)?.abs()?.to_dtype(scores.dtype())?;
    let ratio = 256f64.powf(-1.0 / n_heads as f64);
    let slopes: Vec<f64> =
        std::iter::successors(Some(ratio), |slope| Some(slope * ratio)).take(n_heads).collect();
    let slopes = Tensor::from_vec(slopes, (n_heads, 1, 1), scores.device())?;
    let bias = slopes.to_dtype(scores.dtype())?.neg()?.broadcast_mul(&distance)?;
    scores.broadcast_add(&bias)
}

/// Slope of a head, of so many.
fn slope(head: f64, n_heads: f64) -> f64 {
    (-8.0 * (head + 1.0) / n_heads).exp2()
}

fn apart(i: usize, j: usize) -> f64 {
    i.abs_diff(j) as f64
}

fn subtract(
    scores: &Tensor,
    slope: impl Fn(f64, f64) -> f64,
    distance: impl Fn(usize, usize) -> f64,
) -> Result<Tensor> {
    scores.broadcast_sub(&taken(scores, slope, distance)?)
}

/// What is taken from each score, by slope of a head and distance of two positions.
fn taken(
    scores: &Tensor,
    slope: impl Fn(f64, f64) -> f64,
    distance: impl Fn(usize, usize) -> f64,
) -> Result<Tensor> {
    let (_, n_heads, seq_q, seq_k) = scores.dims4()?;
    if seq_q > seq_k {
        bail!("{seq_q} queries for {seq_k} keys");
    }
    let distance = |i, j| distance(seq_k - seq_q + i, j);
    table([n_heads, seq_q, seq_k], slope, distance, scores)
}

fn table(
    [n_heads, seq_q, seq_k]: [usize; 3],
    slope: impl Fn(f64, f64) -> f64,
    distance: impl Fn(usize, usize) -> f64,
    like: &Tensor,
) -> Result<Tensor> {
    let value = |at: &[usize]| slope(at[0] as f64, n_heads as f64) * distance(at[1], at[2]);
    let values = Array::from_fn(&[n_heads, seq_q, seq_k], value).values().to_vec();
    Tensor::from_vec(values, (n_heads, seq_q, seq_k), like.device())?.to_dtype(like.dtype())
}
