//! Random numbers: a seeded stream for each thing that is drawn.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

/// What a stream is for; each draws other numbers from the same seed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Plan = 1,
    Weights = 2,
    Prompt = 3,
    Contrast = 4,
}

/// A stream of random numbers.
#[derive(Debug)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// Starts the stream of `seed` for a purpose.
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        stream.set_stream(purpose as u64);
        Self(stream)
    }

    /// Draws a real number, uniform in `[0, 1)`.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws a whole number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((self.uniform() * bound as f64) as usize).min(bound - 1)
    }

    /// Draws a whole number in `low..=high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Draws a standard normal number, by Box and Muller's transform.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts things into a random order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }

    /// Draws one of several things, of which there is at least one.
    pub(crate) fn choose<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }
}
