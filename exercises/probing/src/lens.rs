//! Taking the residual stream apart, and reading its parts as words.

use candle_core::{Result, Tensor};
use wick::{Gpt, Weights, part};

/// Takes the residual stream before a block apart into everything that was added to it.
///
/// # Shapes
///
/// | tensor        | shape                              | dtype                             |
/// |---------------|------------------------------------|-----------------------------------|
/// | `cache`       | by name, as `run_with_cache` gives | as the model                      |
/// | first result  | a label for each component         | text                              |
/// | second result | `(component, batch, seq, d_model)` | as the model                      |
///
/// # Contract
///
/// - The components are, in this order: `embed`; `pos_embed`, if the model has positions; then, for
///   each block before `layer`, one for each head, `L0H0`, `L0H1`, …, the bias of its attention,
///   `0_attn_bias`, if there is one, and `0_mlp_out`, if it has an MLP.
/// - What a head adds is its `z` times the rows of `c_proj.weight` that belong to it.
/// - `layer` may be the number of blocks: then it is the stream after the last one.
/// - The components sum to the residual stream in `cache`.
///
/// # Errors
///
/// Fails if `layer` is larger than the number of blocks, or something is missing in `cache`.
///
/// # Example: two heads, one bias
///
/// ```text
/// hook_embed = [1, 1]      z of head 0 = [2], of head 1 = [3]
/// c_proj.weight = [[10, 0], [0, 100]]      c_proj.bias = [0, 7]
/// embed = [1, 1], L0H0 = [20, 0], L0H1 = [0, 300], 0_attn_bias = [0, 7]
/// sum   = [21, 308] = resid_post
/// ```
///
/// Source: Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits", §"Attention
/// heads are independent and additive"; `TransformerLens`,
/// `ActivationCache.get_full_resid_decomposition`.
#[part]
pub fn decompose_residual(
    model: &Gpt,
    cache: &Weights,
    layer: usize,
) -> Result<(Vec<String>, Tensor)> {
    todo!("embeddings, heads, biases, MLPs; stack")
}

/// Reads the residual stream at every depth as if it were the end: as logits.
///
/// # Shapes
///
/// | tensor   | shape                                   | dtype          |
/// |----------|-----------------------------------------|----------------|
/// | `cache`  | by name, as `run_with_cache` gives      | as the model   |
/// | result   | `(n_layers + 1, batch, seq, d_vocab)`   | as the model   |
///
/// # Contract
///
/// - Entry `n` is read before block `n`, the last one behind all blocks.
/// - Each is normed by the model's last norm, if it has one, with the mean and variance of that
///   very stream, and then unembedded: by `lm_head.weight`, or else by `wte.weight`.
/// - The last entry is the model's own logits.
///
/// # Errors
///
/// Fails if a residual stream is missing in `cache`.
///
/// # Example: a block that changes the mind
///
/// ```text
/// hook_resid_pre = [1, 0], hook_resid_post = [0, 3]      lm_head = [[1, 0], [0, 2]]
/// logit_lens = [[1, 0], [0, 6]]
/// ```
///
/// Source: nostalgebraist (2020), "interpreting GPT: the logit lens"; `TransformerLens`,
/// `ActivationCache.accumulated_resid` with `apply_ln`. Belrose et al. (2023), arXiv:2303.08112,
/// say where it misleads, and train a lens for each depth.
#[part]
pub fn logit_lens(model: &Gpt, cache: &Weights) -> Result<Tensor> {
    todo!("collect streams, norm, unembed")
}

/// Says how much each component of the residual stream speaks for one token, directly.
///
/// # Shapes
///
/// | tensor       | shape                               | dtype                             |
/// |--------------|-------------------------------------|-----------------------------------|
/// | `cache`      | by name, as `run_with_cache` gives  | as the model                      |
/// | `components` | `(component, batch, seq, d_model)`  | as the model                      |
/// | `correct`    | `(batch, seq)`                      | `u32`, the token to speak for     |
/// | `wrong`      | `(batch, seq)`                      | `u32`, the token to speak against |
/// | result       | `(component, batch, seq)`           | as the model                      |
///
/// # Contract
///
/// - It is the component's part of the logit of `correct`, less that of `wrong`, if there is one.
/// - The last norm, if the model has one, is *frozen*: each component is centred by its own mean
///   and divided by what the model divided the whole stream by, `ln_final.hook_scale` in `cache`.
/// - The bias of the last norm belongs to no component.
/// - So the parts of a complete decomposition sum to the model's own logit (difference), less what
///   that bias gives; and parts add up: twice a component is twice its part.
///
/// # Errors
///
/// Fails if the shapes disagree, or if a scale is needed and not in `cache`.
///
/// # Example: two components, frozen at one scale
///
/// ```text
/// lm_head = [[1, 0], [0, 1], [0, 0]]    ln_f.weight = [1, 2]    ln_final.hook_scale = 4
/// components = [[8, 0]], [[0, 4]]       correct = 0, wrong = 1
/// centred = [4, −4], [−2, 2]      over 4, weighted = [1, −2], [−0.5, 1]
/// result  = 1 − (−2) = 3 and −0.5 − 1 = −1.5
/// ```
///
/// Source: Elhage et al. (2021), §"Path expansion"; `TransformerLens`,
/// `ActivationCache.apply_ln_to_stack` and `logit_attrs`.
#[part]
pub fn direct_logit_attribution(
    model: &Gpt,
    cache: &Weights,
    components: &Tensor,
    correct: &Tensor,
    wrong: Option<&Tensor>,
) -> Result<Tensor> {
    todo!("freeze the norm, dot with direction")
}
