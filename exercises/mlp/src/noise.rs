//! What needs random numbers: the first weights, and dropout.
//!
//! The numbers come as an argument, uniform in `[0, 1)`.
//! So the same noise gives the same network, on every device, and a run can be repeated.

use candle_core::{Result, Tensor};
use wick::part;

/// Makes the first weights of a layer, at the scale that survives many layers.
///
/// If every layer made its results a little smaller, nothing would be left after thirty of them;
/// a little larger, and they would explode.
/// An output is a sum of `fan_in` products, so its variance is the input's times
/// `fan_in · variance(weight)`; a `relu` behind it then takes half of what is left.
///
/// # Shapes
///
/// | tensor  | shape              | dtype                               |
/// |---------|--------------------|-------------------------------------|
/// | `noise` | `(d_out, d_in, …)` | `f32` or `f64`, uniform in `[0, 1)` |
/// | result  | as `noise`         | as `noise`                          |
///
/// # Contract
///
/// - The weights are uniform in an interval around 0, and each depends on its own noise alone: the
///   larger the number, the larger the weight.
/// - Their variance is `gain² / fan_in`, with `gain² = 2` for `"relu"` behind the layer, which
///   makes up for the half that it takes, and 1 for `"linear"`.
/// - `fan_in` counts the inputs of one output: `d_in`, times all further axes, as the kernel of a
///   convolution has them.
///
/// # Errors
///
/// Fails if `nonlinearity` is neither `"relu"` nor `"linear"`, or `noise` has fewer than two axes.
///
/// # Example: three inputs, one output
///
/// The variance of a number that is uniform in `[−a, a)` is `a² / 3`.
///
/// ```text
/// noise = [[0.25, 0.5, 0.75]]    nonlinearity = "linear"    (variance 1/3, so a = 1)
/// result = [[-0.5, 0, 0.5]]
/// ```
///
/// Source: He et al. (2015), "Delving Deep into Rectifiers", §2.2, eq. 10, arXiv:1502.01852.
#[part]
pub fn kaiming_init(noise: &Tensor, nonlinearity: &str) -> Result<Tensor> {
    todo!("count inputs, variance, stretch the noise")
}

/// Drops each number of `x` with probability `p` while training, and nothing afterwards.
///
/// A network that must do without any of its units cannot rely on a single one.
///
/// # Shapes
///
/// | tensor  | shape  | dtype                           |
/// |---------|--------|---------------------------------|
/// | `x`     | any    | `f32` or `f64`                  |
/// | `noise` | as `x` | as `x`, uniform in `[0, 1)`     |
/// | result  | as `x` | as `x`                          |
///
/// # Contract
///
/// - While training, a number whose noise is below `p` becomes 0; one whose noise is `p` or more is
///   kept, and scaled such that the mean over all noise is `x`.
/// - Otherwise the result is `x`, and the noise does not matter.
/// - Gradients flow back to `x`, through what is kept and by the same scale.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `p` is not in `[0, 1)`, or `x` and `noise` differ in shape.
///
/// # Example: half of four numbers
///
/// ```text
/// x = [1, 2, 3, 4]    noise = [0.1, 0.9, 0.4, 0.6]    p = 0.5
/// training   = [0, 4, 0, 8]
/// evaluation = [1, 2, 3, 4]
/// ```
///
/// Source: Srivastava et al. (2014), "Dropout", §10 for the scale in training ("inverted"), which
/// leaves evaluation alone.
#[part]
pub fn dropout(x: &Tensor, noise: &Tensor, p: f64, is_training: bool) -> Result<Tensor> {
    todo!("compare with p, choose, scale")
}
