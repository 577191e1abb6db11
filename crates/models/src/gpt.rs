//! A GPT that stops at hooks, in GPT-2's tensor names.

use std::collections::BTreeMap;

use answer::Weights;
use candle_core::{D, DType, Device, Error, Result, Tensor, bail};
use safetensors::SafeTensors;

use crate::{
    hook::{Hook, Hooks, Place},
    tensors,
};

/// What is added under the root of a norm.
const EPS: f64 = 1e-5;

/// A transformer that reads tokens: named tensors, and how many heads share each block.
///
/// What has no tensors is left out: `wpe` the positions, `h.N.ln_1` and `h.N.ln_2` and `ln_f` the
/// norms, `h.N.attn` attention, `h.N.mlp` the MLP, and any bias. `lm_head.weight`, as
/// `(d_vocab, d_model)`, unembeds if there is one, else `wte.weight` does. GPT-2's masks
/// `h.N.attn.bias` and `h.N.attn.masked_bias` are passed over. Dtype and device are the tensors'.
///
/// # Example: no blocks, so a token is answered by the tokens like it
///
/// ```
/// use candle_core::{Device, Tensor};
/// use models::Gpt;
///
/// let wte = Tensor::new(&[[1f32, 0.], [0., 1.], [2., 2.]], &Device::Cpu)?;
/// let gpt = Gpt::new([("wte.weight".to_owned(), wte)].into_iter().collect(), 1)?;
/// let tokens = Tensor::new(&[[2u32, 0]], &Device::Cpu)?;
/// let logits = gpt.forward(&tokens, &mut ())?;
/// assert_eq!(logits.to_vec3::<f32>()?, [[[2., 2., 8.], [1., 0., 2.]]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gpt {
    weights: Weights,
    n_heads: usize,
    n_layers: usize,
    d_model: usize,
}

impl Gpt {
    /// Makes a model of its tensors.
    ///
    /// # Errors
    ///
    /// Fails, with the whole name of the tensor, if one is missing, has another shape or dtype than
    /// it must, holds a number that is not finite, or is used by nothing; or if `n_heads` does not
    /// divide what `h.N.attn.c_attn` gives.
    pub fn new(weights: Weights, n_heads: usize) -> Result<Self> {
        if n_heads == 0 {
            bail!("`n_heads` is 0");
        }
        let n_layers = tensors::check(&weights, n_heads)?;
        let d_model = weights.get("wte.weight")?.dim(1)?;
        Ok(Self { weights, n_heads, n_layers, d_model })
    }

