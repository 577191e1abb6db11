//! What is trained: two models, each with every number that decides about it.

use std::collections::BTreeMap;

/// A model, and how it is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Its name, and that of its file.
    pub name: &'static str,
    /// How many merges its tokenizer has; the 256 bytes are tokens always.
    pub n_merges: usize,
    /// The most tokens that it reads at once.
    pub n_ctx: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Heads in each block.
    pub n_heads: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Where its numbers come from.
    pub seed: u64,
    /// Steps of training.
    pub steps: usize,
    /// Windows of `n_ctx` tokens in a step.
    pub batch: usize,
    /// The largest learning rate, reached after `warmup` steps.
    pub peak: f64,
    /// Steps until then.
    pub warmup: usize,
    /// How fast matrices shrink that the loss does not need.
    pub weight_decay: f64,
}

/// Reads bytes: its tokenizer has no merges, so in this text a token is a character.
pub const CHAR_GPT: Config = Config {
    name: "char_gpt",
    n_merges: 0,
    n_ctx: 128,
    d_model: 64,
    n_heads: 4,
    n_layers: 2,
    seed: 5,
    steps: 4000,
    batch: 8,
    peak: 3e-3,
    warmup: 100,
    weight_decay: 0.1,
};

/// Reads pieces of words, by merges learned from the same text.
pub const BPE_GPT: Config = Config {
    name: "bpe_gpt",
    n_merges: 768,
    n_ctx: 128,
    d_model: 96,
    n_heads: 4,
    n_layers: 3,
    seed: 6,
    steps: 1800,
    batch: 8,
    peak: 2e-3,
    warmup: 100,
    weight_decay: 0.1,
};

impl Config {
    /// How many tokens it knows.
    #[must_use]
    pub fn d_vocab(&self) -> usize {
        256 + self.n_merges
    }

    /// The learning rate of a step: a warm-up, then half a cosine down to a tenth of the peak.
    #[must_use]
    pub fn learning_rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        let progress = (step - self.warmup) as f64 / (self.steps - self.warmup).max(1) as f64;
        let fall = 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos());
        self.peak * (0.1 + 0.9 * fall)
    }

    /// Every number by name, as the metadata of a file has them.
    #[must_use]
    pub fn about(&self) -> BTreeMap<String, String> {
        let numbers = [
            ("n_merges", self.n_merges.to_string()),
            ("d_vocab", self.d_vocab().to_string()),
            ("n_ctx", self.n_ctx.to_string()),
            ("d_model", self.d_model.to_string()),
            ("n_heads", self.n_heads.to_string()),
            ("n_layers", self.n_layers.to_string()),
            ("seed", self.seed.to_string()),
            ("steps", self.steps.to_string()),
            ("batch", self.batch.to_string()),
            ("peak", self.peak.to_string()),
            ("warmup", self.warmup.to_string()),
            ("weight_decay", self.weight_decay.to_string()),
        ];
        numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(step: usize, share_of_peak: f64) {
        let rate = CHAR_GPT.learning_rate(step);
        assert!((rate - share_of_peak * CHAR_GPT.peak).abs() < 1e-12, "{rate}");
    }

    #[test]
    fn rates_rise_and_fall() {
        check(0, 1.0 / 101.0);
        check(100, 1.0);
        check(2050, 0.55);
        check(4000, 0.1);
    }
}
