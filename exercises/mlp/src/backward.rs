//! A whole network differentiated by hand: what autograd does for you everywhere else.

use candle_core::{Result, Tensor};
use wick::{Weights, part};

/// Computes the gradient of the loss for every tensor of a network with one hidden layer.
///
/// The network, for one row of `x`:
///
/// ```text
/// pre    = hidden.weight x + hidden.bias
/// unit   = (pre − mean(pre)) / √(variance(pre) + eps)      (over the d_mlp numbers of the row)
/// norm   = norm.weight ⊙ unit + norm.bias                  (layer norm)
/// hidden = relu(norm)
/// logits = output.weight hidden + output.bias
/// loss   = cross entropy of logits and targets, the mean over the batch
/// ```
///
/// The variance is the mean of the squared distances from the mean: divided by `d_mlp`, not by
/// `d_mlp − 1`.
///
/// # Shapes
///
/// | tensor                     | shape                | dtype                    |
/// |----------------------------|----------------------|--------------------------|
/// | `hidden.weight`            | `(d_mlp, d_in)`      | `f32` or `f64`           |
/// | `hidden.bias`              | `(d_mlp)`            | as `hidden.weight`       |
/// | `norm.weight`, `norm.bias` | `(d_mlp)`            | as `hidden.weight`       |
/// | `output.weight`            | `(n_classes, d_mlp)` | as `hidden.weight`       |
/// | `output.bias`              | `(n_classes)`        | as `hidden.weight`       |
/// | `x`                        | `(batch, d_in)`      | as `hidden.weight`       |
/// | `targets`                  | `(batch)`            | `u32`, below `n_classes` |
///
/// The result has a gradient under the name of each of the six weights, and one each under `x`,
/// `pre`, `norm`, `hidden` and `logits`: eleven in all, each in the shape of what it is for.
///
/// # Contract
///
/// - A gradient says how much the loss rises if that number alone rises: `∂loss / ∂number`.
/// - The gradient of a weight or bias is the sum over the rows of the batch, whose losses are
///   averaged; so repeating the whole batch changes none of them.
/// - Each row of the gradient of `pre` sums to 0, because layer norm takes the mean away.
/// - Autograd is not used: nothing calls `backward`.
/// - `x` may be non-contiguous.
///
/// # Errors
///
/// Fails if a weight is missing, or `x` and `targets` differ in `batch`.
///
/// # Example: two units, of which layer norm keeps only the order
///
/// ```text
/// x = [[1]]    targets = [0]    eps = 0
/// hidden.weight = [[1], [-1]]    hidden.bias = [0, 0]    pre    = [[1, -1]]    (unit the same)
/// norm.weight   = [2, 2]         norm.bias   = [0, 0]    norm   = [[2, -2]]
///                                                        hidden = [[2, 0]]
/// output.weight = [[1, 5], [-1, 7]]    output.bias = [-2, 2]    logits = [[0, 0]]
///
/// gradients, from the loss back:
/// logits = [[-1/2, 1/2]]    output.bias = [-1/2, 1/2]    output.weight = [[-1, 0], [1, 0]]
/// hidden = [[-1, 1]]
/// norm   = [[-1, 0]]        norm.bias   = [-1, 0]        norm.weight   = [-1, 0]
/// pre    = [[0, 0]]         hidden.bias = [0, 0]         hidden.weight = [[0], [0]]    x = [[0]]
/// ```
///
/// Source: Rumelhart, Hinton and Williams (1986), doi:10.1038/323533a0; Ba, Kiros and Hinton
/// (2016), "Layer Normalization", §3, arXiv:1607.06450. The idea of comparing every step is that of
/// Karpathy's lecture "Becoming a Backprop Ninja".
#[part]
pub fn mlp_backward(weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64) -> Result<Weights> {
    todo!("forward, keep values, go back")
}
