//! A GPT from scratch: from bytes to generated text.
//!
//! A language model reads a row of tokens and says, at each position, how likely every token of its
//! vocabulary is to come next. A *residual stream* of width `d_model` runs through it, one vector a
//! position; every block reads the stream, and adds what it found:
//!
//! ```text
//! tokens → embed ─┬──────────────────────────+─┬──────────────────────────+─ … → unembed → logits
//!                 └─ layer_norm → attention ─┘ └─ layer_norm → mlp_block ─┘
//!                 └──────────────── block, n_layers times ────────────────┘
//! ```
//!
//! Tensors have the names and shapes of GPT-2's own files, so what you write can run its weights.
//! This file has the two ends of the model and the pieces of a block; `model` puts them together,
//! `training` has what makes them learn, and `train` the loop around it.
//!
//! Source: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", and the
//! code that came with it, `github.com/openai/gpt-2`.
//!
//! Check your work: `cargo xtask check transformer`.

pub mod decoding;
pub mod generation;
pub mod model;
pub mod sampling;
pub mod tokenizer;
pub mod train;
pub mod training;

use candle_core::{Result, Tensor};
use wick::{Weights, part};

/// Gives every token its vector, and adds the vector of the position where it stands.
///
/// # Shapes
///
/// | tensor   | shape                   | dtype                   |
/// |----------|-------------------------|-------------------------|
/// | `tokens` | `(batch, seq)`          | `u32`, below `d_vocab`  |
/// | `wte`    | `(d_vocab, d_model)`    | `f32` or `f64`          |
/// | `wpe`    | `(n_ctx, d_model)`      | as `wte`                |
/// | result   | `(batch, seq, d_model)` | as `wte`                |
///
/// # Contract
///
/// - Token `t` of a sequence gets row `tokens[t]` of `wte`, plus row `offset + t` of `wpe`.
/// - `offset` counts the tokens that came before, in earlier calls; without any it is 0.
/// - Gradients flow back to `wte` and `wpe`; a token that comes twice sends back both.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if a token is not below `d_vocab`, if the last position is not below `n_ctx`, or if `wte`
/// and `wpe` disagree on `d_model`.
///
/// # Example: the third and fourth token of a text
///
/// ```text
/// tokens = [[2, 0]]    offset = 2
/// wte = [[1, 1], [2, 2], [3, 3]]    wpe = [[0, 0], [10, 0], [20, 0], [30, 0], [40, 0]]
/// result = [[[23, 3], [31, 1]]]
/// ```
///
/// Source: Radford et al. (2018), "Improving Language Understanding by Generative Pre-Training",
/// §3.1, eq. 2; `wte` and `wpe` are the names in GPT-2's files.
#[part]
pub fn embed(tokens: &Tensor, wte: &Tensor, wpe: &Tensor, offset: usize) -> Result<Tensor> {
    todo!("check, look up, slice positions, add")
}

/// Compares the stream with the vector of every token: the scores for what comes next.
///
/// # Shapes
///
/// | tensor  | shape                   | dtype           |
/// |---------|-------------------------|-----------------|
/// | `resid` | `(batch, seq, d_model)` | `f32` or `f64`  |
/// | `wte`   | `(d_vocab, d_model)`    | as `resid`      |
/// | result  | `(batch, seq, d_vocab)` | as `resid`      |
///
/// # Contract
///
/// - The logit of token `t` is the dot product of the stream with row `t` of `wte`. The matrix is
///   the one that [`embed`] reads: the weights are *tied*, and there is no bias.
/// - Logits are no probabilities; the softmax comes with the loss.
/// - Gradients flow back to `resid` and `wte`.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `resid` does not have three axes, or disagrees with `wte` on `d_model`.
///
/// # Example: one stream against three tokens
///
/// ```text
/// resid = [[[2, 1]]]    wte = [[1, 0], [0, 5], [3, -1]]
/// logits = [[[2, 5, 5]]]
/// ```
///
/// Source: Press and Wolf (2017), "Using the Output Embedding to Improve Language Models", §2,
/// arXiv:1608.05859.
#[part]
pub fn unembed(resid: &Tensor, wte: &Tensor) -> Result<Tensor> {
    todo!("flatten, matmul with the transpose")
}

