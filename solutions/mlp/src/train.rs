//! Training: the loop around everything else.
//!
//! ```text
//! each epoch:  shuffle ─▶ each batch: forward, loss, backward, step
//!                      ─▶ validate, without dropout ─▶ better? keep : wait
//! ```

use candle_core::{D, Result, Tensor, Var, bail};
use wick::{Weights, part};

use crate::{cross_entropy, linear, optimisers::adamw, relu};

// given: the judge sends it as named numbers
wick::settings! {
    /// How to train.
    pub struct Config {
        /// The most rounds through all examples.
        pub epochs: usize,
        /// Examples to a step; at least 1.
        pub batch: usize,
        /// Size of a step.
        pub lr: f64,
        /// How fast weights shrink that the loss does not need.
        pub weight_decay: f64,
        /// The share of hidden units that is dropped while training, in `[0, 1)`.
        pub dropout: f64,
        /// After so many epochs in a row without a better one, training stops; at least 1.
        pub patience: usize,
    }
}

/// Trains a network with one hidden layer, and returns the weights that validated best.
///
/// The network is [`linear`](crate::linear), [`relu`](crate::relu),
/// [`dropout`](crate::noise::dropout) and [`linear`](crate::linear) again; its loss is
/// [`cross_entropy`](crate::cross_entropy); each step is one of
/// [`adamw`](crate::optimisers::adamw), with betas 0.9 and 0.999 and `eps` 1e-8.
///
/// # Shapes
///
/// | tensor                            | shape                 | dtype                          |
/// |-----------------------------------|-----------------------|--------------------------------|
/// | `images`                          | `(n, d_in)`           | `f32` or `f64`                 |
/// | `labels`                          | `(n)`                 | `u32`, below `n_classes`       |
/// | `valid_images`                    | `(n_valid, d_in)`     | as `images`                    |
/// | `valid_labels`                    | `(n_valid)`           | `u32`                          |
/// | `hidden.weight` in `weights`      | `(d_mlp, d_in)`       | as `images`                    |
/// | `hidden.bias`                     | `(d_mlp)`             | as `images`                    |
/// | `output.weight`                   | `(n_classes, d_mlp)`  | as `images`                    |
/// | `output.bias`                     | `(n_classes)`         | as `images`                    |
/// | `shuffle` in `noise`              | `(epochs, n)`         | as `images`, in `[0, 1)`       |
/// | `dropout`                         | `(epochs, n, d_mlp)`  | as `images`, in `[0, 1)`       |
/// | first result, by the same names   | as `weights`          | as `images`                    |
/// | second result, validation losses  | `(epochs that ran)`   | as `images`                    |
///
/// # Contract
///
/// - Epoch `e` takes the examples in the order of their noise in row `e` of `shuffle`, the lowest
///   first.
/// - It cuts them into batches of `batch`; what is left over is a smaller batch and counts as well.
/// - The hidden units of example `i` are dropped by the noise at `[e, i]` of `dropout`.
/// - The optimiser remembers from one step to the next, across epochs.
/// - After each epoch the loss on all validation examples is taken, without dropout.
/// - Training stops after `patience` epochs in a row whose validation loss was not below the best.
/// - The weights returned are those of the epoch with the best validation loss; if none was a
///   number, those that came.
///
/// Tell how far you are with [`wick::progress`], after each epoch: `check` shows it as it happens,
/// and draws the curves. What you tell is not judged.
///
/// # Errors
///
/// Fails if `batch` or `patience` is 0, or there are not as many labels as images.
///
/// # Example: a learning rate of 0
///
/// ```text
/// all weights 0, two classes, lr = 0, epochs = 5, patience = 2
/// validation losses = [ln 2, ln 2, ln 2]    (the first is the best; then two in vain)
/// weights = those that came
/// ```
///
/// Source: Prechelt (1998), "Early Stopping - But When?", doi:10.1007/3-540-49430-8_3, for what is
/// called patience here.
#[part(plan = "shuffle, batches, validate, keep the best")]
pub fn train(
    images: &Tensor,
    labels: &Tensor,
    valid_images: &Tensor,
    valid_labels: &Tensor,
    weights: &Weights,
    noise: &Weights,
    config: Config,
) -> Result<(Weights, Tensor)> {
    if config.batch == 0 || config.patience == 0 {
        bail!("`batch` is {} and `patience` {}; both must be 1", config.batch, config.patience);
    }
    if images.dim(0)? != labels.dim(0)? {
        bail!("there are {} images but {} labels", images.dim(0)?, labels.dim(0)?);
    }
    let (mut weights, mut state) = (weights.clone(), Weights::new());
    let (mut best, mut best_loss, mut in_vain) = (weights.clone(), f64::INFINITY, 0);
    let mut losses = Vec::new();
    for epoch in 0..config.epochs {
        let order = noise.get("shuffle")?.get(epoch)?.contiguous()?.arg_sort_last_dim(true)?;
        let drop = noise.get("dropout")?.get(epoch)?; // (n, d_mlp)
        let mut total = 0.0;
        for start in (0..order.dim(0)?).step_by(config.batch) {
            let batch = order.narrow(0, start, config.batch.min(order.dim(0)? - start))?;
            let rows = |t: &Tensor| t.contiguous()?.index_select(&batch, 0);
            let drop = Some((rows(&drop)?, config.dropout));
            let (loss, gradients) = gradients(&weights, &rows(images)?, &rows(labels)?, drop)?;
            total += loss * batch.dim(0)? as f64;
            let (lr, decay) = (config.lr, config.weight_decay);
            (weights, state) = adamw(&weights, &gradients, &state, lr, (0.9, 0.999), 1e-8, decay)?;
        }
        let logits = forward(&weights, valid_images, None)?; // (n_valid, n_classes)
        let loss = number(&cross_entropy(&logits, valid_labels)?)?;
        let right = logits.argmax(D::Minus1)?.eq(valid_labels)?;
        let accuracy = number(&right.to_dtype(logits.dtype())?.mean_all()?)?;
        let mean = total / order.dim(0)? as f64;
        let told = [("loss", mean), ("loss (valid)", loss), ("accuracy (valid)", accuracy)];
        wick::progress(epoch + 1, config.epochs, &told);
        losses.push(loss);
        // Written so that a NaN is never the best.
        if loss < best_loss {
            (best, best_loss, in_vain) = (weights.clone(), loss, 0);
        } else {
            in_vain += 1;
        }
        if in_vain == config.patience {
            break;
        }
    }
    let n_epochs = losses.len();
    let losses = Tensor::from_vec(losses, n_epochs, images.device())?.to_dtype(images.dtype())?;
    Ok((best, losses))
}

