//! A trainer in candle whose steps an impostor can spoil, one at a time.

use answer::Weights;
use candle_core::{D, DType, Result, Tensor, Var, bail};
use candle_nn::{loss, ops};

answer::settings! {
    /// How to train, as it crosses the border.
    pub(super) struct Config {
        pub(super) epochs: usize,
        pub(super) batch: usize,
        pub(super) lr: f64,
        pub(super) weight_decay: f64,
        pub(super) dropout: f64,
        pub(super) patience: usize,
    }
}

/// What training is given.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) images: &'a Tensor,
    pub(super) labels: &'a Tensor,
    pub(super) valid_images: &'a Tensor,
    pub(super) valid_labels: &'a Tensor,
    pub(super) weights: &'a Weights,
    pub(super) noise: &'a Weights,
    pub(super) config: Config,
}

/// In which order an epoch takes the examples.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    Shuffled,
    /// Highest noise first.
    Descending,
    /// The first epoch's order, every time.
    SameEachEpoch,
    /// As they came.
    AsTheyCame,
    /// Positions in a byte, which holds 256 of them.
    InBytes,
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(super) struct Slips {
    pub(super) order: Order,
    pub(super) keeps_last_batch: bool,
    pub(super) drops_in_training: bool,
    pub(super) drops_in_validation: bool,
    pub(super) drops_by_place: bool,
    pub(super) remembers_steps: bool,
    pub(super) remembers_epochs: bool,
    pub(super) keeps_best: bool,
    pub(super) best_by_training_loss: bool,
    pub(super) extra_patience: usize,
    pub(super) patience_in_a_row: bool,
    pub(super) checks_settings: bool,
    pub(super) checks_labels: bool,
}

pub(super) const RIGHT: Slips = Slips {
    order: Order::Shuffled,
    keeps_last_batch: true,
    drops_in_training: true,
    drops_in_validation: false,
    drops_by_place: false,
    remembers_steps: true,
    remembers_epochs: true,
    keeps_best: true,
    best_by_training_loss: false,
    extra_patience: 0,
    patience_in_a_row: true,
    checks_settings: true,
    checks_labels: true,
};

/// Moments and steps of Adam.
#[derive(Clone, Default)]
struct Memory {
    moments: Vec<(Tensor, Tensor)>,
    n_steps: i32,
}

impl Slips {
    pub(super) fn train(&self, given: &Given) -> Result<(Weights, Tensor)> {
        let Given { images, labels, config, .. } = *given;
        if self.checks_settings && (config.batch == 0 || config.patience == 0) {
            bail!("nothing to do");
        }
        if self.checks_labels && images.dim(0)? != labels.dim(0)? {
            bail!("labels do not fit images");
        }
        let (mut weights, mut memory) = (given.weights.clone(), Memory::default());
        let (mut best, mut lowest, mut in_vain) = (weights.clone(), f64::INFINITY, 0);
        let mut losses = Vec::new();
        for epoch in 0..config.epochs {
            if !self.remembers_epochs {
                memory = Memory::default();
            }
            let trained = self.epoch(given, epoch, &mut weights, &mut memory)?;
            let logits = Self::forward(given, &weights, given.valid_images, self.spoiled(given)?)?;
            let validated = double(&loss::cross_entropy(&logits, given.valid_labels)?)?;
            losses.push(validated);
            let judged = if self.best_by_training_loss { trained } else { validated };
            if judged < lowest {
                (best, lowest) = (weights.clone(), judged);
                in_vain = if self.patience_in_a_row { 0 } else { in_vain };
            } else {
                in_vain += 1;
            }
            if in_vain == config.patience + self.extra_patience {
                break;
            }
        }
        let n = losses.len();
        let losses = Tensor::from_vec(losses, n, images.device())?.to_dtype(images.dtype())?;
        Ok((if self.keeps_best { best } else { weights }, losses))
    }

