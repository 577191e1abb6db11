//! Thinking in arrays: where each number lies, how small shapes stretch, and what a sum undoes.
//!
//! A tensor is a flat buffer and a rule that says where the element at each position lies:
//!
//! ```text
//! index = offset + position[0] · strides[0] + position[1] · strides[1] + …
//! ```
//!
//! Transposing, slicing and broadcasting change only the rule, so they cost nothing.
//! This file is about that rule; [`puzzles`] builds everyday operations out of comparisons and
//! matrix products alone; [`algebra`] goes on to sums over named axes, the softmax, and linear
//! algebra in batches.
//!
//! Source: Harris et al. (2020), "Array programming with NumPy", fig. 1,
//! doi:10.1038/s41586-020-2649-2.
//!
//! Check your work: `cargo xtask check tensors`.

pub mod algebra;
pub mod puzzles;

use candle_core::{Result, Tensor, bail};
use wick::part;

/// Lays a shape over a flat buffer.
///
/// The element at `position` is the buffer's element at
/// `offset + Σ position[axis] · strides[axis]`.
/// Strides count elements, not bytes.
///
/// # Shapes
///
/// | tensor    | shape   | dtype       |
/// |-----------|---------|-------------|
/// | `buffer`  | `(n)`   | any         |
/// | `shape`   | `rank`  |             |
/// | `strides` | `rank`  |             |
/// | result    | `shape` | as `buffer` |
///
/// # Contract
///
/// - `shape` and `strides` may have any number of axes; with none, the result is the one element
///   at `offset`.
/// - An element may be read many times: a stride may be 0, and windows may overlap.
/// - A shape with an axis of length 0 has no elements, and reads nothing.
/// - Elements that no position reaches do not matter.
/// - Gradients flow back to `buffer`; an element that is read twice receives both.
///
/// A real library shares the buffer instead of copying; here the result may be a copy.
///
/// # Errors
///
/// Fails if `shape` and `strides` differ in length.
/// Fails if a position reaches past the buffer, naming an index that does, and the buffer's length.
///
/// # Example: two columns, read one after the other
///
/// ```text
/// buffer = [9, 0, 1, 2, 3, 4, 5]    shape = [3, 2]    strides = [1, 3]    offset = 1
/// result = [[0, 3], [1, 4], [2, 5]]
/// ```
///
/// Source: Harris et al. (2020), fig. 1a and 1b, doi:10.1038/s41586-020-2649-2.
#[part(plan = "list the indices, check them, select")]
pub fn strided_view(
    buffer: &Tensor,
    shape: &[usize],
    strides: &[usize],
    offset: usize,
) -> Result<Tensor> {
    if shape.len() != strides.len() {
        bail!("`shape` {shape:?} and `strides` {strides:?} differ in length");
    }
    // Each axis replaces every index so far by the run of indices that starts there.
    let mut indices = vec![offset];
    for (&length, &stride) in shape.iter().zip(strides) {
        let run = |start| (0..length).map(move |at| start + at * stride);
        indices = indices.into_iter().flat_map(run).collect();
    }
    let length = buffer.dims1()?;
    if let Some(index) = indices.iter().find(|&&index| index >= length) {
        bail!("index {index} is past the end of `buffer`, which has {length} elements");
    }
    let count = indices.len();
    let indices = indices.into_iter().map(|index| index as u32).collect();
    let indices = Tensor::from_vec(indices, count, buffer.device())?;
    buffer.index_select(&indices, 0)?.reshape(shape)
}

/// Computes the shape that two shapes stretch to.
///
/// The shapes are written one under the other, right-aligned.
/// Axes that meet must be of one length, or one of them must be of length 1 or missing.
///
/// # Contract
///
/// - The order of the two shapes does not matter.
/// - An axis of length 1 takes the other's length, whatever that is: against 0 it becomes 0.
/// - A shape without axes fits every shape.
///
/// # Errors
///
/// Fails if two axes that meet fit in neither way, naming both whole shapes, as `[2, 3]` and
/// `[4, 3]`.
///
/// # Example: a missing axis and an axis of length one
///
/// ```text
/// left   = [2, 3, 1]
/// right  =       [4]
/// result = [2, 3, 4]
/// ```
///
/// Source: Harris et al. (2020), fig. 1e, doi:10.1038/s41586-020-2649-2.
#[part(plan = "right-align, then decide axis by axis")]
pub fn broadcast_shapes(left: &[usize], right: &[usize]) -> Result<Vec<usize>> {
    let rank = left.len().max(right.len());
    // A missing axis behaves as one of length 1.
    let length = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    let mut shape = Vec::with_capacity(rank);
    for axis in 0..rank {
        shape.push(match (length(left, axis), length(right, axis)) {
            (a, b) if a == b => a,
            (1, b) => b,
            (a, 1) => a,
            _ => bail!("{left:?} and {right:?} cannot be broadcast together: axis {axis} differs"),
        });
    }
    Ok(shape)
}

