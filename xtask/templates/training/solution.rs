//! Sample exercise.
//!
//! Training is the same few lines everywhere: predict, measure the loss, ask for its gradient, take
//! a small step down, and again.
//!
//! Check your work: `cargo xtask check sample_exercise`.

use candle_core::{Result, Tensor, Var, bail};
use wick::{Weights, part};

/// Fits `y ≈ x weight + bias` by gradient descent.
///
/// # Shapes
///
/// | tensor   | shape       | dtype          |
/// |----------|-------------|----------------|
/// | `x`      | `(n, d_in)` | `f32` or `f64` |
/// | `y`      | `(n)`       | as `x`         |
/// | `noise`  | `(d_in)`    | as `x`         |
/// | `weight` | `(d_in)`    | as `x`         |
/// | `bias`   | `(1)`       | as `x`         |
///
/// The last two are the result, by these names.
///
/// # Contract
///
/// - Training starts with `weight = noise` and `bias = 0`; nothing else is random.
/// - Each of the `steps` takes all `n` rows: both are moved against the gradient of the mean
///   squared error, times `learning_rate`, and both gradients belong to the same point.
/// - With 0 steps, the result is the start.
///
/// # Errors
///
/// Fails if `x` and `y` disagree on `n`, or `x` and `noise` on `d_in`.
///
/// # Example: one step
///
/// ```text
/// x = [[1], [3]]    y = [2, 6]    noise = [0]    learning_rate = 0.05    steps = 1
/// predictions = [0, 0]    gradients: -20 for weight, -8 for bias
/// weight = [1]    bias = [0.4]
/// ```
///
/// Source: Goodfellow et al. (2016), "Deep Learning", §4.3 and §5.1.4.
#[part(plan = "start, loss, gradients, steps")]
pub fn sample_part(
    x: &Tensor,
    y: &Tensor,
    noise: &Tensor,
    learning_rate: f64,
    steps: usize,
) -> Result<Weights> {
    let (n, d_in) = x.dims2()?;
    if y.dims() != [n] || noise.dims() != [d_in] {
        bail!("`x` {:?} does not fit `y` {:?} or `noise` {:?}", x.dims(), y.dims(), noise.dims());
    }
    let (weight, bias) = (Var::from_tensor(noise)?, Var::zeros(1, x.dtype(), x.device())?);
    for _ in 0..steps {
        let gradients = loss(x, y, &weight, &bias)?.backward()?;
        for variable in [&weight, &bias] {
            let Some(gradient) = gradients.get(variable) else { bail!("the graph is cut") };
            variable.set(&(variable.as_tensor() - (gradient * learning_rate)?)?)?;
        }
    }
    let mut weights = Weights::new();
    // Off the graph: what is handed out is a result, no longer a variable.
    weights.insert("weight", weight.as_detached_tensor());
    weights.insert("bias", bias.as_detached_tensor());
    Ok(weights)
}

/// The mean squared error of the predictions.
fn loss(x: &Tensor, y: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let predictions = x.contiguous()?.matmul(&weight.unsqueeze(1)?)?.squeeze(1)?; // (n)
    (predictions.broadcast_add(bias)? - y)?.sqr()?.mean_all()
}
