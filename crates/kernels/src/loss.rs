//! Cross-entropy from logits, whose gradient costs nothing more once the exponentials are known.

use crate::{simd, threads};

/// Gives the mean over rows of −log softmax(row) at the target, and turns the logits into its
/// gradient.
///
/// # Panics
///
/// Panics if a target is no column.
#[must_use]
pub fn cross_entropy(logits: &mut [f32], targets: &[u32], d_vocab: usize) -> f32 {
    let rows = targets.len() as f32;
    let mut losses = vec![0.0; targets.len()];
    threads::split_two(
        (logits, d_vocab),
        (&mut losses, 1),
        threads::BLOCK,
        |first, rows_of, losses| {
            simd::vectorised(
                #[inline(always)]
                || {
                    let targets = &targets[first..];
                    for ((row, loss), &target) in
                        rows_of.chunks_exact_mut(d_vocab).zip(losses).zip(targets)
                    {
                        *loss = one_row(row, target as usize, 1.0 / rows);
                    }
                },
            );
        },
    );
    losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() as f32 / rows
}

#[inline(always)]
fn one_row(row: &mut [f32], target: usize, share: f32) -> f32 {
    let at_target = row[target];
    let max = simd::max(row);
    for x in row.iter_mut() {
        *x = crate::scalar::exp(*x - max);
    }
    let sum = simd::sum(row, |x| x);
    let scale = share / sum;
    for x in row.iter_mut() {
        *x *= scale;
    }
    row[target] -= share;
    sum.ln() + max - at_target
}

/// Multiplies everything by `factor`.
pub fn scale(x: &mut [f32], factor: f32) {
    threads::split(x, 1, |_, x| {
        simd::vectorised(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x *= factor),
        );
    });
}
