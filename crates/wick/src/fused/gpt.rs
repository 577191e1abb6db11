//! A GPT to train, in GPT-2's names, each of its sublayers one node of candle's graph.

use candle_core::{Result, Tensor, bail};
use kernels::{Activation, Packed};

use super::{
    Parameters,
    blocks::{AttentionBlock, EPS, EmbedNode, LinearSlots, LossHead, MlpBlock, NormSlots},
    causal_self_attention, cross_entropy, embedding, gelu_tanh, layer_norm, linear,
    numbers::{self, Kept},
};
use crate::Weights;

/// A GPT with learned positions, GELU by tanh and an unembedding tied to the embedding.
///
/// # Example
///
/// ```no_run
/// # use candle_core::{Result, Tensor};
/// # use wick::{Weights, fused::{AdamWSettings, Gpt}};
/// # fn run(weights: Weights, tokens: Tensor, targets: Tensor) -> Result<()> {
/// let mut gpt = Gpt::new(&weights, 4)?;
/// let loss = gpt.loss(&tokens, &targets)?;
/// let gradients = loss.backward()?;
/// gpt.parameters_mut().step(&gradients, AdamWSettings::default(), Some(1.0))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Gpt {
    parameters: Parameters,
    n_heads: usize,
    n_layers: usize,
    d_model: usize,
}

impl Gpt {
    /// Takes weights in GPT-2's names: `wte.weight`, `wpe.weight`, `h.0.ln_1.weight`,
    /// `h.0.attn.c_attn.weight` as `(d_model, 3 · d_model)`, …, `ln_f.bias`.
    ///
    /// # Errors
    ///
    /// Fails if one is missing, or if `n_heads` does not divide `d_model`.
    pub fn new(weights: &Weights, n_heads: usize) -> Result<Self> {
        let parameters = Parameters::new(weights)?;
        let (_, d_model) = parameters.shape("wte.weight")?.dims2()?;
        if n_heads == 0 || d_model % n_heads != 0 {
            bail!("d_model is {d_model}, which {n_heads} heads do not divide")
        }
        let n_layers = parameters.names().filter(|name| name.ends_with(".ln_1.weight")).count();
        Ok(Self { parameters, n_heads, n_layers, d_model })
    }

    /// The weights.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The weights, to move them.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// The mean surprise, in nats, at what follows each of the tokens.
    ///
    /// # Shapes
    ///
    /// | tensor | shape | dtype |
    /// |---|---|---|
    /// | `tokens`, `targets` | `(batch, seq)` | integers below `d_vocab` |
    ///
    /// # Errors
    ///
    /// Fails if a token is not below `d_vocab`, or if there are more positions than `wpe` has.
    pub fn loss(&self, tokens: &Tensor, targets: &Tensor) -> Result<Tensor> {
        if tokens.dims2()? != targets.dims2()? {
            bail!("`tokens` is {:?}, but `targets` is {:?}", tokens.shape(), targets.shape())
        }
        let resid = self.resid(tokens)?;
        if !self.has_kernels(tokens) {
            return cross_entropy(&self.unembed(&resid)?.flatten_to(1)?, targets);
        }
        let (d_vocab, d_model) = self.parameters.shape("wte.weight")?.dims2()?;
        let head = LossHead {
            norm: self.norm_slots("ln_f")?,
            table: self.parameters.slot("wte.weight", &[d_vocab, d_model])?,
            d_vocab,
            d_model,
            targets: numbers::ids(targets, d_vocab)?,
            sink: self.parameters.sink(),
            kept: Kept::nothing(),
        };
        resid.apply_op2(self.parameters.flat(), head)
    }

    /// Logits of what follows each of the tokens, `(batch, seq, d_vocab)`.
    ///
    /// # Errors
    ///
    /// As [`Gpt::loss`].
    pub fn logits(&self, tokens: &Tensor) -> Result<Tensor> {
        self.unembed(&self.resid(tokens)?)
    }

    fn has_kernels(&self, tokens: &Tensor) -> bool {
        self.parameters.has_kernels() && tokens.elem_count() > 0
    }

    fn unembed(&self, resid: &Tensor) -> Result<Tensor> {
        let normed = self.plain_norm("ln_f", resid)?;
        linear(&normed, &self.parameters.get("wte.weight")?.t()?, None)
    }

