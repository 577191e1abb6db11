//! A whole network differentiated by hand: what autograd does for you everywhere else.

use candle_core::{D, Result, Tensor, bail};
use candle_nn::ops;
use wick::{Weights, part};

use crate::{linear, relu};

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
#[part(plan = "forward, keep values, go back")]
pub fn mlp_backward(weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64) -> Result<Weights> {
    let (batch, _) = x.dims2()?;
    if targets.dims() != [batch] {
        bail!("`targets` has shape {:?}, but `x` has batch {batch}", targets.dims());
    }
    let (hidden_weight, output_weight) =
        (weights.get("hidden.weight")?, weights.get("output.weight")?);
    let gain = weights.get("norm.weight")?;

    // Forward: every value that a slope below is made of.
    let pre = linear(x, hidden_weight, Some(weights.get("hidden.bias")?))?; // (batch, d_mlp)
    let centred = pre.broadcast_sub(&pre.mean_keepdim(D::Minus1)?)?;
    let std = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?; // (batch, 1)
    let unit = centred.broadcast_div(&std)?;
    let norm = unit.broadcast_mul(gain)?.broadcast_add(weights.get("norm.bias")?)?;
    let hidden = relu(&norm)?;
    let logits = linear(&hidden, output_weight, Some(weights.get("output.bias")?))?;

    // Back: each gradient is the one behind it times the slope between them.
    let beliefs = ops::softmax(&logits, D::Minus1)?; // (batch, n_classes)
    let d_logits = ((beliefs - one_hot(targets, &logits)?)? / batch as f64)?;
    let d_hidden = d_logits.matmul(output_weight)?; // (batch, d_mlp)
    let d_norm = norm.gt(0.0)?.where_cond(&d_hidden, &d_hidden.zeros_like()?)?;
    let d_unit = d_norm.broadcast_mul(gain)?;
    let d_pre = through_unit(&d_unit, &unit)?.broadcast_div(&std)?;

    let gradients = [
        ("output.bias", d_logits.sum(0)?),
        ("output.weight", d_logits.t()?.matmul(&hidden)?),
        ("norm.bias", d_norm.sum(0)?),
        ("norm.weight", (&d_norm * unit)?.sum(0)?),
        ("hidden.bias", d_pre.sum(0)?),
        ("hidden.weight", d_pre.t()?.matmul(&x.contiguous()?)?),
        ("x", d_pre.matmul(hidden_weight)?),
        ("pre", d_pre),
        ("norm", d_norm),
        ("hidden", d_hidden),
        ("logits", d_logits),
    ];
    Ok(gradients.into_iter().map(|(name, gradient)| (name.to_owned(), gradient)).collect())
}

/// A 1 at each target, 0 elsewhere, in the shape and dtype of `logits`.
fn one_hot(targets: &Tensor, logits: &Tensor) -> Result<Tensor> {
    let classes = Tensor::arange(0, logits.dim(1)? as u32, logits.device())?;
    targets.unsqueeze(1)?.broadcast_eq(&classes)?.to_dtype(logits.dtype())
}

/// Takes out of a gradient what no change of `pre` can do to `unit`: move its mean, or its size.
fn through_unit(d_unit: &Tensor, unit: &Tensor) -> Result<Tensor> {
    let along_mean = d_unit.mean_keepdim(D::Minus1)?;
    let along_unit = (d_unit * unit)?.mean_keepdim(D::Minus1)?;
    d_unit.broadcast_sub(&along_mean)? - unit.broadcast_mul(&along_unit)?
}
