//! Reading a model's mind, with controls.
//!
//! A transformer's residual stream is a sum: of the embeddings, of what every head adds, and of
//! what every MLP adds. So one can look at each summand alone, take it away, or put another in its
//! place, and see what the model then says:
//!
//! ```text
//! resid_post = embed + pos_embed + Σ heads + Σ biases + Σ mlp_out
//! logits     = norm(resid_post) Wᵤ
//! ```
//!
//! Activations go by the names of `TransformerLens`, such as `blocks.0.attn.hook_pattern`.
//!
//! Source: Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits",
//! transformer-circuits.pub/2021/framework; Nanda and Bloom (2022), `TransformerLens`.
//!
//! Check your work: `cargo xtask check probing`.

pub mod circuits;
pub mod claim;
pub mod directions;
pub mod hooks;
pub mod lens;
pub mod othello;
pub mod probes;
