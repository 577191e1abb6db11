//! From logits to the next token.

use candle_core::{Result, Tensor};
use wick::{Numbers, part};

/// Draws the next token of every sequence from its logits.
///
/// # Shapes
///
/// | value    | shape              | dtype or meaning                                  |
/// |----------|--------------------|---------------------------------------------------|
/// | `logits` | `(batch, d_vocab)` | `f32` or `f64`; −∞ for a token that may not come  |
/// | `tokens` | `(batch, seq)`     | `u32`: each sequence so far; `seq` may be 0       |
/// | `noise`  | `(batch)`          | as `logits`, uniform in `[0, 1)`                  |
/// | result   | `(batch)`          | `u32`                                             |
///
/// `settings` may hold these numbers; one that is absent changes nothing:
///
/// | name                 | range    | what it does                                               |
/// |----------------------|----------|------------------------------------------------------------|
/// | `repetition_penalty` | above 0  | makes tokens that are in `tokens` less likely              |
/// | `temperature`        | 0 or up  | divides the logits; 0 takes the likeliest token, no noise  |
/// | `top_k`              | 1 or up  | keeps so many of the likeliest tokens                      |
/// | `top_p`              | `(0, 1]` | keeps the likeliest tokens that together reach `top_p`     |
/// | `min_p`              | `[0, 1]` | keeps tokens of at least `min_p` times the likeliest's     |
///
/// # Contract
///
/// - They act in the order of that table. What is kept is made to sum to 1 again before the next.
/// - The penalty divides a positive logit and multiplies a negative one, once for each token that
///   is in the sequence, however often it is there.
/// - Of equally likely tokens the one with the smaller id counts as likelier.
/// - `top_p` keeps the token with which the sum reaches `top_p`, so at least one is kept.
/// - The token is the first, by id, at which the sum of the kept probabilities is above `noise`:
///   with probabilities 0.5, 0.25, 0.25, noise 0.49 gives token 0 and 0.5 gives token 1.
/// - A token that was not kept never comes, even if rounding leaves the whole sum below `noise`;
///   then the last kept one does.
///
/// # Errors
///
/// Fails if `settings` has a name that is not in the table or a number that is out of range, if
/// a shape does not fit the others, if a token of the sequence is no id of the vocabulary, or if a
/// row of `logits` has a NaN, +∞, or nothing but −∞.
///
/// # Example: the crossing token is kept
///
/// ```text
/// logits = [[ln 4, ln 3, ln 2, ln 1]]    probabilities 0.4, 0.3, 0.2, 0.1
/// top_p = 0.8        0.4 + 0.3 is below 0.8, and with 0.2 it is reached: keep 4/9, 3/9, 2/9, 0
/// noise = [0.5]  → [1]
/// noise = [0.43] → [0]
/// noise = [0.9]  → [2]
/// ```
///
/// Source: Fan et al. (2018), §5, arXiv:1805.04833 (top-k); Holtzman et al. (2020), §3.1,
/// arXiv:1904.09751 (top-p); Nguyen et al. (2024), arXiv:2407.01082 (min-p); Keskar et al. (2019),
/// §4.1, arXiv:1909.05858 (penalty). The order is that of Hugging Face's `transformers`.
#[part]
pub fn sample(
    logits: &Tensor,
    tokens: &Tensor,
    settings: &Numbers,
    noise: &Tensor,
) -> Result<Tensor> {
    todo!("penalty, temperature, cuts, inverse CDF")
}
