//! A run of training, which can be stopped after any step and taken up again.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use candle_core::{Device, Tensor, Var};
use wick::{Weights, load_weights, save_weights};

use crate::{
    Batch, Config, Source,
    adamw::Moments,
    model::{Named, loss, start},
};

/// Where a run is.
#[derive(Debug)]
pub struct Run {
    config: Config,
    weights: Named,
    moments: Moments,
    step: usize,
    /// For how many steps the schedule was made, and what it was changed to where.
    schedule: String,
    /// Where gradients are computed.
    device: Device,
}

/// What one step came to.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps that are done.
    pub step: usize,
    /// The mean surprise at the batch, in nats, before the step.
    pub loss: f64,
}

impl Run {
    /// Begins a run.
    ///
    /// # Errors
    ///
    /// Fails if candle does.
    pub fn begin(config: Config) -> Result<Self> {
        let weights = start(&config)?;
        let schedule = config.steps.to_string();
        let (moments, device) = (Moments::default(), Device::Cpu);
        Ok(Self { config, weights, moments, step: 0, schedule, device })
    }

    /// Takes up the run whose state lies in a file, if there is one and it is of this
    /// configuration; else begins anew.
    ///
    /// With another number of steps it is the same run on another schedule from here on, and
    /// [`Run::schedule`] says so.
    ///
    /// # Errors
    ///
    /// Fails if the file is there and cannot be read.
    pub fn resume(config: Config, state: &Path) -> Result<Self> {
        if !state.exists() {
            return Self::begin(config);
        }
        let (tensors, about) = load_weights(state)?;
        let expected = config.about();
        let differs =
            |(name, number): (&String, &String)| name != "steps" && about.get(name) != Some(number);
        if expected.iter().any(differs) {
            return Self::begin(config);
        }
        let step = about.get("step").context("the state has no step")?.parse()?;
        let steps = about.get("steps").context("the state has no steps")?;
        let mut schedule = about.get("schedule").unwrap_or(steps).clone();
        if *steps != config.steps.to_string() {
            schedule = format!("{schedule}, from step {step} on {}", config.steps);
        }
        let (weights, moments, device) = (Named::new(), Moments::default(), Device::Cpu);
        let mut run = Self { config, weights, moments, step, schedule, device };
        for (name, tensor) in tensors.iter() {
            let (kind, name) = name.split_once('/').context("a state's tensor without its kind")?;
            match kind {
                "weight" => {
                    run.weights.insert(name.to_owned(), tensor.clone());
                }
                "mean" => {
                    run.moments.mean.insert(name.to_owned(), numbers(tensor)?);
                }
                _ => {
                    run.moments.square.insert(name.to_owned(), numbers(tensor)?);
                }
            }
        }
        Ok(run)
    }

    /// Computes losses and gradients on `device` from here on; the weights, and the little that
    /// their descent takes, stay on the CPU.
    #[must_use]
    pub fn on(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// Writes the state to a file, from which [`Run::resume`] goes on.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn save(&self, state: &Path) -> Result<()> {
        if let Some(folder) = state.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut tensors = Weights::new();
        for (name, weight) in &self.weights {
            tensors.insert(&format!("weight/{name}"), weight.clone());
        }
        for (kind, moment) in [("mean", &self.moments.mean), ("square", &self.moments.square)] {
            for (name, values) in moment {
                let flat = Tensor::new(values.as_slice(), &Device::Cpu)?;
                tensors.insert(&format!("{kind}/{name}"), flat);
            }
        }
        let mut about = self.config.about();
        about.insert("step".to_owned(), self.step.to_string());
        about.insert("schedule".to_owned(), self.schedule.clone());
        Ok(save_weights(state, &tensors, &about)?)
    }

    /// Takes one step on what the source gives for it.
    ///
    /// # Errors
    ///
    /// Fails if the source does, or the loss is no number any more.
    pub fn step(&mut self, source: &Source) -> Result<Progress> {
        let Batch { x, targets } = source.batch(&self.config, self.step)?.to(&self.device)?;
        let mut variables = BTreeMap::new();
        for (name, weight) in &self.weights {
            variables.insert(name.clone(), Var::from_tensor(&weight.to_device(&self.device)?)?);
        }
        let tracked = variables.iter().map(|(name, v)| (name.clone(), v.as_tensor().clone()));
        let loss = loss(&tracked.collect(), self.config.n_heads, &x, &targets)?;
        let store = loss.backward()?;
        let mut gradients = BTreeMap::new();
        for (name, variable) in &variables {
            let gradient = store.get(variable).context("a weight without a gradient")?;
            gradients.insert(name.clone(), numbers(gradient)?);
        }
        let loss = f64::from(loss.to_scalar::<f32>()?);
        ensure!(loss.is_finite(), "the loss of step {} is {loss}", self.step);
        let how = (self.step, self.config.learning_rate(self.step), self.config.weight_decay);
        self.weights = self.moments.step(&self.weights, &gradients, how)?;
        self.step += 1;
        Ok(Progress { step: self.step, loss })
    }

    /// The weights as they are now.
    #[must_use]
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        &self.weights
    }

    /// For how many steps the learning rates were made; more than one number if that was changed on
    /// the way.
    #[must_use]
    pub fn schedule(&self) -> &str {
        &self.schedule
    }

    /// Steps that are done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.step
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: Config = Config {
        n_ctx: 4,
        d_model: 8,
        n_heads: 2,
        n_layers: 1,
        batch: 2,
        warmup: 2,
        ..crate::CHAR_GPT
    };

    fn tokens() -> Source {
        Source::Text("to be or not to be ".repeat(9).bytes().map(u32::from).collect())
    }

    fn walk(run: &mut Run, steps: usize) {
        for _ in 0..steps {
            run.step(&tokens()).unwrap();
        }
    }

    fn all(run: &Run) -> Vec<Vec<f32>> {
        run.weights().values().map(|weight| numbers(weight).unwrap()).collect()
    }

    #[test]
    fn a_resumed_run_is_the_same_run() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut whole = Run::begin(TINY).unwrap();
        walk(&mut whole, 5);
        let mut run = Run::resume(TINY, &state).unwrap();
        walk(&mut run, 2);
        run.save(&state).unwrap();
        let mut run = Run::resume(TINY, &state).unwrap();
        assert_eq!(run.done(), 2);
        walk(&mut run, 3);
        assert_eq!(all(&run), all(&whole));
        let longer = Run::resume(Config { steps: 9000, ..TINY }, &state).unwrap();
        assert_eq!((longer.done(), longer.schedule()), (2, "4000, from step 2 on 9000"));
        let other = Config { seed: 9, ..TINY };
        assert_eq!(Run::resume(other, &state).unwrap().done(), 0);
    }

    #[test]
    fn a_short_text_is_learned() {
        let mut run = Run::begin(Config { steps: 60, peak: 1e-2, ..TINY }).unwrap();
        let losses: Vec<f64> = (0..60).map(|_| run.step(&tokens()).unwrap().loss).collect();
        assert!(losses[0] > 5.0 && losses[59] < 2.0, "{} {}", losses[0], losses[59]);
    }
}
