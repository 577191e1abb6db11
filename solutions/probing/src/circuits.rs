//! Which heads do what, and what happens without them.

use candle_core::{DType, Result, Tensor, bail};
use wick::{
    Gpt, Weights,
    hook::{Hook, Place},
    part,
};

use crate::hooks::{Edit, run_with_cache, run_with_hooks};

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
#[part(plan = "a mask each, weigh, average")]
pub fn head_scores(cache: &Weights, tokens: &Tensor) -> Result<Weights> {
    let (batch, seq) = tokens.dims2()?;
    let patterns: Vec<&Tensor> =
        (0..).map_while(|layer| cache.find(&format!("blocks.{layer}.attn.hook_pattern"))).collect();
    for pattern in &patterns {
        let (of_batch, _, seq_q, seq_k) = pattern.dims4()?;
        if (of_batch, seq_q, seq_k) != (batch, seq, seq) {
            bail!("a pattern {:?} does not fit `tokens` {:?}", pattern.dims(), tokens.dims());
        }
    }
    if patterns.is_empty() {
        bail!("`cache` has no `blocks.0.attn.hook_pattern`");
    }
    let mut scores = Weights::new();
    for (role, keys, n_queries) in roles(tokens)? {
        let of_layer = |pattern: &&Tensor| {
            let keys = keys.to_dtype(pattern.dtype())?.unsqueeze(1)?;
            pattern.broadcast_mul(&keys)?.sum((0, 2, 3))? / n_queries // (n_heads)
        };
        let layers = patterns.iter().map(of_layer).collect::<Result<Vec<_>>>()?;
        scores.insert(role, Tensor::stack(&layers, 0)?); // (n_layers, n_heads)
    }
    Ok(scores)
}