    /// One round through the examples; returns their mean loss.
    fn epoch(
        &self,
        given: &Given,
        epoch: usize,
        weights: &mut Weights,
        memory: &mut Memory,
    ) -> Result<f64> {
        let order = self.order(given, epoch)?;
        let (n, batch) = (order.dim(0)?, given.config.batch);
        let noise = given.noise.get("dropout")?.get(epoch)?;
        let (mut total, mut seen) = (0.0, 0);
        for start in (0..n).step_by(batch) {
            let length = batch.min(n - start);
            if length < batch && !self.keeps_last_batch {
                break;
            }
            if !self.remembers_steps {
                *memory = Memory::default();
            }
            let places = order.narrow(0, start, length)?;
            let rows = |t: &Tensor| t.contiguous()?.index_select(&places, 0);
            let noise =
                if self.drops_by_place { noise.narrow(0, start, length)? } else { rows(&noise)? };
            let noise = self.drops_in_training.then_some(noise);
            let (images, labels) = (rows(given.images)?, rows(given.labels)?);
            let vars = weights
                .iter()
                .map(|(name, weight)| Ok((name.to_owned(), Var::from_tensor(weight)?)));
            let vars = vars.collect::<Result<Vec<_>>>()?;
            let live = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
            let logits = Self::forward(given, &live.collect(), &images, noise)?;
            let mean = loss::cross_entropy(&logits, &labels)?;
            let store = mean.backward()?;
            let gradients = vars.iter().map(|(_, var)| match store.get(var) {
                Some(gradient) => Ok(gradient.clone()),
                None => var.zeros_like(),
            });
            *weights =
                memory.step(weights, &gradients.collect::<Result<Vec<_>>>()?, given.config)?;
            total += double(&mean)? * length as f64;
            seen += length;
        }
        Ok(total / seen as f64)
    }

    fn order(&self, given: &Given, epoch: usize) -> Result<Tensor> {
        let row = if self.order == Order::SameEachEpoch { 0 } else { epoch };
        let noise = given.noise.get("shuffle")?.get(row)?.contiguous()?;
        let ascending = noise.arg_sort_last_dim(self.order != Order::Descending)?;
        match self.order {
            Order::AsTheyCame => Tensor::arange(0, noise.dim(0)? as u32, noise.device()),
            Order::InBytes => ascending.to_dtype(DType::U8),
            _ => Ok(ascending),
        }
    }

    /// Noise for validation, of which there should be none: that of the first epoch.
    fn spoiled(&self, given: &Given) -> Result<Option<Tensor>> {
        if !self.drops_in_validation {
            return Ok(None);
        }
        let (n_valid, noise) = (given.valid_images.dim(0)?, given.noise.get("dropout")?.get(0)?);
        let rows: Vec<u32> = (0..n_valid).map(|i| (i % noise.dims()[0]) as u32).collect();
        let rows = Tensor::from_vec(rows, n_valid, noise.device())?;
        noise.index_select(&rows, 0).map(Some)
    }

    fn forward(
        given: &Given,
        weights: &Weights,
        images: &Tensor,
        noise: Option<Tensor>,
    ) -> Result<Tensor> {
        let layer = |x: &Tensor, name: &str| {
            let weight = weights.get(&format!("{name}.weight"))?;
            x.contiguous()?
                .matmul(&weight.t()?)?
                .broadcast_add(weights.get(&format!("{name}.bias"))?)
        };
        let hidden = layer(images, "hidden")?.relu()?;
        let hidden = match noise {
            Some(noise) => {
                let kept = noise.ge(given.config.dropout)?.to_dtype(hidden.dtype())?;
                ((hidden * kept)? / (1.0 - given.config.dropout))?
            }
            None => hidden,
        };
        layer(&hidden, "output")
    }
}

