//! One attention layer that you program by choosing its weights.

use candle_core::{Result, Tensor};
use wick::{Weights, part};

/// Chooses the weights of one attention layer so that it computes `task`.
///
/// The layer is yours to program, not to train. It reads strings of tokens; at position `i` with
/// token `t`, `resid_pre` is `token_embed[t] + pos_embed[i]`. It has one head, a causal mask, no
/// biases, and is what `multi_head_attention` computes with your weights. The scores are divided by
/// `√d_head` as always.
///
/// | `task`           | what `attn_out` must be at position `i`                               |
/// |------------------|-----------------------------------------------------------------------|
/// | `previous_token` | `token_embed` of the token at `i - 1` (at position 0: of its own)     |
/// | `first_token`    | `token_embed` of the token at position 0                              |
/// | `same_token`     | the mean of `pos_embed[j]` over all `j <= i` with the same token      |
/// | `count`          | the mean of `token_embed` of all tokens up to `i`                     |
///
/// Attention averages, so a count comes as the share of each token.
///
/// # Shapes
///
/// | tensor                             | shape                | dtype            |
/// |------------------------------------|----------------------|------------------|
/// | `token_embed`                      | `(d_vocab, d_model)` | `f32` or `f64`   |
/// | `pos_embed`                        | `(n_ctx, d_model)`   | as `token_embed` |
/// | `q.weight`, `k.weight`, `v.weight` | `(d_head, d_model)`  | as `token_embed` |
/// | `o.weight`                         | `(d_model, d_head)`  | as `token_embed` |
///
/// All rows of the two embeddings together are orthonormal: each has length 1, and the product of
/// any two is 0. `d_head` is your choice, up to `d_model`.
///
/// # Contract
///
/// - Every string of 1 to `n_ctx` tokens is answered to within 0.001.
/// - Any orthonormal embeddings do, not only rows with a single 1.
///
/// # Errors
///
/// Fails if `task` is none of the four.
///
/// # Example: shares in the string "a a b"
///
/// ```text
/// token_embed = [[1, 0, 0, 0, 0],    pos_embed = [[0, 0, 1, 0, 0],
///                [0, 1, 0, 0, 0]]                 [0, 0, 0, 1, 0],
///                                                 [0, 0, 0, 0, 1]]
/// resid_pre of "a" at position 1 = [1, 0, 0, 1, 0]
/// attn_out of `count` = [[1,   0,   0, 0, 0],
///                        [1,   0,   0, 0, 0],
///                        [2/3, 1/3, 0, 0, 0]]
/// ```
///
/// Source: Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits", for reading a
/// head as *where it looks* (`q`, `k`) and *what it moves* (`v`, `o`); Weiss et al. (2021),
/// "Thinking Like Transformers", arXiv:2106.06981, for programs in attention.
#[part]
pub fn attention_by_hand(task: &str, token_embed: &Tensor, pos_embed: &Tensor) -> Result<Weights> {
    todo!("where to look, what to move")
}
