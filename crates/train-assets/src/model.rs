//! A GPT in GPT-2's tensor names.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{D, DType, Device, Tensor};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

use crate::{Config, Task, fused};

/// Tensors by name.
pub(crate) type Named = BTreeMap<String, Tensor>;

/// Draws the weights to start from, as GPT-2 does: with one spread, and less of it where the stream
/// adds up.
///
/// # Errors
///
/// Fails if candle does.
pub fn start(config: &Config) -> Result<BTreeMap<String, Tensor>> {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let spread = config.spread;
    let added = spread / (2.0 * config.n_layers as f64).sqrt();
    let d = config.d_model;
    let mut weights = Named::new();
    let mut draw = |name: String, shape: &[usize], spread: f64| -> Result<()> {
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| (normal(&mut rng) * spread) as f32).collect();
        weights.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    };
    draw("wte.weight".to_owned(), &[config.d_vocab(), d], spread)?;
    draw("wpe.weight".to_owned(), &[config.n_ctx, d], spread)?;
    let waves = (config.task == Task::Repeats).then(|| waves(config)).transpose()?;
    for layer in 0..config.n_layers {
        let attention = [("attn.c_attn", d, 3 * d, spread), ("attn.c_proj", d, d, added)];
        let mlp = [("mlp.c_fc", d, 4 * d, spread), ("mlp.c_proj", 4 * d, d, added)];
        let mlp = mlp.into_iter().filter(|_| config.has_mlps);
        let shapes = attention.into_iter().chain(mlp);
        for (name, d_in, d_out, spread) in shapes {
            draw(format!("h.{layer}.{name}.weight"), &[d_in, d_out], spread)?;
            draw(format!("h.{layer}.{name}.bias"), &[d_out], 0.0)?;
        }
    }
    let norms = (0..config.n_layers).flat_map(|n| [format!("h.{n}.ln_1"), format!("h.{n}.ln_2")]);
    let norms = norms.filter(|name| config.has_mlps || !name.ends_with("ln_2"));
    for name in norms.chain(["ln_f".to_owned()]) {
        weights.insert(format!("{name}.weight"), Tensor::ones(d, DType::F32, &Device::Cpu)?);
        weights.insert(format!("{name}.bias"), Tensor::zeros(d, DType::F32, &Device::Cpu)?);
    }
    weights.extend(waves.map(|waves| ("wpe.weight".to_owned(), waves)));
    if config.task == Task::Repeats {
        copy_at_first(config, &mut weights)?;
        look_back(config, &mut weights)?;
    }
    Ok(weights)
}

/// Lets the heads of the last block begin by writing what they read: the way out is the way in,
/// turned around.
fn copy_at_first(config: &Config, weights: &mut Named) -> Result<()> {
    let (d, block) = (config.d_model, format!("h.{}.attn", config.n_layers - 1));
    let values = weights[&format!("{block}.c_attn.weight")].narrow(1, 2 * d, d)?;
    weights.insert(format!("{block}.c_proj.weight"), values.t()?.contiguous()?);
    Ok(())
}

/// How fast the wave in a pair of columns turns, in radians a position: from slow to fast in equal
/// steps, so that all together they tell each position from every other.
fn frequency(pair: usize, d_model: usize) -> f64 {
    std::f64::consts::PI * (pair as f64 + 0.5) / (d_model / 2) as f64
}

/// Positions as sines and cosines, of the same size as what is drawn.
fn waves(config: &Config) -> Result<Tensor> {
    let (n_ctx, d) = (config.n_ctx, config.d_model);
    let wave = |at: usize| {
        let angle = (at / d) as f64 * frequency(at % d / 2, d);
        let wave = if at.is_multiple_of(2) { angle.sin() } else { angle.cos() };
        (wave * config.spread * std::f64::consts::SQRT_2) as f32
    };
    Ok(Tensor::from_vec((0..n_ctx * d).map(wave).collect::<Vec<_>>(), (n_ctx, d), &Device::Cpu)?)
}

/// Lets the first head of block 0 begin at the token before: a key is turned by one position, and
/// every second wave is compared.
///
/// From noise, heads come to look at all of the last few tokens, or at everything but the answer.
/// That continues repeats as well, and is not the circuit that these models are there to show.
fn look_back(config: &Config, weights: &mut Named) -> Result<()> {
    const GAIN: f64 = 1.5;
    let (d, d_head) = (config.d_model, config.d_model / config.n_heads);
    let name = "h.0.attn.c_attn.weight";
    let mut rows = weights[name].to_vec2::<f32>()?;
    for row in &mut rows {
        row[..d_head].fill(0.0);
        row[d..d + d_head].fill(0.0);
    }
    for at in (0..d_head).step_by(2) {
        let (sine, cosine) = (2 * at + 2, 2 * at + 3);
        let turn = frequency(at + 1, d);
        let [near, far] = [turn.cos(), turn.sin()].map(|part| (GAIN * part) as f32);
        (rows[sine][at], rows[cosine][at + 1]) = (GAIN as f32, GAIN as f32);
        (rows[sine][d + at], rows[cosine][d + at]) = (near, far);
        (rows[sine][d + at + 1], rows[cosine][d + at + 1]) = (-far, near);
    }
    weights.insert(name.to_owned(), Tensor::new(rows, &Device::Cpu)?);
    Ok(())
}

