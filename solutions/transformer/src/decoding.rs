//! Searching for text, and drawing it with the help of a smaller model.
//!
//! A table stands in for the model in these two parts: row `t` of it says what comes after the
//! token `t`. What a GPT does with a whole sequence, it does with the last token; the algorithms do
//! not mind.

use std::cmp::Ordering;

use candle_core::{DType, Result, Tensor, bail};
use wick::part;

/// Searches for the likeliest continuation, keeping the `width` best at every step.
///
/// # Shapes
///
/// | value    | shape                | dtype or meaning                                          |
/// |----------|----------------------|-----------------------------------------------------------|
/// | `logits` | `(d_vocab, d_vocab)` | `f32` or `f64`; row `t`: what comes after token `t`       |
/// | `start`  |                      | the token after which to go on                            |
/// | `end`    |                      | the token that ends a text, if there is one               |
/// | `width`  |                      | how many candidates to keep                               |
/// | `n_new`  |                      | how many tokens a text has at most                        |
/// | result   | `(1..=n_new)`        | the best tokens (without `start`), and their score        |
///
/// # Contract
///
/// - The score of a candidate is the sum of the natural logarithms of the probabilities of its
///   tokens, `end` included; a row's probabilities are the softmax of its logits.
/// - At every step each candidate is continued by every token, and of all results the `width` with
///   the highest scores are kept. A candidate that has come to `end` is not continued, but competes
///   with the others as it is.
/// - Of equal scores, the one whose tokens come first in the order of a dictionary is better.
/// - The search ends after `n_new` steps, or when all kept candidates are at their end; the best of
///   them is the result.
/// - `width` 1 always takes the likeliest token. A `width` as large as the number of texts finds
///   the best of all.
///
/// # Errors
///
/// Fails if `logits` is not square, `start` or `end` is no token of it, or `width` or `n_new` is 0.
///
/// # Example: the likeliest first token is a dead end
///
/// ```text
/// probabilities after 0: [0.0, 0.6, 0.4]      logits = their logarithms
///               after 1: [0.4, 0.3, 0.3]
///               after 2: [0.0, 0.1, 0.9]
/// start = 0, no end, n_new = 2
/// width 1: 0.6, then 0.4  → [1, 0], score ln 0.24 = -1.4271
/// width 2: 0.4, then 0.9  → [2, 2], score ln 0.36 = -1.0217
/// ```
///
/// Source: Graves (2012), §2.2, arXiv:1211.3711; Freitag and Al-Onaizan (2017), arXiv:1702.01806.
/// Systems that translate also divide the score by a power of the length.
#[part(plan = "extend all, sort, keep the best")]
pub fn beam_search(
    logits: &Tensor,
    start: usize,
    end: Option<usize>,
    width: usize,
    n_new: usize,
) -> Result<(Vec<usize>, f64)> {
    let table = log_probabilities(logits)?;
    let d_vocab = table.len();
    if start >= d_vocab || end.is_some_and(|end| end >= d_vocab) {
        bail!("`start` is {start} and `end` is {end:?}, but there are only {d_vocab} tokens");
    }
    if width == 0 || n_new == 0 {
        bail!("`width` is {width} and `n_new` is {n_new}; neither may be 0");
    }
    let mut beam: Vec<(Vec<usize>, f64)> = vec![(Vec::new(), 0.0)];
    for _ in 0..n_new {
        let mut candidates = Vec::new();
        for (tokens, score) in beam {
            let last = tokens.last().copied();
            if end.is_some() && last == end {
                candidates.push((tokens, score));
                continue;
            }
            for (token, log_p) in table[last.unwrap_or(start)].iter().enumerate() {
                let longer = tokens.iter().copied().chain([token]).collect();
                candidates.push((longer, score + log_p));
            }
        }
        candidates.sort_by(better_first);
        candidates.truncate(width);
        beam = candidates;
    }
    beam.into_iter().next().map_or_else(|| bail!("there is no token"), Ok)
}

