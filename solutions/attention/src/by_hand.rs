//! One attention layer that you program by choosing its weights.

use candle_core::{Result, Tensor, bail};
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
#[part(plan = "where to look, what to move")]
pub fn attention_by_hand(task: &str, token_embed: &Tensor, pos_embed: &Tensor) -> Result<Weights> {
    let nowhere = pos_embed.zeros_like()?;
    // (what queries ask for, what keys offer, what is moved); each row of `q` meets its row of `k`.
    let (q, k, moved) = match task {
        "previous_token" => (earlier(pos_embed)?, pos_embed.clone(), token_embed),
        "first_token" => {
            // Every query, whatever its position, asks for position 0.
            let anywhere = pos_embed.sum_keepdim(0)?;
            (anywhere, pos_embed.narrow(0, 0, 1)?, token_embed)
        }
        "same_token" => (token_embed.clone(), token_embed.clone(), pos_embed),
        "count" => (nowhere.clone(), nowhere, token_embed),
        other => bail!("there is no task `{other}`"),
    };
    let d_head = q.dim(0)?.max(moved.dim(0)?);
    let mut weights = Weights::new();
    weights.insert("q.weight", pad_rows(&(q * sharpness(d_head))?, d_head)?);
    weights.insert("k.weight", pad_rows(&k, d_head)?);
    weights.insert("v.weight", pad_rows(moved, d_head)?);
    weights.insert("o.weight", pad_rows(moved, d_head)?.t()?.contiguous()?);
    Ok(weights)
}

/// Moves every position's embedding one row up: what stood at `i - 1` is asked for from `i`.
fn earlier(pos_embed: &Tensor) -> Result<Tensor> {
    let n_ctx = pos_embed.dim(0)?;
    // Row j meets row j of the keys, which is position j; so it must hold position j + 1.
    pos_embed.narrow(0, 1, n_ctx - 1)?.pad_with_zeros(0, 0, 1)
}

/// A factor that makes a match score 40 after the division by `√d_head`: e⁻⁴⁰ is nothing.
fn sharpness(d_head: usize) -> f64 {
    40.0 * (d_head as f64).sqrt()
}

/// Adds rows of zeros up to `d_head`, so that one width serves the looking and the moving.
fn pad_rows(weight: &Tensor, d_head: usize) -> Result<Tensor> {
    weight.pad_with_zeros(0, 0, d_head - weight.dim(0)?)
}
