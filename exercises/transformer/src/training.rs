//! What makes a GPT learn: batches, a loss, a learning rate for each step, and clipped gradients.

use candle_core::{Result, Tensor};
use wick::{Weights, part};

/// Cuts a batch of windows out of a long text, each beside what comes next at every position.
///
/// # Shapes
///
/// | tensor   | shape          | dtype                      |
/// |----------|----------------|----------------------------|
/// | `tokens` | `(n_tokens)`   | `u32`: the whole text      |
/// | `noise`  | `(batch)`      | `f64`, uniform in `[0, 1)` |
/// | `x`      | `(batch, seq)` | `u32`                      |
/// | `y`      | `(batch, seq)` | `u32`                      |
///
/// # Contract
///
/// - The result is `(x, y)`. Row `i` of `x` is `seq` tokens from a start on, row `i` of `y` the
///   `seq` tokens from one later on: `y[i, t]` follows `x[i, t]` in the text.
/// - There are `n_tokens − seq` starts, and the start of row `i` is `noise[i]` times their number,
///   rounded down. So all starts are equally likely, the first and the last included.
///
/// # Errors
///
/// Fails if `seq` is 0, if the text is not longer than `seq`, or if a noise is not in `[0, 1)`.
///
/// # Example: two windows of two from five tokens
///
/// ```text
/// tokens = [10, 11, 12, 13, 14]    seq = 2: starts 0, 1 and 2
/// noise = [0.5, 0.2]               starts ⌊1.5⌋ = 1 and ⌊0.6⌋ = 0
/// x = [[11, 12], [10, 11]]         y = [[12, 13], [11, 12]]
/// ```
///
/// Source: `get_batch` of nanoGPT's `train.py`, `github.com/karpathy/nanoGPT`. A real system draws
/// without replacement, so that each token is seen equally often.
#[part]
pub fn get_batch(tokens: &Tensor, noise: &Tensor, seq: usize) -> Result<(Tensor, Tensor)> {
    todo!("starts from noise, cut, shift")
}

/// Computes how surprised the logits are by what comes next, in nats, on average.
///
/// # Shapes
///
/// | tensor    | shape                   | dtype                               |
/// |-----------|-------------------------|-------------------------------------|
/// | `logits`  | `(batch, seq, d_vocab)` | `f32` or `f64`                      |
/// | `targets` | `(batch, seq)`          | `u32`, below `d_vocab`, or `ignore` |
/// | result    | `()`                    | as `logits`                         |
///
/// # Contract
///
/// - `targets[b, t]` is the token that follows position `t`: [`get_batch`] has shifted already, and
///   nothing is shifted here.
/// - The surprise at a position is `−ln softmax(logits)[target]`; the loss is the mean over all
///   positions whose target is not `ignore`. Those whose target is, such as padding, count neither
///   in the sum nor in the number, whatever the logits there are, NaN included.
/// - `ignore` may be a token of the vocabulary or lie beyond it; without one, all positions count.
/// - Logits of ±10⁴ give the loss that they should.
/// - Gradients flow back to `logits`; at ignored positions they are 0.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `logits` and `targets` disagree on `batch` or `seq`, if a target that counts is not
/// below `d_vocab`, or if none counts.
///
/// # Example: two tokens, and one position of padding
///
/// ```text
/// logits = [[[0, ln 3], [0, 0], [7, -7]]]    targets = [[1, 0, 9]]    ignore = 9
/// surprise = [−ln ¾, −ln ½, none]
/// loss = (0.287682 + 0.693147) / 2 = 0.490415
/// ```
///
/// Source: Bengio et al. (2003), "A Neural Probabilistic Language Model", §2, JMLR 3.
#[part]
pub fn next_token_loss(logits: &Tensor, targets: &Tensor, ignore: Option<u32>) -> Result<Tensor> {
    todo!("leave out ignored, log softmax, mean")
}

/// Says how large a step to take: a short warm-up, then down along half a cosine.
///
/// # Contract
///
/// - Steps count from 0. During the warm-up the rate of step `s` is
///   `peak · (s + 1) / (warmup + 1)`: even the first step moves something.
/// - Step `warmup` has the peak. From there to step `total` the rate follows half a cosine down to
///   `floor`: `floor + ½ (1 + cos(π p)) (peak − floor)`, where `p` goes from 0 to 1.
/// - From step `total` on, the rate is `floor`.
///
/// # Errors
///
/// Fails if `warmup` is not below `total`, or if `0 ≤ floor ≤ peak` does not hold for two finite
/// numbers.
///
/// # Example: three steps up, four down
///
/// ```text
/// warmup = 3, total = 7, peak = 4, floor = 1
/// step 0  1  2  3  5    7
/// rate 1  2  3  4  2.5  1
/// ```
///
/// Source: Loshchilov and Hutter (2017), "SGDR", §3, eq. 5, arXiv:1608.03983; Brown et al. (2020),
/// appendix B, arXiv:2005.14165, for warm-up and floor.
#[part]
pub fn learning_rate(
    step: usize,
    warmup: usize,
    total: usize,
    peak: f64,
    floor: f64,
) -> Result<f64> {
    todo!("warm up, cosine, floor")
}

/// Shortens all gradients together, if together they are too long.
///
/// A single bad batch can send a gradient a hundred times as long as the others; clipped, it still
/// points where it pointed, and does no harm.
///
/// # Shapes
///
/// | tensor        | shape                            | dtype          |
/// |---------------|----------------------------------|----------------|
/// | `weights.N`   | any                              | `f32` or `f64` |
/// | `gradients.N` | as `weights.N`; may be absent    | as `weights.N` |
/// | `clipped.N`   | as `gradients.N`; absent with it | as `weights.N` |
///
/// # Contract
///
/// - The result is `(clipped, norm)`. The norm is that of all numbers of all gradients together:
///   `√Σ g²`, as it was before clipping.
/// - If the norm is at most `max_norm`, the gradients come back bit by bit as they were.
/// - Otherwise each is multiplied by `max_norm / norm`, so that the norm of what comes back is
///   `max_norm`, and no gradient turns.
/// - A weight that no gradient reached, such as the embedding of a frozen layer, has none, counts
///   nothing, and gets none.
/// - Numbers of 10²⁵ are squared without overflowing in `f32`.
///
/// # Errors
///
/// Fails if `max_norm` is not above 0; and, naming it, if a gradient belongs to no weight, has
/// another shape than its weight, or holds a number that is not finite.
///
/// # Example: two gradients, three long together
///
/// ```text
/// weights: a, b, c    gradients: a = [2, 2], c = [[1]]    max_norm = 1.5
/// norm = √(4 + 4 + 1) = 3
/// clipped: a = [1, 1], c = [[0.5]]
/// ```
///
/// Source: Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural
/// networks", §3.2, algorithm 1, arXiv:1211.5063.
#[part]
pub fn clip_gradients(
    weights: &Weights,
    gradients: &Weights,
    max_norm: f64,
) -> Result<(Weights, f64)> {
    todo!("check, sum squares, scale all")
}
