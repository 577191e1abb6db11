//! Eight puzzles: everyday operations out of comparisons, `arange` and `matmul`.
//!
//! A comparison of two `arange`s, one standing and one lying, draws a pattern of zeros and ones;
//! a matrix product with a pattern moves, copies or sums whole rows at once.
//! One-hot lookups, causal masks, the attention pattern itself: all are such products.
//!
//! A puzzle may call other parts, and of candle only
//!
//! - `arange`, and `ones_like`, `zeros_like`;
//! - comparisons: `eq ne lt le gt ge` and their `broadcast_` forms, and `where_cond`;
//! - `matmul`, and the operators `+ - * /`;
//! - changes of shape or dtype: `unsqueeze squeeze reshape t transpose contiguous broadcast_as
//!   to_dtype`, and questions about them: `dim dims dims1 dims2 rank dtype device`.
//!
//! Whole numbers have `rem_euclid`. You may assume that no axis is empty.
//!
//! Source: Rush, "Tensor Puzzles", github.com/srush/Tensor-Puzzles.

use candle_core::{Result, Tensor};
use wick::part;

/// Makes the matrix that changes nothing: `x` times it is `x`.
///
/// # Shapes
///
/// | tensor | shape       | dtype  |
/// |--------|-------------|--------|
/// | `x`    | `(rows, n)` | any    |
/// | result | `(n, n)`    | as `x` |
///
/// # Contract
///
/// - The values of `x` do not matter, not even NaN: it gives length, dtype and device.
/// - It holds for long rows and small dtypes, such as `u8` with `n` above 256.
///
/// # Example: rows of three numbers
///
/// ```text
/// x      = [[5, 6, 7], [8, 9, 10]]
/// result = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
/// ```
///
/// Source: Rush, "Tensor Puzzles", puzzle 5, `eye`.
#[part]
pub fn identity(x: &Tensor) -> Result<Tensor> {
    todo!("compare row number with column number")
}

/// Makes the matrix with 1 on and above the diagonal, and 0 below.
///
/// # Shapes
///
/// | tensor | shape       | dtype                  |
/// |--------|-------------|------------------------|
/// | `x`    | `(rows, n)` | any                    |
/// | result | `(n, n)`    | as `x`; 1 or 0         |
///
/// # Contract
///
/// - The values of `x` do not matter, not even NaN: it gives length, dtype and device.
/// - It holds for long rows and small dtypes, such as `u8` with `n` above 256.
///
/// # Example: rows of three numbers
///
/// ```text
/// x      = [[5, 6, 7], [8, 9, 10]]
/// result = [[1, 1, 1], [0, 1, 1], [0, 0, 1]]
/// ```
///
/// Source: Rush, "Tensor Puzzles", puzzle 6, `triu`.
#[part]
pub fn upper_triangle(x: &Tensor) -> Result<Tensor> {
    todo!("compare row number with column number")
}

/// Sums each row from its first number up to and including each position.
///
/// # Shapes
///
/// | tensor | shape       | dtype          |
/// |--------|-------------|----------------|
/// | `x`    | `(rows, n)` | `f32` or `f64` |
/// | result | `(rows, n)` | as `x`         |
///
/// # Contract
///
/// - Rows do not mix.
/// - A later number, however large, changes no earlier sum.
/// - Gradients flow back to `x`.
/// - `x` may be non-contiguous.
///
/// A real library makes `n` additions a row; this product makes `n²`, but in parallel.
///
/// # Example: the first four numbers
///
/// ```text
/// x      = [[1, 2, 3, 4]]
/// result = [[1, 3, 6, 10]]
/// ```
///
/// Source: Rush, "Tensor Puzzles", puzzle 7, `cumsum`.
#[part]
pub fn running_sum(x: &Tensor) -> Result<Tensor> {
    todo!("multiply by a triangle")
}

/// Subtracts from each number the one before it in its row.
///
/// The first number of a row has none before it, and stays; so this undoes [`running_sum`].
///
/// # Shapes
///
/// | tensor | shape       | dtype                  |
/// |--------|-------------|------------------------|
/// | `x`    | `(rows, n)` | `f32`, `f64` or `bf16` |
/// | result | `(rows, n)` | as `x`                 |
///
/// # Contract
///
/// - Rows do not mix.
/// - A row of one number stays as it is.
/// - It holds for long rows and small dtypes, such as `bf16` with `n` above 256.
/// - Gradients flow back to `x`.
/// - `x` may be non-contiguous.
///
/// # Example: back to the first four numbers
///
/// ```text
/// x      = [[1, 3, 6, 10]]
/// result = [[1, 2, 3, 4]]
/// ```
///
/// Source: Rush, "Tensor Puzzles", puzzle 8, `diff`.
#[part]
pub fn difference(x: &Tensor) -> Result<Tensor> {
    todo!("multiply by identity less its neighbour")
}

