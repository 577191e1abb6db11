//! All randomness: a named, versioned, seeded generator.
//!
//! **Invariant:** what a check draws depends on the seed, the exercise, the part and the check
//! alone, so judging one part repeats exactly what judging all of them drew.

use protocol::DType;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use sha2::{Digest as _, Sha256};

use crate::Array;

/// Names the algorithm; it changes whenever a seed would draw other numbers.
pub const STREAM_VERSION: &str = "wick-chacha8-1";

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Generator {
    stream: ChaCha8Rng,
}

impl Generator {
    /// Starts the stream of `seed` for a place in the course.
    #[must_use]
    pub fn new(seed: u64, place: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(STREAM_VERSION);
        hash.update(seed.to_le_bytes());
        for name in place {
            hash.update([0]);
            hash.update(name);
        }
        Self { stream: ChaCha8Rng::from_seed(hash.finalize().into()) }
    }

    /// Draws a real number, uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws a whole number, uniform below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.uniform() * bound as f64) as usize).min(bound.saturating_sub(1))
    }

    /// Draws a whole number, uniform in `low..=high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Draws a standard normal number, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Draws an `f32` array of standard normal numbers.
    pub fn normal_array(&mut self, shape: &[usize]) -> Array {
        Array::from_fn(shape, |_| self.normal()).to(DType::F32)
    }

    /// Draws an `f32` array, uniform in `[low, high)`.
    pub fn uniform_array(&mut self, shape: &[usize], low: f64, high: f64) -> Array {
        Array::from_fn(shape, |_| low + (high - low) * self.uniform()).to(DType::F32)
    }

    /// Draws a permutation of `0..n`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }

    /// Draws one of `choices`.
    ///
    /// # Panics
    ///
    /// Panics if there are none.
    pub fn choose<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_a_place_differs() {
        let draw = |place: &[&str]| Generator::new(7, place).normal();
        assert_eq!(draw(&["a", "b"]).to_bits(), draw(&["a", "b"]).to_bits());
        assert_ne!(draw(&["a", "b"]).to_bits(), draw(&["ab"]).to_bits());
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let sample = Generator::new(7, &[]).normal_array(&[100_000]);
        let mean = sample.values().iter().sum::<f64>() / 1e5;
        let variance = sample.values().iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
