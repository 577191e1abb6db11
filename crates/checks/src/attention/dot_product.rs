//! `scaled_dot_product_attention`: values mixed by the attention pattern.

use answer::answer;
use candle_core::{D, Result, Tensor, bail};
use protocol::{DType, Value};

use super::{
    oracle,
    steps::{
        fill, masked_softmax, mix, pattern, scaled, scores, softmax, softmax_without_backward,
    },
};
use crate::{
    Alternative, Array, Check, Impostor, Inputs, Kind, Outcome, Part, Tolerance, Trial, args,
};

pub(super) const SCALED_DOT_PRODUCT_ATTENTION: Part = Part {
    name: "scaled_dot_product_attention",
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
            promise: "With a causal mask, a later key or value changes no earlier result.",
            kind: Kind::Property,
            run: future_cannot_change_past,
        },
        Check {
            name: "result_is_an_average_of_values",
            promise: "Equal values come back, a zero query takes the mean, and reordering keys \
                      with their values changes nothing.",
            kind: Kind::Property,
            run: result_is_an_average_of_values,
        },
        Check {
            name: "matches_definition",
            promise: "The result is softmax(q kᵀ / √d_head) v, for sharp patterns and flat ones.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_q_k_and_v",
            promise: "The gradient reaches `q`, `k` and `v`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_q_k_and_v,
        },
        Check {
            name: "other_values_are_refused",
            promise: "Values that do not belong to the keys give an error.",
            kind: Kind::Errors,
            run: other_values_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "pattern_for_result",
            diagnosis: "the pattern comes back; the values still have to be mixed by it",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, _v: &Tensor, mask: Option<&Tensor>| {
                pattern(q, k, mask)
            }),
        },
        Impostor {
            name: "keys_mixed",
            diagnosis: "the keys are mixed in place of the values",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, _v: &Tensor, mask: Option<&Tensor>| {
                mix(&pattern(q, k, mask)?, k)
            }),
        },
        Impostor {
            name: "pattern_transposed",
            diagnosis: "the pattern is transposed before it mixes the values",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                mix(&pattern(q, k, mask)?.t()?, v)
            }),
        },
        Impostor {
            name: "values_mixed_by_scores",
            diagnosis: "the values are mixed by the scores; the softmax is missing",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                mix(&fill(&scaled(q, k)?, mask, 0.0)?, v)
            }),
        },
        Impostor {
            name: "softmax_over_queries",
            diagnosis: "the softmax runs over the queries; it must run over the keys",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let hidden = fill(&scaled(q, k)?, mask, f64::from(f32::MIN))?;
                mix(&candle_nn::ops::softmax(&hidden, D::Minus2)?, v)
            }),
        },
        Impostor {
            name: "no_maximum_subtracted",
            diagnosis: "the softmax does not subtract the row's maximum before `exp`",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let exps = fill(&scaled(q, k)?.exp()?, mask, 0.0)?;
                mix(&exps.broadcast_div(&exps.sum_keepdim(D::Minus1)?)?, v)
            }),
        },
        Impostor {
            name: "mask_not_handed_on",
            diagnosis: "the mask is not handed on, so the future leaks into the past",
            caught_by: "future_cannot_change_past",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, _mask: Option<&Tensor>| {
                mix(&pattern(q, k, None)?, v)
            }),
        },
        Impostor {
            name: "mask_after_softmax",
            diagnosis: "the mask is applied after the softmax, so later keys still take a share \
                        of each row",
            caught_by: "future_cannot_change_past",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                mix(&fill(&pattern(q, k, None)?, mask, 0.0)?, v)
            }),
        },
        Impostor {
            name: "mask_transposed",
            diagnosis: "the mask is read with its rows as keys; its rows are queries",
            caught_by: "future_cannot_change_past",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let transposed = mask.map(Tensor::t).transpose()?;
                mix(&pattern(q, k, transposed.as_ref())?, v)
            }),
        },
        Impostor {
            name: "multiplied_by_the_mask",
            diagnosis: "scores are multiplied by the mask, so each hidden key still takes e⁰ = 1 \
                        of its row's sum",
            caught_by: "result_is_an_average_of_values",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let zeroed = softmax(&fill(&scaled(q, k)?, mask, 0.0)?)?;
                mix(&fill(&zeroed, mask, 0.0)?, v)
            }),
        },
        Impostor {
            name: "values_not_normalised",
            diagnosis: "`exp` of the scores mixes the values, but nothing divides by its sum",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let scores = fill(&scaled(q, k)?, mask, f64::NEG_INFINITY)?;
                let largest = scores.max_keepdim(D::Minus1)?.detach();
                mix(&scores.broadcast_sub(&largest)?.exp()?, v)
            }),
        },
        Impostor {
            name: "scores_not_scaled",
            diagnosis: "the scores are not divided by √d_head",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                mix(&masked_softmax(&scores(q, k)?, mask)?, v)
            }),
        },
        Impostor {
            name: "scaled_by_d_v",
            diagnosis: "the scores are divided by √ of the width of `v`; d_head is that of `q`",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let scores = (scores(q, k)? / (v.dim(D::Minus1)? as f64).sqrt())?;
                mix(&masked_softmax(&scores, mask)?, v)
            }),
        },
        Impostor {
            name: "scaled_by_d_model",
            diagnosis: "the scores are divided by √d_model; each head has only d_head dimensions",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let d_model = (q.dim(1)? * q.dim(D::Minus1)?) as f64;
                mix(&masked_softmax(&(scores(q, k)? / d_model.sqrt())?, mask)?, v)
            }),
        },
        Impostor {
            name: "values_not_made_contiguous",
            diagnosis: "the values of split heads are not contiguous, and `matmul` needs that \
                        they are",
            caught_by: "future_cannot_change_past",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                pattern(q, k, mask)?.matmul(v)
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is `f32` whatever the inputs are",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let single = |x: &Tensor| x.to_dtype(candle_core::DType::F32);
                mix(&pattern(&single(q)?, &single(k)?, mask)?, &single(v)?)
            }),
        },
        Impostor {
            name: "softmax_without_backward",
            diagnosis: "no gradient passes the pattern back to `q` and `k`: use \
                        `candle_nn::ops::softmax`, not `softmax_last_dim`, and do not detach",
            caught_by: "gradient_reaches_q_k_and_v",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                let hidden = fill(&scaled(q, k)?, mask, f64::from(f32::MIN))?;
                mix(&fill(&softmax_without_backward(&hidden)?, mask, 0.0)?, v)
            }),
        },
        Impostor {
            name: "matmul_believed",
            diagnosis: "`matmul` compares only the product of the batch axes, so values of other \
                        heads are mixed without an error",
            caught_by: "other_values_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
                mix(&pattern(q, k, mask)?, v)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_broadcasting",
        answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>| {
            by_broadcasting(q, k, v, mask)
        }),
    }],
};

