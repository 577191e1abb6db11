//! A model that plays Othello without having seen a board: is there one inside?
//!
//! The board can be read off the residual stream, but not as black and white: the model keeps it as
//! *mine* and *theirs*, from the side of whoever moves ([`othello_probe`]). And it is not only
//! there: flip a disc in it, and the moves that the model plays are those of the other board
//! ([`othello_intervene`]).

use candle_core::{Result, Tensor};
use wick::{Gpt, Weights, part};

use crate::probes::ProbeConfig;

/// Trains a probe for every square of a board, in the colours and from the mover's side.
///
/// # Shapes
///
/// | tensor                      | shape                    | dtype                              |
/// |-----------------------------|--------------------------|------------------------------------|
/// | `activations`               | `(n, d_model)`           | `f32` or `f64`                     |
/// | `boards`                    | `(n, n_squares)`         | `u8`: 0 empty, 1 black, 2 white    |
/// | `movers`                    | `(n)`                    | `u8`: who moves, 1 black or 2 white |
/// | `games`                     | `(n)`                    | `u32`                              |
/// | `noise`                     | `(n)`                    | as `activations`, in `[0, 1)`      |
/// | `weight` in the first result | `(n_squares, 3, d_model)` | as `activations`                 |
/// | `bias`                      | `(n_squares, 3)`         | as `activations`                   |
/// | second result, accuracies   | `(2)`                    | as `activations`                   |
///
/// # Contract
///
/// - Seen from the mover, a square is 0 empty, 1 mine, 2 theirs: a disc of the mover's colour is
///   mine.
/// - The probe of a square says `softmax(weight · x + bias)` over its three classes. The loss is
///   the mean over the training rows of the sum over the squares of `−ln p(class)`, plus
///   `l2 / 2 · |weight|²`; the bias is not penalised.
/// - Zeros, `steps` steps of size `lr`, and games held out as in
///   [`train_probe`](crate::probes::train_probe).
/// - The first result is the probe for mine and theirs. Of the accuracies, the first is that of a
///   probe of the same kind for `boards` as they are (empty, black, white), the second that of the
///   probe returned. Each is the share of all squares of all rows held out whose class has the
///   largest logit.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `boards`, `movers`, `games` or `noise` have not one entry for each row, a square is
/// above 2, or either no game or every game is held out.
///
/// # Example: one step, one square
///
/// ```text
/// activations = [[1], [-1], [-2], [2]]    boards = [[1], [1], [2], [2]]    movers = [1, 2, 1, 2]
/// games = [0, 0, 1, 1], of which 1 is held out    steps = 1, lr = 1, l2 = 0
///
/// mine/theirs: 1, 2 and (held out) 2, 1    before the step, p = 1/3 everywhere
/// weight = [[[0], [0.5], [-0.5]]]          bias = [[-1/3, 1/6, 1/6]]
/// accuracies = [0, 1]: of colours it has seen only black, but mine and theirs it tells apart
/// ```
///
/// Source: Li et al. (2023), "Emergent World Representations", arXiv:2210.13382; Nanda, Lee and
/// Wattenberg (2023), "Emergent Linear Representations in World Models of Self-Supervised Sequence
/// Models", §3, arXiv:2309.00941.
#[part]
pub fn othello_probe(
    activations: &Tensor,
    boards: &Tensor,
    movers: &Tensor,
    games: &Tensor,
    noise: &Tensor,
    config: ProbeConfig,
) -> Result<(Weights, Tensor)> {
    todo!("mine and theirs, descend, two accuracies")
}

/// Flips a disc in the board that a model has in mind, and looks at what it then plays.
///
/// # Shapes
///
/// | tensor              | shape                     | dtype        |
/// |---------------------|---------------------------|--------------|
/// | `tokens`            | `(batch, seq)`            | `u32`        |
/// | `weight` in `probe` | `(n_squares, 3, d_model)` | as the model |
/// | result, logits      | `(batch, d_vocab)`        | as the model |
///
/// # Contract
///
/// - The direction of a square is `u`: the probe's row for *mine* (class 1) less that for *theirs*
///   (class 2), with length 1.
/// - On `blocks.{layer}.hook_resid_post`, for every layer in `layers`, at the last position alone,
///   what the stream `x` has along `u` is turned around and multiplied by `scale`:
///   `x − (1 + scale) (x · u) u`. With `scale` 1 that is a mirror: mine becomes theirs, and
///   theirs mine.
/// - What is orthogonal to `u`, and every other position, stays.
/// - The result is the logits at the last position.
/// - Without `layers` it is what the model says by itself.
///
/// # Errors
///
/// Fails if a layer is not one of the model's, `square` is not one of the probe's, or mine and
/// theirs have the same row.
///
/// # Example: a mirror
///
/// ```text
/// x = [3, 4] at the last position    mine = [1, 0], theirs = [-1, 0]: u = [1, 0]    scale = 1
/// x becomes [3, 4] − 2 · 3 · [1, 0] = [-3, 4]
/// ```
///
/// Source: Nanda, Lee and Wattenberg (2023), §4, arXiv:2309.00941.
#[part]
pub fn othello_intervene(
    model: &Gpt,
    tokens: &Tensor,
    layers: &[usize],
    probe: &Weights,
    square: usize,
    scale: f64,
) -> Result<Tensor> {
    todo!("direction, mirror at hooks, last logits")
}
