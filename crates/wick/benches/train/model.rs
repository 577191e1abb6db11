//! One GPT in three ways: candle's plain operations, fused ones, and whole blocks.

use candle_core::{DType, Device, Result, Tensor, Var, backprop::GradStore};
use candle_nn::Optimizer as _;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use wick::{
    Weights,
    fused::{self, AdamW, AdamWSettings, Gpt, plain},
};

use crate::{Place, size::Size};

/// How a step is computed.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// By candle's own operations and optimiser.
    Plain,
    /// By one fused operation for each of them.
    Operations,
    /// By one node for each sublayer, and all weights in one buffer.
    Blocks,
}

/// A model with its optimiser.
pub(crate) trait Model {
    fn loss(&self, tokens: &Tensor, targets: &Tensor) -> Result<Tensor>;
    fn step(&mut self, gradients: &GradStore) -> Result<()>;
}

pub(crate) fn model(way: Way, size: Size, place: &Place) -> Result<Box<dyn Model>> {
    let weights = start(size, &place.device)?;
    if let Way::Blocks = way {
        return Ok(Box::new(Gpt::new(&weights, size.n_heads)?));
    }
    let mut vars = Vec::new();
    let mut named = Weights::new();
    for (name, tensor) in weights.iter() {
        let var = Var::from_tensor(tensor)?;
        named.insert(name, var.as_tensor().clone());
        vars.push(var);
    }
    let optimiser = if let Way::Plain = way {
        let settings = candle_nn::ParamsAdamW { lr: LR, ..Default::default() };
        Descent::Plain(candle_nn::AdamW::new(vars.clone(), settings)?, vars)
    } else {
        Descent::Fused(AdamW::new(vars, settings())?)
    };
    Ok(Box::new(Nodes { weights: named, size, way, dtype: place.dtype, optimiser }))
}

const LR: f64 = 1e-3;
const MAX_NORM: f64 = 1.0;

fn settings() -> AdamWSettings {
    AdamWSettings { lr: LR, ..AdamWSettings::default() }
}