/// Roundings of an honest `f32` answer: those of the pattern, and a sum over the keys.
const TOLERANCE: Tolerance = Tolerance::roundings(96.0);

/// Queries, keys and values.
struct Heads {
    q: Array,
    k: Array,
    v: Array,
}

impl Heads {
    /// Draws them, laid out as splitting the heads of a projection leaves them.
    fn draw(
        trial: &mut Trial,
        [batch, n_heads, seq_q, d_head]: [usize; 4],
        [seq_k, d_v]: [usize; 2],
    ) -> Self {
        let mut draw = |seq, width| {
            let heads = trial.rng.normal_array(&[batch, n_heads, seq, width]);
            heads.laid_out(&[0, 2, 1, 3])
        };
        Self { q: draw(seq_q, d_head), k: draw(seq_k, d_head), v: draw(seq_k, d_v) }
    }

    fn args(&self, mask: Option<&Array>) -> Vec<(&'static str, Value)> {
        args![q: &self.q, k: &self.k, v: &self.v, mask: mask]
    }

    fn to(&self, dtype: DType) -> Self {
        Self { q: self.q.to(dtype), k: self.k.to(dtype), v: self.v.to(dtype) }
    }
}

fn expected(at: &Inputs, mask: Option<&Array>) -> Array {
    oracle::mix(&oracle::pattern(at.get("q"), at.get("k"), mask), at.get("v"))
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let q = Array::new(&[1, 1, 2, 1], vec![300., 0.]).to(DType::F32);
    let k = Array::new(&[1, 1, 2, 1], vec![1., -1.]).to(DType::F32);
    let v = Array::new(&[1, 1, 2, 2], vec![1., 4., 3., 8.]).to(DType::F32);
    let z = trial.array(args![q: &q, k: &k, v: &v, mask: None::<&Array>])?;
    let expected = Array::new(&[1, 1, 2, 2], vec![1., 4., 2., 6.]).to(DType::F32);
    trial.close("z", &z, &expected, TOLERANCE)
}

fn future_cannot_change_past(trial: &mut Trial) -> Outcome {
    let mut heads = Heads::draw(trial, [2, 3, 5, 4], [5, 6]);
    let mask = oracle::causal_mask(5);
    let before = trial.array(heads.args(Some(&mask)))?;
    let last = trial.rng.between(2, 4);
    let other = Heads::draw(trial, [2, 3, 5, 4], [5, 6]);
    let from = |mine: &Array, other: &Array| {
        let value = |at: &[usize]| if at[2] < last { mine.at(at) } else { other.at(at) };
        Array::from_fn(mine.shape(), value).to(DType::F32)
    };
    (heads.k, heads.v) = (from(&heads.k, &other.k), from(&heads.v, &other.v));
    let after = trial.array(heads.args(Some(&mask)))?;
    trial.has_shape("z", &before, &[2, 3, 5, 6])?;
    trial.has_shape("z", &after, &[2, 3, 5, 6])?;
    let name = format!("z before position {last}, with other keys and values from there on");
    trial.close(&name, &after.narrow(2, 0, last), &before.narrow(2, 0, last), TOLERANCE)
}

