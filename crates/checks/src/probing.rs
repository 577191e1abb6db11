//! Hidden checks of `exercises/probing`.

use crate::Suite;

// Parts 1 to 8: hooks, lenses, circuits.
mod ablate;
mod activation_patch;
mod decompose_residual;
mod direct_logit_attribution;
mod head_scores;
mod logit_lens;
mod model;
mod run_with_cache;
mod run_with_hooks;

// Parts 9 to 16: probes, directions, Othello, a claim.

/// Everything that `cargo xtask check probing` asks.
pub const SUITE: Suite = Suite {
    exercise: "probing",
    parts: &[
        // Parts 1 to 8.
        &run_with_cache::RUN_WITH_CACHE,
        &run_with_hooks::RUN_WITH_HOOKS,
        &decompose_residual::DECOMPOSE_RESIDUAL,
        &logit_lens::LOGIT_LENS,
        &direct_logit_attribution::DIRECT_LOGIT_ATTRIBUTION,
        &head_scores::HEAD_SCORES,
        &ablate::ABLATE,
        &activation_patch::ACTIVATION_PATCH,
        // Parts 9 to 16.
    ],
};
