//! Causal attention of all heads, straight from the product that holds q, k and v side by side.
//!
//! Rows of scores are made a block at a time and forgotten; the backward pass makes them again
//! from one number a row, so nothing of size seq × seq is kept, Dao et al. (2022),
//! arXiv:2205.14135.
//! What lies above the diagonal is left out of the products as far as blocks allow.

use rayon::prelude::*;

use crate::{Matrix, MatrixMut, Write, buffer, multiply, scalar, simd};

/// Queries whose scores are made together.
const BLOCK: usize = 64;

/// Sizes of a tensor `(batch, seq, 3, n_heads, d_head)`.
#[derive(Clone, Copy, Debug)]
pub struct Packed {
    /// Number of sequences.
    pub batch: usize,
    /// Number of positions.
    pub seq: usize,
    /// Number of heads.
    pub n_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Multiplied to every score.
    pub scale: f32,
}

/// log Σ exp(score) for each query: `(batch, n_heads, seq)`.
pub type Saved = [f32];

impl Packed {
    fn d_model(self) -> usize {
        self.n_heads * self.d_head
    }

    /// Where, in a sequence, the numbers of q (0), k (1) or v (2) of a head begin.
    fn start(self, which: usize, head: usize) -> usize {
        which * self.d_model() + head * self.d_head
    }

    /// Rows `from..to` of q, k or v of a head.
    fn rows(self, qkv: &[f32], which: usize, head: usize, from: usize, to: usize) -> Matrix<'_> {
        let stride = 3 * self.d_model();
        let data = &qkv[self.start(which, head) + from * stride..];
        Matrix::strided(data, (to - from, self.d_head), (stride, 1))
    }

    fn rows_mut(
        self,
        d_qkv: &mut [f32],
        which: usize,
        head: usize,
        from: usize,
        to: usize,
    ) -> MatrixMut<'_> {
        let stride = 3 * self.d_model();
        let data = &mut d_qkv[self.start(which, head) + from * stride..];
        MatrixMut::strided(data, to - from, self.d_head, stride)
    }

    /// Blocks of queries, from the first to the last.
    fn blocks(self) -> impl DoubleEndedIterator<Item = (usize, usize)> {
        let seq = self.seq;
        (0..seq.div_ceil(BLOCK)).map(move |n| (n * BLOCK, seq.min((n + 1) * BLOCK)))
    }

    fn is_empty(self) -> bool {
        self.batch * self.seq * self.d_model() == 0
    }

    /// Whether the batch is worth dividing among threads.
    fn is_large(self) -> bool {
        let products = self.batch * self.seq * self.seq * self.d_model();
        self.batch > 1 && products > 1 << 20 && rayon::current_num_threads() > 1
    }
}

/// Writes what the heads bring together, `(batch, seq, n_heads, d_head)`, to `z`.
pub fn forward(sizes: Packed, qkv: &[f32], z: &mut [f32], saved: &mut Saved) {
    if sizes.is_empty() {
        return;
    }
    let model = sizes.seq * sizes.d_model();
    let queries = sizes.seq * sizes.n_heads;
    if sizes.is_large() {
        let all = qkv.par_chunks(3 * model).zip(z.par_chunks_mut(model));
        let all = all.zip(saved.par_chunks_mut(queries));
        all.for_each(|((qkv, z), saved)| sequence_forward(sizes, qkv, z, saved));
    } else {
        let all = qkv.chunks(3 * model).zip(z.chunks_mut(model)).zip(saved.chunks_mut(queries));
        all.for_each(|((qkv, z), saved)| sequence_forward(sizes, qkv, z, saved));
    }
}

fn sequence_forward(sizes: Packed, qkv: &[f32], z: &mut [f32], saved: &mut Saved) {
    let Packed { seq, d_head, scale, .. } = sizes;
    let d_model = sizes.d_model();
    let mut scores = buffer(BLOCK.min(seq) * seq);
    for (head, saved) in saved.chunks_exact_mut(seq).enumerate() {
        for (from, to) in sizes.blocks() {
            let scores = &mut scores[..(to - from) * to];
            let (q, k) = (sizes.rows(qkv, 0, head, from, to), sizes.rows(qkv, 1, head, 0, to));
            let v = sizes.rows(qkv, 2, head, 0, to);
            multiply(MatrixMut::new(scores, to - from, to), Write::Replace, scale, q, k.t());
            causal_softmax(scores, from, to, &mut saved[from..to]);
            let z = &mut z[from * d_model + head * d_head..];
            let z = MatrixMut::strided(z, to - from, d_head, d_model);
            multiply(z, Write::Replace, 1.0, Matrix::new(scores, to - from, to), v);
        }
    }
}

