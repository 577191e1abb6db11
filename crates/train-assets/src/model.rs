//! A GPT in GPT-2's tensor names.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

use crate::Config;

/// Tensors by name.
pub(crate) type Named = BTreeMap<String, Tensor>;

/// What is added under the root of a norm.
const EPS: f64 = 1e-5;

/// Draws the weights to start from, as GPT-2 does: spread 0.02, and less where the stream adds up.
///
/// # Errors
///
/// Fails if candle does.
pub fn start(config: &Config) -> Result<BTreeMap<String, Tensor>> {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let added = 0.02 / (2.0 * config.n_layers as f64).sqrt();
    let d = config.d_model;
    let mut weights = Named::new();
    let mut draw = |name: String, shape: &[usize], spread: f64| -> Result<()> {
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| (normal(&mut rng) * spread) as f32).collect();
        weights.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    };
    draw("wte.weight".to_owned(), &[config.d_vocab(), d], 0.02)?;
    draw("wpe.weight".to_owned(), &[config.n_ctx, d], 0.02)?;
    for layer in 0..config.n_layers {
        let shapes = [("attn.c_attn", d, 3 * d, 0.02), ("attn.c_proj", d, d, added)];
        let shapes = shapes
            .into_iter()
            .chain([("mlp.c_fc", d, 4 * d, 0.02), ("mlp.c_proj", 4 * d, d, added)]);
        for (name, d_in, d_out, spread) in shapes {
            draw(format!("h.{layer}.{name}.weight"), &[d_in, d_out], spread)?;
            draw(format!("h.{layer}.{name}.bias"), &[d_out], 0.0)?;
        }
    }
    let norms = (0..config.n_layers).flat_map(|n| [format!("h.{n}.ln_1"), format!("h.{n}.ln_2")]);
    for name in norms.chain(["ln_f".to_owned()]) {
        weights.insert(format!("{name}.weight"), Tensor::ones(d, DType::F32, &Device::Cpu)?);
        weights.insert(format!("{name}.bias"), Tensor::zeros(d, DType::F32, &Device::Cpu)?);
    }
    Ok(weights)
}

/// A number from the normal distribution, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    let (radius, angle) = (uniform(), uniform());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
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
    y: &Tensor,
) -> Result<Tensor> {
    let model = Model { weights, n_heads };
    let logits = model.logits(x)?.flatten_to(1)?; // (batch * seq, d_vocab)
    let moved = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = moved.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let targets = y.flatten_all()?.unsqueeze(1)?;
    Ok((log_sum - moved.gather(&targets, 1)?)?.mean_all()?)
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
            let normed = self.norm(&format!("{block}.ln_2"), &resid)?;
            let inside = self.linear(&format!("{block}.mlp.c_fc"), &normed)?.gelu()?;
            resid = (resid + self.linear(&format!("{block}.mlp.c_proj"), &inside)?)?;
        }
        let normed = self.norm("ln_f", &resid)?.flatten_to(1)?;
        Ok(normed.matmul(&wte.t()?)?.reshape((batch, seq, ()))?)
    }

    fn attention(&self, block: &str, normed: &Tensor) -> Result<Tensor> {
        let (batch, seq, d_model) = normed.dims3()?;
        let d_head = d_model / self.n_heads;
        let qkv = self.linear(&format!("{block}.attn.c_attn"), normed)?;
        let qkv = qkv.reshape((batch, seq, 3, self.n_heads, d_head))?.permute((2, 0, 3, 1, 4))?;
        let part = |n: usize| qkv.get(n)?.contiguous(); // (batch, n_heads, seq, d_head)
        let scores = (part(0)? * (1.0 / (d_head as f64).sqrt()))?.matmul(&part(1)?.t()?)?;
        let hidden: Vec<f32> = (0..seq * seq)
            .map(|at| if at % seq <= at / seq { 0.0 } else { f32::NEG_INFINITY })
            .collect();
        let hidden = Tensor::from_vec(hidden, (seq, seq), normed.device())?;
        let pattern = ops::softmax(&scores.broadcast_add(&hidden)?, D::Minus1)?;
        let z = pattern.matmul(&part(2)?)?.transpose(1, 2)?.reshape((batch, seq, d_model))?;
        self.linear(&format!("{block}.attn.c_proj"), &z)
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let (batch, seq, _) = x.dims3()?;
        let out = x.flatten_to(1)?.matmul(self.get(&weight)?)?;
        Ok(out.broadcast_add(self.get(&bias)?)?.reshape((batch, seq, ()))?)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let spread = (centred.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let normed = centred.broadcast_div(&spread)?;
        Ok(normed.broadcast_mul(self.get(&weight)?)?.broadcast_add(self.get(&bias)?)?)
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
        let loss = loss(&weights, 2, &tokens, &tokens).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 256f32.ln()).abs() < 0.2, "{loss}");
    }
}
