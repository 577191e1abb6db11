//! `AdamW` in one pass over memory, and clipping by the norm of all gradients.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, Var, backprop::GradStore, bail};

use super::numbers::{Numbers, have_kernels};

/// Settings of [`AdamW`].
#[derive(Clone, Copy, Debug)]
pub struct AdamWSettings {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Keeps the quotient finite.
    pub eps: f64,
    /// Decay of weights, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

/// Adam with decoupled decay of weights, Loshchilov and Hutter (2019), arXiv:1711.05101.
#[derive(Debug)]
pub struct AdamW {
    vars: Vec<Var>,
    moments: Vec<Moments>,
    settings: AdamWSettings,
    step: i32,
}

impl AdamW {
    /// Begins with moments of zero.
    ///
    /// # Errors
    ///
    /// Fails if a variable is not contiguous.
    pub fn new(vars: Vec<Var>, settings: AdamWSettings) -> Result<Self> {
        let moments = vars.iter().map(|var| Moments::of(var)).collect::<Result<_>>()?;
        Ok(Self { vars, moments, settings, step: 0 })
    }

    /// Sets the learning rate of the next steps.
    pub fn set_lr(&mut self, lr: f64) {
        self.settings.lr = lr;
    }

    /// Moves each variable that has a gradient.
    ///
    /// # Errors
    ///
    /// Fails if a gradient has another shape, dtype or device than its variable.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.scaled_step(gradients, 1.0)
    }

    /// The same with gradients clipped to `max_norm`; gives their norm before.
    ///
    /// # Errors
    ///
    /// As [`AdamW::step`].
    pub fn clipped_step(&mut self, gradients: &GradStore, max_norm: f64) -> Result<f64> {
        let norm = norm(gradients, &self.vars)?;
        self.scaled_step(gradients, clip_factor(norm, max_norm))?;
        Ok(norm)
    }

    fn scaled_step(&mut self, gradients: &GradStore, factor: f64) -> Result<()> {
        self.step += 1;
        for (var, moments) in self.vars.iter().zip(&mut self.moments) {
            if let Some(gradient) = gradients.get(var) {
                let with = Update { settings: self.settings, step: self.step, factor };
                moments.step(var, gradient, with)?;
            }
        }
        Ok(())
    }
}

/// Multiplies the gradients of `vars` so that their norm is at most `max_norm`; gives it before.
///
/// # Errors
///
/// Fails if a gradient's dtype is not a floating-point one.
pub fn clip_gradients(gradients: &mut GradStore, vars: &[Var], max_norm: f64) -> Result<f64> {
    let norm = norm(gradients, vars)?;
    let factor = clip_factor(norm, max_norm);
    for var in vars {
        if factor < 1.0
            && let Some(gradient) = gradients.remove(var)
        {
            gradients.insert(var, (gradient * factor)?);
        }
    }
    Ok(norm)
}

/// The root of the sum of all squares.
fn norm(gradients: &GradStore, vars: &[Var]) -> Result<f64> {
    let mut sum = 0.0;
    for gradient in vars.iter().filter_map(|var| gradients.get(var)) {
        sum += if have_kernels(&[gradient]) {
            kernels::sum_of_squares(&Numbers::of(&gradient.contiguous()?)?)
        } else {
            let squares = gradient.sqr()?.sum_all()?;
            squares.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?
        };
    }
    Ok(sum.sqrt())
}

/// What gradients of this norm are multiplied by; as in PyTorch, a little keeps it finite.
pub(super) fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

/// One step, as every variable takes it.
#[derive(Clone, Copy)]
pub(super) struct Update {
    pub(super) settings: AdamWSettings,
    /// Counts from 1.
    pub(super) step: i32,
    /// Multiplied to gradients.
    pub(super) factor: f64,
}

/// Running means of gradients and of their squares.
#[derive(Debug)]
pub(super) enum Moments {
    Numbers(Vec<f32>, Vec<f32>),
    Tensors(Tensor, Tensor),
}

impl Moments {
    pub(super) fn of(var: &Tensor) -> Result<Self> {
        if !var.is_contiguous() {
            bail!("a variable of an optimiser has to be contiguous, and {:?} is not", var.shape())
        }
        if !have_kernels(&[var]) {
            return Ok(Self::Tensors(var.zeros_like()?, var.zeros_like()?));
        }
        let zeros = vec![0.0; var.elem_count()];
        Ok(Self::Numbers(zeros.clone(), zeros))
    }

    pub(super) fn step(&mut self, var: &Var, gradient: &Tensor, with: Update) -> Result<()> {
        if var.dims() != gradient.dims() {
            bail!("a gradient of shape {:?} came for {:?}", gradient.shape(), var.shape())
        }
        match self {
            Self::Numbers(..) => {
                let gradient = gradient.contiguous()?;
                self.step_numbers(var, &Numbers::of(&gradient)?, with)
            }
            Self::Tensors(first, second) => {
                (*first, *second) = step_tensors(var, gradient, (first, second), with)?;
                Ok(())
            }
        }
    }

    /// The same with a gradient that is no tensor.
    pub(super) fn step_numbers(&mut self, var: &Var, gradient: &[f32], with: Update) -> Result<()> {
        let Self::Numbers(first, second) = self else {
            bail!("these moments are tensors, and take a gradient that is one")
        };
        let op = InPlace { gradient, moments: Mutex::new((first, second)), with };
        var.as_tensor().inplace_op1(&op)
    }
}

/// The plain formula; gives the next moments.
fn step_tensors(
    var: &Var,
    gradient: &Tensor,
    (first, second): (&Tensor, &Tensor),
    with: Update,
) -> Result<(Tensor, Tensor)> {
    let AdamWSettings { lr, beta1, beta2, eps, weight_decay } = with.settings;
    let gradient = (gradient * with.factor)?;
    let first = ((first * beta1)? + (&gradient * (1.0 - beta1))?)?;
    let second = ((second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
    let size = ((&second / (1.0 - beta2.powi(with.step)))?.sqrt()? + eps)?;
    let step = ((&first / (1.0 - beta1.powi(with.step)))? / size)?;
    var.set(&((var.as_tensor() * (1.0 - lr * weight_decay))? - (step * lr)?)?)?;
    Ok((first, second))
}

struct InPlace<'a> {
    gradient: &'a [f32],
    moments: Mutex<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
    with: Update,
}

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "fused-adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(all), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("the variable is no contiguous f32 tensor any more")
        };
        let AdamWSettings { lr, beta1, beta2, eps, weight_decay } = self.with.settings;
        let with = kernels::AdamW {
            lr: lr as f32,
            betas: (beta1 as f32, beta2 as f32),
            eps: eps as f32,
            weight_decay: weight_decay as f32,
            step: self.with.step,
            gradient_scale: self.with.factor as f32,
        };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, second) = &mut *moments;
        kernels::adamw(with, &mut all[start..end], self.gradient, first, second);
        Ok(())
    }
}
