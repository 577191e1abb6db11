//! `online_softmax_attention`: attention over blocks of keys, in one pass.

use answer::answer;
use candle_core::{D, Result, Tensor, bail};
use protocol::{DType, Value};

use super::{
    attend_oracle::{any, attend as exact},
    pieces::{attend, in_single, scaled},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const ONLINE_SOFTMAX_ATTENTION: Part = Part {
    name: "online_softmax_attention",
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
            promise: "In one block, it is plain attention.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "block_length_does_not_matter",
            promise: "Every block length gives the same result.",
            kind: Kind::Property,
            run: block_length_does_not_matter,
        },
        Check {
            name: "large_scores_stay_finite",
            promise: "Scores near ±10⁴ give finite and right results.",
            kind: Kind::Property,
            run: large_scores_stay_finite,
        },
        Check {
            name: "gradient_reaches_all_inputs",
            promise: "The gradient reaches `q`, `k` and `v`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_all_inputs,
        },
        Check {
            name: "bad_blocks_are_refused",
            promise: "A block of 0, or keys and values of two lengths, get an error.",
            kind: Kind::Errors,
            run: bad_blocks_are_refused,
        },
        Check {
            name: "all_scores_are_never_held",
            promise: "Memory stays far below what all seq_q · seq_k scores would take.",
            kind: Kind::Economy,
            run: all_scores_are_never_held,
        },
    ],
    impostors: &[
        Impostor {
            name: "blocks_averaged",
            diagnosis: "each block is averaged alone and the averages are averaged; a block \
                        counts by the sum of its exponentials",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let blocks = blocks(k, v, block)?;
                let parts: Vec<Tensor> =
                    blocks.iter().map(|(k, v)| attend(q, k, v, None)).collect::<Result<_>>()?;
                Tensor::stack(&parts, 0)?.mean(0)
            }),
        },
        Impostor {
            name: "last_keys_dropped",
            diagnosis: "the keys that do not fill a whole block are left out",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let mut blocks = blocks(k, v, block)?;
                blocks.truncate((k.dim(2)? / block).max(1));
                stream(q, &blocks, &[])
            }),
        },
        Impostor {
            name: "scores_not_scaled",
            diagnosis: "the scores are not divided by √d_head",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let q = (q * (q.dim(3)? as f64).sqrt())?;
                stream(&q, &blocks(k, v, block)?, &[])
            }),
        },
        Impostor {
            name: "always_f32",
            diagnosis: "the work is done in f32 whatever the dtype of the inputs",
            caught_by: "matches_definition",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                in_single(|t| stream(&t[0], &blocks(&t[1], &t[2], block)?, &[]), &[q, k, v])
            }),
        },
        Impostor {
            name: "accumulator_not_rescaled",
            diagnosis: "the accumulator is not rescaled when a larger maximum comes, though the \
                        sum is",
            caught_by: "block_length_does_not_matter",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let slips = [Slip::KeepAccumulator];
                stream(q, &blocks(k, v, block)?, &slips)
            }),
        },
        Impostor {
            name: "sum_not_rescaled",
            diagnosis: "the sum of the exponentials is not rescaled when a larger maximum comes, \
                        though the accumulator is",
            caught_by: "block_length_does_not_matter",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let slips = [Slip::KeepSum];
                stream(q, &blocks(k, v, block)?, &slips)
            }),
        },
        Impostor {
            name: "nothing_rescaled",
            diagnosis: "neither the sum nor the accumulator is rescaled when a larger maximum \
                        comes",
            caught_by: "block_length_does_not_matter",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let slips = [Slip::KeepSum, Slip::KeepAccumulator];
                stream(q, &blocks(k, v, block)?, &slips)
            }),
        },
        Impostor {
            name: "maximum_of_the_block",
            diagnosis: "the maximum is that of the current block instead of the largest so far, so \
                        a block of small scores scales the earlier ones up without bound",
            caught_by: "large_scores_stay_finite",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let slips = [Slip::ForgetMaximum];
                stream(q, &blocks(k, v, block)?, &slips)
            }),
        },
        Impostor {
            name: "no_maximum_subtracted",
            diagnosis: "no maximum is subtracted before `exp`, so large scores overflow",
            caught_by: "large_scores_stay_finite",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let slips = [Slip::FixedMaximum];
                stream(q, &blocks(k, v, block)?, &slips)
            }),
        },
        Impostor {
            name: "maximum_starts_at_zero",
            diagnosis: "the running maximum starts at 0, so a row of very low scores sums to 0; \
                        start at −∞, or with the first block",
            caught_by: "large_scores_stay_finite",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let slips = [Slip::FloorMaximum];
                stream(q, &blocks(k, v, block)?, &slips)
            }),
        },
        Impostor {
            name: "earlier_blocks_detached",
            diagnosis: "the running sums are detached between blocks, so only the last block gets \
                        its whole gradient",
            caught_by: "gradient_reaches_all_inputs",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let slips = [Slip::Detach];
                stream(q, &blocks(k, v, block)?, &slips)
            }),
        },
        Impostor {
            name: "steps_of_zero",
            diagnosis: "a block of 0 reaches `step_by`, which panics",
            caught_by: "bad_blocks_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                assert!(block != 0, "assertion failed: step != 0");
                stream(q, &blocks(k, v, block)?, &[])
            }),
        },
        Impostor {
            name: "spare_values_ignored",
            diagnosis: "values without a key are left out in silence",
            caught_by: "bad_blocks_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                let v = v.narrow(2, 0, k.dim(2)?)?;
                stream(q, &blocks(k, &v, block)?, &[])
            }),
        },
        Impostor {
            name: "all_scores_at_once",
            diagnosis: "all scores are held at once, be they computed together or kept block by \
                        block",
            caught_by: "all_scores_are_never_held",
            answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
                blocks(k, v, block)?;
                attend(q, k, v, None)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_log_sum_exp",
        answer: answer!(|q: &Tensor, k: &Tensor, v: &Tensor, block: usize| {
            by_log_sum_exp(q, k, v, block)
        }),
    }],
};

