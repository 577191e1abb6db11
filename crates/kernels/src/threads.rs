//! Rows divided among threads, where that pays.

use rayon::prelude::*;

/// Numbers below which one thread is faster than waking another.
const WORTH_A_THREAD: usize = 1 << 15;

/// Rows that a sum over rows takes together, whatever the number of threads.
pub(crate) const BLOCK: usize = 64;

/// How many threads a product of `work` multiplications and additions may use.
pub(crate) fn for_product(work: usize) -> usize {
    if work < 1 << 23 { 1 } else { rayon::current_num_threads() }
}

fn one_is_enough(numbers: usize) -> bool {
    numbers < WORTH_A_THREAD || rayon::current_num_threads() == 1
}

/// Calls `work` with the number of a first row and rows from there on, until all are done.
pub(crate) fn split(out: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if width == 0 {
        return;
    }
    if one_is_enough(out.len()) {
        return work(0, out);
    }
    let rows = (out.len() / width).div_ceil(rayon::current_num_threads() * 4).max(1);
    let blocks = out.par_chunks_mut(rows * width).enumerate();
    blocks.for_each(|(n, block)| work(n * rows, block));
}

/// The same for two outputs with as many rows.
pub(crate) fn split_two(
    (a, a_width): (&mut [f32], usize),
    (b, b_width): (&mut [f32], usize),
    rows: usize,
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    if a_width == 0 || b_width == 0 || a.is_empty() {
        return;
    }
    let (a_block, b_block) = (rows * a_width, rows * b_width);
    if one_is_enough(a.len()) {
        let blocks = a.chunks_mut(a_block).zip(b.chunks_mut(b_block)).enumerate();
        return blocks.for_each(|(n, (a, b))| work(n * rows, a, b));
    }
    let blocks = a.par_chunks_mut(a_block).zip(b.par_chunks_mut(b_block)).enumerate();
    blocks.for_each(|(n, (a, b))| work(n * rows, a, b));
}
