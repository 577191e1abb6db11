//! A linear layer: products of matrices, and the sums over rows that biases need.

use crate::{Matrix, MatrixMut, Write, multiply, simd, threads, threads::BLOCK};

/// Sizes of a linear layer: `rows` inputs of width `d_in` become rows of width `d_out`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Number of rows.
    pub rows: usize,
    /// Width of an input.
    pub d_in: usize,
    /// Width of an output.
    pub d_out: usize,
}

impl Linear {
    /// `y` becomes or gains x · w; `w` is `(d_in, d_out)`.
    pub fn forward(self, x: &[f32], w: &[f32], y: &mut [f32], write: Write) {
        let Self { rows, d_in, d_out } = self;
        let y = MatrixMut::new(y, rows, d_out);
        multiply(y, write, 1.0, Matrix::new(x, rows, d_in), Matrix::new(w, d_in, d_out));
    }

    /// `dx` becomes or gains dy · wᵀ.
    pub fn input_gradient(self, dy: &[f32], w: &[f32], dx: &mut [f32], write: Write) {
        let Self { rows, d_in, d_out } = self;
        let dx = MatrixMut::new(dx, rows, d_in);
        multiply(dx, write, 1.0, Matrix::new(dy, rows, d_out), Matrix::new(w, d_in, d_out).t());
    }

    /// `dw` becomes or gains xᵀ · dy.
    pub fn weight_gradient(self, x: &[f32], dy: &[f32], dw: &mut [f32], write: Write) {
        let Self { rows, d_in, d_out } = self;
        let dw = MatrixMut::new(dw, d_in, d_out);
        multiply(dw, write, 1.0, Matrix::new(x, rows, d_in).t(), Matrix::new(dy, rows, d_out));
    }
}

/// Each row of `y` becomes that of `x`, if there is one, plus the bias.
pub fn fill_rows(y: &mut [f32], x: Option<&[f32]>, bias: &[f32]) {
    let width = bias.len();
    threads::split(y, width, |first, y| {
        let x = x.map(|x| &x[first * width..][..y.len()]);
        simd::vectorised(
            #[inline(always)]
            || match x {
                None => y.chunks_exact_mut(width).for_each(|y| y.copy_from_slice(bias)),
                Some(x) => {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        for ((y, &x), &bias) in y.iter_mut().zip(x).zip(bias) {
                            *y = x + bias;
                        }
                    }
                }
            },
        );
    });
}

/// `sum` becomes or gains the sum of all rows of `x`, block by block.
pub fn sum_rows(x: &[f32], sum: &mut [f32], write: Write) {
    let width = sum.len();
    if write == Write::Replace {
        sum.fill(0.0);
    }
    if width == 0 {
        return;
    }
    let blocks = (x.len() / width).div_ceil(BLOCK);
    let mut partial = vec![0.0; blocks * width];
    threads::split(&mut partial, width, |first, partial| {
        for (n, sum) in partial.chunks_exact_mut(width).enumerate() {
            let from = (first + n) * BLOCK * width;
            let block = &x[from..x.len().min(from + BLOCK * width)];
            add_rows(block, sum);
        }
    });
    add_rows(&partial, sum);
}

/// `x` gains `y`.
pub fn add(x: &mut [f32], y: &[f32]) {
    simd::vectorised(
        #[inline(always)]
        || {
            for (x, &y) in x.iter_mut().zip(y) {
                *x += y;
            }
        },
    );
}

fn add_rows(x: &[f32], sum: &mut [f32]) {
    simd::vectorised(
        #[inline(always)]
        || {
            for row in x.chunks_exact(sum.len()) {
                for (sum, &x) in sum.iter_mut().zip(row) {
                    *sum += x;
                }
            }
        },
    );
}
