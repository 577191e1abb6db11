//! Typed Rust functions as parts that can be called with protocol values.
