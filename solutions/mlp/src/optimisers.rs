//! Steps downhill: from gradients to the next weights.
//!
//! An optimiser remembers things from step to step: a velocity, an average, a count.
//! Here that memory is no hidden object but a value: a step takes the *state* and returns the next
//! one, as tensors by name, beside the weights.
//! So a step can be repeated, compared, and stored in a checkpoint.
//!
//! - The first step gets an empty state.
//! - What is in it, and under which names, is yours to choose; whoever calls hands back what you
//!   returned, and reads nothing in it.
//! - A *parameter group* is one call: each group brings its own weights and settings, and all of
//!   them share one state, so a step leaves the entries of other weights in it.

use candle_core::{Result, Tensor, bail};
use wick::{Weights, part};

/// Steps against the gradient, with a velocity that builds up where gradients agree.
///
/// For each weight, with a velocity `v` that starts at 0:
///
/// ```text
/// v      ← momentum · v + gradient
/// step   = v                            or, with nesterov:  gradient + momentum · v
/// weight ← weight − lr · step
/// ```
///
/// # Shapes
///
/// | tensors     | shape                           | dtype          |
/// |-------------|---------------------------------|----------------|
/// | `weights`   | any, by name                    | `f32` or `f64` |
/// | `gradients` | as the weight of the same name  | as the weight  |
/// | `state`     | empty, or as returned last time | yours          |
///
/// Returns the next weights and the next state.
///
/// # Contract
///
/// - Each weight has its own velocity.
/// - `lr` is no part of the velocity: where it changes between steps, the whole next step takes the
///   new one.
/// - A weight without a gradient stays as it is, and so does its velocity.
/// - Entries of the state for other weights than these come back as they were.
///
/// # Errors
///
/// Fails if a gradient has no weight of its name, or another shape than its weight.
///
/// # Example: two steps of the same gradient
///
/// ```text
/// weight = [1]    gradient = [2]    lr = 0.1    momentum = 0.75    (not nesterov)
/// step 1: v = 2,   weight = [0.8]
/// step 2: v = 3.5, weight = [0.45]
/// ```
///
/// Source: Sutskever et al. (2013), "On the importance of initialization and momentum in deep
/// learning", eqs. 1–4. There `lr` is inside the velocity; here it is outside, as in `PyTorch`.
#[part(plan = "velocity, step, next weights, next state")]
pub fn sgd(
    weights: &Weights,
    gradients: &Weights,
    state: &Weights,
    lr: f64,
    momentum: f64,
    nesterov: bool,
) -> Result<(Weights, Weights)> {
    // Starting from copies keeps every weight and every memory that this step has no gradient for.
    let (mut next_weights, mut next_state) = (weights.clone(), state.clone());
    for (name, gradient) in gradients.iter() {
        let weight = of_gradient(weights, name, gradient)?;
        let velocity_name = format!("{name}.velocity");
        let velocity = match state.find(&velocity_name) {
            Some(velocity) => ((velocity * momentum)? + gradient)?,
            None => gradient.clone(),
        };
        let step = if nesterov { (gradient + (&velocity * momentum)?)? } else { velocity.clone() };
        next_weights.insert(name, (weight - (step * lr)?)?);
        next_state.insert(&velocity_name, velocity);
    }
    Ok((next_weights, next_state))
}

/// Looks up the weight that a gradient is for.
fn of_gradient<'a>(weights: &'a Weights, name: &str, gradient: &Tensor) -> Result<&'a Tensor> {
    let weight = weights.get(name)?;
    if weight.dims() != gradient.dims() {
        let (weight, gradient) = (weight.dims(), gradient.dims());
        bail!("the gradient of `{name}` has shape {gradient:?}, but the weight has {weight:?}");
    }
    Ok(weight)
}

