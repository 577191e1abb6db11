//! Inputs that the puzzles share.

use protocol::DType;

use crate::{Array, Trial};

/// Draws matrices: single rows and columns, wide and tall ones, two of them not contiguous.
pub(super) fn matrices(trial: &mut Trial) -> Vec<Array> {
    let mut matrices = Vec::new();
    for dtype in [DType::F32, DType::F64] {
        let mut draw = |shape: [usize; 2]| trial.rng.normal_array(&shape).to(dtype);
        matrices.extend([[1, 1], [4, 1], [1, 6]].map(&mut draw));
        matrices.extend([[5, 3], [2, 7]].map(|shape| draw(shape).laid_out(&[1, 0])));
    }
    matrices
}

/// Whole numbers as labels of the given dtype.
pub(super) fn labels(numbers: &[i32], dtype: DType) -> Array {
    Array::vector(&numbers.iter().copied().map(f64::from).collect::<Vec<_>>()).to(dtype)
}
