//! A trainer in candle whose steps an impostor can spoil, one at a time.

use answer::Weights;
use candle_core::{DType, Result, Tensor, Var, bail};
use candle_nn::loss;

use super::super::steps::Steps;

answer::settings! {
    /// How to train, as it crosses the border.
    pub(in super::super) struct Config {
        pub(in super::super) n_heads: usize,
        pub(in super::super) steps: usize,
        pub(in super::super) accumulation: usize,
        pub(in super::super) batch: usize,
        pub(in super::super) seq: usize,
        pub(in super::super) warmup: usize,
        pub(in super::super) peak: f64,
        pub(in super::super) floor: f64,
        pub(in super::super) weight_decay: f64,
        pub(in super::super) max_norm: f64,
    }
}

/// What training is given beside its weights.
#[derive(Clone, Copy)]
pub(in super::super) struct Given<'a> {
    pub(in super::super) tokens: &'a Tensor,
    pub(in super::super) noise: &'a Tensor,
    pub(in super::super) config: Config,
}

/// Which batches of a step count.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Batches {
    All,
    /// They do, but nothing divides by their number.
    Summed,
    /// The gradients of the last one overwrite the others'.
    LastOnly,
    /// The first one, again and again.
    FirstAgain,
    /// All at once, as one large batch: right as well.
    Together,
}

/// What is clipped.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Clip {
    Whole,
    EachBatch,
    EachTensor,
    Never,
}

/// What decays.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Decay {
    Matrices,
    All,
    Nothing,
    /// By way of the gradient, as L2.
    ThroughAdam,
    /// By the decay itself, whatever the rate.
    WithoutRate,
    /// All matrices but the embeddings.
    NoEmbeddings,
}

/// Where windows start.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Starts {
    Anywhere,
    /// Positions in a byte, which holds 256 of them.
    InBytes,
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(in super::super) struct Slips {
    pub(in super::super) batches: Batches,
    pub(in super::super) clip: Clip,
    pub(in super::super) decay: Decay,
    pub(in super::super) starts: Starts,
    pub(in super::super) betas: (f64, f64),
    pub(in super::super) corrects: bool,
    pub(in super::super) remembers: bool,
    /// Of which step the rate is taken.
    pub(in super::super) rate_of: fn(usize, Config) -> usize,
    pub(in super::super) loss_after: bool,
    pub(in super::super) looks: bool,
}

pub(in super::super) const RIGHT: Slips = Slips {
    batches: Batches::All,
    clip: Clip::Whole,
    decay: Decay::Matrices,
    starts: Starts::Anywhere,
    betas: (0.9, 0.95),
    corrects: true,
    remembers: true,
    rate_of: |step, _| step,
    loss_after: false,
    looks: true,
};

/// Where a run is; an impostor may lose sight of some of it.
#[derive(Clone)]
pub(in super::super) struct Run {
    pub(in super::super) weights: Weights,
    pub(in super::super) mean: Weights,
    pub(in super::super) square: Weights,
    /// Steps that Adam counts.
    pub(in super::super) n_adam: usize,
    /// Steps that the schedule counts.
    pub(in super::super) n_rate: usize,
    /// Steps that the data counts.
    pub(in super::super) n_data: usize,
}

impl Run {
    pub(in super::super) fn begin(weights: &Weights) -> Result<Self> {
        let zeros = zeros_like(weights)?;
        let (mean, square) = (zeros.clone(), zeros);
        Ok(Self { weights: weights.clone(), mean, square, n_adam: 0, n_rate: 0, n_data: 0 })
    }
}

pub(in super::super) fn zeros_like(weights: &Weights) -> Result<Weights> {
    let zeros = |(name, weight): (&str, &Tensor)| Ok((name.to_owned(), weight.zeros_like()?));
    weights.iter().map(zeros).collect()
}

impl Slips {
    pub(in super::super) fn train(
        &self,
        given: &Given,
        weights: &Weights,
    ) -> Result<(Weights, Tensor)> {
        let mut run = Run::begin(weights)?;
        let mut losses = Vec::new();
        for _ in 0..given.config.steps {
            losses.push(self.step(&mut run, given)?);
        }
        let n = losses.len();
        let losses = Tensor::from_vec(losses, n, given.tokens.device())?;
        Ok((run.weights, losses.to_dtype(weights.get("wte.weight")?.dtype())?))
    }

