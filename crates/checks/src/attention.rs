//! Hidden checks of `exercises/attention`.

use crate::Suite;

mod by_hand;
mod causal_mask;
mod dot_product;
mod heads;
mod layer;
mod multi_head;
mod oracle;
mod padding_mask;
mod pattern;
mod steps;

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
        &causal_mask::CAUSAL_MASK,
        &padding_mask::PADDING_MASK,
        &pattern::ATTENTION_PATTERN,
        &dot_product::SCALED_DOT_PRODUCT_ATTENTION,
        &heads::SPLIT_HEADS,
        &heads::MERGE_HEADS,
        &multi_head::MULTI_HEAD_ATTENTION,
        &sinusoidal::SINUSOIDAL,
        &rotary::ROTARY,
        &alibi::ALIBI,
        &grouped_query::GROUPED_QUERY_ATTENTION,
        &sliding_window::SLIDING_WINDOW,
        &online_softmax::ONLINE_SOFTMAX_ATTENTION,
        &cached::CACHED_ATTENTION,
        &by_hand::ATTENTION_BY_HAND,
    ],
    homebound: &[causal_mask::HOMEBOUND],
};
