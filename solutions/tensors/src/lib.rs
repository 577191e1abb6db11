//! Solution of the exercise tensors.
