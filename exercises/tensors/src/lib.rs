//! Exercise: tensors.