    /// Makes a model of a safetensors file's bytes, whose words say `n_heads`, and returns all of
    /// those words too. Half precision becomes `f32`.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no such file, or as [`Gpt::new`] does.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, BTreeMap<String, String>)> {
        let (_, about) = SafeTensors::read_metadata(bytes).map_err(Error::wrap)?;
        let about: BTreeMap<String, String> =
            about.metadata().clone().unwrap_or_default().into_iter().collect();
        let n_heads = about.get("n_heads").and_then(|number| number.parse().ok());
        let Some(n_heads) = n_heads else {
            bail!("the file's words do not say `n_heads`");
        };
        let single = |(name, tensor): (String, Tensor)| match tensor.dtype() {
            DType::F16 | DType::BF16 => Ok((name, tensor.to_dtype(DType::F32)?)),
            _ => Ok((name, tensor)),
        };
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?;
        let weights = tensors.into_iter().map(single).collect::<Result<_>>()?;
        Ok((Self::new(weights, n_heads)?, about))
    }

    /// Its tensors by name.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Blocks.
    #[must_use]
    pub fn n_layers(&self) -> usize {
        self.n_layers
    }

    /// Heads in each block.
    #[must_use]
    pub fn n_heads(&self) -> usize {
        self.n_heads
    }

    /// Width of the residual stream.
    #[must_use]
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// The tokens that it knows, which are the logits that it gives.
    #[must_use]
    pub fn d_vocab(&self) -> usize {
        let unembed = self.weights.find("lm_head.weight").or(self.weights.find("wte.weight"));
        unembed.map_or(0, |matrix| matrix.dims()[0])
    }

    /// The most tokens that it reads at once; without embedded positions there is no such number.
    #[must_use]
    pub fn n_ctx(&self) -> Option<usize> {
        self.weights.find("wpe.weight").map(|wpe| wpe.dims()[0])
    }

    /// The logits at every position, `(batch, seq, d_vocab)`, for tokens that are `(batch, seq)`.
    ///
    /// It stops at every hook that the model has, in the order of [`Place`], block by block, and
    /// goes on with what `hooks` gives. Values may come as views that are not contiguous.
    ///
    /// # Errors
    ///
    /// Fails if a token is not below `d_vocab`, if there are no tokens or more than `n_ctx`, if a
    /// hook gives another shape or dtype than it got, or if `hooks` fails.
    pub fn forward(&self, tokens: &Tensor, hooks: &mut (impl Hooks + ?Sized)) -> Result<Tensor> {
        let (batch, seq) = tokens.dims2()?;
        let mut stops = Stops { hooks, layer: None };
        let mut resid = self.embed(tokens, &mut stops)?; // (batch, seq, d_model)
        for layer in 0..self.n_layers {
            stops.layer = Some(layer);
            resid = self.block(layer, resid, &mut stops)?;
        }
        stops.layer = None;
        let normed =
            self.norm("ln_f", &resid, &mut stops, [Place::FinalScale, Place::FinalNorm])?;
        let unembed = self.weights.find("lm_head.weight");
        let unembed = unembed.map_or_else(|| self.weights.get("wte.weight"), Ok)?;
        normed.flatten_to(1)?.matmul(&unembed.t()?)?.reshape((batch, seq, ()))
    }

    fn embed<H: Hooks + ?Sized>(
        &self,
        tokens: &Tensor,
        stops: &mut Stops<'_, H>,
    ) -> Result<Tensor> {
        let (batch, seq) = tokens.dims2()?;
        let wte = self.weights.get("wte.weight")?;
        self.check_tokens(tokens, wte.dim(0)?)?;
        let embedded = wte.index_select(&tokens.flatten_all()?, 0)?;
        let embedded = stops.at(Place::Embed, embedded.reshape((batch, seq, self.d_model))?)?;
        let Some(wpe) = self.weights.find("wpe.weight") else { return Ok(embedded) };
        let places = wpe.narrow(0, 0, seq)?.broadcast_as((batch, seq, self.d_model))?;
        embedded + stops.at(Place::PosEmbed, places)?
    }

    fn check_tokens(&self, tokens: &Tensor, known: usize) -> Result<()> {
        let (batch, seq) = tokens.dims2()?;
        if batch == 0 || seq == 0 {
            bail!("`tokens` has shape {:?}, which holds none", tokens.dims());
        }
        if let Some(n_ctx) = self.n_ctx().filter(|&n_ctx| seq > n_ctx) {
            bail!("`tokens` has a seq of {seq}, longer than a context of {n_ctx}");
        }
        let largest = tokens.flatten_all()?.to_dtype(DType::U32)?.max(0)?.to_scalar::<u32>()?;
        if largest as usize >= known {
            bail!("`tokens` holds {largest}, but the model knows {known} tokens");
        }
        Ok(())
    }

    /// One block on the residual stream, `(batch, seq, d_model)`.
    fn block<H: Hooks + ?Sized>(
        &self,
        layer: usize,
        resid: Tensor,
        stops: &mut Stops<'_, H>,
    ) -> Result<Tensor> {
        let block = format!("h.{layer}");
        let mut resid = stops.at(Place::ResidPre, resid)?;
        if self.weights.find(&format!("{block}.attn.c_attn.weight")).is_some() {
            let ln_1 = [Place::Norm1Scale, Place::Norm1];
            let normed = self.norm(&format!("{block}.ln_1"), &resid, stops, ln_1)?;
            let attn_out = self.attention(&format!("{block}.attn"), &normed, stops)?;
            resid = (resid + stops.at(Place::AttnOut, attn_out)?)?;
        }
        if self.weights.find(&format!("{block}.mlp.c_fc.weight")).is_some() {
            resid = stops.at(Place::ResidMid, resid)?;
            let ln_2 = [Place::Norm2Scale, Place::Norm2];
            let normed = self.norm(&format!("{block}.ln_2"), &resid, stops, ln_2)?;
            let inside = self.linear(&format!("{block}.mlp.c_fc"), &normed)?;
            let inside = stops.at(Place::MlpPre, inside)?; // (batch, seq, d_mlp)
            let inside = stops.at(Place::MlpPost, inside.gelu()?)?;
            let mlp_out = self.linear(&format!("{block}.mlp.c_proj"), &inside)?;
            resid = (resid + stops.at(Place::MlpOut, mlp_out)?)?;
        }
        stops.at(Place::ResidPost, resid)
    }

    fn attention<H: Hooks + ?Sized>(
        &self,
        name: &str,
        normed: &Tensor,
        stops: &mut Stops<'_, H>,
    ) -> Result<Tensor> {
        let (batch, seq, _) = normed.dims3()?;
        let qkv = self.linear(&format!("{name}.c_attn"), normed)?;
        let qkv = qkv.reshape((batch, seq, 3, self.n_heads, ()))?;
        let part = |n: usize| qkv.narrow(2, n, 1)?.squeeze(2); // (batch, seq, n_heads, d_head)
        let q = stops.at(Place::Q, part(0)?)?;
        let k = stops.at(Place::K, part(1)?)?;
        let v = stops.at(Place::V, part(2)?)?;
        let by_head = |x: &Tensor| x.transpose(1, 2)?.contiguous(); // (batch, n_heads, seq, d_head)
        let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
        let scores = (by_head(&q)? * scale)?.matmul(&by_head(&k)?.t()?)?;
        let scores = scores.broadcast_add(&future(seq, &scores)?)?;
        let scores = stops.at(Place::Scores, scores)?; // (batch, n_heads, seq_q, seq_k)
        let pattern = stops.at(Place::Pattern, softmax(&scores)?)?;
        let z = pattern.contiguous()?.matmul(&by_head(&v)?)?.transpose(1, 2)?;
        let z = stops.at(Place::Z, z)?; // (batch, seq, n_heads, d_head)
        self.linear(&format!("{name}.c_proj"), &z.flatten_from(2)?)
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (batch, seq, _) = x.dims3()?;
        let weight = self.weights.get(&format!("{name}.weight"))?;
        let out = x.flatten_to(1)?.matmul(weight)?;
        let out = match self.weights.find(&format!("{name}.bias")) {
            Some(bias) => out.broadcast_add(bias)?,
            None => out,
        };
        out.reshape((batch, seq, ()))
    }

    /// A norm, if there is one of this name; else what came.
    fn norm<H: Hooks + ?Sized>(
        &self,
        name: &str,
        x: &Tensor,
        stops: &mut Stops<'_, H>,
        [scale, normed]: [Place; 2],
    ) -> Result<Tensor> {
        let Some(weight) = self.weights.find(&format!("{name}.weight")) else {
            return Ok(x.clone());
        };
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
        let deviation = stops.at(scale, deviation)?; // (batch, seq, 1)
        let mut out = centred.broadcast_div(&deviation)?.broadcast_mul(weight)?;
        if let Some(bias) = self.weights.find(&format!("{name}.bias")) {
            out = out.broadcast_add(bias)?;
        }
        stops.at(normed, out)
    }
}