fn result_is_an_average_of_values(trial: &mut Trial) -> Outcome {
    let heads = Heads::draw(trial, [2, 3, 5, 4], [5, 6]);
    let mask = oracle::causal_mask(5);

    let constant = Heads { v: heads.v.map(|_| 0.75), q: heads.q.clone(), k: heads.k.clone() };
    let z = trial.array(constant.args(Some(&mask)))?;
    let all = Array::full(z.shape(), 0.75).to(DType::F32);
    trial.close("z of values that are all 0.75", &z, &all, TOLERANCE)?;

    let blank = Heads { q: heads.q.map(|_| 0.0), k: heads.k.clone(), v: heads.v.clone() };
    let z = trial.array(blank.args(None))?;
    let sum = |at: &[usize]| (0..5).map(|j| heads.v.at(&[at[0], at[1], j, at[3]])).sum::<f64>();
    let mean = Array::from_fn(z.shape(), |at| sum(at) / 5.0).to(DType::F32);
    let scale = heads.v.max_abs();
    trial.close("z of a zero query", &z, &mean, TOLERANCE.at_scale(scale))?;

    let order = trial.rng.permutation(5);
    let (k, v) = (heads.k.select(2, &order), heads.v.select(2, &order));
    let before = trial.array(heads.args(None))?;
    let after = trial.array(Heads { q: heads.q, k, v }.args(None))?;
    trial.close("z of reordered keys and values", &after, &before, TOLERANCE.at_scale(scale))
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let hidden_row = Array::from_fn(&[2, 1, 4, 5], |at| f64::from(u8::from(at[0] + at[2] > at[3])));
    let hidden_row = hidden_row.to(DType::U8);
    let cases = [
        ([2, 3, 4, 8], [5, 6], 1.0, DType::F32, None),
        ([2, 1, 4, 3], [5, 2], 4.0, DType::F32, Some(&hidden_row)),
        ([1, 2, 3, 4], [2, 5], 4.0, DType::F64, None),
        ([1, 1, 1, 1], [1, 1], 1.0, DType::F64, None),
        ([3, 1, 2, 6], [1, 4], 0.01, DType::F32, None),
    ];
    for (shape, keys, sharpness, dtype, mask) in cases {
        let mut heads = Heads::draw(trial, shape, keys);
        heads.q = heads.q.map(|x| sharpness * x);
        let heads = heads.to(dtype);
        let args = heads.args(mask);
        let expected = expected(&Inputs::of(&args), mask).to(dtype);
        let z = trial.array(args)?;
        // A rounding of a score moves the weights by as much as the score is large.
        let scale = heads.v.max_abs() * f64::max(1.0, sharpness);
        trial.close("z", &z, &expected, TOLERANCE.at_scale(scale))?;
    }
    Ok(())
}

fn gradient_reaches_q_k_and_v(trial: &mut Trial) -> Outcome {
    let heads = Heads::draw(trial, [1, 2, 3, 1], [3, 2]);
    let mask = oracle::causal_mask(3);
    trial.gradient_matches(heads.args(Some(&mask)), |at| expected(at, Some(&mask)))
}

fn other_values_are_refused(trial: &mut Trial) -> Outcome {
    let heads = Heads::draw(trial, [2, 3, 4, 8], [5, 6]);
    let cases = [([3, 2, 5, 6], "batch and n_heads"), ([2, 3, 4, 6], "seq_k")];
    for (shape, what) in cases {
        let v = trial.rng.normal_array(&shape);
        let case = format!("`k` is [2, 3, 5, 8] and `v` {shape:?}: they disagree on {what}");
        let args = args![q: &heads.q, k: &heads.k, v: &v, mask: None::<&Array>];
        trial.refuses(&case, args)?;
    }
    Ok(())
}

/// Scores and mixture as sums over explicit axes, softmax by logarithms.
fn by_broadcasting(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    if k.dims()[..3] != v.dims()[..3] {
        bail!("`k` {:?} does not fit `v` {:?}", k.dims(), v.dims());
    }
    let products = q.unsqueeze(3)?.broadcast_mul(&k.unsqueeze(2)?)?;
    let scores = (products.sum(D::Minus1)? / (q.dim(3)? as f64).sqrt())?;
    let scores = fill(&scores, mask, -1e30)?;
    let pattern = fill(&candle_nn::ops::log_softmax(&scores, D::Minus1)?.exp()?, mask, 0.0)?;
    pattern.unsqueeze(4)?.broadcast_mul(&v.unsqueeze(2)?)?.sum(3)
}