/// Turns rows of scores, of which row `n` may attend to `from + n` and all before, into patterns.
fn causal_softmax(scores: &mut [f32], from: usize, to: usize, saved: &mut [f32]) {
    simd::vectorised(
        #[inline(always)]
        || {
            for (n, (row, saved)) in scores.chunks_exact_mut(to).zip(saved).enumerate() {
                let (seen, hidden) = row.split_at_mut(from + n + 1);
                let max = simd::max(seen);
                for x in seen.iter_mut() {
                    *x = scalar::exp(*x - max);
                }
                let sum = simd::sum(seen, |x| x);
                let scale = 1.0 / sum;
                for x in seen.iter_mut() {
                    *x *= scale;
                }
                hidden.fill(0.0);
                *saved = max + sum.ln();
            }
        },
    );
}

/// Writes the gradient of q, k and v, in their places, to `d_qkv`.
pub fn backward(sizes: Packed, qkv: &[f32], saved: &Saved, dz: &[f32], d_qkv: &mut [f32]) {
    if sizes.is_empty() {
        return;
    }
    let model = sizes.seq * sizes.d_model();
    let queries = sizes.seq * sizes.n_heads;
    if sizes.is_large() {
        let all = d_qkv.par_chunks_mut(3 * model).zip(qkv.par_chunks(3 * model));
        let all = all.zip(dz.par_chunks(model)).zip(saved.par_chunks(queries));
        all.for_each(|(((d_qkv, qkv), dz), saved)| {
            sequence_backward(sizes, qkv, saved, dz, d_qkv);
        });
    } else {
        let all = d_qkv.chunks_mut(3 * model).zip(qkv.chunks(3 * model));
        let all = all.zip(dz.chunks(model)).zip(saved.chunks(queries));
        all.for_each(|(((d_qkv, qkv), dz), saved)| {
            sequence_backward(sizes, qkv, saved, dz, d_qkv);
        });
    }
}

fn sequence_backward(sizes: Packed, qkv: &[f32], saved: &Saved, dz: &[f32], d_qkv: &mut [f32]) {
    let Packed { seq, d_head, scale, .. } = sizes;
    let d_model = sizes.d_model();
    let (mut patterns, mut slopes) = (buffer(BLOCK.min(seq) * seq), buffer(BLOCK.min(seq) * seq));
    for (head, saved) in saved.chunks_exact(seq).enumerate() {
        // The last block attends to everything, so it overwrites what the others add to.
        let mut write = Write::Replace;
        for (from, to) in sizes.blocks().rev() {
            let rows = to - from;
            let pattern = &mut patterns[..rows * to];
            let slope = &mut slopes[..rows * to];
            let (q, k) = (sizes.rows(qkv, 0, head, from, to), sizes.rows(qkv, 1, head, 0, to));
            let v = sizes.rows(qkv, 2, head, 0, to);
            let dz = &dz[from * d_model + head * d_head..];
            let dz = Matrix::strided(dz, (rows, d_head), (d_model, 1));
            multiply(MatrixMut::new(pattern, rows, to), Write::Replace, scale, q, k.t());
            multiply(MatrixMut::new(slope, rows, to), Write::Replace, 1.0, dz, v.t());
            causal_slopes(pattern, slope, from, to, &saved[from..to]);
            let (pattern, slope) = (Matrix::new(pattern, rows, to), Matrix::new(slope, rows, to));
            multiply(sizes.rows_mut(d_qkv, 2, head, 0, to), write, 1.0, pattern.t(), dz);
            multiply(sizes.rows_mut(d_qkv, 1, head, 0, to), write, scale, slope.t(), q);
            let dq = sizes.rows_mut(d_qkv, 0, head, from, to);
            multiply(dq, Write::Replace, scale, slope, k);
            write = Write::Add;
        }
    }
}

/// Scores become patterns, and the gradient of patterns that of scores.
fn causal_slopes(scores: &mut [f32], slopes: &mut [f32], from: usize, to: usize, saved: &[f32]) {
    simd::vectorised(
        #[inline(always)]
        || {
            let rows = scores.chunks_exact_mut(to).zip(slopes.chunks_exact_mut(to)).zip(saved);
            for (n, ((scores, slopes), &saved)) in rows.enumerate() {
                let seen = from + n + 1;
                scores[seen..].fill(0.0);
                slopes[seen..].fill(0.0);
                let (pattern, slopes) = (&mut scores[..seen], &mut slopes[..seen]);
                for x in pattern.iter_mut() {
                    *x = scalar::exp(*x - saved);
                }
                let along = simd::sum_of_two(pattern, slopes, |p, dp| p * dp);
                for (dp, &p) in slopes.iter_mut().zip(&*pattern) {
                    *dp = p * (*dp - along);
                }
            }
        },
    );
}
