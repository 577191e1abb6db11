//! Trains a GPT on a text file of yours, with your own parts.
//!
//! `cargo run -p transformer --example train -- TEXT MODEL [STEPS [MERGES]]` reads the file TEXT,
//! learns so many merges from it (256, if not said; 0 reads bytes), and writes the file MODEL, to
//! talk with by the example `chat`. It needs `bpe_train`, `bpe_encode`, `train_gpt` and `resume`
//! with all that they are made of. Stop it when you like: the next call goes on where the last was.

#[path = "vocabulary/mod.rs"]
#[allow(dead_code, reason = "the other example uses the rest")]
mod vocabulary;

use std::{collections::BTreeMap, env, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use candle_core::{DType, Device, Tensor};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use transformer::{
    tokenizer::bpe_train,
    train::{Config, resume},
};
use vocabulary::Vocabulary;
use wick::{Weights, load_weights, save_weights};

const D_MODEL: usize = 64;
const N_LAYERS: usize = 2;
const N_CTX: usize = 64;

/// Steps between two savings.
const PIECE: usize = 25;

fn main() -> Result<()> {
    run(&env::args().skip(1).collect::<Vec<_>>())
}

/// Does what the words after the program's name ask for.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [text, model, numbers @ ..] = arguments else {
        anyhow::bail!("say which text to read, and which file to write: train TEXT MODEL");
    };
    let number = |n: usize, otherwise| numbers.get(n).map_or(Ok(otherwise), |n| n.parse());
    let steps: usize = number(0, 500).context("the third word is a number of steps")?;
    let n_merges: usize = number(1, 256).context("the fourth word is a number of merges")?;
    let text = fs::read_to_string(text).with_context(|| format!("{text} cannot be read"))?;
    let path = Path::new(model);

    println!("Learning {n_merges} merges from {} bytes …", text.len());
    let vocabulary = Vocabulary::new(bpe_train(&text, &[], n_merges)?);
    let tokens = vocabulary.encode(&text)?;
    println!("The text is {} tokens, of {} different ones.", tokens.len(), vocabulary.len());
    ensure!(tokens.len() > N_CTX, "a text must have more than {N_CTX} tokens to learn from");
    let tokens = Tensor::new(tokens, &Device::Cpu)?;
    let config = Config {
        n_heads: 4,
        steps,
        accumulation: 1,
        batch: 8,
        seq: N_CTX,
        warmup: steps / 20,
        peak: 5e-3,
        floor: 5e-4,
        weight_decay: 0.1,
        max_norm: 1.0,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let noise: Vec<f64> = (0..steps * config.batch).map(|_| uniform(&mut rng)).collect();
    let noise = Tensor::from_vec(noise, (steps, 1, config.batch), &Device::Cpu)?;
    let mut about = BTreeMap::from([
        ("n_heads".to_owned(), config.n_heads.to_string()),
        ("steps".to_owned(), steps.to_string()),
        ("merges".to_owned(), vocabulary.written()),
    ]);
    let (mut checkpoint, done) = begin(path, &about, vocabulary.len(), &mut rng)?;
    for done in (done..steps).step_by(PIECE) {
        let piece = PIECE.min(steps - done);
        checkpoint = resume(&tokens, &checkpoint, &noise, config, piece)?;
        about.insert("done".to_owned(), (done + piece).to_string());
        save_weights(path, &checkpoint, &about)?;
        println!("{} of {steps} steps are done and kept in {model}", done + piece);
    }
    Ok(())
}

/// The checkpoint of an earlier call of the same run and the steps it took, or fresh weights.
fn begin(
    path: &Path,
    about: &BTreeMap<String, String>,
    d_vocab: usize,
    rng: &mut ChaCha8Rng,
) -> Result<(Weights, usize)> {
    if !path.exists() {
        return Ok((fresh(d_vocab, rng)?, 0));
    }
    let (checkpoint, was) = load_weights(path)?;
    let is_same = about.iter().all(|(name, value)| was.get(name) == Some(value));
    ensure!(is_same, "{} is of another text or length; name another file", path.display());
    Ok((checkpoint, was.get("done").and_then(|done| done.parse().ok()).unwrap_or(0)))
}

/// Weights to start from: small ones, and norms that change nothing.
fn fresh(d_vocab: usize, rng: &mut ChaCha8Rng) -> Result<Weights> {
    let mut weights = Weights::new();
    let mut draw = |name: String, shape: &[usize], spread: f64| -> Result<()> {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| (spread * normal(rng)) as f32).collect();
        weights.insert(&name, Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    };
    draw("wte.weight".to_owned(), &[d_vocab, D_MODEL], 0.02)?;
    draw("wpe.weight".to_owned(), &[N_CTX, D_MODEL], 0.02)?;
    for layer in 0..N_LAYERS {
        for (name, d_in, d_out) in [
            ("attn.c_attn", D_MODEL, 3 * D_MODEL),
            ("attn.c_proj", D_MODEL, D_MODEL),
            ("mlp.c_fc", D_MODEL, 4 * D_MODEL),
            ("mlp.c_proj", 4 * D_MODEL, D_MODEL),
        ] {
            let spread = 1.0 / (d_in as f64).sqrt();
            draw(format!("h.{layer}.{name}.weight"), &[d_in, d_out], spread)?;
            draw(format!("h.{layer}.{name}.bias"), &[d_out], 0.0)?;
        }
    }
    let norms = (0..N_LAYERS).flat_map(|n| [format!("h.{n}.ln_1"), format!("h.{n}.ln_2")]);
    for name in norms.chain(["ln_f".to_owned()]) {
        let ones = Tensor::ones(D_MODEL, DType::F32, &Device::Cpu)?;
        weights.insert(&format!("{name}.bias"), ones.zeros_like()?);
        weights.insert(&format!("{name}.weight"), ones);
    }
    Ok(weights)
}

/// A number in `[0, 1)`.
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}

/// A number from the normal distribution, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}
