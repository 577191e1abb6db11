//! The sizes that are measured, what a step of them costs at least, and a batch of each.

use candle_core::{Device, Result, Tensor};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

/// A GPT, and the batch that a step of it sees.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) n_layers: usize,
    pub(crate) d_model: usize,
    pub(crate) n_heads: usize,
    pub(crate) batch: usize,
    pub(crate) seq: usize,
    pub(crate) d_vocab: usize,
}

impl Size {
    /// Characters of Shakespeare, on models that a laptop trains in a minute, ten, and an hour; and
    /// GPT-2 with 124M weights, for cards.
    pub(crate) const ALL: [Self; 4] = [
        Self {
            name: "small",
            n_layers: 2,
            d_model: 64,
            n_heads: 4,
            batch: 16,
            seq: 64,
            d_vocab: 65,
        },
        Self {
            name: "medium",
            n_layers: 4,
            d_model: 128,
            n_heads: 4,
            batch: 12,
            seq: 64,
            d_vocab: 65,
        },
        Self {
            name: "large",
            n_layers: 6,
            d_model: 384,
            n_heads: 6,
            batch: 4,
            seq: 256,
            d_vocab: 65,
        },
        Self {
            name: "gpt2",
            n_layers: 12,
            d_model: 768,
            n_heads: 12,
            batch: 8,
            seq: 1024,
            d_vocab: 50_257,
        },
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.name == name)
    }

    pub(crate) fn as_json(&self) -> String {
        let Self { name, n_layers, d_model, n_heads, batch, seq, d_vocab } = self;
        let model = format!(r#""n_layers":{n_layers},"d_model":{d_model},"n_heads":{n_heads}"#);
        let data = format!(r#""batch":{batch},"seq":{seq},"d_vocab":{d_vocab}"#);
        format!(r#"{{"name":"{name}",{model},{data},"gflop":{:.3}}}"#, self.gflop())
    }

    /// Products of matrices in a step: one forward, two backward; the whole square of attention.
    fn gflop(&self) -> f64 {
        let tokens = self.batch * self.seq;
        let weights =
            self.n_layers * 12 * self.d_model * self.d_model + self.d_model * self.d_vocab;
        let attention = self.n_layers * 2 * self.seq * self.d_model;
        (3 * 2 * tokens * (weights + attention)) as f64 / 1e9
    }

    /// Tokens and targets; noise, because speed does not depend on what they say.
    pub(crate) fn batch(self, device: &Device) -> Result<(Tensor, Tensor)> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut draw = || rng.next_u32();
        let mut tokens = || super::tokens(self, &mut draw, device);
        Ok((tokens()?, tokens()?))
    }
}
