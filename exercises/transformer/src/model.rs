//! The whole model: a block, a GPT made of blocks, and what such a model costs.

use candle_core::{Result, Tensor};
use wick::{Numbers, Weights, part};

/// Lets every position read from those before it, and then think for itself.
///
/// # Shapes
///
/// | tensor                       | shape                                    | dtype             |
/// |------------------------------|------------------------------------------|-------------------|
/// | `ln_1.weight`, `ln_1.bias`   | `(d_model)`                              | `f32` or `f64`    |
/// | `attn.c_attn.weight`         | `(d_model, 3 * d_model)`                 | makes q, k and v  |
/// | `attn.c_attn.bias`           | `(3 * d_model)`                          |                   |
/// | `attn.c_proj.weight`         | `(d_model, d_model)`                     |                   |
/// | `attn.c_proj.bias`           | `(d_model)`                              |                   |
/// | `ln_2.weight`, `ln_2.bias`   | `(d_model)`                              |                   |
/// | `mlp.c_fc.…`, `mlp.c_proj.…` | as in `mlp_block`                        |                   |
/// | `resid_pre`                  | `(batch, seq, d_model)`                  | as the weights    |
/// | `cache_k`, `cache_v`         | `(batch, n_heads, cached, d_head)`       | absent at first   |
/// | `resid_post`                 | `(batch, seq, d_model)`                  | as the weights    |
/// | `k`, `v`                     | `(batch, n_heads, cached + seq, d_head)` | as the weights    |
///
/// # Contract
///
/// - The result is `(resid_post, k, v)`.
/// - `resid_mid = resid_pre + attention(ln_1(resid_pre))` and
///   `resid_post = resid_mid + mlp_block(ln_2(resid_mid))`: what is normalised is a copy; the
///   stream itself only ever gets something added. Each norm has `eps` 1e-5.
/// - Attention is causal, in `n_heads` heads of width `d_model / n_heads`; scores are divided by
///   the root of that width. `attn.c_attn` makes all of q first, then all of k, then all of v, and
///   head `h` has the columns from `h · d_head` on of each.
/// - Weights are `(d_in, d_out)`, as in `mlp_block`.
/// - With a cache, `resid_pre` holds the newest positions: they read all cached ones too, and `k`
///   and `v` are the cached ones with the new ones behind them. A text in pieces, each with the
///   cache of the last, gives what the whole text gives at once.
/// - Gradients flow back to `resid_pre`, to the caches and to every weight. (The true gradient of
///   the k-part of `attn.c_attn.bias` is 0: moving all keys together changes no pattern.)
///
/// # Errors
///
/// Fails, naming it, if a weight is missing or of a shape that does not fit; if `n_heads` is 0 or
/// does not divide `d_model`; or if one cache comes without the other.
///
/// # Example: one position, which can read from itself alone
///
/// ```text
/// resid_pre = [[[3, 5]]]    n_heads = 1
/// ln_1.weight = [0, 0], ln_1.bias = [1, 2]: attention reads [1, 2], whatever the stream is
/// c_attn: v = [1, 2] (the last two columns are the identity); attn.c_proj: the identity
/// resid_mid = [3, 5] + [1, 2] = [4, 7]
/// mlp.c_proj.weight = 0, mlp.c_proj.bias = [10, 20]
/// resid_post = [[[14, 27]]]    v = [[[[1, 2]]]]
/// ```
///
/// Source: Radford et al. (2019), §2.3, for the norm before each sub-block ("pre-norm"); Vaswani et
/// al. (2017), arXiv:1706.03762, put it behind. The names are those of GPT-2's files.
#[part]
pub fn block(
    weights: &Weights,
    resid_pre: &Tensor,
    n_heads: usize,
    cache_k: Option<&Tensor>,
    cache_v: Option<&Tensor>,
) -> Result<(Tensor, Tensor, Tensor)> {
    todo!("norm, attend, add; norm, MLP, add")
}

