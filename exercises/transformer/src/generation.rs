//! Text out of a GPT, one token at a time.

use candle_core::{Result, Tensor};
use wick::{Numbers, Weights, part};

/// Continues texts with a GPT, and computes nothing twice.
///
/// # Shapes
///
/// | value      | shape                | dtype or meaning                                      |
/// |------------|----------------------|-------------------------------------------------------|
/// | `weights`  | as in [`gpt`]        | `f32` or `f64`                                        |
/// | `tokens`   | `(batch, seq)`       | `u32`: the texts to continue                          |
/// | `n_heads`  |                      | as in [`gpt`]                                         |
/// | `settings` |                      | as in `sample`                                        |
/// | `noise`    | `(batch, n_new)`     | as the weights, uniform in `[0, 1)`; `n_new` may be 0 |
/// | result     | `(batch, seq + n_new)` | `u32`: the texts with their continuations           |
///
/// [`gpt`]: crate::model::gpt
///
/// # Contract
///
/// - The `n`-th new token is what `sample` draws from the logits at the last position, with the
///   whole text so far, the prompt included, and `noise[.., n]`.
/// - The result is the same as if [`gpt`] ran over the whole text for each new token.
/// - It never does: the prompt runs through the blocks once, and after that each new token by
///   itself, with the keys and values of all tokens before it kept. So for a prompt of one token
///   no square of positions is ever held in memory.
/// - No sequence of the batch changes another, and continuing in two calls gives what one gives.
///
/// # Errors
///
/// Fails if `tokens` has no positions, if `noise` has another `batch`, if the texts would be longer
/// than the model's `n_ctx`, or where `sample` and the model do.
///
/// # Example: a model with one thing on its mind
///
/// ```text
/// wte.weight = [[1, 0], [0, 1], [1, 1]]    wpe.weight = 0, of three positions    no blocks
/// ln_f.weight = [0, 0]    ln_f.bias = [1, 2]: the logits are [1, 2, 3] at every position
/// tokens = [[2]]    settings: repetition_penalty 4, temperature 0    noise = [[0, 0]]
/// of [1, 2, 3/4]    token 1 is the likeliest
/// of [1, 2/4, 3/4]  token 0
/// result = [[2, 1, 0]]
/// ```
///
/// Source: Radford et al. (2019), §3; Pope et al. (2022), §2.1, arXiv:2211.05102, for what a cache
/// of keys and values costs and saves. When a text outgrows `n_ctx`, a real system has to forget
/// its beginning.
#[part]
pub fn generate(
    weights: &Weights,
    tokens: &Tensor,
    n_heads: usize,
    settings: &Numbers,
    noise: &Tensor,
) -> Result<Tensor> {
    todo!("prompt once, then sample, append, step")
}
