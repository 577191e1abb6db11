//! Softmax over the last axis.

use crate::{scalar, simd, threads};

/// Writes the softmax of each row of `x` to `y`.
///
/// An entry of −∞ becomes 0; a row of nothing else has no softmax, and becomes NaN.
pub fn forward(x: &[f32], y: &mut [f32], width: usize) {
    threads::split(y, width, |first, y| {
        let x = &x[first * width..][..y.len()];
        simd::vectorised(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                    let (max, sum) = exponentials(x, y);
                    let scale = if max == f32::NEG_INFINITY { f32::NAN } else { 1.0 / sum };
                    for y in y.iter_mut() {
                        *y *= scale;
                    }
                }
            },
        );
    });
}

/// Writes exp(x − max x) to `y`; gives max x and the sum.
#[inline(always)]
fn exponentials(x: &[f32], y: &mut [f32]) -> (f32, f32) {
    let max = simd::max(x);
    for (y, &x) in y.iter_mut().zip(x) {
        *y = scalar::exp(x - max);
    }
    (max, simd::sum(y, |y| y))
}

/// Writes dx = y · (dy − Σ y·dy), row by row.
pub fn backward(y: &[f32], dy: &[f32], dx: &mut [f32], width: usize) {
    threads::split(dx, width, |first, dx| {
        let (from, length) = (first * width, dx.len());
        let (y, dy) = (&y[from..][..length], &dy[from..][..length]);
        simd::vectorised(
            #[inline(always)]
            || {
                let rows = y.chunks_exact(width).zip(dy.chunks_exact(width));
                for (dx, (y, dy)) in dx.chunks_exact_mut(width).zip(rows) {
                    let along = simd::sum_of_two(y, dy, |y, dy| y * dy);
                    for (dx, (&y, &dy)) in dx.iter_mut().zip(y.iter().zip(dy)) {
                        *dx = y * (dy - along);
                    }
                }
            },
        );
    });
}
