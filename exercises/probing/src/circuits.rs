//! Which heads do what, and what happens without them.

use candle_core::{Result, Tensor};
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
#[part]
pub fn head_scores(cache: &Weights, tokens: &Tensor) -> Result<Weights> {
    todo!("a mask each, weigh, average")
}
