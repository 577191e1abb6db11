//! Training: the loop around everything else.
//!
//! ```text
//! each epoch:  shuffle ─▶ each batch: forward, loss, backward, step
//!                      ─▶ validate, without dropout ─▶ better? keep : wait
//! ```

use candle_core::{Result, Tensor};
use wick::{Weights, part};

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
#[part]
pub fn train(
    images: &Tensor,
    labels: &Tensor,
    valid_images: &Tensor,
    valid_labels: &Tensor,
    weights: &Weights,
    noise: &Weights,
    config: Config,
) -> Result<(Weights, Tensor)> {
    todo!("shuffle, batches, validate, keep the best")
}
