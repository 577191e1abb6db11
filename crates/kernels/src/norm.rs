//! Layer norm and RMS norm over the last axis.

use crate::{Write, simd, threads, threads::BLOCK};

/// What is learned of a norm, and what keeps it from dividing by zero.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Multiplied to each normalised row.
    pub gain: &'a [f32],
    /// Added after; without it this is RMS norm, which does not subtract the mean either.
    pub bias: Option<&'a [f32]>,
    /// Added to the variance, or to the mean of squares.
    pub eps: f32,
}

/// Mean and reciprocal deviation of each row, side by side.
pub type Statistics = [f32];

/// Writes each row of `x`, normalised, to `y`, and `(mean, 1 / deviation)` to `statistics`.
pub fn forward(norm: Norm<'_>, x: &[f32], y: &mut [f32], statistics: &mut Statistics) {
    let width = norm.gain.len();
    threads::split_two((y, width), (statistics, 2), BLOCK, |first, y, statistics| {
        let x = &x[first * width..][..y.len()];
        simd::vectorised(
            #[inline(always)]
            || {
                for ((x, y), statistics) in x
                    .chunks_exact(width)
                    .zip(y.chunks_exact_mut(width))
                    .zip(statistics.chunks_exact_mut(2))
                {
                    let (mean, scale) = moments(norm, x);
                    statistics[0] = mean;
                    statistics[1] = scale;
                    normalise_row(norm, x, y, mean, scale);
                }
            },
        );
    });
}

#[inline(always)]
fn moments(norm: Norm<'_>, x: &[f32]) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = if norm.bias.is_some() { simd::sum(x, |x| x) / width } else { 0.0 };
    let variance = simd::sum(x, |x| (x - mean) * (x - mean)) / width;
    (mean, 1.0 / (variance + norm.eps).sqrt())
}

#[inline(always)]
fn normalise_row(norm: Norm<'_>, x: &[f32], y: &mut [f32], mean: f32, scale: f32) {
    match norm.bias {
        Some(bias) => {
            for (((y, &x), &gain), &bias) in y.iter_mut().zip(x).zip(norm.gain).zip(bias) {
                *y = ((x - mean) * scale).mul_add(gain, bias);
            }
        }
        None => {
            for ((y, &x), &gain) in y.iter_mut().zip(x).zip(norm.gain) {
                *y = x * scale * gain;
            }
        }
    }
}

/// What the backward pass reads.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// The input.
    pub x: &'a [f32],
    /// What [`forward`] wrote of each row.
    pub statistics: &'a Statistics,
    /// The gradient of the output.
    pub dy: &'a [f32],
}

/// Gives the gradients of the input, as `write` says, and of gain and bias, one after the other.
///
/// Without a bias the second half is of no meaning.
#[must_use]
pub fn backward(norm: Norm<'_>, up: Upstream<'_>, dx: &mut [f32], write: Write) -> Vec<f32> {
    let width = norm.gain.len();
    let rows = dx.len().checked_div(width).unwrap_or(0);
    let mut partial = vec![0.0; rows.div_ceil(BLOCK) * 2 * width];
    threads::split_two((dx, width * BLOCK), (&mut partial, 2 * width), 1, |block, dx, partial| {
        let from = block * BLOCK;
        let x = &up.x[from * width..][..dx.len()];
        let dy = &up.dy[from * width..][..dx.len()];
        let statistics = &up.statistics[from * 2..];
        let (d_gain, d_bias) = partial.split_at_mut(width);
        simd::vectorised(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
                let rows = rows.zip(dx.chunks_exact_mut(width)).zip(statistics.chunks_exact(2));
                for (((x, dy), dx), statistics) in rows {
                    let row = Row { x, dy, mean: statistics[0], scale: statistics[1] };
                    row.backward(norm, dx, write);
                    row.add_to(d_gain, d_bias);
                }
            },
        );
    });
    let mut sum = vec![0.0; 2 * width];
    crate::sum_rows(&partial, &mut sum, Write::Replace);
    sum
}

#[derive(Clone, Copy)]
struct Row<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    mean: f32,
    scale: f32,
}

impl Row<'_> {
    /// dx = scale · (t − mean t − x̂ · mean(t·x̂)), with t = dy · gain; RMS norm has no mean t.
    #[inline(always)]
    fn backward(self, norm: Norm<'_>, dx: &mut [f32], write: Write) {
        let Self { x, dy, mean, scale } = self;
        let width = x.len() as f32;
        let (mut along, mut level) = ([0.0_f32; 16], [0.0_f32; 16]);
        let blocks = x.chunks(16).zip(dy.chunks(16)).zip(norm.gain.chunks(16));
        for ((x, dy), gain) in blocks {
            let lanes = along.iter_mut().zip(&mut level);
            for ((((along, level), &x), &dy), &gain) in lanes.zip(x).zip(dy).zip(gain) {
                let t = dy * gain;
                *level += t;
                *along = t.mul_add((x - mean) * scale, *along);
            }
        }
        let along = simd::sum(&along, |x| x) / width;
        let level = if norm.bias.is_some() { simd::sum(&level, |x| x) / width } else { 0.0 };
        let terms = x.iter().zip(dy).zip(norm.gain);
        match write {
            Write::Replace => {
                for (dx, ((&x, &dy), &gain)) in dx.iter_mut().zip(terms) {
                    *dx = scale * (dy * gain - level - (x - mean) * scale * along);
                }
            }
            Write::Add => {
                for (dx, ((&x, &dy), &gain)) in dx.iter_mut().zip(terms) {
                    *dx += scale * (dy * gain - level - (x - mean) * scale * along);
                }
            }
        }
    }

    #[inline(always)]
    fn add_to(self, d_gain: &mut [f32], d_bias: &mut [f32]) {
        let Self { x, dy, mean, scale } = self;
        for (((d_gain, d_bias), &x), &dy) in d_gain.iter_mut().zip(d_bias).zip(x).zip(dy) {
            *d_gain = dy.mul_add((x - mean) * scale, *d_gain);
            *d_bias += dy;
        }
    }
}
