//! Hidden checks of `exercises/transformer`.

use crate::Suite;

mod accounting;
mod beam_search;
mod block;
mod bpe;
mod bpe_decode;
mod bpe_encode;
mod bpe_train;
mod clip_gradients;
mod drawing;
mod embed;
mod generate;
mod get_batch;
mod gpt;
mod layer_norm;
mod learning_rate;
mod mlp_block;
mod next_token_loss;
mod oracle;
mod resume;
mod sample;
mod sample_oracle;
mod sample_slips;
mod speculative_decode;
mod steps;
mod tape;
mod torture;
mod train;
mod train_gpt;
mod unembed;

/// Everything that `cargo xtask check transformer` asks.
pub const SUITE: Suite = Suite {
    exercise: "transformer",
    parts: &[
        &bpe_train::BPE_TRAIN,
        &bpe_encode::BPE_ENCODE,
        &bpe_decode::BPE_DECODE,
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
        &train_gpt::TRAIN_GPT,
        &resume::RESUME,
        &sample::SAMPLE,
        &generate::GENERATE,
        &beam_search::BEAM_SEARCH,
        &speculative_decode::SPECULATIVE_DECODE,
    ],
    homebound: &[embed::HOMEBOUND],
};
