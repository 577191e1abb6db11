//! Training a GPT, and going on with it after a break.
//!
//! ```text
//! each step:  noise[step] ─▶ windows ─▶ loss, gradients ┐  `accumulation` times, the mean of all
//!                                                       └▶ clip ─▶ AdamW at this step's rate
//! ```

use candle_core::{DType, Result, Tensor, bail};
use wick::{Weights, fused, part};

use crate::training::{clip_gradients, get_batch, learning_rate};

/// How fast `AdamW` forgets: the mean of gradients, and that of their squares.
const BETAS: (f64, f64) = (0.9, 0.95);

/// What keeps its division from exploding.
const EPS: f64 = 1e-8;

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
#[part(plan = "batches, mean gradient, clip, step")]
pub fn train_gpt(
    tokens: &Tensor,
    weights: &Weights,
    noise: &Tensor,
    config: Config,
) -> Result<(Weights, Tensor)> {
    let mut run = Run::begin(weights)?;
    let mut losses = Vec::new();
    for _ in 0..config.steps {
        losses.push(run.step(tokens, noise, config)?);
    }
    let n_steps = losses.len();
    let losses = Tensor::from_vec(losses, n_steps, tokens.device())?;
    Ok((run.weights, losses.to_dtype(dtype(weights)?)?))
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
#[part(plan = "unpack, take the steps, pack")]
pub fn resume(
    tokens: &Tensor,
    checkpoint: &Weights,
    noise: &Tensor,
    config: Config,
    steps: usize,
) -> Result<Weights> {
    let mut run = Run::unpack(checkpoint)?;
    if run.n_steps + steps > config.steps {
        bail!("{} steps are done, and {steps} more are beyond {}", run.n_steps, config.steps);
    }
    for _ in 0..steps {
        run.step(tokens, noise, config)?;
    }
    run.pack()
}

/// Where the optimiser's memory stands in a checkpoint; no tensor of a GPT is called so.
const MEAN: &str = "adam.mean/";
const SQUARE: &str = "adam.square/";
const N_STEPS: &str = "adam.steps";

/// A run of training: all that the next step depends on.
struct Run {
    weights: Weights,
    mean: Weights,
    square: Weights,
    n_steps: usize,
}

impl Run {
    fn begin(weights: &Weights) -> Result<Self> {
        let zeros = |(name, weight): (&str, &Tensor)| Ok((name.to_owned(), weight.zeros_like()?));
        let zeros: Weights = weights.iter().map(zeros).collect::<Result<_>>()?;
        Ok(Self { weights: weights.clone(), mean: zeros.clone(), square: zeros, n_steps: 0 })
    }

    /// Takes one step, and returns the loss before it.
    fn step(&mut self, tokens: &Tensor, noise: &Tensor, config: Config) -> Result<f64> {
        if config.accumulation == 0 || config.batch == 0 {
            bail!("a step of no windows teaches nothing");
        }
        if noise.dims() != [config.steps, config.accumulation, config.batch] {
            let Config { steps, accumulation, batch, .. } = config;
            bail!("`noise` is {:?}, not {:?}", noise.dims(), [steps, accumulation, batch]);
        }
        let Config { warmup, steps, peak, floor, .. } = config;
        let rate = learning_rate(self.n_steps, warmup, steps, peak, floor)?;
        let (loss, gradients) = self.gradients(tokens, &noise.get(self.n_steps)?, config)?;
        let (gradients, norm) = clip_gradients(&self.weights, &gradients, config.max_norm)?;
        self.adamw(&gradients, rate, config.weight_decay)?;
        self.n_steps += 1;
        let told = [("loss", loss), ("learning rate", rate), ("gradient norm", norm)];
        wick::progress(self.n_steps, steps, &told);
        Ok(loss)
    }

    /// The mean loss of all batches of a step, and its gradients.
    fn gradients(&self, tokens: &Tensor, noise: &Tensor, config: Config) -> Result<(f64, Weights)> {
        // What `gpt` and `next_token_loss` compute, several times as fast.
        let gpt = fused::Gpt::new(&self.weights, config.n_heads)?;
        let (mut mean, mut sum) = (0.0, Weights::new());
        for batch in 0..config.accumulation {
            let (x, y) = get_batch(tokens, &noise.get(batch)?, config.seq)?; // (batch, seq)
            // Divided here, so that what adds up is the gradient of the mean.
            let loss = (gpt.loss(&x, &y)? / config.accumulation as f64)?;
            mean += loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            let store = loss.backward()?;
            for (name, gradient) in gpt.parameters().gradients(&store)?.iter() {
                let total = match sum.find(name) {
                    Some(before) => (before + gradient)?,
                    None => gradient.clone(),
                };
                sum.insert(name, total);
            }
            gpt.parameters().clear_gradients();
        }
        Ok((mean, sum))
    }

    fn adamw(&mut self, gradients: &Weights, rate: f64, weight_decay: f64) -> Result<()> {
        let (b1, b2) = BETAS;
        let n = self.n_steps as i32 + 1;
        let (unbias_mean, unbias_square) = (1.0 / (1.0 - b1.powi(n)), 1.0 / (1.0 - b2.powi(n)));
        let mut next = Weights::new();
        for (name, weight) in self.weights.iter() {
            let Some(gradient) = gradients.find(name) else {
                bail!("no gradient reached `{name}`");
            };
            let mean = ((self.mean.get(name)? * b1)? + (gradient * (1.0 - b1))?)?;
            let square = ((self.square.get(name)? * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
            let direction = ((&mean * unbias_mean)? / ((&square * unbias_square)?.sqrt()? + EPS)?)?;
            let decay = if weight.rank() == 2 { rate * weight_decay } else { 0.0 };
            next.insert(name, ((weight * (1.0 - decay))? - (direction * rate)?)?);
            self.mean.insert(name, mean);
            self.square.insert(name, square);
        }
        self.weights = next;
        Ok(())
    }

    fn pack(self) -> Result<Weights> {
        let mut checkpoint = self.weights;
        for (start, memory) in [(MEAN, self.mean), (SQUARE, self.square)] {
            for (name, tensor) in memory.iter() {
                checkpoint.insert(&format!("{start}{name}"), tensor.clone());
            }
        }
        let device = checkpoint.get("wte.weight")?.device().clone();
        checkpoint.insert(N_STEPS, Tensor::new(self.n_steps as u32, &device)?);
        Ok(checkpoint)
    }

    fn unpack(checkpoint: &Weights) -> Result<Self> {
        let is_kept = |name: &str| [MEAN, SQUARE, N_STEPS].iter().any(|own| name.starts_with(own));
        let own = checkpoint.iter().filter(|(name, _)| !is_kept(name));
        let weights: Weights =
            own.map(|(name, weight)| (name.to_owned(), weight.clone())).collect();
        if checkpoint.iter().all(|(name, _)| !is_kept(name)) {
            return Self::begin(&weights);
        }
        let memory = |start: &str| {
            let kept = |(name, _): (&str, _)| {
                Ok((name.to_owned(), checkpoint.get(&format!("{start}{name}"))?.clone()))
            };
            weights.iter().map(kept).collect::<Result<Weights>>()
        };
        let n_steps = checkpoint.get(N_STEPS)?.to_scalar::<u32>()? as usize;
        let (mean, square) = (memory(MEAN)?, memory(SQUARE)?);
        Ok(Self { weights, mean, square, n_steps })
    }
}

fn dtype(weights: &Weights) -> Result<DType> {
    Ok(weights.get("wte.weight")?.dtype())
}
