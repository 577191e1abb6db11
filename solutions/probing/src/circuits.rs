//! Which heads do what, and what happens without them.

use candle_core::{DType, Result, Tensor, bail};
use wick::{Weights, part};

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
