//! Causal attention of all heads, from `(batch, seq, 3 · d)` to `(batch, seq, d)`.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use wick::fused::plain;

use super::{exp, numbers, read, tensor};

/// Attends with queries, keys and values that lie side by side.
pub(crate) fn attention(qkv: &Tensor, n_heads: usize) -> Result<Tensor> {
    if !qkv.device().is_cpu() {
        return plain::causal_self_attention(qkv, n_heads);
    }
    qkv.contiguous()?.apply_op1(Attention { n_heads })
}

struct Attention {
    n_heads: usize,
}

/// One head of one sequence: its numbers row by row, and keys and values also column by column,
/// so that inner loops run over neighbours.
struct Head {
    seq: usize,
    width: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    k_columns: Vec<f32>,
    v_columns: Vec<f32>,
}

/// Adds `factor · from` to `to`.
fn add(to: &mut [f32], factor: f32, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

impl Head {
    fn new(seq: usize, d_head: usize) -> Self {
        let zeros = vec![0.0; seq * d_head];
        let [q, k, v, k_columns, v_columns] = std::array::from_fn(|_| zeros.clone());
        Self { seq, width: d_head, q, k, v, k_columns, v_columns }
    }

    /// Reads a head's columns out of rows that are three times `width` wide.
    fn load(&mut self, rows: &[f32], width: usize, columns: Range<usize>) {
        let (seq, d_head) = (self.seq, self.width);
        let scale = 1.0 / (d_head as f32).sqrt();
        for (at, row) in rows.chunks_exact(3 * width).enumerate() {
            let part = |n: usize| &row[n * width..][columns.clone()];
            let own = at * d_head..(at + 1) * d_head;
            self.q[own.clone()].copy_from_slice(part(0));
            for q in &mut self.q[own.clone()] {
                *q *= scale;
            }
            self.k[own.clone()].copy_from_slice(part(1));
            self.v[own].copy_from_slice(part(2));
            for c in 0..d_head {
                self.k_columns[c * seq + at] = part(1)[c];
                self.v_columns[c * seq + at] = part(2)[c];
            }
        }
    }

    fn row<'a>(&self, all: &'a [f32], at: usize) -> &'a [f32] {
        &all[at * self.width..][..self.width]
    }

    /// What a query makes of all that it sees: `row` is as long as that.
    fn pattern(&self, query: usize, row: &mut [f32]) {
        self.products(self.row(&self.q, query), &self.k_columns, row);
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for score in &mut *row {
            *score = exp(*score - largest);
        }
        let inverse = 1.0 / row.iter().sum::<f32>();
        for share in row {
            *share *= inverse;
        }
    }

    /// The dot products of one vector with the first vectors of many.
    fn products(&self, one: &[f32], columns: &[f32], row: &mut [f32]) {
        row.fill(0.0);
        for (number, column) in one.iter().zip(columns.chunks_exact(self.seq)) {
            add(row, *number, column);
        }
    }
}

impl Attention {
    /// Goes through the heads of all sequences: `(batch, n_heads)`.
    fn each(
        &self,
        qkv: &[f32],
        (seq, width): (usize, usize),
        mut visit: impl FnMut(&Head, usize, Range<usize>),
    ) {
        let d_head = width / self.n_heads;
        let mut head = Head::new(seq, d_head);
        for (batch, rows) in qkv.chunks_exact(seq * 3 * width).enumerate() {
            for n in 0..self.n_heads {
                let columns = n * d_head..(n + 1) * d_head;
                head.load(rows, width, columns.clone());
                visit(&head, batch, columns);
            }
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, seq, wide) = layout.shape().dims3()?;
        let width = wide / 3;
        let mut out = vec![0.0; batch * seq * width];
        let mut row = vec![0.0; seq];
        self.each(numbers(qkv, layout)?, (seq, width), |head, batch, columns| {
            for query in 0..seq {
                let row = &mut row[..=query];
                head.pattern(query, row);
                let z = &mut out[(batch * seq + query) * width..][columns.clone()];
                for (key, share) in row.iter().enumerate() {
                    add(z, *share, head.row(&head.v, key));
                }
            }
        });
        Ok((CpuStorage::F32(out), Shape::from((batch, seq, width))))
    }

    fn bwd(&self, qkv: &Tensor, _out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, seq, wide) = qkv.dims3()?;
        let width = wide / 3;
        let gradients = read(gradient)?;
        let mut to_qkv = vec![0.0; qkv.elem_count()];
        let scale = 1.0 / ((width / self.n_heads) as f32).sqrt();
        let (mut pattern, mut slopes) = (vec![0.0; seq], vec![0.0; seq]);
        self.each(&read(qkv)?, (seq, width), |head, batch, columns| {
            let to_rows = &mut to_qkv[batch * seq * wide..][..seq * wide];
            let part = |at: usize, n: usize| {
                let from = at * wide + n * width;
                from + columns.start..from + columns.end
            };
            for query in 0..seq {
                let (pattern, slopes) = (&mut pattern[..=query], &mut slopes[..=query]);
                head.pattern(query, pattern);
                let to_z = &gradients[(batch * seq + query) * width..][columns.clone()];
                head.products(to_z, &head.v_columns, slopes);
                let mean: f32 = pattern.iter().zip(&*slopes).map(|(p, s)| p * s).sum();
                for (slope, share) in slopes.iter_mut().zip(&*pattern) {
                    *slope = share * (*slope - mean);
                }
                for key in 0..=query {
                    let slope = slopes[key];
                    add(&mut to_rows[part(query, 0)], slope * scale, head.row(&head.k, key));
                    // The queries hold the scale already.
                    add(&mut to_rows[part(key, 1)], slope, head.row(&head.q, query));
                    add(&mut to_rows[part(key, 2)], pattern[key], to_z);
                }
            }
        });
        Ok(Some(tensor(to_qkv, qkv)?))
    }
}
