//! Exercise: attention.