/// Roundings of an honest `f32` answer: a dot product over `d_head`, a softmax with a rescaling a
/// block, an average; scores of a few units pass their own error on to the weights.
const TOLERANCE: Tolerance = Tolerance::roundings(128.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let q = Array::full(&[1, 1, 1, 1], 0.0).to(DType::F32);
    let k = trial.rng.normal_array(&[1, 1, 3, 1]);
    let v = Array::new(&[1, 1, 3, 1], vec![1.0, 2.0, 6.0]).to(DType::F32);
    let result = trial.array(question(&q, &k, &v, 2))?;
    let expected = Array::full(&[1, 1, 1, 1], 3.0).to(DType::F32);
    trial.close("result", &result, &expected, TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, seq_k) in [([2, 3, 4, 8], 5), ([1, 2, 3, 1], 4), ([3, 1, 1, 5], 1)] {
        for dtype in [DType::F64, DType::F32] {
            let [q, k, v] = inputs(trial, shape, seq_k).map(|array| array.to(dtype));
            let result = trial.array(question(&q, &k, &v, seq_k))?;
            trial.close("result", &result, &exact(&q, &k, &v, any).to(dtype), TOLERANCE)?;
        }
    }
    Ok(())
}

fn block_length_does_not_matter(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [2, 1, 3, 4], 7);
    let q = q.map(|x| 2.0 * x);
    let expected = exact(&q, &k, &v, any);
    for (block, dtype) in
        [(1, DType::F32), (2, DType::F64), (3, DType::F32), (7, DType::F32), (64, DType::F64)]
    {
        let [q, k, v] = [&q, &k, &v].map(|array| array.to(dtype));
        let result = trial.array(question(&q, &k, &v, block))?;
        let name = format!("result of 7 keys in blocks of {block}");
        trial.close(&name, &result, &expected.to(dtype), TOLERANCE)?;
    }
    Ok(())
}

fn large_scores_stay_finite(trial: &mut Trial) -> Outcome {
    // All scores of a row have one sign and lie thousands apart, so one key takes all the weight:
    // the first if they are positive, the last if they are negative.
    // All is asked before anything is judged: which of the two signs fails tells mistakes apart.
    let n_keys = 6;
    let mut answered = Vec::new();
    for (sign, block) in [(1.0, 1), (1.0, 4), (-1.0, 1), (-1.0, 4)] {
        let q = trial.rng.uniform_array(&[1, 2, 3, 4], 90.0, 110.0);
        let k = Array::from_fn(&[1, 2, n_keys, 4], |at| sign * (50.0 - 5.0 * at[2] as f64));
        let (k, v) = (k.to(DType::F32), trial.rng.normal_array(&[1, 2, n_keys, 4]));
        let result = trial.array(question(&q, &k, &v, block))?;
        let name = format!("result where scores are near {sign:+}·10⁴, in blocks of {block}");
        answered.push((name, result, exact(&q, &k, &v, any).to(DType::F32)));
    }
    for (name, result, expected) in answered {
        trial.close(&name, &result, &expected, TOLERANCE)?;
    }
    Ok(())
}

fn gradient_reaches_all_inputs(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [1, 2, 1, 2], 3);
    trial.gradient_matches(question(&q, &k, &v, 2), |at| {
        exact(at.get("q"), at.get("k"), at.get("v"), any)
    })
}

fn bad_blocks_are_refused(trial: &mut Trial) -> Outcome {
    let [q, k, v] = inputs(trial, [1, 2, 2, 3], 5);
    trial.refuses("`block` is 0", question(&q, &k, &v, 0))?;
    let k = k.narrow(2, 0, 4);
    trial.refuses("there are 4 keys and 5 values", question(&q, &k, &v, 2)).map(drop)
}

