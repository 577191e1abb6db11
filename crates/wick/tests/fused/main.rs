//! The fused operations do what their plain formulas do, on any shape and layout.

#![expect(clippy::unwrap_used, reason = "a test fails by it, in helpers too")]

mod agree;
mod extremes;
mod operations;
mod properties;
mod training;