/// Draws tokens from a large model, most of which a small one proposes.
///
/// The small model (`draft`) proposes `n_draft` tokens, one after the other. The large one
/// (`target`) looks at all of them at once, accepts as many as it can stand by, and adds one of its
/// own. So the slow model is asked once for several tokens, and yet the text is distributed exactly
/// as if it had drawn every token itself.
///
/// # Shapes
///
/// | value     | shape                | dtype or meaning                                        |
/// |-----------|----------------------|---------------------------------------------------------|
/// | `target`  | `(d_vocab, d_vocab)` | `f32` or `f64` probabilities; row `t`: after token `t`  |
/// | `draft`   | as `target`          | as `target`                                             |
/// | `start`   | `(batch)`            | `u32`: the token after which each sequence goes on      |
/// | `n_draft` |                      | how many tokens are proposed in a round                 |
/// | `noise`   | `(batch, n_new, 3)`  | as `target`, uniform in `[0, 1)`                        |
/// | result    | `(batch, n_new)`     | `u32`                                                   |
/// | result    | `(batch)`            | `u32`: how many rounds it took                          |
///
/// # Contract
///
/// - A proposal `x` for position `i` is drawn from `draft`'s row with `noise[i, 0]`. It is accepted
///   if `noise[i, 1] · draft(x)` is below `target(x)`: with probability `target(x)/draft(x)`, at
///   most 1.
/// - At the first proposal that is not accepted, the token of that position is drawn with
///   `noise[i, 2]` from `max(0, target − draft)`, made to sum to 1, and the round ends.
/// - If all `n_draft` proposals are accepted, one more token is drawn with `noise[i, 2]` from
///   `target` itself, and the round ends.
/// - To draw is to take the first token, by id, at which the sum of the probabilities is above the
///   noise; a token of probability 0 is never drawn.
/// - A round proposes no more than `n_new` has room for; positions are counted in the result, so
///   each has its own noise, whichever round fills it.
/// - Over all noise, each token is distributed as `target` says after the token before it.
///
/// # Errors
///
/// Fails if `target` and `draft` are not square and of one shape, if `noise` does not fit `start`,
/// if a token of `start` is none, or if `n_draft` is 0.
///
/// # Example: one proposal, accepted or not
///
/// ```text
/// target = [[0.25, 0.5, 0.25], …]    draft = [[0.75, 0.25, 0], …]    n_draft = 1, n_new = 1
/// noise 0.5, 0.2, 0.9:  0.5 draws 0;  0.2 · 0.75 = 0.15 < 0.25      accepted → 0
/// noise 0.5, 0.6, 0.9:  0.5 draws 0;  0.6 · 0.75 = 0.45 ≥ 0.25      refused;
///                       max(0, target − draft) = [0, 0.25, 0.25] → [0, 0.5, 0.5], 0.9 draws 2
/// noise 0.8, 0.9, 0.9:  0.8 draws 1;  0.9 · 0.25 = 0.225 < 0.5      accepted → 1
/// ```
///
/// Source: Leviathan et al. (2023), algorithm 1 and appendix A.1, arXiv:2211.17192; Chen et al.
/// (2023), arXiv:2302.01318.
#[part(plan = "propose, accept or mend, add one")]
pub fn speculative_decode(
    target: &Tensor,
    draft: &Tensor,
    start: &Tensor,
    n_draft: usize,
    noise: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (d_vocab, width) = target.dims2()?;
    let (batch, n_new, three) = noise.dims3()?;
    if d_vocab != width || draft.dims() != target.dims() || n_draft == 0 {
        let (target, draft) = (target.dims(), draft.dims());
        bail!("`target` has shape {target:?}, `draft` {draft:?}, and `n_draft` is {n_draft}");
    }
    if start.dims() != [batch] || three != 3 {
        bail!("`start` has shape {:?}, but `noise` has {:?}", start.dims(), noise.dims());
    }
    let models = [rows(target)?, rows(draft)?];
    let noise = noise.to_dtype(DType::F64)?.to_vec3::<f64>()?;
    let (mut tokens, mut rounds) = (Vec::new(), Vec::new());
    for (start, noise) in start.to_vec1::<u32>()?.into_iter().zip(noise) {
        if start as usize >= d_vocab {
            bail!("`start` has token {start}, but there are only {d_vocab}");
        }
        let mut sequence = vec![start as usize];
        let mut n_rounds = 0u32;
        while sequence.len() <= n_new {
            round(&models, n_draft, &noise, &mut sequence);
            n_rounds += 1;
        }
        tokens.extend(sequence[1..].iter().map(|&token| token as u32));
        rounds.push(n_rounds);
    }
    let device = target.device();
    Ok((
        Tensor::from_vec(tokens, (batch, n_new), device)?,
        Tensor::from_vec(rounds, batch, device)?,
    ))
}

/// Higher scores first; of equal ones the first in a dictionary.
fn better_first(a: &(Vec<usize>, f64), b: &(Vec<usize>, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0))
}

/// The logarithm of the softmax of every row.
fn log_probabilities(logits: &Tensor) -> Result<Vec<Vec<f64>>> {
    let table = rows(logits)?;
    if table.iter().any(|row| row.len() != table.len()) {
        bail!("`logits` has shape {:?}; it must be square", logits.dims());
    }
    let normalised = |row: Vec<f64>| {
        let highest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|logit| (logit - highest).exp()).sum();
        row.iter().map(|logit| logit - highest - sum.ln()).collect()
    };
    Ok(table.into_iter().map(normalised).collect())
}

fn rows(table: &Tensor) -> Result<Vec<Vec<f64>>> {
    table.to_dtype(DType::F64)?.to_vec2()
}

/// One round: proposals, as far as they are accepted, and one token of the target's own.
fn round(
    [target, draft]: &[Vec<Vec<f64>>; 2],
    n_draft: usize,
    noise: &[Vec<f64>],
    sequence: &mut Vec<usize>,
) {
    let first = sequence.len() - 1;
    // A real system has the draft propose all, and then asks the target for all rows at once.
    for (place, noise) in noise.iter().enumerate().skip(first) {
        let last = sequence[sequence.len() - 1];
        let (p, q) = (&target[last], &draft[last]);
        if place == first + n_draft {
            sequence.push(drawn(p, noise[2]));
            return;
        }
        let proposal = drawn(q, noise[0]);
        if noise[1] * q[proposal] >= p[proposal] {
            let excess: Vec<f64> = p.iter().zip(q).map(|(p, q)| (p - q).max(0.0)).collect();
            sequence.push(drawn(&excess, noise[2]));
            return;
        }
        sequence.push(proposal);
    }
}

/// The first token at which the sum of the weights, made to be 1 in all, is above the noise.
fn drawn(weights: &[f64], noise: f64) -> usize {
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let found = weights.iter().position(|weight| {
        sum += weight;
        *weight > 0.0 && sum / total > noise
    });
    // Rounding may leave the sum a little below 1.
    found.or_else(|| weights.iter().rposition(|weight| *weight > 0.0)).unwrap_or(0)
}