/// The hooks of a forward pass, and the block in which it is.
struct Stops<'a, H: ?Sized> {
    hooks: &'a mut H,
    layer: Option<usize>,
}

impl<H: Hooks + ?Sized> Stops<'_, H> {
    fn at(&mut self, place: Place, value: Tensor) -> Result<Tensor> {
        let hook = Hook { place, layer: self.layer };
        let (shape, dtype) = (value.shape().clone(), value.dtype());
        let next = self.hooks.at(hook, value)?;
        if *next.shape() != shape || next.dtype() != dtype {
            bail!(
                "at `{hook}` came {:?} of {:?}; the model goes on with {dtype:?} of {:?} only",
                next.dtype(),
                next.dims(),
                shape.dims()
            );
        }
        Ok(next)
    }
}

/// What is added to scores, so that no query sees a later key: −∞ above the diagonal.
fn future(seq: usize, like: &Tensor) -> Result<Tensor> {
    let hidden = |at: usize| if at % seq > at / seq { f32::NEG_INFINITY } else { 0.0 };
    let hidden: Vec<f32> = (0..seq * seq).map(hidden).collect();
    Tensor::from_vec(hidden, (seq, seq), like.device())?.to_dtype(like.dtype())
}

fn softmax(scores: &Tensor) -> Result<Tensor> {
    let moved = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    moved.broadcast_div(&moved.sum_keepdim(D::Minus1)?)
}