/// The loss of a batch, and the gradient of every weight.
fn gradients(
    weights: &Weights,
    images: &Tensor,
    labels: &Tensor,
    drop: Option<(Tensor, f64)>,
) -> Result<(f64, Weights)> {
    let mut variables = Vec::new();
    for (name, weight) in weights.iter() {
        variables.push((name.to_owned(), Var::from_tensor(weight)?));
    }
    let tracked = variables.iter().map(|(name, v)| (name.clone(), v.as_tensor().clone())).collect();
    let loss = cross_entropy(&forward(&tracked, images, drop)?, labels)?;
    let store = loss.backward()?;
    let mut gradients = Weights::new();
    for (name, variable) in &variables {
        if let Some(gradient) = store.get(variable) {
            gradients.insert(name, gradient.clone());
        }
    }
    Ok((number(&loss)?, gradients))
}

/// The logits `(batch, n_classes)`; with noise and a share to drop, those of training.
fn forward(weights: &Weights, images: &Tensor, drop: Option<(Tensor, f64)>) -> Result<Tensor> {
    let layer = |name: &str, x: &Tensor| {
        let bias = weights.find(&format!("{name}.bias"));
        linear(x, weights.get(&format!("{name}.weight"))?, bias)
    };
    let mlp_post = relu(&layer("hidden", images)?)?; // (batch, d_mlp)
    match drop {
        Some((noise, share)) => {
            layer("output", &crate::noise::dropout(&mlp_post, &noise, share, true)?)
        }
        None => layer("output", &mlp_post),
    }
}

fn number(scalar: &Tensor) -> Result<f64> {
    scalar.to_dtype(candle_core::DType::F64)?.to_scalar()
}
