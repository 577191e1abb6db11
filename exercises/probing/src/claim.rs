//! A claim that is made before it is measured.
//!
//! Whoever explains a result after it was seen can explain every result. So here the order is the
//! other way round: two models are shown, a claim is made about a third, and only then is the third
//! measured.

use candle_core::{Result, Tensor};
use wick::{Gpt, Numbers, part};

/// Predicts how much a hidden model loses without its previous-token head.
///
/// Both models that are shown were made as the hidden one is, each from another seed. Their heads
/// stand at other places, so a head is found by what it does.
///
/// # Shapes
///
/// | tensor   | shape            | dtype                                              |
/// |----------|------------------|----------------------------------------------------|
/// | `tokens` | `(batch, 2 · n)` | `u32`: in each row `n` random tokens, twice         |
///
/// The result has the numbers `layer` and `head` (of `shown`), `shown` and `other` (the drop that
/// was measured in either model), `mean` and `spread` (the claim about the hidden one).
///
/// # Contract
///
/// - The previous-token head of a model is the one with the largest weight from each position to
///   the one before, as the mean over the batch and over all positions but the first.
/// - It is ablated by its mean: its `hook_z` becomes, at every position of every sequence, the mean
///   over all positions of all sequences.
/// - The drop is how much less likely the repeated tokens are then: the mean of
///   `ln p` of the next token, over the positions from `n` to `2n − 2` and the batch, plain less
///   ablated.
/// - The claim is a normal distribution: the hidden model's drop is about `mean`, give or take
///   `spread`, which is above 0. Two models that agree promise little about a third that they do
///   not: claim what you would bet on.
/// - The hidden model is measured after that, on the same tokens. The claim is scored by the
///   *continuous ranked probability score*, which is 0 for a sure and right claim, and which
///   nothing improves but saying what one believes. It must be at most half of the score of who
///   knows no model: mean `ln(d_vocab) / 2`, spread `ln(d_vocab) / √12`.
///
/// # Errors
///
/// Fails if the length of `tokens` is odd or less than 4, or as the model does.
///
/// # Example: a claim and its score
///
/// ```text
/// mean = 2, spread = 0.5    measured afterwards: 2.5, one spread away
/// score = 0.5 · (1 · (2 · 0.8413 − 1) + 2 · 0.2420 − 0.5642) = 0.3012
/// ```
///
/// Source: Olsson et al. (2022), "In-context Learning and Induction Heads", arXiv:2209.11895;
/// Gneiting and Raftery (2007), "Strictly Proper Scoring Rules, Prediction, and Estimation", §4.2,
/// doi:10.1198/016214506000001437.
#[part]
pub fn induction_claim(shown: &Gpt, other: &Gpt, tokens: &Tensor) -> Result<Numbers> {
    todo!("find head, ablate, drops, bet")
}