    /// Takes a step, and returns its loss.
    pub(in super::super) fn step(&self, run: &mut Run, given: &Given) -> Result<f64> {
        let config = given.config;
        let dims = [config.steps, config.accumulation, config.batch];
        if self.looks && (dims[1..].contains(&0) || given.noise.dims() != dims) {
            bail!("the noise does not fit");
        }
        if config.batch == 0 || config.accumulation == 0 {
            return Ok(0.0);
        }
        let noise = given.noise.get(run.n_data)?;
        let (before, gradients) = self.gradients(given, &run.weights, &noise)?;
        let gradients = match self.clip {
            Clip::Whole => clipped(&gradients, config.max_norm)?,
            Clip::EachTensor => each_clipped(&gradients, config.max_norm)?,
            Clip::EachBatch | Clip::Never => gradients,
        };
        self.adamw(run, &gradients, config)?;
        let reported =
            if self.loss_after { self.gradients(given, &run.weights, &noise)?.0 } else { before };
        run.n_adam += 1;
        run.n_rate += 1;
        run.n_data += 1;
        Ok(reported)
    }

    /// The loss of a step, and its gradients.
    fn gradients(
        &self,
        given: &Given,
        weights: &Weights,
        noise: &Tensor,
    ) -> Result<(f64, Weights)> {
        let config = given.config;
        let vars = weights.iter().map(|(name, w)| Ok((name.to_owned(), Var::from_tensor(w)?)));
        let vars = vars.collect::<Result<Vec<_>>>()?;
        let live: Weights =
            vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let rows = match self.batches {
            Batches::Together => vec![noise.flatten_all()?],
            Batches::FirstAgain => vec![noise.get(0)?; config.accumulation],
            _ => (0..config.accumulation).map(|a| noise.get(a)).collect::<Result<_>>()?,
        };
        let share = if self.batches == Batches::Summed { 1.0 } else { 1.0 / rows.len() as f64 };
        let (mut mean, mut sums) = (0.0, zeros_like(weights)?);
        for row in &rows {
            let (x, y) = self.windows(given, row)?;
            let logits = logits(&live, &x, config.n_heads)?;
            let loss = (loss::cross_entropy(&logits.flatten_to(1)?, &y.flatten_all()?)? * share)?;
            mean += loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            let store = loss.backward()?;
            let gradients = vars.iter().map(|(name, var)| {
                let gradient = store.get(var).cloned().map_or_else(|| var.zeros_like(), Ok)?;
                Ok((name.clone(), gradient.detach()))
            });
            let mut gradients: Weights = gradients.collect::<Result<_>>()?;
            if self.clip == Clip::EachBatch {
                gradients = clipped(&gradients, config.max_norm * share)?;
            }
            let last_only = self.batches == Batches::LastOnly;
            sums = added(&sums, &gradients, if last_only { 0.0 } else { 1.0 })?;
        }
        let scale = if self.batches == Batches::LastOnly { 1.0 / share } else { 1.0 };
        let mean = if self.batches == Batches::Summed { mean / rows.len() as f64 } else { mean };
        Ok((mean, added(&zeros_like(&sums)?, &scaled(&sums, scale)?, 1.0)?))
    }

    /// Windows, and what follows in them.
    fn windows(&self, given: &Given, noise: &Tensor) -> Result<(Tensor, Tensor)> {
        let (n, seq) = (given.tokens.dim(0)?, given.config.seq);
        let starts = noise.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let starts = starts.iter().map(|noise| (noise * (n - seq) as f64) as usize);
        let starts = starts.map(|start| match self.starts {
            Starts::Anywhere => start,
            Starts::InBytes => usize::from(start as u8),
        });
        let starts: Vec<usize> = starts.collect();
        let cut = |later: usize| {
            let rows = starts.iter().map(|start| given.tokens.narrow(0, start + later, seq));
            Tensor::stack(&rows.collect::<Result<Vec<_>>>()?, 0)
        };
        Ok((cut(0)?, cut(1)?))
    }

