//! Goes on with a text of yours, by a model that reads bytes and your own `gpt`.
//!
//! `cargo run -p transformer --example complete -- MODEL "TEXT" [BYTES]` reads a file that the
//! example `train` wrote, or the one that is shipped as `models/char_gpt.safetensors`.

use std::{env, path::Path};

use candle_core::{D, DType, Device, Result, Tensor, bail};
use transformer::model::gpt;
use wick::{Weights, load_weights};

/// Below 1 it is more careful, above 1 more daring.
const TEMPERATURE: f64 = 0.8;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, text, bytes @ ..] = arguments.as_slice() else {
        bail!("say which model to read and how to begin: complete MODEL \"TEXT\" [BYTES]");
    };
    let n_new = bytes.first().map_or(Ok(300), |n| n.parse()).unwrap_or(300);
    let (tensors, about) = load_weights(Path::new(model))?;
    let Some(n_heads) = about.get("n_heads").and_then(|n| n.parse().ok()) else {
        bail!("{model} does not say how many heads it has");
    };
    // A checkpoint also holds the optimiser's memory, which is as large again, twice.
    let is_weight =
        |name: &str| ["wte.", "wpe.", "h.", "ln_f."].iter().any(|s| name.starts_with(s));
    let mut weights = Weights::new();
    for (name, tensor) in tensors.iter().filter(|(name, _)| is_weight(name)) {
        weights.insert(name, tensor.to_dtype(DType::F32)?);
    }
    let n_ctx = weights.get("wpe.weight")?.dim(0)?;
    let mut tokens: Vec<u32> = text.bytes().map(u32::from).collect();
    let mut state = 1u64;
    for _ in 0..n_new {
        let seen = &tokens[tokens.len().saturating_sub(n_ctx)..];
        let window = Tensor::new(seen, &Device::Cpu)?.unsqueeze(0)?; // (1, seq)
        let logits = gpt(&weights, &window, n_heads)?.get(0)?.get(seen.len() - 1)?; // (d_vocab)
        let shares = candle_nn::ops::softmax(&(logits / TEMPERATURE)?, D::Minus1)?;
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut left = (state >> 11) as f64 / (1u64 << 53) as f64;
        let drawn = shares.to_vec1::<f32>()?.into_iter().position(|share| {
            left -= f64::from(share);
            left < 0.0
        });
        tokens.push(drawn.unwrap_or(0) as u32);
    }
    let bytes: Vec<u8> = tokens.into_iter().map(|token| token as u8).collect();
    println!("{}", String::from_utf8_lossy(&bytes));
    Ok(())
}
