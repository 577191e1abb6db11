//! Talks with a model: you begin, and your own `generate` goes on.
//!
//! ```sh
//! cargo run -p transformer --example chat -- MODEL             # asks for one line after another
//! cargo run -p transformer --example chat -- MODEL "TEXT" 200  # goes on with TEXT for 200 tokens
//! ```
//!
//! MODEL is a file that the example `train` wrote, one of `datasets/models/*_gpt.safetensors`, or
//! the `model.safetensors` that `cargo xtask fetch gpt2` names. It needs `bpe_encode`,
//! `bpe_decode` and `generate` with all that they are made of.

#[path = "vocabulary/mod.rs"]
#[allow(dead_code, reason = "the other example uses the rest")]
mod vocabulary;

use std::{
    env,
    io::{self, BufRead as _, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use candle_core::{DType, Device, Tensor};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use transformer::generation::generate;
use vocabulary::Vocabulary;
use wick::{Numbers, Weights, load_weights};

/// Tokens that are generated before they are printed.
const PIECE: usize = 16;

/// Tokens of a reply.
const REPLY: usize = 120;

fn main() -> Result<()> {
    run(&env::args().skip(1).collect::<Vec<_>>())
}

/// Does what the words after the program's name ask for.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some(model) = arguments.first() else {
        bail!("say which model to read: chat MODEL [\"TEXT\" [TOKENS]]");
    };
    let mut speaker = Speaker::read(Path::new(model))?;
    if let Some(text) = arguments.get(1) {
        let n_new = arguments.get(2).map_or(Ok(REPLY), |n| n.parse());
        print!("{text}");
        return speaker.go_on(text, n_new.context("the third word is a number of tokens")?);
    }
    println!("Begin a sentence, and the model goes on. An empty line ends.");
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        print!("{line}");
        speaker.go_on(&line, REPLY)?;
    }
    Ok(())
}

/// A model with its tokens.
struct Speaker {
    weights: Weights,
    n_heads: usize,
    vocabulary: Vocabulary,
    settings: Numbers,
    rng: ChaCha8Rng,
}

impl Speaker {
    fn read(path: &Path) -> Result<Self> {
        let (tensors, about) = load_weights(path)?;
        let mut weights = Weights::new();
        for (name, tensor) in tensors.iter().filter(|(name, _)| is_weight(name)) {
            weights.insert(name, tensor.to_dtype(DType::F32)?);
        }
        let d_model = weights.get("wte.weight")?.dim(1)?;
        // GPT-2's own files do not say; its heads are 64 wide in every size.
        let n_heads = about.get("n_heads").map_or(Ok(d_model / 64), |n| n.parse())?;
        let vocabulary = Vocabulary::of(&weights, &about)?;
        let mut settings = Numbers::new();
        settings.insert("temperature", 0.8);
        settings.insert("top_p", 0.95);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let rng = ChaCha8Rng::seed_from_u64(now.as_nanos() as u64);
        Ok(Self { weights, n_heads, vocabulary, settings, rng })
    }

    /// Prints what comes after a text, piece by piece.
    fn go_on(&mut self, text: &str, n_new: usize) -> Result<()> {
        let n_ctx = self.weights.get("wpe.weight")?.dim(0)?;
        let mut tokens = self.vocabulary.encode(text)?;
        let (mut left, mut pending) = (n_new, Vec::new());
        while left > 0 {
            let piece = PIECE.min(left).min(n_ctx - 1);
            // What does not fit any more is forgotten.
            let seen = &tokens[tokens.len().saturating_sub(n_ctx - piece)..];
            let window = Tensor::new(seen, &Device::Cpu)?.unsqueeze(0)?; // (1, seq)
            let noise: Vec<f32> = (0..piece).map(|_| uniform(&mut self.rng)).collect();
            let noise = Tensor::from_vec(noise, (1, piece), &Device::Cpu)?;
            let longer = generate(&self.weights, &window, self.n_heads, &self.settings, &noise)?;
            let new = longer.get(0)?.to_vec1::<u32>()?.split_off(seen.len());
            let (written, rest) = self.vocabulary.decode(&new, &pending)?;
            print!("{written}");
            io::stdout().flush()?;
            tokens.extend(new);
            (left, pending) = (left - piece, rest);
        }
        println!();
        Ok(())
    }
}

/// Whether a tensor is one of the model's: GPT-2's files also hold its masks, and a checkpoint the
/// optimiser's memory.
fn is_weight(name: &str) -> bool {
    let is_mask = name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
    ["wte.", "wpe.", "h.", "ln_f."].iter().any(|start| name.starts_with(start)) && !is_mask
}

/// A number in `[0, 1)`.
fn uniform(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / 16_777_216.0
}
