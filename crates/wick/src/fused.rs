//! Training-grade operations: each one pass over memory, forward and backward.
//!
//! In `f32` on the CPU every function here is one node of candle's graph, whose backward pass is a
//! kernel too; anywhere else it is the plain formula of [`plain`], with the same results.
//! [`Parameters`] goes further: it holds a model's weights in one buffer, runs whole blocks of a
//! GPT as one node each, and lets gradients add up where the optimiser reads them.
//! `BENCH.md` beside this file's folder says what each of these steps is worth.
//!
//! **Invariants:** nothing of size seq × seq is kept between forward and backward; results do not
//! depend on the number of threads.

mod activation;
mod attention;
mod blocks;
mod embedding;
mod gpt;
mod linear;
mod loss;
mod norm;
mod numbers;
mod optimiser;
mod parameters;
pub mod plain;
mod rotary;
mod softmax;

pub use activation::{gelu_erf, gelu_tanh, silu};
pub use attention::{causal_attention, causal_self_attention};
pub use embedding::embedding;
pub use gpt::Gpt;
pub use linear::linear;
pub use loss::cross_entropy;
pub use norm::{layer_norm, rms_norm};
pub use optimiser::{AdamW, AdamWSettings, clip_gradients};
pub use parameters::Parameters;
pub use rotary::rotary;
pub use softmax::softmax;
