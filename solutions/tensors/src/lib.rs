//! Solution of the exercise tensors.
pub mod algebra;