/// A number from the normal distribution, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    let (radius, angle) = (uniform(), uniform());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// What should follow each token.
#[derive(Clone, Debug)]
pub enum Targets {
    /// A token, `(batch, seq)`.
    Tokens(Tensor),
    /// The chance of each token, `(batch, seq, d_vocab)`. Where all are 0, nothing is asked.
    Chances(Tensor),
}

/// The mean surprise, in nats, at what follows each of the tokens `x`, which are `(batch, seq)`.
///
/// # Errors
///
/// Fails if a tensor is missing or of the wrong shape.
pub fn loss(
    weights: &BTreeMap<String, Tensor>,
    n_heads: usize,
    x: &Tensor,
    targets: &Targets,
) -> Result<Tensor> {
    let logits = logits(weights, n_heads, x)?.flatten_to(1)?; // (batch * seq, d_vocab)
    let moved = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = moved.exp()?.sum_keepdim(D::Minus1)?.log()?;
    match targets {
        Targets::Tokens(tokens) => {
            let tokens = tokens.flatten_all()?.unsqueeze(1)?;
            Ok((log_sum - moved.gather(&tokens, 1)?)?.mean_all()?)
        }
        Targets::Chances(chances) => {
            let chances = chances.flatten_to(1)?;
            let asked = chances.sum_keepdim(D::Minus1)?;
            let surprise = ((log_sum * &asked)?.sum_all()? - (moved * chances)?.sum_all()?)?;
            Ok((surprise / asked.sum_all()?)?)
        }
    }
}

/// The logits at every position, `(batch, seq, d_vocab)`.
///
/// # Errors
///
/// Fails if a tensor is missing or of the wrong shape.
pub fn logits(weights: &BTreeMap<String, Tensor>, n_heads: usize, x: &Tensor) -> Result<Tensor> {
    Model { weights, n_heads }.logits(x)
}

struct Model<'a> {
    weights: &'a Named,
    n_heads: usize,
}

impl Model<'_> {
    fn get(&self, name: &str) -> Result<&Tensor> {
        self.weights.get(name).with_context(|| format!("there is no tensor `{name}`"))
    }

    fn logits(&self, tokens: &Tensor) -> Result<Tensor> {
        let (batch, seq) = tokens.dims2()?;
        let wte = self.get("wte.weight")?;
        let embedded = wte.index_select(&tokens.flatten_all()?, 0)?;
        let embedded = embedded.reshape((batch, seq, wte.dim(1)?))?;
        let mut resid = embedded.broadcast_add(&self.get("wpe.weight")?.narrow(0, 0, seq)?)?;
        let n_layers = self.weights.keys().filter(|name| name.ends_with(".ln_1.bias")).count();
        for layer in 0..n_layers {
            let block = format!("h.{layer}");
            let normed = self.norm(&format!("{block}.ln_1"), &resid)?;
            resid = (resid + self.attention(&block, &normed)?)?;
            if self.weights.contains_key(&format!("{block}.ln_2.weight")) {
                let normed = self.norm(&format!("{block}.ln_2"), &resid)?;
                let inside = fused::gelu(&self.linear(&format!("{block}.mlp.c_fc"), &normed)?)?;
                resid = (resid + self.linear(&format!("{block}.mlp.c_proj"), &inside)?)?;
            }
        }
        let normed = self.norm("ln_f", &resid)?.flatten_to(1)?;
        Ok(normed.matmul(&wte.t()?)?.reshape((batch, seq, ()))?)
    }

    fn attention(&self, block: &str, normed: &Tensor) -> Result<Tensor> {
        // (batch, seq, 3 * d_model)
        let qkv = self.linear(&format!("{block}.attn.c_attn"), normed)?;
        self.linear(&format!("{block}.attn.c_proj"), &fused::attention(&qkv, self.n_heads)?)
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let (batch, seq, _) = x.dims3()?;
        let out = x.flatten_to(1)?.matmul(self.get(&weight)?)?;
        Ok(fused::add_bias(&out, self.get(&bias)?)?.reshape((batch, seq, ()))?)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        Ok(fused::layer_norm(x, self.get(&weight)?, self.get(&bias)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untrained_model_knows_nothing() {
        let config = Config { d_model: 8, n_heads: 2, n_layers: 2, ..crate::CHAR_GPT };
        let weights = start(&config).unwrap();
        let tokens = Tensor::new(&[[1u32, 2, 3], [4, 5, 6]], &Device::Cpu).unwrap();
        let targets = Targets::Tokens(tokens.clone());
        let loss = loss(&weights, 2, &tokens, &targets).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 256f32.ln()).abs() < 0.2, "{loss}");
    }
}
