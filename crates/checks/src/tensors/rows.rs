//! What `log_sum_exp` and `softmax` share: exact rows along an axis, and inputs that are hard.

use candle_core::{Result, Tensor};
use protocol::DType;

use crate::{Array, Generator};

/// `log Σ exp` along one axis, which is left out of the result.
pub(super) fn log_sum_exp(x: &Array, axis: usize) -> Array {
    let mut shape = x.shape().to_vec();
    shape.remove(axis);
    Array::from_fn(&shape, |at| log_sum(&row(x, axis, at))).to(x.dtype())
}

/// The weights along one axis; zeros for a row of −∞ alone.
pub(super) fn softmax(x: &Array, axis: usize) -> Array {
    let lse = log_sum_exp(&x.to(DType::F64), axis);
    let weights = Array::from_fn(x.shape(), |at| {
        let mut slot = at.to_vec();
        slot.remove(axis);
        let value = x.at(at);
        if value == f64::NEG_INFINITY { 0.0 } else { (value - lse.at(&slot)).exp() }
    });
    weights.to(x.dtype())
}

fn row(x: &Array, axis: usize, slot: &[usize]) -> Vec<f64> {
    let mut at = slot.to_vec();
    at.insert(axis, 0);
    (0..x.dim(axis))
        .map(|n| {
            at[axis] = n;
            x.at(&at)
        })
        .collect()
}

fn log_sum(row: &[f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max;
    }
    max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// Shapes, the axis to reduce, and the order in which the axes lie in memory.
pub(super) const SHAPES: &[(&[usize], usize, &[usize])] = &[
    (&[5], 0, &[0]),
    (&[3, 4], 0, &[1, 0]),
    (&[3, 4], 1, &[1, 0]),
    (&[2, 5, 3], 1, &[2, 0, 1]),
    (&[1, 1, 1], 0, &[0, 1, 2]),
    (&[4, 1, 2], 2, &[2, 1, 0]),
];

/// `(3, 5)`: −∞ here and there in row 0, nothing else in row 1, none in row 2.
pub(super) fn with_minus_infinity(rng: &mut Generator) -> Array {
    let mut x = rng.normal_array(&[3, 5]);
    for column in 0..5 {
        x.set(&[1, column], f64::NEG_INFINITY);
    }
    let order = rng.permutation(5);
    x.set(&[0, order[0]], f64::NEG_INFINITY);
    x.set(&[0, order[1]], f64::NEG_INFINITY);
    x
}

/// `(4, 5)`, multiples of 1/8 below 2, so that whole numbers up to 10⁴ are added exactly.
pub(super) fn in_eighths(rng: &mut Generator) -> Array {
    rng.uniform_array(&[4, 5], -2.0, 2.0).map(|x| (8.0 * x).round() / 8.0)
}

/// A number for each row, from −10⁴ to 10⁴.
pub(super) const SHIFTS: [f64; 4] = [0.0, 1e4, -1e4, 512.0];

/// `(2, 3)`: −10⁴, 0 and 10⁴ stand in one row, and near ones in the other.
pub(super) fn wide() -> Array {
    Array::matrix(&[[-1e4, 0.0, 1e4], [1e4, 9999.0, -1e4]]).to(DType::F32)
}

/// A tensor of one value, in the shape and dtype of another.
pub(super) fn filled(like: &Tensor, value: f64) -> Result<Tensor> {
    Tensor::new(value, like.device())?.to_dtype(like.dtype())?.broadcast_as(like.shape())
}

/// The maximum, or 0 where it is −∞.
pub(super) fn finite_max(x: &Tensor, axis: usize) -> Result<Tensor> {
    let max = x.max_keepdim(axis)?.detach();
    max.eq(f64::NEG_INFINITY)?.where_cond(&max.zeros_like()?, &max)
}
