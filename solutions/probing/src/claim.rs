//! A claim that is made before it is measured.
//!
//! Whoever explains a result after it was seen can explain every result. So here the order is the
//! other way round: two models are shown, a claim is made about a third, and only then is the third
//! measured.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops;
use wick::{
    Gpt, Numbers,
    hook::{Hook, Place},
    part,
};

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
#[part(plan = "find head, ablate, drops, bet")]
pub fn induction_claim(shown: &Gpt, other: &Gpt, tokens: &Tensor) -> Result<Numbers> {
    let seq = tokens.dim(1)?;
    if seq % 2 == 1 || seq < 4 {
        candle_core::bail!("`tokens` has {seq} positions, which are no tokens twice");
    }
    let (layer, head) = previous_token_head(shown, tokens)?;
    let (layer_of_other, head_of_other) = previous_token_head(other, tokens)?;
    let drops = [
        drop_without(shown, tokens, layer, head)?,
        drop_without(other, tokens, layer_of_other, head_of_other)?,
    ];
    let mean = f64::midpoint(drops[0], drops[1]);
    // Two draws say little about the spread: never bet on less than a tenth of the mean.
    let spread = (drops[0] - drops[1]).abs().max(0.1 * mean.abs()).max(0.05);
    let mut claim = Numbers::new();
    let numbers = [
        ("layer", layer as f64),
        ("head", head as f64),
        ("shown", drops[0]),
        ("other", drops[1]),
        ("mean", mean),
        ("spread", spread),
    ];
    for (name, number) in numbers {
        claim.insert(name, number);
    }
    Ok(claim)
}

/// The layer and the number of the head that looks at the position before.
fn previous_token_head(model: &Gpt, tokens: &Tensor) -> Result<(usize, usize)> {
    let mut best = (f64::NEG_INFINITY, 0, 0);
    let mut look = |hook: Hook, value: Tensor| {
        if let Hook { place: Place::Pattern, layer: Some(layer) } = hook {
            let seq = value.dim(D::Minus1)?;
            // One step below the diagonal lies the position before.
            let below = (1..seq).map(|q| value.narrow(2, q, 1)?.narrow(3, q - 1, 1)?.mean(0));
            // (n_heads, seq − 1, 1)
            let below = Tensor::cat(&below.collect::<Result<Vec<_>>>()?, 1)?;
            let means = below.flatten_from(1)?.mean(1)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            for (head, mean) in means.into_iter().enumerate() {
                if mean > best.0 {
                    best = (mean, layer, head);
                }
            }
        }
        Ok(value)
    };
    model.forward(tokens, &mut look)?;
    Ok((best.1, best.2))
}

/// How much less likely the repeated tokens are without a head, in nats.
fn drop_without(model: &Gpt, tokens: &Tensor, layer: usize, head: usize) -> Result<f64> {
    let mut ablate = |hook: Hook, z: Tensor| {
        if hook != Hook::in_block(Place::Z, layer) {
            return Ok(z);
        }
        let n_heads = z.dim(2)?;
        let mean = z.mean_keepdim((0, 1))?.broadcast_as(z.shape())?;
        let is_head: Vec<u8> = (0..n_heads).map(|at| u8::from(at == head)).collect();
        let is_head = Tensor::new(is_head, z.device())?.reshape((1, 1, n_heads, 1))?;
        is_head.broadcast_as(z.shape())?.where_cond(&mean, &z)
    };
    let ablated = model.forward(tokens, &mut ablate)?;
    let plain = model.forward(tokens, &mut ())?;
    Ok(repeated(&plain, tokens)? - repeated(&ablated, tokens)?)
}

/// Mean `ln p` of the next token, where it can be known from the first half.
fn repeated(logits: &Tensor, tokens: &Tensor) -> Result<f64> {
    let half = tokens.dim(1)? / 2;
    let log_p = ops::log_softmax(&logits.narrow(1, half, half - 1)?, D::Minus1)?;
    let next = tokens.narrow(1, half + 1, half - 1)?.contiguous()?.unsqueeze(2)?;
    log_p.contiguous()?.gather(&next, 2)?.mean_all()?.to_dtype(DType::F64)?.to_scalar()
}
