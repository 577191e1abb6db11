//! What is wrong with a network that does not learn: measure first, then name it.

use candle_core::{Result, Tensor};
use wick::{Weights, part};

/// Examines a network on one batch, and names what is wrong with it.
///
/// Layer `l` is [`linear`](crate::linear) with `layers.l.weight` and `layers.l.bias`; behind every
/// layer but the last stands [`relu`](crate::relu), which makes it a *hidden* layer; the loss is
/// [`cross_entropy`](crate::cross_entropy).
/// What a layer *gives* is its result before `relu`; what its units give is that after it.
///
/// # Shapes
///
/// | tensor                         | shape            | dtype                    |
/// |--------------------------------|------------------|--------------------------|
/// | `layers.0.weight` in `weights` | `(d_1, d_in)`    | `f32` or `f64`           |
/// | `layers.0.bias`                | `(d_1)`          | as `x`                   |
/// | … to `layers.{n_layers − 1}.…` | `d_out` is `n_classes` | as `x`             |
/// | `x`                            | `(batch, d_in)`  | as the weights           |
/// | `targets`                      | `(batch)`        | `u32`, below `n_classes` |
/// | `silent`, in the third result  | `(n_layers − 1)` | as `x`, in `[0, 1]`      |
/// | `gradients`                    | `(n_layers)`     | as `x`                   |
/// | `losses`                       | `(steps + 1)`    | as `x`                   |
///
/// There are at least two layers; how many, the names in `weights` say.
/// The first result is a word of the list below; the second is a layer, where the list has one.
///
/// # Contract
///
/// What is measured, and returned last:
///
/// - `silent` is, for each hidden layer, the share of its units that are 0 on every example.
/// - `gradients` is, for each layer, the norm of the gradient of the loss with respect to all
///   numbers that the layer gives for the batch: the root of the sum of their squares.
/// - `losses` starts with the loss as the network came; behind it stands the loss after each of
///   `steps` steps of plain gradient descent on this one batch, each with rate `lr`.
///
/// What is named is the first of these that is true:
///
/// | word            | what is true                                           | layer |
/// |-----------------|--------------------------------------------------------|-------|
/// | `nan`           | a layer gives a NaN or an infinity                     | first |
/// | `twins`         | a hidden layer's units all give the same               | first |
/// | `dead`          | half or more of a hidden layer's units are silent      | first |
/// | `vanishing`     | a layer's gradient is below 1/1000 of the last layer's | last  |
/// | `exploding`     | a layer's gradient is above 1000 times the last's      | last  |
/// | `overconfident` | the first loss is above `2 ln(n_classes)`              | none  |
/// | `too_fast`      | a loss is not finite, or above twice the first         | none  |
/// | `too_slow`      | the last loss is above 95 % of the first               | none  |
/// | `healthy`       | nothing of this                                        | none  |
///
/// - Units give *the same* if, on every example, none differs from another by more than 1/1000 of
///   the largest number that the layer's units give, and that is not 0. A single unit has no twin.
/// - *First* is the layer nearest to the input of which it is true, *last* the one nearest to the
///   output; layers count from 0.
/// - The networks that you are asked about are far from every limit.
/// - `x` may be non-contiguous.
///
/// # Errors
///
/// Fails if a number of `x` is not finite (look at the data first), `steps` is 0, or `x` and
/// `targets` differ in `batch`.
///
/// # Example: two units that never fire
///
/// ```text
/// x = [[1], [2]]    targets = [0, 1]    steps = 1
/// layers.0.weight = [[-1], [-2]]        layers.0.bias = [0, 0]    gives [[-1, -2], [-2, -4]]
/// layers.1.weight = [[1, 2], [3, 4]]    layers.1.bias = [0, 0]    gives [[0, 0], [0, 0]]
///
/// silent    = [1]
/// gradients = [0, 1/2]       (of the last: four numbers, each 1/4 or -1/4)
/// losses    = [ln 2, ln 2]
/// result    = "dead", layer 0
/// ```
///
/// Source: Karpathy (2019), "A Recipe for Training Neural Networks", for the loss at the start and
/// learning one batch by heart; Glorot and Bengio (2010), "Understanding the difficulty of training
/// deep feedforward neural networks", §4, for the gradient at each layer; He et al. (2015), §2.2,
/// arXiv:1502.01852, for the scale that neither vanishes nor explodes.
#[part]
pub fn diagnose(
    weights: &Weights,
    x: &Tensor,
    targets: &Tensor,
    lr: f64,
    steps: usize,
) -> Result<(String, Option<usize>, Weights)> {
    todo!("measure everything, then walk the list")
}