impl Memory {
    fn step(&mut self, weights: &Weights, gradients: &[Tensor], config: Config) -> Result<Weights> {
        if self.moments.is_empty() {
            let zeros = |g: &Tensor| Ok((g.zeros_like()?, g.zeros_like()?));
            self.moments = gradients.iter().map(zeros).collect::<Result<_>>()?;
        }
        self.n_steps += 1;
        let (m_scale, v_scale) =
            (1.0 - 0.9f64.powi(self.n_steps), 1.0 - 0.999f64.powi(self.n_steps));
        let mut next = Weights::new();
        for (((name, weight), g), (m, v)) in weights.iter().zip(gradients).zip(&mut self.moments) {
            *m = ((&*m * 0.9)? + (g * 0.1)?)?;
            *v = ((&*v * 0.999)? + (g.sqr()? * 0.001)?)?;
            let step = ((&*m / m_scale)? / ((&*v / v_scale)?.sqrt()? + 1e-8)?)?;
            let decay = if weight.rank() == 2 { config.lr * config.weight_decay } else { 0.0 };
            next.insert(name, ((weight * (1.0 - decay))? - (step * config.lr)?)?);
        }
        Ok(next)
    }
}

/// Trains by the whole batch of log-probabilities and plain lists: a right answer in other ways.
pub(super) fn by_lists(given: &Given) -> Result<(Weights, Tensor)> {
    let Given { images, labels, config, .. } = *given;
    let n = images.dim(0)?;
    if config.batch < 1 || config.patience < 1 || labels.dim(0)? != n {
        bail!("these settings or labels do not fit");
    }
    let vars = given
        .weights
        .iter()
        .map(|(name, weight)| Ok((name.to_owned(), Var::from_tensor(&weight.copy()?)?)));
    let vars: Vec<(String, Var)> = vars.collect::<Result<_>>()?;
    let now = || -> Result<Weights> {
        vars.iter().map(|(name, var)| Ok((name.clone(), var.copy()?))).collect()
    };
    let live: Weights =
        vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let (mut memory, mut kept): (Memory, Vec<(f64, Weights)>) = (Memory::default(), Vec::new());
    for epoch in 0..config.epochs {
        let noise =
            given.noise.get("shuffle")?.get(epoch)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by(|a, b| noise[*a as usize].total_cmp(&noise[*b as usize]));
        for batch in order.chunks(config.batch) {
            let places = Tensor::new(batch, images.device())?;
            let noise = given.noise.get("dropout")?.get(epoch)?.index_select(&places, 0)?;
            let images = images.contiguous()?.index_select(&places, 0)?;
            let logits = Slips::forward(given, &live, &images, Some(noise))?;
            let log_shares = ops::log_softmax(&logits, D::Minus1)?;
            let labels = labels.index_select(&places, 0)?.unsqueeze(1)?;
            let store = log_shares.gather(&labels, 1)?.mean_all()?.neg()?.backward()?;
            let gradients = vars.iter().map(|(_, var)| match store.get(var) {
                Some(gradient) => Ok(gradient.clone()),
                None => var.zeros_like(),
            });
            let gradients = gradients.collect::<Result<Vec<_>>>()?;
            let next = memory.step(&live, &gradients, config)?;
            vars.iter().zip(next.iter()).try_for_each(|((_, var), (_, next))| var.set(next))?;
        }
        let logits = Slips::forward(given, &live, given.valid_images, None)?;
        kept.push((double(&loss::cross_entropy(&logits, given.valid_labels)?)?, now()?));
        let best = best(&kept);
        if kept.len() - 1 - best.unwrap_or(0) >= config.patience {
            break;
        }
    }
    let losses: Vec<f64> = kept.iter().map(|(loss, _)| *loss).collect();
    let losses = Tensor::new(losses.as_slice(), images.device())?.to_dtype(images.dtype())?;
    let weights = best(&kept).map_or_else(|| given.weights.clone(), |n| kept[n].1.clone());
    Ok((weights, losses))
}

/// The first of the lowest losses.
fn best(kept: &[(f64, Weights)]) -> Option<usize> {
    let numbers = kept.iter().enumerate().filter(|(_, (loss, _))| !loss.is_nan());
    numbers.min_by(|a, b| a.1.0.total_cmp(&b.1.0)).map(|(n, _)| n)
}

fn double(scalar: &Tensor) -> Result<f64> {
    scalar.to_dtype(DType::F64)?.to_scalar()
}
