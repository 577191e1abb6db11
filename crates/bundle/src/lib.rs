//! All that an answer is linked with and no learner edits, as one shared library.
//!
//! Linking candle into a program takes a third of the time from an edit to the verdict; this is
//! linked once.
//! `wick` depends on it under its feature `shared`, which `cargo xtask check` asks for on Linux.
//!
//! **Invariant:** it has no code of its own.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linked {
    use answer as _;
    use candle_core as _;
    use candle_nn as _;
    use kernels as _;
    use models as _;
    use protocol as _;
}