/// Stretches a tensor to a larger shape by repeating it, with [`strided_view`] alone.
///
/// # Shapes
///
/// | tensor | shape                       | dtype  |
/// |--------|-----------------------------|--------|
/// | `x`    | any that fits into `shape`  | any    |
/// | result | `shape`                     | as `x` |
///
/// # Contract
///
/// - Shapes are right-aligned: axes that `x` lacks come in front.
/// - Along an axis that `x` lacks, or where it has length 1, its elements repeat.
/// - Candle's own broadcasting (`broadcast_as`, `expand`, `repeat`, `broadcast_add` …) is not
///   called.
/// - Gradients flow back to `x`.
/// - `x` may be non-contiguous, as a transpose leaves it.
///
/// # Errors
///
/// Fails if `x` cannot be stretched to exactly `shape`, naming both shapes.
///
/// # Example: a column becomes a matrix
///
/// ```text
/// x      = [[1], [2]]                  shape = [2, 3]
/// result = [[1, 1, 1], [2, 2, 2]]
/// ```
///
/// Source: Harris et al. (2020), fig. 1e, doi:10.1038/s41586-020-2649-2.
#[part(plan = "find the strides, then view")]
pub fn broadcast_to(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    require_stretch(x.dims(), shape)?;
    let added = shape.len() - x.rank();
    // A stride of 0 stays on the same element however far the position moves.
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for (axis, &length) in x.dims().iter().enumerate().rev() {
        if length != 1 {
            strides[added + axis] = stride;
        }
        stride *= length;
    }
    // Flattening reads row by row, so the strides are those of `x.dims()`, not of `x`'s memory.
    strided_view(&x.flatten_all()?, shape, &strides, 0)
}

/// Fails unless `small` stretches to exactly `large`.
fn require_stretch(small: &[usize], large: &[usize]) -> Result<()> {
    // Fitting together is not enough: [3] and [1] fit, but 3 elements do not fit into 1.
    if broadcast_shapes(small, large).is_ok_and(|shape| shape == large) {
        return Ok(());
    }
    bail!("{small:?} cannot be stretched to {large:?}")
}

/// Sums a gradient back to the shape from which broadcasting stretched its tensor.
///
/// Where a number was copied, each copy received a gradient of its own; the number itself receives
/// their sum.
///
/// # Shapes
///
/// | tensor     | shape                          | dtype          |
/// |------------|--------------------------------|----------------|
/// | `gradient` | any that `shape` stretches to  | `f32` or `f64` |
/// | result     | `shape`                        | as `gradient`  |
///
/// # Contract
///
/// - It is the adjoint of [`broadcast_to`]: for every `x` of shape `shape`,
///   `⟨broadcast_to(x), gradient⟩ = ⟨x, result⟩`, where `⟨a, b⟩` is the sum of `a · b`.
/// - Axes of length 1 in `shape` stay, with length 1.
/// - Gradients flow back to `gradient`.
/// - `gradient` may be non-contiguous.
///
/// # Errors
///
/// Fails if `shape` cannot be stretched to the shape of `gradient`, naming both.
///
/// # Example: three copies of a column
///
/// ```text
/// gradient = [[1, 2, 3], [4, 5, 6]]    shape = [2, 1]
/// result   = [[6], [15]]
/// ```
///
/// Source: Baydin et al. (2018), §3.2, arXiv:1502.05767: reverse mode multiplies by the transposed
/// Jacobian, and the transpose of copying is summing.
#[part(plan = "sum added axes, then stretched ones")]
pub fn unbroadcast(gradient: &Tensor, shape: &[usize]) -> Result<Tensor> {
    require_stretch(shape, gradient.dims())?;
    let added: Vec<usize> = (0..gradient.rank() - shape.len()).collect();
    let stretched: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis] == 1).collect();
    gradient.sum(added)?.sum_keepdim(stretched)
}
