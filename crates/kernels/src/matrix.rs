//! Products of matrices that are views into slices: strides say what is transposed or cut out.
//!
//! **Invariant:** a view is checked when it is made, so a product reads and writes inside its
//! slices only.

#![allow(unsafe_code, reason = "gemm takes pointers; every view was checked against its slice")]

use crate::{Write, threads};

/// A matrix to read.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// A matrix to write, whose rows lie one after another, maybe with gaps.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows lie one after another.
    ///
    /// # Panics
    ///
    /// Panics if the slice is too short.
    #[must_use]
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, (rows, cols), (cols, 1))
    }

    /// A matrix with its entry `(r, c)` at `r · strides.0 + c · strides.1`.
    ///
    /// # Panics
    ///
    /// Panics if the slice is too short.
    #[must_use]
    pub fn strided(data: &'a [f32], size: (usize, usize), strides: (usize, usize)) -> Self {
        let (rows, cols) = size;
        let inside = rows == 0
            || cols == 0
            || (rows - 1)
                .checked_mul(strides.0)
                .zip((cols - 1).checked_mul(strides.1))
                .and_then(|(row, col)| row.checked_add(col))
                .is_some_and(|last| last < data.len());
        assert!(inside, "{rows} × {cols} by {strides:?} is more than {} numbers", data.len());
        Self { data, rows, cols, row_stride: strides.0, col_stride: strides.1 }
    }

    /// The same numbers with rows and columns exchanged.
    #[must_use]
    pub fn t(self) -> Self {
        let Self { data, rows, cols, row_stride, col_stride } = self;
        Self { data, rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
    }
}

impl<'a> MatrixMut<'a> {
    /// A matrix whose rows lie one after another.
    ///
    /// # Panics
    ///
    /// Panics if the slice is too short.
    #[must_use]
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A matrix with its entry `(r, c)` at `r · row_stride + c`.
    ///
    /// # Panics
    ///
    /// Panics if the slice is too short, or if rows would overlap.
    #[must_use]
    pub fn strided(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(rows < 2 || row_stride >= cols, "rows of {cols} overlap by {row_stride}");
        let _ = Matrix::strided(data, (rows, cols), (row_stride, 1));
        Self { data, rows, cols, row_stride }
    }
}

/// `out` becomes, or gains, `factor · a · b`.
///
/// # Panics
///
/// Panics if the sizes do not fit.
#[expect(clippy::needless_pass_by_value, reason = "a product uses up the right to write")]
pub fn multiply(out: MatrixMut<'_>, write: Write, factor: f32, a: Matrix<'_>, b: Matrix<'_>) {
    assert!(
        a.cols == b.rows && out.rows == a.rows && out.cols == b.cols,
        "{} × {} by {} × {} does not give {} × {}",
        a.rows,
        a.cols,
        b.rows,
        b.cols,
        out.rows,
        out.cols,
    );
    let threads = threads::for_product(out.rows * out.cols * a.cols);
    let parallelism = match threads {
        1 => gemm::Parallelism::None,
        _ => gemm::Parallelism::Rayon(threads),
    };
    if out.rows == 0 || out.cols == 0 {
        return;
    }
    // SAFETY: the views were checked against their slices when they were made, `out` is borrowed
    // alone, and sizes fit one another as asserted above.
    unsafe {
        gemm::gemm(
            out.rows,
            out.cols,
            a.cols,
            out.data.as_mut_ptr(),
            1,
            out.row_stride as isize,
            write == Write::Add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small whole numbers have no rounding")]
mod tests {
    use super::*;

    /// Every size up to 5 against the sum that defines a product, transposed and with gaps.
    #[track_caller]
    fn check(rows: usize, cols: usize, inner: usize, write: Write) {
        let a: Vec<f32> = (0..rows * inner).map(|n| n as f32 - 3.0).collect();
        let b: Vec<f32> = (0..cols * inner).map(|n| 5.0 - n as f32).collect();
        let gap = cols + 2;
        let mut out = vec![7.0; rows * gap];
        let (left, right) = (Matrix::new(&a, inner, rows).t(), Matrix::new(&b, cols, inner).t());
        let into = MatrixMut::strided(&mut out, rows, cols, gap);
        multiply(into, write, 0.5, left, right);
        for (n, &found) in out.iter().enumerate() {
            let (row, col) = (n / gap, n % gap);
            let product = |k| a[k * rows + row] * b[col * inner + k];
            let before = if write == Write::Add { 7.0 } else { 0.0 };
            let expected =
                if col < cols { before + 0.5 * (0..inner).map(product).sum::<f32>() } else { 7.0 };
            assert_eq!(found, expected, "{rows}×{inner}×{cols} at {row}, {col}");
        }
    }

    #[test]
    fn a_product_is_the_sum_that_defines_it() {
        for (rows, cols, inner) in [(1, 1, 1), (5, 3, 4), (1, 4, 3), (4, 1, 2), (3, 3, 0)] {
            check(rows, cols, inner, Write::Replace);
            check(rows, cols, inner, Write::Add);
        }
    }

    #[test]
    fn a_view_beyond_its_slice_is_refused() {
        let refused = |strides| {
            std::panic::catch_unwind(|| Matrix::strided(&[0.0; 6], (2, 3), strides)).is_err()
        };
        assert!(refused((4, 1)));
        assert!(refused((1, 3)));
        assert!(refused((usize::MAX, 2)));
        assert!(!refused((3, 1)));
        assert!(!refused((1, 2)));
    }
}