fn all_scores_are_never_held(trial: &mut Trial) -> Outcome {
    let (seq_q, seq_k, block) = (128, 512, 16);
    let q = trial.rng.normal_array(&[1, 1, seq_q, 2]);
    let [k, v] = [(); 2].map(|()| trial.rng.normal_array(&[1, 1, seq_k, 2]));
    trial.array(question(&q, &k, &v, block))?;
    let peak = trial.usage().peak_bytes;
    let all_scores = (4 * seq_q * seq_k) as u64;
    trial.ensure(peak < all_scores / 2, || {
        // Coarse, since what else the process holds varies by some KiB from run to run.
        format!(
            "It held some {} KiB at once for {seq_q} queries and {seq_k} keys in blocks of \
             {block}; all scores together are {} KiB, and one block's are {}.",
            (peak as f64 / 65_536.0).round() * 64.0,
            all_scores / 1024,
            4 * seq_q * block / 1024
        )
    })
}

/// Random queries, keys and values, laid out as splitting the heads of a projection leaves them.
fn inputs(
    trial: &mut Trial,
    [batch, n_heads, seq_q, d_head]: [usize; 4],
    seq_k: usize,
) -> [Array; 3] {
    [seq_q, seq_k, seq_k]
        .map(|seq| trial.rng.normal_array(&[batch, n_heads, seq, d_head]).laid_out(&[0, 2, 1, 3]))
}

fn question(q: &Array, k: &Array, v: &Array, block: usize) -> Vec<(&'static str, Value)> {
    args![q: q, k: k, v: v, block: block]
}

/// A finished result and the log of its normaliser for each block, joined two by two.
fn by_log_sum_exp(q: &Tensor, k: &Tensor, v: &Tensor, block: usize) -> Result<Tensor> {
    let mut joined: Option<(Tensor, Tensor)> = None;
    for (k, v) in blocks(k, v, block)? {
        let scores = scaled(q, &k)?;
        let log_sum = scores.log_sum_exp(D::Minus1)?.unsqueeze(D::Minus1)?;
        let out = scores.broadcast_sub(&log_sum)?.exp()?.matmul(&v.contiguous()?)?;
        joined = Some(match joined {
            None => (out, log_sum),
            Some((before, before_log)) => {
                let both = Tensor::cat(&[&before_log, &log_sum], D::Minus1)?;
                let total = both.log_sum_exp(D::Minus1)?.unsqueeze(D::Minus1)?;
                let before = before.broadcast_mul(&(before_log - &total)?.exp()?)?;
                ((before + out.broadcast_mul(&(log_sum - &total)?.exp()?)?)?, total)
            }
        });
    }
    joined.map_or_else(|| bail!("there are no keys"), |(out, _)| Ok(out))
}

/// Cuts keys and values into blocks, and refuses what the contract says.
fn blocks(k: &Tensor, v: &Tensor, block: usize) -> Result<Vec<(Tensor, Tensor)>> {
    let seq_k = k.dim(2)?;
    if block == 0 || v.dim(2)? != seq_k {
        bail!("block {block}, {seq_k} keys, {} values", v.dim(2)?);
    }
    let cut = |start: usize| {
        let length = block.min(seq_k - start);
        Ok((k.narrow(2, start, length)?, v.narrow(2, start, length)?))
    };
    (0..seq_k).step_by(block).map(cut).collect()
}

/// What can go wrong between two blocks.
#[derive(Clone, Copy, PartialEq)]
enum Slip {
    KeepAccumulator,
    KeepSum,
    ForgetMaximum,
    FixedMaximum,
    FloorMaximum,
    Detach,
}

/// The streaming algorithm, with slips.
fn stream(q: &Tensor, blocks: &[(Tensor, Tensor)], slips: &[Slip]) -> Result<Tensor> {
    let slipped = |slip| slips.contains(&slip);
    let mut running: Option<[Tensor; 3]> = None;
    for (k, v) in blocks {
        if slipped(Slip::Detach) {
            running = running.map(|running| running.map(|t| t.detach()));
        }
        let scores = scaled(q, k)?;
        let highest = scores.max_keepdim(D::Minus1)?.detach();
        let mut maximum = match &running {
            Some([before, ..]) if !slipped(Slip::ForgetMaximum) => before.maximum(&highest)?,
            None if slipped(Slip::FloorMaximum) => highest.relu()?,
            _ => highest,
        };
        if slipped(Slip::FixedMaximum) {
            maximum = maximum.zeros_like()?;
        }
        let exps = scores.broadcast_sub(&maximum)?.exp()?;
        let sum = exps.sum_keepdim(D::Minus1)?;
        let accumulator = exps.matmul(&v.contiguous()?)?;
        running = Some(match running {
            None => [maximum, sum, accumulator],
            Some([before, old_sum, old_accumulator]) => {
                let factor = (before - &maximum)?.exp()?;
                let one = factor.ones_like()?;
                let of = |keep| if keep { &one } else { &factor };
                let sum = (sum + old_sum.broadcast_mul(of(slipped(Slip::KeepSum)))?)?;
                let rescaled = old_accumulator.broadcast_mul(of(slipped(Slip::KeepAccumulator)))?;
                [maximum, sum, (accumulator + rescaled)?]
            }
        });
    }
    let Some([_, sum, accumulator]) = running else { bail!("there are no keys") };
    accumulator.broadcast_div(&sum)
}
