//! Which heads do what, and what happens without them.

use candle_core::{Result, Tensor};
use wick::{Gpt, Weights, part};

/// Measures how much each head does of five simple things.
///
/// # Shapes
///
/// | tensor   | shape                           | dtype                                        |
/// |----------|---------------------------------|----------------------------------------------|
/// | `blocks.N.attn.hook_pattern` in `cache` | `(batch, n_heads, seq, seq)` | `f32` or `f64`   |
/// | `tokens` | `(batch, seq)`                  | `u32`                                        |
/// | result   | each `(n_layers, n_heads)`      | as the patterns; between 0 and 1             |
///
/// # Contract
///
/// The result has five names. Each is a mean, over queries of all sequences alike, of the weight
/// that a query gives to certain keys:
///
/// - `previous`: the key just before the query. `current`: its own. `first`: the key at position 0.
///   All three count every query but the first of a sequence, which has no choice.
/// - `duplicate`: the sum over all earlier keys that hold the query's own token.
/// - `induction`: the sum over all keys that stand *directly behind* an earlier key which holds the
///   query's own token. (Where it stood just before, that is the query itself.)
///   Both count only queries whose token stood earlier in the same sequence.
/// - The blocks are those from 0 on, in the order of their numbers; what else is in `cache` does
///   not matter.
///
/// # Errors
///
/// Fails if there is no pattern, if a pattern does not fit `tokens`, or if no token of any sequence
/// repeats.
///
/// # Example: one head reads a b a
///
/// ```text
/// tokens = [5, 6, 5]      pattern = [[1,     0,     0   ],
///                                    [0.75,  0.25,  0   ],
///                                    [0.125, 0.625, 0.25]]
/// previous = (0.75 + 0.625) / 2 = 0.6875      current   = (0.25 + 0.25) / 2 = 0.25
/// first    = (0.75 + 0.125) / 2 = 0.4375      duplicate = 0.125, induction = 0.625
/// ```
///
/// Source: Olsson et al. (2022), "In-context Learning and Induction Heads", arXiv:2209.11895
/// ("prefix matching" is `induction`); `TransformerLens`, `head_detector`, which compares with the
/// same masks, and counts the first query too.
#[part]
pub fn head_scores(cache: &Weights, tokens: &Tensor) -> Result<Weights> {
    todo!("a mask each, weigh, average")
}

/// Runs a model with one head taken away, or put in the place of its average or of another text.
///
/// # Shapes
///
/// | tensor   | shape                   | dtype          |
/// |----------|-------------------------|----------------|
/// | `tokens` | `(batch, seq)`          | `u32`          |
/// | `source` | `(of_source, seq)`      | `u32`          |
/// | result   | `(batch, seq, d_vocab)` | as the model   |
///
/// # Contract
///
/// `z` of head `head` in block `layer` is replaced, and that of no other head, by
///
/// - `"zero"`: 0;
/// - `"mean"`: at each position the mean of its `z` over the sequences of `source`. So what it says
///   on every text stays, and only what it says about this one goes;
/// - `"resample"`: its `z` on `source`, sequence by sequence, position by position.
///
/// # Errors
///
/// Fails if `how` is another word, if there is no such layer or head, if `source` is needed and
/// absent or has another `seq`, or, for `"resample"`, another number of sequences.
///
/// # Example: one position, so the head can only copy
///
/// ```text
/// hook_embed = [1], z of the head = [3], c_proj.weight = [[2]], lm_head = [[1], [10]]
/// as it is:  resid_post = 1 + 6 = 7       logits = [7, 70]
/// "zero":    resid_post = 1 + 0 = 1       logits = [1, 10]
/// ```
///
/// Source: Wang et al. (2022), "Interpretability in the Wild", arXiv:2211.00593, §2.1, for the
/// mean; Chan et al. (2022), "Causal Scrubbing", for resampling. Zero is no neutral value: a head
/// that always adds the same is missed though it tells nothing.
#[part]
pub fn ablate(
    model: &Gpt,
    tokens: &Tensor,
    layer: usize,
    head: usize,
    how: &str,
    source: Option<&Tensor>,
) -> Result<Tensor> {
    todo!("find z, replace one head, run")
}

/// Finds where a difference between two texts travels, by putting one run's values into another.
///
/// # Shapes
///
/// | tensor             | shape             | dtype                                          |
/// |--------------------|-------------------|------------------------------------------------|
/// | `clean`, `corrupt` | `(batch, seq)`    | `u32`                                          |
/// | `correct`, `wrong` | `(batch)`         | `u32`: the answer to `clean`, and another one  |
/// | result             | `(n_layers, seq)` | as the model; 0 = no effect, 1 = all of it     |
///
/// # Contract
///
/// - For each block and position, the model runs on `corrupt`, but there its value at the hook
///   `place` of that block, such as `hook_resid_pre` or `hook_attn_out`, is the one from `clean`.
/// - A run counts by its *lead*: at the last position, the logit of `correct` less that of `wrong`,
///   averaged over the sequences.
/// - An entry is (lead − lead of `corrupt`) / (lead of `clean` − lead of `corrupt`).
///
/// # Errors
///
/// Fails if `clean` and `corrupt` differ in shape, if their leads are equal, or if `place` is no
/// hook of a block.
///
/// # Example: a model without attention moves nothing
///
/// ```text
/// clean = [7, 1], corrupt = [7, 2]      lead of clean = 3, of corrupt = −1
/// place = hook_resid_pre, one block:    result = [[0, 1]]
/// ```
///
/// Source: Meng et al. (2022), "Locating and Editing Factual Associations in GPT" (causal tracing),
/// arXiv:2202.05262; Heimersheim and Nanda (2024), "How to use and interpret activation patching",
/// arXiv:2404.15255, §3, for the metric.
#[part]
pub fn activation_patch(
    model: &Gpt,
    clean: &Tensor,
    corrupt: &Tensor,
    correct: &Tensor,
    wrong: &Tensor,
    place: &str,
) -> Result<Tensor> {
    todo!("two runs, patch each cell, normalise")
}
