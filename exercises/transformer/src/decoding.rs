//! Searching for text, and drawing it with the help of a smaller model.
//!
//! A table stands in for the model in these two parts: row `t` of it says what comes after the
//! token `t`. What a GPT does with a whole sequence, it does with the last token; the algorithms do
//! not mind.

use candle_core::{Result, Tensor};
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
#[part]
pub fn beam_search(
    logits: &Tensor,
    start: usize,
    end: Option<usize>,
    width: usize,
    n_new: usize,
) -> Result<(Vec<usize>, f64)> {
    todo!("extend all, sort, keep the best")
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
#[part]
pub fn speculative_decode(
    target: &Tensor,
    draft: &Tensor,
    start: &Tensor,
    n_draft: usize,
    noise: &Tensor,
) -> Result<(Tensor, Tensor)> {
    todo!("propose, accept or mend, add one")
}
