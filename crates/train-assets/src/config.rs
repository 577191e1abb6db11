//! What is trained: each model with every number that decides about it.

use std::collections::BTreeMap;

use datasets::{othello, repeats};

/// What a model reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// Shakespeare, as bytes and so many merges of them.
    Text {
        /// How many merges its tokenizer has; the 256 bytes are tokens always.
        n_merges: usize,
    },
    /// Random tokens that come again.
    Repeats,
    /// Random legal games of 6×6 Othello.
    Othello,
}

/// A model, and how it is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Its name, and that of its file.
    pub name: &'static str,
    /// What it reads.
    pub task: Task,
    /// The most tokens that it reads at once.
    pub n_ctx: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Heads in each block.
    pub n_heads: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Whether a block has an MLP, or attention only.
    pub has_mlps: bool,
    /// Spread of the weights to start from.
    pub spread: f64,
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
    task: Task::Text { n_merges: 0 },
    n_ctx: 128,
    d_model: 64,
    n_heads: 4,
    n_layers: 2,
    has_mlps: true,
    spread: 0.02,
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
    task: Task::Text { n_merges: 768 },
    n_ctx: 128,
    d_model: 96,
    n_heads: 4,
    n_layers: 3,
    has_mlps: true,
    spread: 0.02,
    seed: 6,
    steps: 1800,
    batch: 8,
    peak: 2e-3,
    warmup: 100,
    weight_decay: 0.1,
};

/// Continues random tokens that come again, with two blocks of attention alone.
pub const INDUCTION: Config = Config {
    name: "induction",
    task: Task::Repeats,
    n_ctx: 64,
    d_model: 64,
    n_heads: 2,
    n_layers: 2,
    has_mlps: false,
    spread: 0.15,
    seed: 11,
    steps: 600,
    batch: 16,
    peak: 4e-3,
    warmup: 200,
    weight_decay: 0.1,
};

/// Plays random legal moves of 6×6 Othello.
pub const OTHELLO: Config = Config {
    name: "othello",
    task: Task::Othello,
    n_ctx: 32,
    d_model: 96,
    n_heads: 4,
    n_layers: 4,
    has_mlps: true,
    spread: 0.05,
    seed: 21,
    steps: 24_000,
    batch: 48,
    peak: 3e-3,
    warmup: 500,
    weight_decay: 0.01,
};

/// All models. The letters are siblings, which differ in nothing but the seed.
pub const ALL: [Config; 7] = [
    CHAR_GPT,
    BPE_GPT,
    INDUCTION,
    Config { name: "induction_b", seed: 12, ..INDUCTION },
    Config { name: "induction_c", seed: 13, ..INDUCTION },
    OTHELLO,
    Config { name: "othello_b", seed: 22, ..OTHELLO },
];

impl Config {
    /// How many tokens it knows.
    #[must_use]
    pub fn d_vocab(&self) -> usize {
        match self.task {
            Task::Text { n_merges } => 256 + n_merges,
            Task::Repeats => repeats::D_VOCAB,
            Task::Othello => othello::SQUARES,
        }
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
        let of_task = match self.task {
            Task::Text { n_merges } => vec![("n_merges", n_merges.to_string())],
            Task::Repeats | Task::Othello => vec![("spread", self.spread.to_string())],
        };
        let all = numbers.into_iter().chain(of_task);
        all.map(|(name, number)| (name.to_owned(), number)).collect()
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
