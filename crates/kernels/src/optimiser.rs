//! `AdamW` in one pass over memory, and the norm that gradients are clipped by.

use rayon::prelude::*;

use crate::simd;

/// Numbers that one thread takes at a time.
const SHARE: usize = 1 << 15;

/// Settings of one step of `AdamW`, Loshchilov and Hutter (2019), arXiv:1711.05101.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the two moments.
    pub betas: (f32, f32),
    /// Keeps the quotient finite.
    pub eps: f32,
    /// Decay of weights, times the learning rate.
    pub weight_decay: f32,
    /// Counts steps from 1.
    pub step: i32,
    /// Multiplied to each gradient: less than 1 where gradients are clipped.
    pub gradient_scale: f32,
}

/// Moves the weights `w` against their gradients `g`, and keeps both moments up to date.
pub fn adamw(with: AdamW, w: &mut [f32], g: &[f32], first: &mut [f32], second: &mut [f32]) {
    let (b1, b2) = with.betas;
    let unbias = (1.0 / (1.0 - b1.powi(with.step)), 1.0 / (1.0 - b2.powi(with.step)));
    let shares = w.par_chunks_mut(SHARE).zip(g.par_chunks(SHARE));
    let shares = shares.zip(first.par_chunks_mut(SHARE)).zip(second.par_chunks_mut(SHARE));
    shares.for_each(|(((w, g), first), second)| {
        simd::vectorised(
            #[inline(always)]
            || {
                let moments = first.iter_mut().zip(second);
                for ((w, &g), (m, v)) in w.iter_mut().zip(g).zip(moments) {
                    let g = g * with.gradient_scale;
                    *m = b1 * *m + (1.0 - b1) * g;
                    *v = b2 * *v + (1.0 - b2) * g * g;
                    let step = *m * unbias.0 / ((*v * unbias.1).sqrt() + with.eps);
                    *w = *w * (1.0 - with.lr * with.weight_decay) - with.lr * step;
                }
            },
        );
    });
}

/// Σ x².
#[must_use]
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let share = |x: &[f32]| {
        let sum = simd::vectorised(
            #[inline(always)]
            || simd::sum(x, |x| x * x),
        );
        f64::from(sum)
    };
    let shares: Vec<f64> = x.par_chunks(SHARE).map(share).collect();
    shares.iter().sum()
}
