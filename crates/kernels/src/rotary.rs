//! Rotary position embedding: pairs of numbers turned by an angle that grows with the position.

use crate::{simd, threads};

/// Turns each row of `x`, whose halves hold the two numbers of each pair.
///
/// `cos` and `sin` have a row of half the width for each position; rows of `x` run through the
/// positions again and again.
/// `forth` is 1, or −1 to turn back, which is the gradient as well.
pub fn rotate(x: &[f32], cos: &[f32], sin: &[f32], y: &mut [f32], width: usize, forth: f32) {
    let half = width / 2;
    let positions = cos.len().checked_div(half).unwrap_or(0);
    threads::split(y, width, |first, y| {
        let x = &x[first * width..][..y.len()];
        simd::vectorised(
            #[inline(always)]
            || {
                for (n, (x, y)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).enumerate()
                {
                    let at = (first + n) % positions * half;
                    let (cos, sin) = (&cos[at..][..half], &sin[at..][..half]);
                    let ((a, b), (ya, yb)) = (x.split_at(half), y.split_at_mut(half));
                    for i in 0..half {
                        let sin = sin[i] * forth;
                        ya[i] = a[i] * cos[i] - b[i] * sin;
                        yb[i] = b[i] * cos[i] + a[i] * sin;
                    }
                }
            },
        );
    });
}
