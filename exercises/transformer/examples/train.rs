//! Trains a GPT on a text file of yours, with your own parts.
//!
//! `cargo run -p transformer --example train -- TEXT MODEL [STEPS]` reads the file TEXT, byte by
//! byte, and writes the file MODEL. It needs `train_gpt` and `resume` with all that they are made
//! of. Stop it when you like: the next call goes on where the last was.

use std::{collections::BTreeMap, env, fs, path::Path};

use candle_core::{DType, Device, Result, Tensor, bail};
use transformer::train::{Config, resume};
use wick::{Weights, load_weights, save_weights};

const D_VOCAB: usize = 256;
const D_MODEL: usize = 64;
const N_LAYERS: usize = 2;
const N_CTX: usize = 64;

/// Steps between two savings.
const PIECE: usize = 25;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [text, model, steps @ ..] = arguments.as_slice() else {
        bail!("say which text to read and which file to write: train TEXT MODEL [STEPS]");
    };
    let steps = steps.first().map_or(Ok(500), |steps| steps.parse()).unwrap_or(500);
    let bytes: Vec<u32> = fs::read(text)?.into_iter().map(u32::from).collect();
    let tokens = Tensor::new(bytes, &Device::Cpu)?;
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
    let mut numbers = Numbers(1);
    let noise: Vec<f64> = (0..steps * config.batch).map(|_| numbers.uniform()).collect();
    let noise = Tensor::from_vec(noise, (steps, 1, config.batch), &Device::Cpu)?;
    let path = Path::new(model);
    let (mut checkpoint, done) = begin(path, steps, &mut numbers)?;
    let mut about = BTreeMap::from([
        ("n_heads".to_owned(), config.n_heads.to_string()),
        ("steps".to_owned(), steps.to_string()),
    ]);
    for done in (done..steps).step_by(PIECE) {
        let piece = PIECE.min(steps - done);
        checkpoint = resume(&tokens, &checkpoint, &noise, config, piece)?;
        about.insert("done".to_owned(), (done + piece).to_string());
        save_weights(path, &checkpoint, &about)?;
        println!("{} of {steps} steps are done and kept in {model}", done + piece);
    }
    Ok(())
}

/// The checkpoint of an earlier call with as many steps, or fresh weights.
fn begin(path: &Path, steps: usize, numbers: &mut Numbers) -> Result<(Weights, usize)> {
    if path.exists() {
        let (checkpoint, about) = load_weights(path)?;
        let count = |name: &str| about.get(name).and_then(|count| count.parse().ok());
        if count("steps") == Some(steps) {
            return Ok((checkpoint, count("done").unwrap_or(0)));
        }
        bail!("{} is of a run of another length; name another file", path.display());
    }
    Ok((fresh(numbers)?, 0))
}

/// Weights to start from: small ones, and norms that change nothing.
fn fresh(numbers: &mut Numbers) -> Result<Weights> {
    let mut weights = Weights::new();
    let mut draw = |name: String, shape: &[usize], spread: f64| -> Result<()> {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| (spread * numbers.normal()) as f32).collect();
        weights.insert(&name, Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    };
    draw("wte.weight".to_owned(), &[D_VOCAB, D_MODEL], 0.02)?;
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

/// Random numbers that are the same in every run: Steele's `SplitMix64`.
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
