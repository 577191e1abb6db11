//! Three ways to tell attention where a token stands.
//!
//! Attention treats its keys as a bag: permute them with their values and nothing changes.
//! So the position has to be written somewhere: into what enters the model (`sinusoidal`), into
//! the queries and keys (`rotary`), or into the scores (`alibi`).

use candle_core::{Result, Tensor};
use wick::part;

/// Writes each position as points on circles that turn at different speeds.
///
/// Pair `i` of the result turns by `1 / 10000^(2i / d_model)` radians a position:
///
/// ```text
/// result[2i]     = sin(position / 10000^(2i / d_model))
/// result[2i + 1] = cos(position / 10000^(2i / d_model))
/// ```
///
/// # Shapes
///
/// | tensor      | shape                   | dtype and range                             |
/// |-------------|-------------------------|---------------------------------------------|
/// | `positions` | `(batch, seq)`          | `f32` or `f64`; any number, also a fraction |
/// | result      | `(batch, seq, d_model)` | as `positions`; between −1 and 1            |
///
/// # Contract
///
/// - Every row of the batch has its own positions, as sequences padded on the left have.
/// - No position is too far: there is no largest one.
/// - The dot product of two results depends on the distance between their positions only.
/// - Gradients flow back to `positions`.
///
/// # Errors
///
/// Fails if `d_model` is odd.
///
/// # Example: positions 0 and 1 in four dimensions
///
/// ```text
/// positions = [[0, 1]]    d_model = 4    (10000^(2/4) = 100)
/// result    = [[[0,     1,     0,        1       ],
///               [sin 1, cos 1, sin 0.01, cos 0.01]]]
///           = [[[0,      1,      0,      1     ],
///               [0.8415, 0.5403, 0.0100, 1.0000]]]
/// ```
///
/// Source: Vaswani et al. (2017), §3.5, arXiv:1706.03762.
#[part]
pub fn sinusoidal(positions: &Tensor, d_model: usize) -> Result<Tensor> {
    todo!("speeds, angles, sine beside cosine")
}

/// Rotates pairs of coordinates by angles that grow with the position.
///
/// Token `s` stands at position `offset + s`, and its pair `i` is rotated by
/// `angle = position · base^(-2i / d_head)`:
///
/// ```text
/// (a, b) → (a cos(angle) − b sin(angle), a sin(angle) + b cos(angle))
/// ```
///
/// Which two coordinates are pair `i` is a convention, and weights trained with one are useless
/// with the other: `2i` and `2i + 1` if `interleaved`, else `i` and `i + d_head / 2`.
///
/// # Shapes
///
/// | tensor | shape                           | dtype          |
/// |--------|---------------------------------|----------------|
/// | `x`    | `(batch, n_heads, seq, d_head)` | `f32` or `f64` |
/// | result | as `x`                          | as `x`         |
///
/// # Contract
///
/// - Both coordinates of a pair stay where they were.
/// - Continuing a sequence with a cache, its length as `offset`, gives what rotating all of the
///   sequence at once gives.
/// - Scores of rotated queries and keys depend on the distance between their positions only, and
///   no rotation changes a length. There is no largest position.
/// - Gradients flow back to `x`.
/// - `x` may be non-contiguous, as splitting heads leaves it.
///
/// # Errors
///
/// Fails if `d_head` is odd.
///
/// # Example: the first coordinate turns into its partner
///
/// ```text
/// x = [[1, 0, 0, 0], [1, 0, 0, 0]]    offset = 0    (the tokens stand at positions 0 and 1)
/// interleaved: [[1, 0, 0, 0], [cos 1, sin 1, 0, 0]] = [[1, 0, 0, 0], [0.5403, 0.8415, 0, 0]]
/// otherwise:   [[1, 0, 0, 0], [cos 1, 0, sin 1, 0]] = [[1, 0, 0, 0], [0.5403, 0, 0.8415, 0]]
/// ```
///
/// Source: Su et al. (2021), "`RoFormer`", §3.2.2, eq. 15 and §3.4.2, eq. 34, arXiv:2104.09864.
/// `GPT-J` interleaves; `GPT-NeoX` and Llama's weights on the Hugging Face hub split in halves.
#[part]
pub fn rotary(x: &Tensor, offset: usize, base: f64, interleaved: bool) -> Result<Tensor> {
    todo!("angles, split into pairs, rotate, join")
}

/// Takes from each score in proportion to the distance between query and key.
///
/// The score of a query at position `i` for a key at position `j` falls by `slope · |i − j|`; head
/// `h` of `n_heads`, counted from 0, has the slope `2^(-8 (h + 1) / n_heads)`.
/// Scores come here after the division by the square root of `d_head`, before the softmax.
///
/// # Shapes
///
/// | tensor   | shape                            | dtype          |
/// |----------|----------------------------------|----------------|
/// | `scores` | `(batch, n_heads, seq_q, seq_k)` | `f32` or `f64` |
/// | result   | as `scores`                      | as `scores`    |
///
/// # Contract
///
/// - The queries are the last `seq_q` of the `seq_k` positions, as with a cache of keys.
/// - What is taken depends on the head and the distance only, never on the scores.
/// - A score of −∞, as a mask leaves it, stays −∞.
/// - Gradients flow back to `scores`.
/// - `scores` may be non-contiguous.
///
/// # Errors
///
/// Fails if there are more queries than keys.
///
/// # Example: two heads forget at two speeds
///
/// ```text
/// scores = 0 everywhere, n_heads = 2, seq_q = seq_k = 2    (slopes 2⁻⁴ and 2⁻⁸)
/// head 0: [[0, -1/16 ], [-1/16,  0]]
/// head 1: [[0, -1/256], [-1/256, 0]]
/// ```
///
/// Source: Press et al. (2021), "Train Short, Test Long", §3, arXiv:2108.12409.
/// Its released code takes slopes of a neighbouring power of two if `n_heads` is none, and leaves
/// the absolute value out, as a causal mask hides every later key.
#[part]
pub fn alibi(scores: &Tensor) -> Result<Tensor> {
    todo!("slopes, distances, subtract")
}
