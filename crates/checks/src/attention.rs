//! Hidden checks of `exercises/attention`.

use crate::Suite;

mod oracle;
mod pattern;

mod alibi;
mod attend_oracle;
mod cached;
mod grouped_query;
mod online_softmax;
mod pieces;
mod rotary;
mod sinusoidal;
mod sliding_window;

/// Everything that `cargo xtask check attention` asks.
pub const SUITE: Suite = Suite {
    exercise: "attention",
    parts: &[
        &pattern::ATTENTION_PATTERN,
        &sinusoidal::SINUSOIDAL,
        &rotary::ROTARY,
        &alibi::ALIBI,
        &grouped_query::GROUPED_QUERY_ATTENTION,
        &sliding_window::SLIDING_WINDOW,
        &online_softmax::ONLINE_SOFTMAX_ATTENTION,
        &cached::CACHED_ATTENTION,
    ],
};
