//! Hidden checks of `exercises/transformer`.

use crate::Suite;

mod accounting;
mod block;
mod clip_gradients;
mod drawing;
mod embed;
mod get_batch;
mod gpt;
mod layer_norm;
mod learning_rate;
mod mlp_block;
mod next_token_loss;
mod oracle;
mod steps;
mod unembed;

/// Everything that `cargo xtask check transformer` asks.
pub const SUITE: Suite = Suite {
    exercise: "transformer",
    parts: &[
        &get_batch::GET_BATCH,
        &embed::EMBED,
        &unembed::UNEMBED,
        &layer_norm::LAYER_NORM,
        &mlp_block::MLP_BLOCK,
        &block::BLOCK,
        &gpt::GPT,
        &accounting::ACCOUNTING,
        &next_token_loss::NEXT_TOKEN_LOSS,
        &learning_rate::LEARNING_RATE,
        &clip_gradients::CLIP_GRADIENTS,
    ],
};