    /// The residual stream after the last block.
    fn resid(&self, tokens: &Tensor) -> Result<Tensor> {
        let (batch, seq) = tokens.dims2()?;
        let (n_ctx, _) = self.parameters.shape("wpe.weight")?.dims2()?;
        if seq > n_ctx {
            bail!("{seq} tokens are more than the {n_ctx} positions of `wpe.weight`")
        }
        let mut resid = self.embed(tokens)?;
        for layer in 0..self.n_layers {
            let block = format!("h.{layer}");
            if self.has_kernels(tokens) {
                let flat = self.parameters.flat();
                resid = resid.apply_op2(flat, self.attention_block(&block, batch, seq)?)?;
                resid = resid.apply_op2(flat, self.mlp_block(&block)?)?;
            } else {
                resid = self.plain_block(&block, &resid)?;
            }
        }
        Ok(resid)
    }

    fn embed(&self, tokens: &Tensor) -> Result<Tensor> {
        let (batch, seq) = tokens.dims2()?;
        let (d_vocab, d_model) = self.parameters.shape("wte.weight")?.dims2()?;
        let (n_ctx, _) = self.parameters.shape("wpe.weight")?.dims2()?;
        if !self.has_kernels(tokens) {
            let positions = self.parameters.get("wpe.weight")?.narrow(0, 0, seq)?;
            let embedded = embedding(&self.parameters.get("wte.weight")?, tokens)?;
            return embedded.broadcast_add(&positions);
        }
        let node = EmbedNode {
            tokens: numbers::ids(tokens, d_vocab)?,
            table: self.parameters.slot("wte.weight", &[d_vocab, d_model])?,
            positions: self.parameters.slot("wpe.weight", &[n_ctx, d_model])?,
            shape: (batch, seq, d_model),
            sink: self.parameters.sink(),
        };
        self.parameters.flat().apply_op1(node)
    }

    fn attention_block(&self, block: &str, batch: usize, seq: usize) -> Result<AttentionBlock> {
        let d_head = self.d_model / self.n_heads;
        let scale = 1.0 / (d_head as f32).sqrt();
        Ok(AttentionBlock {
            norm: self.norm_slots(&format!("{block}.ln_1"))?,
            qkv: self.linear_slots(&format!("{block}.attn.c_attn"))?,
            out: self.linear_slots(&format!("{block}.attn.c_proj"))?,
            sizes: Packed { batch, seq, n_heads: self.n_heads, d_head, scale },
            sink: self.parameters.sink(),
            kept: Kept::nothing(),
        })
    }

    fn mlp_block(&self, block: &str) -> Result<MlpBlock> {
        Ok(MlpBlock {
            norm: self.norm_slots(&format!("{block}.ln_2"))?,
            fc: self.linear_slots(&format!("{block}.mlp.c_fc"))?,
            proj: self.linear_slots(&format!("{block}.mlp.c_proj"))?,
            activation: Activation::GeluTanh,
            sink: self.parameters.sink(),
            kept: Kept::nothing(),
        })
    }

    fn norm_slots(&self, name: &str) -> Result<NormSlots> {
        let slot = |part: &str| self.parameters.slot(&format!("{name}.{part}"), &[self.d_model]);
        Ok(NormSlots { gain: slot("weight")?, bias: slot("bias")? })
    }

    fn linear_slots(&self, name: &str) -> Result<LinearSlots> {
        let weight = format!("{name}.weight");
        let (d_in, d_out) = self.parameters.shape(&weight)?.dims2()?;
        let weight = self.parameters.slot(&weight, &[d_in, d_out])?;
        let bias = self.parameters.slot(&format!("{name}.bias"), &[d_out])?;
        Ok(LinearSlots { weight, bias, d_in, d_out })
    }

    fn plain_block(&self, block: &str, resid_pre: &Tensor) -> Result<Tensor> {
        let normed = self.plain_norm(&format!("{block}.ln_1"), resid_pre)?;
        let qkv = self.plain_linear(&format!("{block}.attn.c_attn"), &normed)?;
        let z = causal_self_attention(&qkv, self.n_heads)?;
        let resid_mid = (resid_pre + self.plain_linear(&format!("{block}.attn.c_proj"), &z)?)?;
        let normed = self.plain_norm(&format!("{block}.ln_2"), &resid_mid)?;
        let mlp_post = gelu_tanh(&self.plain_linear(&format!("{block}.mlp.c_fc"), &normed)?)?;
        resid_mid + self.plain_linear(&format!("{block}.mlp.c_proj"), &mlp_post)?
    }

    fn plain_norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let get = |part: &str| self.parameters.get(&format!("{name}.{part}"));
        layer_norm(x, &get("weight")?, &get("bias")?, f64::from(EPS))
    }

    fn plain_linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let get = |part: &str| self.parameters.get(&format!("{name}.{part}"));
        linear(x, &get("weight")?, Some(&get("bias")?))
    }
}