/// For each role the keys that count, `(batch, seq, seq)` of 0 and 1, and how many queries do.
fn roles(tokens: &Tensor) -> Result<[(&'static str, Tensor, f64); 5]> {
    let (batch, seq) = tokens.dims2()?;
    let position = Tensor::arange(0, seq as u32, tokens.device())?;
    let (query, key) = (position.unsqueeze(1)?, position.unsqueeze(0)?);
    let everywhere = |mask: Tensor| mask.broadcast_as((batch, seq, seq))?.contiguous();
    let earlier = everywhere(key.broadcast_lt(&query)?)?;
    let has_choice = query.broadcast_gt(&key.zeros_like()?)?;
    let same = tokens.unsqueeze(2)?.broadcast_eq(&tokens.unsqueeze(1)?)?; // (batch, seq_q, seq_k)
    let duplicate = (same * &earlier)?;
    // Whatever holds for a key now holds for the one behind it.
    let nothing = duplicate.narrow(2, 0, 1)?.zeros_like()?;
    let induction = Tensor::cat(&[&nothing, &duplicate.narrow(2, 0, seq - 1)?], 2)?;

    let repeats = duplicate.max(2)?.to_dtype(DType::F64)?.sum_all()?;
    let n_repeats: f64 = repeats.to_scalar()?;
    if n_repeats == 0.0 {
        bail!("no token of `tokens` repeats, so nothing shows duplicate or induction heads");
    }
    let n_queries = (batch * (seq - 1)) as f64;
    let previous = everywhere((&key + 1.0)?.broadcast_eq(&query)?)?;
    let current = everywhere((key.broadcast_eq(&query)? * &has_choice)?)?;
    let first = everywhere((key.eq(0u32)?.broadcast_as((seq, seq))? * &has_choice)?)?;
    Ok([
        ("previous", previous, n_queries),
        ("current", current, n_queries),
        ("first", first, n_queries),
        ("duplicate", duplicate, n_repeats),
        ("induction", induction, n_repeats),
    ])
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
#[part(plan = "find z, replace one head, run")]
pub fn ablate(
    model: &Gpt,
    tokens: &Tensor,
    layer: usize,
    head: usize,
    how: &str,
    source: Option<&Tensor>,
) -> Result<Tensor> {
    if layer >= model.n_layers() || head >= model.n_heads() {
        let (layers, heads) = (model.n_layers(), model.n_heads());
        bail!("there is no head {head} in block {layer}: there are {heads} in {layers} blocks");
    }
    let (batch, _) = tokens.dims2()?;
    let place = Hook::in_block(Place::Z, layer);
    let other = match how {
        "zero" => None,
        "mean" => Some(z_of(model, tokens, source, place)?.mean_keepdim(0)?),
        "resample" => Some(z_of(model, tokens, source, place)?),
        _ => bail!("`how` is `{how}`, which is none of `zero`, `mean`, `resample`"),
    };
    if let Some(other) = other.as_ref().filter(|z| how == "resample" && z.dims()[0] != batch) {
        bail!("`source` has {} sequences but `tokens` has {batch}", other.dim(0)?);
    }
    let replace = |z: Tensor| {
        let old = z.narrow(2, head, 1)?; // (batch, seq, 1, d_head)
        let new = match &other {
            None => old.zeros_like()?,
            Some(other) => other.narrow(2, head, 1)?.broadcast_as(old.shape())?,
        };
        let after = z.dim(2)? - head - 1;
        Tensor::cat(&[&z.narrow(2, 0, head)?, &new, &z.narrow(2, head + 1, after)?], 2)
    };
    let edit: Edit<'_> = (place, Box::new(replace));
    run_with_hooks(model, tokens, &mut [edit])
}

/// What all heads of a block mixed from another text, `(of_source, seq, n_heads, d_head)`.
fn z_of(model: &Gpt, tokens: &Tensor, source: Option<&Tensor>, place: Hook) -> Result<Tensor> {
    let Some(source) = source else { bail!("`source` is missing") };
    if source.dim(1)? != tokens.dim(1)? {
        bail!("`source` {:?} and `tokens` {:?} differ in seq", source.dims(), tokens.dims());
    }
    let name = place.to_string();
    let (_, cache) = run_with_cache(model, source, Some(std::slice::from_ref(&name)))?;
    cache.get(&name).cloned()
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
#[part(plan = "two runs, patch each cell, normalise")]
pub fn activation_patch(
    model: &Gpt,
    clean: &Tensor,
    corrupt: &Tensor,
    correct: &Tensor,
    wrong: &Tensor,
    place: &str,
) -> Result<Tensor> {
    if clean.dims() != corrupt.dims() {
        bail!("`clean` is {:?} but `corrupt` is {:?}", clean.dims(), corrupt.dims());
    }
    let (_, seq) = clean.dims2()?;
    let (logits, cache) = run_with_cache(model, clean, None)?;
    let best = lead(&logits, correct, wrong)?;
    let worst = lead(&model.forward(corrupt, &mut ())?, correct, wrong)?;
    let range = (best - &worst)?;
    if range.eq(&range.zeros_like()?)?.to_scalar::<u8>()? == 1 {
        bail!("`clean` and `corrupt` have the same lead, so there is no effect to share out");
    }
    let mut leads = Vec::new();
    for layer in 0..model.n_layers() {
        let name = format!("blocks.{layer}.{place}");
        let clean = cache.get(&name)?;
        for position in 0..seq {
            let patch = |value: Tensor| {
                let (before, after) = (position, seq - position - 1);
                let kept = [value.narrow(1, 0, before)?, value.narrow(1, position + 1, after)?];
                Tensor::cat(&[&kept[0], &clean.narrow(1, position, 1)?, &kept[1]], 1)
            };
            let edit: Edit<'_> = (name.parse()?, Box::new(patch));
            leads.push(lead(&run_with_hooks(model, corrupt, &mut [edit])?, correct, wrong)?);
        }
    }
    let effects = Tensor::stack(&leads, 0)?.broadcast_sub(&worst)?.broadcast_div(&range)?;
    effects.reshape((model.n_layers(), seq))
}

/// How far the last position prefers one token to another, on average over the sequences.
fn lead(logits: &Tensor, correct: &Tensor, wrong: &Tensor) -> Result<Tensor> {
    let last = logits.narrow(1, logits.dim(1)? - 1, 1)?.squeeze(1)?; // (batch, d_vocab)
    let last = last.contiguous()?;
    let of = |tokens: &Tensor| last.gather(&tokens.contiguous()?.unsqueeze(1)?, 1)?.mean_all();
    of(correct)? - of(wrong)?
}
