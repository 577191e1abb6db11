//! Training a GPT, and going on with it after a break.
//!
//! ```text
//! each step:  noise[step] ─▶ windows ─▶ loss, gradients ┐  `accumulation` times, the mean of all
//!                                                       └▶ clip ─▶ AdamW at this step's rate
//! ```

use candle_core::{Result, Tensor};
use wick::{Weights, part};

// given: the judge sends it as named numbers
wick::settings! {
    /// How to train.
    pub struct Config {
        /// Heads of each block.
        pub n_heads: usize,
        /// Steps of the whole run.
        pub steps: usize,
        /// Batches whose gradients make one step; at least 1.
        pub accumulation: usize,
        /// Windows in a batch; at least 1.
        pub batch: usize,
        /// Tokens in a window.
        pub seq: usize,
        /// Steps of warm-up.
        pub warmup: usize,
        /// The largest learning rate.
        pub peak: f64,
        /// The last learning rate.
        pub floor: f64,
        /// How fast matrices shrink that the loss does not need.
        pub weight_decay: f64,
        /// The longest that all gradients of a step may be together.
        pub max_norm: f64,
    }
}

/// Trains a GPT on a text.
///
/// The model is [`gpt`](crate::model::gpt). A step takes its windows by
/// [`get_batch`](crate::training::get_batch), its loss by
/// [`next_token_loss`](crate::training::next_token_loss), clips by
/// [`clip_gradients`](crate::training::clip_gradients), and goes as far as
/// [`learning_rate`](crate::training::learning_rate) says.
///
/// You wrote model and loss; [`wick::fused::Gpt`] is the fast one. Its `loss` is what these two
/// compute together, its backward pass is written out, and here it may stand in for them.
///
/// # Shapes
///
/// | tensor                           | shape                          | dtype                 |
/// |----------------------------------|--------------------------------|-----------------------|
/// | `tokens`                         | `(n_tokens)`                   | `u32`                 |
/// | `weights`                        | as in [`gpt`](crate::model::gpt) | `f32` or `f64`      |
/// | `noise`                          | `(steps, accumulation, batch)` | `f64`, in `[0, 1)`    |
/// | first result, by the same names  | as `weights`                   | as `weights`          |
/// | second result, one loss a step   | `(steps)`                      | as `weights`          |
///
/// # Contract
///
/// - Batch `a` of step `s` has the windows that `noise[s, a]` chooses.
/// - The loss of a step is the mean of the losses of its `accumulation` batches, taken before the
///   weights move; its gradient is the gradient of that mean. So four batches of 8 windows are one
///   of 32, in a quarter of the memory.
/// - The gradient is clipped to `max_norm` once a step, when it is whole.
/// - A step leaves nothing behind but weights and memory: gradients that candle gives hang on the
///   graph of their step, with all its activations, until they are detached.
/// - `AdamW` has betas 0.9 and 0.95, `eps` 1e-8 beside the root, and bias correction. It remembers
///   from step to step.
/// - Step `s`, counted from 0, has the rate `learning_rate(s, warmup, steps, peak, floor)`.
/// - Weights with two axes decay: before the step of Adam is taken off, they are multiplied by
///   `1 − rate · weight_decay`. Biases, and what norms have learned, do not.
///
/// Tell how far you are with [`wick::progress`], after each step: `check` shows it as it happens,
/// and draws the curves. What you tell is not judged.
///
/// # Errors
///
/// Fails if `accumulation` or `batch` is 0, if `noise` has another shape, or where one of the parts
/// that it is made of does.
///
/// # Example: the first step of Adam is as long as its rate
///
/// ```text
/// no blocks, wte.weight = [[0, 0], [0, 0]], wpe.weight = [[0, 0]], ln_f.weight = [1, 1],
/// ln_f.bias = [1, 0]; tokens = [1, 1, 1], seq = 1; one step, peak = 0.1, no warm-up
/// logits = [0, 0]: loss = ln 2, and ln_f gives [1, 0] to the unembedding
/// gradient of wte.weight = [[½, 0], [−½, 0]], of all others 0
/// wte.weight = [[−0.1, 0], [0.1, 0]], the others as they came    (to seven digits)
/// ```
///
/// Source: Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2,
/// arXiv:1711.05101; Brown et al. (2020), appendix B, arXiv:2005.14165, for betas, clipping and
/// schedule; nanoGPT's `configure_optimizers` for what decays.
#[part]
pub fn train_gpt(
    tokens: &Tensor,
    weights: &Weights,
    noise: &Tensor,
    config: Config,
) -> Result<(Weights, Tensor)> {
    todo!("batches, mean gradient, clip, step")
}

/// Goes on with a run of [`train_gpt`] from a checkpoint, for `steps` steps, and returns the next
/// checkpoint.
///
/// Long runs are interrupted. What a run needs to go on as if nothing had happened is more than its
/// weights.
///
/// # Shapes
///
/// | tensor                          | shape                          | dtype              |
/// |---------------------------------|--------------------------------|--------------------|
/// | `tokens`, `noise`               | as in [`train_gpt`]            |                    |
/// | weights in `checkpoint`         | as in [`train_gpt`]            | `f32` or `f64`     |
/// | whatever else you keep in it    | yours                          | yours              |
/// | result                          | as `checkpoint`                |                    |
///
/// # Contract
///
/// - A checkpoint that holds the weights alone is a run that has not begun.
/// - A checkpoint holds the weights under their own names, and under other names, of your choice,
///   all that it takes to go on. What comes back into this function is what it returned, perhaps
///   after a stay in a file and in another process.
/// - In however many pieces the `config.steps` steps of a run are taken, the weights at its end are
///   bit by bit those of the run in one piece, which are those of [`train_gpt`]: the optimiser
///   remembers, the schedule goes on, and the next windows are the next ones.
/// - `config` and `noise` are those of the whole run.
/// - Several runs may be taken in turns; none hears of another.
///
/// # Errors
///
/// Fails if a checkpoint lacks some of what was kept in it beside the weights, if the run would go
/// beyond `config.steps`, or where [`train_gpt`] does.
///
/// # Example: a run of one step
///
/// ```text
/// checkpoint: the weights of the example of train_gpt; config.steps = 1
/// steps = 1: wte.weight = [[−0.1, 0], [0.1, 0]], as there
/// steps = 1 from there on: an error, since the run is over
/// ```
///
/// Source: the checkpoints of nanoGPT's `train.py`, `github.com/karpathy/nanoGPT`, which keeps
/// model, optimiser and step. A real system also keeps the state of its random numbers; ours come
/// as noise.
#[part]
pub fn resume(
    tokens: &Tensor,
    checkpoint: &Weights,
    noise: &Tensor,
    config: Config,
    steps: usize,
) -> Result<Weights> {
    todo!("unpack, take the steps, pack")
}