    fn adamw(&self, run: &mut Run, gradients: &Weights, config: Config) -> Result<()> {
        if !self.remembers {
            (run.mean, run.square) = (zeros_like(&run.weights)?, zeros_like(&run.weights)?);
            run.n_adam = 0;
        }
        let rate = rate((self.rate_of)(run.n_rate, config), config);
        let n = if self.corrects { run.n_adam as i32 + 1 } else { i32::MAX };
        let (b1, b2) = self.betas;
        let mut next = Weights::new();
        for (name, weight) in run.weights.iter() {
            let is_matrix = weight.rank() == 2;
            let decays = match self.decay {
                Decay::Nothing => false,
                Decay::All => true,
                Decay::NoEmbeddings => is_matrix && !name.starts_with('w'),
                _ => is_matrix,
            };
            let decay = if decays { config.weight_decay } else { 0.0 };
            let mut gradient = gradients.get(name)?.clone();
            if self.decay == Decay::ThroughAdam {
                gradient = (gradient + (weight * decay)?)?;
            }
            let keep = match self.decay {
                Decay::ThroughAdam => 1.0,
                Decay::WithoutRate => 1.0 - decay,
                _ => 1.0 - rate * decay,
            };
            let m = ((run.mean.get(name)? * b1)? + (&gradient * (1.0 - b1))?)?;
            let v = ((run.square.get(name)? * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
            let (m_hat, v_hat) = ((&m / (1.0 - b1.powi(n)))?, (&v / (1.0 - b2.powi(n)))?);
            let step = (m_hat / (v_hat.sqrt()? + 1e-8)?)?;
            next.insert(name, ((weight * keep)? - (step * rate)?)?);
            run.mean.insert(name, m);
            run.square.insert(name, v);
        }
        run.weights = next;
        Ok(())
    }
}

/// Warm-up, half a cosine, floor.
fn rate(step: usize, config: Config) -> f64 {
    let Config { steps, warmup, peak, floor, .. } = config;
    if step < warmup {
        return peak * (step + 1) as f64 / (warmup + 1) as f64;
    }
    let progress = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
    floor + (peak - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
}

/// The forward pass, `(batch, seq, d_vocab)`.
fn logits(weights: &Weights, tokens: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (batch, seq) = tokens.dims2()?;
    let wte = weights.get("wte.weight")?;
    let d_model = wte.dim(1)?;
    let rows = wte.index_select(&tokens.flatten_all()?, 0)?.reshape((batch, seq, d_model))?;
    let mut resid = rows.broadcast_add(&weights.get("wpe.weight")?.narrow(0, 0, seq)?)?;
    for layer in 0.. {
        let start = format!("h.{layer}.");
        let inside = |(name, tensor): (&str, &Tensor)| {
            Some((name.strip_prefix(&start)?.to_owned(), tensor.clone()))
        };
        let block: Weights = weights.iter().filter_map(inside).collect();
        if block.iter().next().is_none() {
            break;
        }
        resid = Steps::HONEST.block(&block, &resid, n_heads, [None, None])?.0;
    }
    let normed = (Steps::HONEST.norm)(weights, "ln_f", &resid)?.reshape((batch * seq, d_model))?;
    normed.matmul(&wte.t()?)?.reshape((batch, seq, wte.dim(0)?))
}

fn added(sums: &Weights, more: &Weights, keep: f64) -> Result<Weights> {
    let add =
        |(name, sum): (&str, &Tensor)| Ok((name.to_owned(), ((sum * keep)? + more.get(name)?)?));
    sums.iter().map(add).collect()
}

fn scaled(weights: &Weights, factor: f64) -> Result<Weights> {
    let scale = |(name, weight): (&str, &Tensor)| Ok((name.to_owned(), (weight * factor)?));
    weights.iter().map(scale).collect()
}

fn norm(gradients: &Weights) -> Result<f64> {
    let squares =
        gradients.iter().map(|(_, g)| g.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>());
    Ok(squares.sum::<Result<f64>>()?.sqrt())
}

fn clipped(gradients: &Weights, max_norm: f64) -> Result<Weights> {
    scaled(gradients, (max_norm / norm(gradients)?).min(1.0))
}

fn each_clipped(gradients: &Weights, max_norm: f64) -> Result<Weights> {
    let clip = |(name, gradient): (&str, &Tensor)| {
        let alone: Weights = [(name.to_owned(), gradient.clone())].into_iter().collect();
        let factor = (max_norm / norm(&alone)?).min(1.0);
        Ok((name.to_owned(), (gradient * factor)?))
    };
    gradients.iter().map(clip).collect()
}