/// Steps by about `lr` in every weight, whatever the size of its gradients.
///
/// For each weight, with two averages `m` and `v` that start at 0, and `t` counting its steps:
///
/// ```text
/// m      ← beta1 · m + (1 − beta1) · gradient
/// v      ← beta2 · v + (1 − beta2) · gradient²
/// weight ← weight − lr · m̂ / (√v̂ + eps)      with m̂ = m / (1 − beta1ᵗ), v̂ = v / (1 − beta2ᵗ)
/// ```
///
/// `m̂` and `v̂` make up for the start at 0: after one step they are the gradient and its square.
///
/// # Shapes
///
/// | tensors     | shape                           | dtype          |
/// |-------------|---------------------------------|----------------|
/// | `weights`   | any, by name                    | `f32` or `f64` |
/// | `gradients` | as the weight of the same name  | as the weight  |
/// | `state`     | empty, or as returned last time | yours          |
///
/// `betas` is `(beta1, beta2)`. Returns the next weights and the next state.
///
/// # Contract
///
/// - `t` is 1 at a weight's first step, and each weight counts its own: one that is frozen at first
///   starts as any other when its first gradient comes.
/// - A weight without a gradient stays as it is, and so do its averages and its count.
/// - Entries of the state for other weights than these come back as they were.
///
/// # Errors
///
/// Fails if a gradient has no weight of its name, or another shape than its weight.
///
/// # Example: the first step is `lr` long
///
/// ```text
/// weight = [1, 1, 1]    gradient = [4, -0.5, 0]    lr = 0.1    betas = (0.9, 0.999)    eps = 1e-8
/// m̂ = [4, -0.5, 0]      √v̂ = [4, 0.5, 0]
/// weight = [0.9, 1.1, 1]
/// ```
///
/// Source: Kingma and Ba (2015), "Adam", algorithm 1, arXiv:1412.6980.
#[part(plan = "averages, correct, step, next state")]
pub fn adam(
    weights: &Weights,
    gradients: &Weights,
    state: &Weights,
    lr: f64,
    betas: (f64, f64),
    eps: f64,
) -> Result<(Weights, Weights)> {
    let (mut next_weights, mut next_state) = (weights.clone(), state.clone());
    for (name, gradient) in gradients.iter() {
        let weight = of_gradient(weights, name, gradient)?;
        let step = adam_step(&mut next_state, name, gradient, betas, eps)?;
        next_weights.insert(name, (weight - (step * lr)?)?);
    }
    Ok((next_weights, next_state))
}

/// Takes a gradient into the averages of its weight, and returns `m̂ / (√v̂ + eps)`.
fn adam_step(
    state: &mut Weights,
    name: &str,
    gradient: &Tensor,
    (beta1, beta2): (f64, f64),
    eps: f64,
) -> Result<Tensor> {
    let names = ["mean", "square", "count"].map(|memory| format!("{name}.{memory}"));
    let [mean_name, square_name, count_name] = &names;
    let recall = |memory: &str| state.find(memory).cloned().map_or(gradient.zeros_like(), Ok);
    let mean = ((recall(mean_name)? * beta1)? + (gradient * (1.0 - beta1))?)?;
    let square = ((recall(square_name)? * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
    // A count is a number for each weight; as a tensor it fits into the state.
    let count = 1.0 + state.find(count_name).map_or(Ok(0.0), Tensor::to_scalar::<f64>)?;

    let corrected_mean = (&mean / (1.0 - beta1.powf(count)))?;
    let corrected_square = (&square / (1.0 - beta2.powf(count)))?;
    state.insert(mean_name, mean);
    state.insert(square_name, square);
    state.insert(count_name, Tensor::new(count, gradient.device())?);
    corrected_mean / (corrected_square.sqrt()? + eps)?
}

/// Steps as [`adam`] does, and lets matrices shrink a little at every step.
///
/// Decay keeps weights small that the loss does not need.
/// It stands beside the step of Adam and not in the gradient, where Adam would divide it away:
///
/// ```text
/// weight ← weight − lr · weight_decay · weight − lr · m̂ / (√v̂ + eps)
/// ```
///
/// Both terms use the weight from before the step.
///
/// # Shapes
///
/// | tensors     | shape                           | dtype          |
/// |-------------|---------------------------------|----------------|
/// | `weights`   | any, by name                    | `f32` or `f64` |
/// | `gradients` | as the weight of the same name  | as the weight  |
/// | `state`     | empty, or as returned last time | yours          |
///
/// `betas` is `(beta1, beta2)`. Returns the next weights and the next state.
///
/// # Contract
///
/// - Weights with two axes or more decay; those with fewer (biases, the gains of a norm) do not.
///   Axes decide, not names.
/// - The averages `m` and `v` know nothing of the decay.
/// - Each weight counts its own steps, as in [`adam`].
/// - A weight without a gradient stays as it is: it does not decay either.
/// - Entries of the state for other weights than these come back as they were.
///
/// # Errors
///
/// Fails if a gradient has no weight of its name, or another shape than its weight.
///
/// # Example: a matrix and a bias
///
/// ```text
/// weight = [[10]]    bias = [10]    both gradients −4    lr = 0.1    weight_decay = 0.5
/// weight = [[10 − 0.1 · 0.5 · 10 + 0.1]] = [[9.6]]
/// bias   = [10 + 0.1]                    = [10.1]
/// ```
///
/// Source: Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2,
/// arXiv:1711.05101, with `lr` on the decay as in `PyTorch`; the choice by axes is nanoGPT's.
#[part(plan = "decay matrices, then step as Adam")]
pub fn adamw(
    weights: &Weights,
    gradients: &Weights,
    state: &Weights,
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
) -> Result<(Weights, Weights)> {
    let (mut next_weights, mut next_state) = (weights.clone(), state.clone());
    for (name, gradient) in gradients.iter() {
        let weight = of_gradient(weights, name, gradient)?;
        let decay = if weight.rank() >= 2 { weight_decay } else { 0.0 };
        let step = adam_step(&mut next_state, name, gradient, betas, eps)?;
        next_weights.insert(name, ((weight * (1.0 - lr * decay))? - (step * lr)?)?);
    }
    Ok((next_weights, next_state))
}
