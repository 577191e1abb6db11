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
mod border;
mod claim_oracle;
mod control_oracle;
mod control_task;
mod difference_of_means;
mod direction_oracle;
mod dose_oracle;
mod dose_response;
mod induction_claim;
mod othello_intervene;
mod othello_oracle;
mod othello_probe;
mod planted_rows;
mod planted_tasks;
mod probe_oracle;
mod probe_verdict;
mod siblings;
mod steer;
mod strip_othello;
mod train_probe;
mod trained_othello;
mod whitened_direction;

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
        &train_probe::TRAIN_PROBE,
        &control_task::CONTROL_TASK,
        &probe_verdict::PROBE_VERDICT,
        &difference_of_means::DIFFERENCE_OF_MEANS,
        &whitened_direction::WHITENED_DIRECTION,
        &steer::STEER,
        &dose_response::DOSE_RESPONSE,
        &othello_probe::OTHELLO_PROBE,
        &othello_intervene::OTHELLO_INTERVENE,
        &induction_claim::INDUCTION_CLAIM,
    ],
    homebound: &[head_scores::HOMEBOUND],
};