/// Says, at each position of each sequence, how likely every token is to come next.
///
/// # Shapes
///
/// | tensor                     | shape                   | dtype                        |
/// |----------------------------|-------------------------|------------------------------|
/// | `wte.weight`               | `(d_vocab, d_model)`    | `f32` or `f64`               |
/// | `wpe.weight`               | `(n_ctx, d_model)`      | as `wte.weight`              |
/// | `h.0.…`, `h.1.…` and so on | as in [`block`]         |                              |
/// | `ln_f.weight`, `ln_f.bias` | `(d_model)`             |                              |
/// | `tokens`                   | `(batch, seq)`          | `u32`, below `d_vocab`       |
/// | result                     | `(batch, seq, d_vocab)` | as `wte.weight`; logits      |
///
/// # Contract
///
/// - Embed, every block in the order of its *number* (10 comes after 9), a last norm with `ln_f`,
///   unembed with the matrix that embedded.
/// - The names are those in GPT-2's own files, so their tensors fit as they are:
///   `candle_core::safetensors::load(…)?.into_iter().collect::<Weights>()`.
///   There are as many blocks as the names say.
/// - `h.N.attn.bias` and `h.N.attn.masked_bias` stand in those files too. They are masks and not
///   weights, and are passed over.
/// - Nothing about a later token changes the logits of an earlier position, and no sequence of a
///   batch changes those of another.
/// - Gradients flow back to every weight. `wte.weight` gets them from both of its ends.
///
/// # Errors
///
/// Fails, with the whole name of the tensor, if one is missing, if one has another shape than it
/// must (`d_mlp` is what `h.N.mlp.c_fc.bias` says), if one holds a number that is not finite, or if
/// one is there that nothing uses. Fails also where `embed` and [`block`] do.
///
/// # Example: no blocks at all
///
/// ```text
/// wte.weight = [[1, 0], [0, 1], [2, 2]]    wpe.weight = [[0, 1], [5, 5]]
/// ln_f.weight = [1, 1]    ln_f.bias = [0, 1]    tokens = [[2]]
/// resid = [2, 2] + [0, 1] = [2, 3], normed [-1, 1] (to four digits), with the bias [-1, 2]
/// logits = [[[-1, 2, 2]]]
/// ```
///
/// Source: Radford et al. (2019), §2.3, and `src/model.py` of `github.com/openai/gpt-2`. A real
/// system looks for damaged tensors once, when it loads them.
#[part]
pub fn gpt(weights: &Weights, tokens: &Tensor, n_heads: usize) -> Result<Tensor> {
    todo!("check names, embed, blocks, norm, unembed")
}

/// Counts what a GPT has, computes and keeps, before anybody has built it.
///
/// # Contract
///
/// `config` has `d_vocab`, `n_ctx`, `d_model`, `n_heads`, `n_layers` and `d_mlp`, and for one run
/// `batch`, `seq`, and `bytes`: the length of one number, such as 4 for `f32`. The result has
///
/// - `parameters`: the numbers in the tensors of [`gpt`]. The tied matrix counts once.
/// - `flops`: what the matrix products of one forward pass compute, for all positions, two for each
///   product of two numbers (a multiplication and an addition). Those are the four projections of a
///   block, its scores and its mixing of values, and the unembedding. Scores count in full, though
///   the mask hides half of them. Norms, softmax and GELU count nothing.
/// - `activation_bytes`: what the forward pass keeps for the backward pass. For each position and
///   each block: `resid_pre`, its norm, q, k, v, one pattern row of `seq` for each head, z,
///   `resid_mid`, its norm, and the MLP's inside before and after the GELU; and at the end the
///   stream, its norm, and the logits.
/// - `kv_bytes`: what the caches of all blocks hold behind `seq` positions.
///
/// All four are whole numbers, and exact.
///
/// # Errors
///
/// Fails if a number is missing, is not a whole number, or is 0 (`n_layers` may be); if `n_heads`
/// does not divide `d_model`; or if `seq` is longer than `n_ctx`.
///
/// # Example: one block of width 2, and one position
///
/// ```text
/// d_vocab = 3, n_ctx = 4, d_model = 2, n_heads = 1, n_layers = 1, d_mlp = 5
/// batch = 1, seq = 1, bytes = 4
/// parameters = 6 + 8 + (8 + 12 + 6 + 4 + 2 + 10 + 5 + 10 + 2) + 4 = 77
/// flops = 2 · (12 + 4 + 10 + 10 + 2 + 2 + 6) = 92
/// activation_bytes = 4 · (8 · 2 + 1 + 2 · 5 + 2 + 2 + 3) = 136
/// kv_bytes = 4 · 2 · 2 = 16
/// ```
///
/// Source: Kaplan et al. (2020), "Scaling Laws for Neural Language Models", §2.1, table 1,
/// arXiv:2001.08361; Korthikanti et al. (2022), §4.1, arXiv:2205.05198, for activations. GPT-2 has
/// 124,439,808 parameters.
#[part]
pub fn accounting(config: &Numbers) -> anyhow::Result<Numbers> {
    todo!("count each tensor, product, activation")
}