/// Moves each row's numbers by `shift` positions to the right; those that leave come in again on
/// the left.
///
/// # Shapes
///
/// | tensor  | shape       | dtype                            |
/// |---------|-------------|----------------------------------|
/// | `x`     | `(rows, n)` | `f32` or `f64`                   |
/// | `shift` |             | any whole number; < 0 moves left |
/// | result  | `(rows, n)` | as `x`                           |
///
/// # Contract
///
/// - A shift of `n`, or of any multiple of `n`, changes nothing.
/// - Rolling by `shift` and then by `-shift` changes nothing.
/// - Rows do not mix.
/// - Gradients flow back to `x`.
/// - `x` may be non-contiguous.
///
/// # Example: one to the right
///
/// ```text
/// x      = [[1, 2, 3, 4]]    shift = 1
/// result = [[4, 1, 2, 3]]
/// ```
///
/// Source: Rush, "Tensor Puzzles", puzzle 10, `roll`; the direction is that of NumPy's `roll`.
#[part]
pub fn roll(x: &Tensor, shift: i64) -> Result<Tensor> {
    todo!("compare where from with where to")
}

/// Turns each label into a row that is 1 in the label's column.
///
/// # Shapes
///
/// | tensor   | shape               | dtype               |
/// |----------|---------------------|---------------------|
/// | `labels` | `(rows)`            | `u8`, `u32`, `i64`  |
/// | result   | `(rows, n_classes)` | `u8`, 1 = the label |
///
/// # Contract
///
/// - A label outside `0..n_classes`, such as -1 for "none", gives a row of zeros.
/// - It holds for more than 256 classes.
///
/// # Example: two labels of three classes
///
/// ```text
/// labels = [2, 0]    n_classes = 3
/// result = [[0, 0, 1], [1, 0, 0]]
/// ```
///
/// Source: Bishop (2006), "Pattern Recognition and Machine Learning", §2.2, "1-of-K scheme".
#[part]
pub fn one_hot(labels: &Tensor, n_classes: usize) -> Result<Tensor> {
    todo!("compare labels with class numbers")
}

/// Counts how often each of `0..n_bins` occurs.
///
/// # Shapes
///
/// | tensor   | shape      | dtype              |
/// |----------|------------|--------------------|
/// | `values` | `(n)`      | `u8`, `u32`, `i64` |
/// | result   | `(n_bins)` | `u32`              |
///
/// # Contract
///
/// - A value outside `0..n_bins` is not counted.
/// - Counts may be above 255; you may assume fewer than 2²⁴ values.
///
/// # Example: one once and three twice
///
/// ```text
/// values = [3, 1, 3]    n_bins = 5
/// result = [0, 1, 0, 2, 0]
/// ```
///
/// Source: Rush, "Tensor Puzzles", puzzle 15, `bincount`.
#[part]
pub fn bin_count(values: &Tensor, n_bins: usize) -> Result<Tensor> {
    todo!("a row of ones times one-hot")
}

/// Replaces what stands behind the end of each row by 0.
///
/// Sequences of several lengths share a tensor by filling up ("padding") the shorter ones; what
/// the filling holds must not matter.
///
/// # Shapes
///
/// | tensor    | shape          | dtype                      |
/// |-----------|----------------|----------------------------|
/// | `values`  | `(batch, seq)` | `f32` or `f64`             |
/// | `lengths` | `(batch)`      | `u32`, numbers that belong |
/// | result    | `(batch, seq)` | as `values`                |
///
/// # Contract
///
/// - What is replaced may be NaN or infinite; it still becomes 0.
/// - A length of 0 leaves nothing, one of `seq` or more leaves all.
/// - Gradients flow back to the values that stay; the others receive 0.
/// - `values` may be non-contiguous.
///
/// # Errors
///
/// Fails if `lengths` does not hold one length a row, naming both numbers.
///
/// # Example: two of three, and one of three
///
/// ```text
/// values = [[1, 2, 3], [4, 5, 6]]    lengths = [2, 1]
/// result = [[1, 2, 0], [4, 0, 0]]
/// ```
///
/// Source: Rush, "Tensor Puzzles", puzzle 14, `sequence_mask`.
#[part]
pub fn sequence_mask(values: &Tensor, lengths: &Tensor) -> Result<Tensor> {
    todo!("compare positions with lengths, then choose")
}