/// Weights to start from; near to normal, by the sum of uniform numbers.
fn start(size: Size, device: &Device) -> Result<Weights> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut weights = Weights::new();
    let mut draw = |name: String, shape: &[usize]| -> Result<()> {
        let n = shape.iter().product();
        let mut uniform = || f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
        let numbers: Vec<f32> =
            (0..n).map(|_| ((0..12).map(|_| uniform()).sum::<f64>() * 0.02) as f32).collect();
        weights.insert(&name, Tensor::from_vec(numbers, shape, device)?);
        Ok(())
    };
    let d = size.d_model;
    draw("wte.weight".to_owned(), &[size.d_vocab, d])?;
    draw("wpe.weight".to_owned(), &[size.seq, d])?;
    for layer in 0..size.n_layers {
        let linears = [("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d)];
        let mlp = [("mlp.c_fc", d, 4 * d), ("mlp.c_proj", 4 * d, d)];
        for (name, d_in, d_out) in linears.into_iter().chain(mlp) {
            draw(format!("h.{layer}.{name}.weight"), &[d_in, d_out])?;
            draw(format!("h.{layer}.{name}.bias"), &[d_out])?;
        }
    }
    let norms = (0..size.n_layers).flat_map(|n| [format!("h.{n}.ln_1"), format!("h.{n}.ln_2")]);
    for name in norms.chain(["ln_f".to_owned()]) {
        weights.insert(&format!("{name}.weight"), Tensor::ones(d, DType::F32, device)?);
        weights.insert(&format!("{name}.bias"), Tensor::zeros(d, DType::F32, device)?);
    }
    Ok(weights)
}

impl Model for Gpt {
    fn loss(&self, tokens: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Self::loss(self, tokens, targets)
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.parameters_mut().step(gradients, settings(), Some(MAX_NORM)).map(|_| ())
    }
}

enum Descent {
    Plain(candle_nn::AdamW, Vec<Var>),
    Fused(AdamW),
}

/// A GPT of single operations.
struct Nodes {
    weights: Weights,
    size: Size,
    way: Way,
    /// What products of matrices are in; weights, residual stream, norms and loss stay in `f32`.
    dtype: DType,
    optimiser: Descent,
}

impl Model for Nodes {
    fn loss(&self, tokens: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let resid = self.resid(tokens)?;
        let normed = self.norm("ln_f", &resid)?.flatten_to(1)?;
        let unembed = self.weights.get("wte.weight")?.t()?;
        match self.way {
            Way::Plain => {
                let logits = self.narrow(&normed)?.matmul(&self.narrow(&unembed)?)?;
                plain::cross_entropy(&logits.to_dtype(DType::F32)?, targets)
            }
            _ => fused::cross_entropy(&fused::linear(&normed, &unembed, None)?, targets),
        }
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        match &mut self.optimiser {
            Descent::Fused(optimiser) => optimiser.clipped_step(gradients, MAX_NORM).map(|_| ()),
            Descent::Plain(optimiser, vars) => {
                let mut norm = 0.0;
                for gradient in vars.iter().filter_map(|var| gradients.get(var)) {
                    norm += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
                }
                // Gradients are left as they are: plain operations get that for nothing.
                assert!(norm.is_finite(), "the gradient is {norm}");
                optimiser.step(gradients)
            }
        }
    }
}

impl Nodes {
    fn resid(&self, tokens: &Tensor) -> Result<Tensor> {
        let (wte, wpe) = (self.weights.get("wte.weight")?, self.weights.get("wpe.weight")?);
        let embedded = match self.way {
            Way::Plain => plain::embedding(wte, tokens)?,
            _ => fused::embedding(wte, tokens)?,
        };
        let mut resid = embedded.broadcast_add(wpe)?;
        for layer in 0..self.size.n_layers {
            let block = format!("h.{layer}");
            let normed = self.norm(&format!("{block}.ln_1"), &resid)?;
            let qkv = self.linear(&format!("{block}.attn.c_attn"), &normed)?;
            let z = match self.way {
                Way::Plain => plain::causal_self_attention(&qkv, self.size.n_heads)?,
                _ => fused::causal_self_attention(&qkv, self.size.n_heads)?,
            };
            let attn_out = self.linear(&format!("{block}.attn.c_proj"), &z)?;
            resid = (resid + attn_out.to_dtype(DType::F32)?)?;
            let normed = self.norm(&format!("{block}.ln_2"), &resid)?;
            let pre = self.linear(&format!("{block}.mlp.c_fc"), &normed)?;
            let post = match self.way {
                Way::Plain => pre.gelu()?,
                _ => fused::gelu_tanh(&pre)?,
            };
            let mlp_out = self.linear(&format!("{block}.mlp.c_proj"), &post)?;
            resid = (resid + mlp_out.to_dtype(DType::F32)?)?;
        }
        Ok(resid)
    }

    /// In the numbers of products; `f32` is left as it is.
    fn narrow(&self, x: &Tensor) -> Result<Tensor> {
        x.to_dtype(self.dtype)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let gain = self.weights.get(&format!("{name}.weight"))?;
        let bias = self.weights.get(&format!("{name}.bias"))?;
        match self.way {
            Way::Plain => plain::layer_norm(x, gain, bias, 1e-5),
            _ => fused::layer_norm(x, gain, bias, 1e-5),
        }
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let weight = self.weights.get(&format!("{name}.weight"))?;
        let bias = self.weights.get(&format!("{name}.bias"))?;
        match self.way {
            Way::Plain => {
                let (weight, bias) = (self.narrow(weight)?, self.narrow(bias)?);
                plain::linear(&self.narrow(x)?, &weight, Some(&bias))
            }
            _ => fused::linear(x, weight, Some(bias)),
        }
    }
}
