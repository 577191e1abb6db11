//! Rows of a table by their number, and what their gradients add up to.

use crate::{simd, threads};

/// Each row of `y` becomes the row of `table` with the number in `ids`.
///
/// # Panics
///
/// Panics if an id is no row of the table.
pub fn gather(table: &[f32], ids: &[u32], y: &mut [f32], width: usize) {
    threads::split(y, width, |first, y| {
        for (y, &id) in y.chunks_exact_mut(width).zip(&ids[first..]) {
            y.copy_from_slice(&table[id as usize * width..][..width]);
        }
    });
}

/// Adds each row of `dy` to the row of `d_table` with the number in `ids`.
///
/// One thread does all of it, so sums have one order.
///
/// # Panics
///
/// Panics if an id is no row of the table.
pub fn scatter(dy: &[f32], ids: &[u32], d_table: &mut [f32], width: usize) {
    simd::vectorised(
        #[inline(always)]
        || {
            for (dy, &id) in dy.chunks_exact(width.max(1)).zip(ids) {
                let row = &mut d_table[id as usize * width..][..width];
                for (d_table, &dy) in row.iter_mut().zip(dy) {
                    *d_table += dy;
                }
            }
        },
    );
}
