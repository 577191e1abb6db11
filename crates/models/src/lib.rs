//! Transformers that can be looked into and changed while they run.
//!
//! A [`hook`] is a place in a model that has a name: the residual stream before block 0, the
//! attention pattern of block 1.
//! [`Gpt`] is the model that exercises study: named tensors, their checks, and a forward pass that
//! stops at every hook.
//!
//! **Invariant:** with `()` for hooks a forward pass computes exactly what it computes with hooks
//! that return what they are given, bit for bit.

mod border;
mod gpt;
pub mod hook;
mod tensors;

pub use gpt::Gpt;
