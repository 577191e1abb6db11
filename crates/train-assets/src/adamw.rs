//! `AdamW`, all in one pass over plain numbers.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};

use crate::model::Named;

const BETAS: (f64, f64) = (0.9, 0.99);
const EPS: f64 = 1e-8;

/// The longest that all gradients together may be.
const MAX_NORM: f64 = 1.0;

/// What is remembered of the gradients of each weight: their mean, and that of their squares.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) mean: BTreeMap<String, Vec<f32>>,
    pub(crate) square: BTreeMap<String, Vec<f32>>,
}

impl Moments {
    /// Takes step number `step`, counted from 0, and returns the weights after it.
    pub(crate) fn step(
        &mut self,
        weights: &Named,
        gradients: &BTreeMap<String, Vec<f32>>,
        (step, lr, decay): (usize, f64, f64),
    ) -> Result<Named> {
        let squares = gradients.values().flatten().map(|&g| f64::from(g) * f64::from(g));
        let norm = squares.sum::<f64>().sqrt();
        let clip = if norm > MAX_NORM { MAX_NORM / norm } else { 1.0 } as f32;
        let correct = |beta: f64| 1.0 - beta.powi(step as i32 + 1);
        let rate = (lr / correct(BETAS.0)) as f32;
        let unbias = (1.0 / correct(BETAS.1)) as f32;
        let mut next = Named::new();
        for (name, weight) in weights {
            let shape = weight.dims();
            // Biases and norms do not decay.
            let keep = if shape.len() > 1 { 1.0 - lr * decay } else { 1.0 } as f32;
            let mut values = weight.flatten_all()?.to_vec1::<f32>()?;
            let gradient = gradients.get(name).context("a weight without a gradient")?;
            let zeros = || vec![0.0; values.len()];
            let mean = self.mean.entry(name.clone()).or_insert_with(zeros);
            let square = self.square.entry(name.clone()).or_insert_with(zeros);
            let (b1, b2) = (BETAS.0 as f32, BETAS.1 as f32);
            for (((w, g), m), s) in values.iter_mut().zip(gradient).zip(mean).zip(square) {
                let g = g * clip;
                *m = b1 * *m + (1.0 - b1) * g;
                *s = b2 * *s + (1.0 - b2) * g * g;
                *w = *w * keep - rate * *m / ((*s * unbias).sqrt() + EPS as f32);
            }
            next.insert(name.clone(), Tensor::from_vec(values, shape, &Device::Cpu)?);
        }
        Ok(next)
    }
}