/// Brings every vector to mean 0 and variance 1, then scales and moves it as was learned.
///
/// # Shapes
///
/// | tensor   | shape          | dtype          |
/// |----------|----------------|----------------|
/// | `x`      | `(…, d_model)` | `f32` or `f64` |
/// | `weight` | `(d_model)`    | as `x`         |
/// | `bias`   | `(d_model)`    | as `x`         |
/// | result   | `(…, d_model)` | as `x`         |
///
/// # Contract
///
/// - The result is `(x − mean) / √(variance + eps) · weight + bias`, for each vector by itself.
/// - The variance is the mean of the squared distances from the mean: `d_model` of them are added
///   up, and divided by `d_model`, not by one less.
/// - Moving all numbers of a vector together changes nothing, not even by 4096 in `f32`.
/// - A vector of equal numbers gives `bias`, and a finite gradient.
/// - Gradients flow back to `x`, `weight` and `bias`.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `weight` or `bias` has another shape than `(d_model)`.
///
/// # Example: two numbers, and an `eps` that shows
///
/// ```text
/// x = [1, 5]    weight = [3, 6]    bias = [10, 20]    eps = 5
/// mean 3, variance 4, √(4 + 5) = 3: normed = [-2/3, 2/3]
/// result = [8, 24]
/// ```
///
/// Source: Ba, Kiros and Hinton (2016), "Layer Normalization", §3, eq. 3–4, arXiv:1607.06450; `eps`
/// is 1e-5 in GPT-2.
#[part]
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    todo!("centre, variance, divide, scale, move")
}

/// Lets every position think for itself: wider, bent, and narrow again.
///
/// # Shapes
///
/// | tensor          | shape              | dtype          |
/// |-----------------|--------------------|----------------|
/// | `c_fc.weight`   | `(d_model, d_mlp)` | `f32` or `f64` |
/// | `c_fc.bias`     | `(d_mlp)`          | as `x`         |
/// | `c_proj.weight` | `(d_mlp, d_model)` | as `x`         |
/// | `c_proj.bias`   | `(d_model)`        | as `x`         |
/// | `x`             | `(…, d_model)`     | as the weights |
/// | result          | `(…, d_model)`     | as `x`         |
///
/// # Contract
///
/// - The result is `gelu(x W + b) W' + b'`, with `W`, `b` of `c_fc` and `W'`, `b'` of `c_proj`.
/// - A weight is `(d_in, d_out)`, as in GPT-2's files, where such a layer is called `Conv1D`. That
///   is the transpose of what `PyTorch`'s `Linear` and candle's keep.
/// - `gelu(x) = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`: the form GPT-2 was trained with. It is
///   not the one with `erf`.
/// - `x` may have any number of leading axes; each vector stands alone.
/// - Gradients flow back to `x` and all four weights.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails, naming it, if a weight is missing or of a shape that does not fit.
///
/// # Example: a width of 1, made 2 inside
///
/// ```text
/// x = [[1]]    c_fc.weight = [[1, 2]]    c_fc.bias = [0, -3]
/// inside = [1, -1]    gelu = [0.841192, -0.158808]
/// c_proj.weight = [[10], [100]]    c_proj.bias = [3]
/// result = [[3 + 8.41192 - 15.8808]] = [[-4.46888]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.3, eq. 2, arXiv:1706.03762; Hendrycks and Gimpel (2016), §2,
/// arXiv:1606.08415, for the GELU.
#[part]
pub fn mlp_block(weights: &Weights, x: &Tensor) -> Result<Tensor> {
    todo!("widen, gelu, narrow")
}
