//! Text out of a GPT, one token at a time.

use candle_core::{Result, Tensor, bail};
use wick::{Numbers, Weights, part};

use crate::{
    embed,
    model::{below, block, norm},
    sampling::sample,
    unembed,
};

/// Continues texts with a GPT, and computes nothing twice.
///
/// # Shapes
///
/// | value      | shape                | dtype or meaning                                      |
/// |------------|----------------------|-------------------------------------------------------|
/// | `weights`  | as in [`gpt`]        | `f32` or `f64`                                        |
/// | `tokens`   | `(batch, seq)`       | `u32`: the texts to continue                          |
/// | `n_heads`  |                      | as in [`gpt`]                                         |
/// | `settings` |                      | as in `sample`                                        |
/// | `noise`    | `(batch, n_new)`     | as the weights, uniform in `[0, 1)`; `n_new` may be 0 |
/// | result     | `(batch, seq + n_new)` | `u32`: the texts with their continuations           |
///
/// [`gpt`]: crate::model::gpt
///
/// # Contract
///
/// - The `n`-th new token is what `sample` draws from the logits at the last position, with the
///   whole text so far, the prompt included, and `noise[.., n]`.
/// - The result is the same as if [`gpt`] ran over the whole text for each new token.
/// - It never does: the prompt runs through the blocks once, and after that each new token by
///   itself, with the keys and values of all tokens before it kept. So for a prompt of one token
///   no square of positions is ever held in memory.
/// - No sequence of the batch changes another, and continuing in two calls gives what one gives.
///
/// # Errors
///
/// Fails if `tokens` has no positions, if `noise` has another `batch`, if the texts would be longer
/// than the model's `n_ctx`, or where `sample` and the model do.
///
/// # Example: a model with one thing on its mind
///
/// ```text
/// wte.weight = [[1, 0], [0, 1], [1, 1]]    wpe.weight = 0, of three positions    no blocks
/// ln_f.weight = [0, 0]    ln_f.bias = [1, 2]: the logits are [1, 2, 3] at every position
/// tokens = [[2]]    settings: repetition_penalty 4, temperature 0    noise = [[0, 0]]
/// of [1, 2, 3/4]    token 1 is the likeliest
/// of [1, 2/4, 3/4]  token 0
/// result = [[2, 1, 0]]
/// ```
///
/// Source: Radford et al. (2019), §3; Pope et al. (2022), §2.1, arXiv:2211.05102, for what a cache
/// of keys and values costs and saves. When a text outgrows `n_ctx`, a real system has to forget
/// its beginning.
#[part(plan = "prompt once, then sample, append, step")]
pub fn generate(
    weights: &Weights,
    tokens: &Tensor,
    n_heads: usize,
    settings: &Numbers,
    noise: &Tensor,
) -> Result<Tensor> {
    let ((batch, seq), (rows, n_new)) = (tokens.dims2()?, noise.dims2()?);
    let n_ctx = weights.get("wpe.weight")?.dim(0)?;
    if seq == 0 || rows != batch {
        bail!("`tokens` has shape {:?} and `noise` {:?}", tokens.dims(), noise.dims());
    }
    if seq + n_new > n_ctx {
        bail!("a text of {seq} + {n_new} tokens does not fit in an n_ctx of {n_ctx}");
    }
    let mut model = Stepper { weights, n_heads, caches: Vec::new(), n_seen: 0 };
    let mut text = tokens.clone();
    let mut unread = tokens.clone();
    for n in 0..n_new {
        let logits = model.read(&unread)?; // (batch, d_vocab)
        let next = sample(&logits, &text, settings, &noise.narrow(1, n, 1)?.squeeze(1)?)?;
        unread = next.unsqueeze(1)?; // (batch, 1)
        text = Tensor::cat(&[&text, &unread], 1)?;
    }
    Ok(text)
}

/// A GPT that remembers what it has read.
struct Stepper<'a> {
    weights: &'a Weights,
    n_heads: usize,
    /// Keys and values of each block.
    caches: Vec<(Tensor, Tensor)>,
    n_seen: usize,
}

impl Stepper<'_> {
    /// Reads further tokens, and gives the logits after the last of them.
    fn read(&mut self, tokens: &Tensor) -> Result<Tensor> {
        let (wte, wpe) = (self.weights.get("wte.weight")?, self.weights.get("wpe.weight")?);
        let seq = tokens.dim(1)?;
        let mut resid = embed(tokens, wte, wpe, self.n_seen)?; // (batch, seq, d_model)
        for layer in 0.. {
            let weights = below(self.weights, &format!("h.{layer}."));
            if weights.iter().next().is_none() {
                break;
            }
            let (k, v) = self.caches.get(layer).map(|(k, v)| (k, v)).unzip();
            let (resid_post, k, v) = block(&weights, &resid, self.n_heads, k, v)?;
            resid = resid_post;
            match self.caches.get_mut(layer) {
                Some(cache) => *cache = (k, v),
                None => self.caches.push((k, v)),
            }
        }
        self.n_seen += seq;
        // Only the last position says what comes next.
        let last = resid.narrow(1, seq - 1, 1)?; // (batch, 1, d_model)
        unembed(&norm(self.weights, "ln_f", &last)?, wte)?.squeeze(1)
    }
}
