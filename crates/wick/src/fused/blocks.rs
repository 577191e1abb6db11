//! The sublayers of a GPT as one node of candle's graph each, with all weights as one argument.
//!
//! Each node takes `(resid, all weights)`; the gradients of weights go to the sink, and candle
//! hears of that of the stream alone.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use kernels::{Activation, Buffer, Linear, Norm, Packed, Upstream, Write, buffer};

use super::{
    numbers::{Kept, Numbers, contiguous, like},
    parameters::{Gradients, Sink, Slot},
};

/// What is added under the root of a norm.
pub(super) const EPS: f32 = 1e-5;

/// Gain and bias of a layer norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct NormSlots {
    pub(super) gain: Slot,
    pub(super) bias: Slot,
}

impl NormSlots {
    fn norm(self, flat: &[f32]) -> Norm<'_> {
        Norm { gain: self.gain.of(flat), bias: Some(self.bias.of(flat)), eps: EPS }
    }

    fn forward(self, flat: &[f32], x: &[f32]) -> Normed {
        let norm = self.norm(flat);
        let mut normed = buffer(x.len());
        let mut statistics = buffer(2 * (x.len() / norm.gain.len()));
        kernels::normalise(norm, x, &mut normed, &mut statistics);
        Normed { normed, statistics }
    }

    /// Adds the gradient of the input to `dx`, and those of gain and bias to the sink.
    fn backward(self, flat: &[f32], up: Upstream<'_>, dx: &mut [f32], gradients: &mut Gradients) {
        let norm = self.norm(flat);
        let sums = kernels::normalise_backward(norm, up, dx, Write::Add);
        let (d_gain, d_bias) = sums.split_at(norm.gain.len());
        gradients.add_numbers(self.gain, d_gain);
        gradients.add_numbers(self.bias, d_bias);
    }
}

struct Normed {
    normed: Buffer,
    statistics: Buffer,
}

/// Weight and bias of a linear layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinearSlots {
    pub(super) weight: Slot,
    pub(super) bias: Slot,
    pub(super) d_in: usize,
    pub(super) d_out: usize,
}

impl LinearSlots {
    fn of_rows(self, rows: usize) -> Linear {
        Linear { rows, d_in: self.d_in, d_out: self.d_out }
    }

    /// Adds the gradients of weight and bias to the sink.
    fn backward(self, x: &[f32], dy: &[f32], gradients: &mut Gradients) {
        let sizes = self.of_rows(x.len() / self.d_in);
        gradients.add(self.weight, |dw, write| sizes.weight_gradient(x, dy, dw, write));
        gradients.add(self.bias, |sum, write| kernels::sum_rows(dy, sum, write));
    }
}

/// resid + attention(norm(resid)).
pub(super) struct AttentionBlock {
    pub(super) norm: NormSlots,
    pub(super) qkv: LinearSlots,
    pub(super) out: LinearSlots,
    pub(super) sizes: Packed,
    pub(super) sink: Arc<Sink>,
    pub(super) kept: Kept<AttentionKept>,
}

pub(super) struct AttentionKept {
    normed: Normed,
    qkv: Buffer,
    z: Buffer,
    log_sums: Buffer,
}

impl AttentionBlock {
    fn forward(&self, x: &[f32], flat: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.qkv.d_in;
        let normed = self.norm.forward(flat, x);
        let mut qkv = buffer(3 * x.len());
        kernels::fill_rows(&mut qkv, None, self.qkv.bias.of(flat));
        let weight = self.qkv.weight.of(flat);
        self.qkv.of_rows(rows).forward(&normed.normed, weight, &mut qkv, Write::Add);
        let (mut z, mut log_sums) = (buffer(x.len()), buffer(rows * self.sizes.n_heads));
        kernels::attend(self.sizes, &qkv, &mut z, &mut log_sums);
        let mut y = vec![0.0; x.len()];
        kernels::fill_rows(&mut y, Some(x), self.out.bias.of(flat));
        self.out.of_rows(rows).forward(&z, self.out.weight.of(flat), &mut y, Write::Add);
        self.kept.keep(AttentionKept { normed, qkv, z, log_sums });
        y
    }

    fn backward(&self, kept: &AttentionKept, x: &[f32], flat: &[f32], dy: &[f32]) -> Vec<f32> {
        let AttentionKept { normed: Normed { normed, statistics }, qkv, z, log_sums } = kept;
        let rows = x.len() / self.qkv.d_in;
        let mut gradients = self.sink.lock();
        self.out.backward(z, dy, &mut gradients);
        let mut dz = buffer(x.len());
        let weight = self.out.weight.of(flat);
        self.out.of_rows(rows).input_gradient(dy, weight, &mut dz, Write::Replace);
        let mut d_qkv = buffer(3 * x.len());
        kernels::attend_backward(self.sizes, qkv, log_sums, &dz, &mut d_qkv);
        self.qkv.backward(normed, &d_qkv, &mut gradients);
        let mut d_normed = dz;
        let weight = self.qkv.weight.of(flat);
        self.qkv.of_rows(rows).input_gradient(&d_qkv, weight, &mut d_normed, Write::Replace);
        let mut dx = dy.to_vec();
        let up = Upstream { x, statistics, dy: &d_normed };
        self.norm.backward(flat, up, &mut dx, &mut gradients);
        dx
    }
}

/// resid + `c_proj`(f(`c_fc`(norm(resid)))).
pub(super) struct MlpBlock {
    pub(super) norm: NormSlots,
    pub(super) fc: LinearSlots,
    pub(super) proj: LinearSlots,
    pub(super) activation: Activation,
    pub(super) sink: Arc<Sink>,
    pub(super) kept: Kept<MlpKept>,
}

pub(super) struct MlpKept {
    normed: Normed,
    slope: Buffer,
    mlp_post: Buffer,
}

impl MlpBlock {
    fn forward(&self, x: &[f32], flat: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.fc.d_in;
        let normed = self.norm.forward(flat, x);
        // What goes into the activation comes out as its slope.
        let mut slope = buffer(rows * self.fc.d_out);
        let weight = self.fc.weight.of(flat);
        self.fc.of_rows(rows).forward(&normed.normed, weight, &mut slope, Write::Replace);
        let mut mlp_post = buffer(rows * self.fc.d_out);
        let bias = self.fc.bias.of(flat);
        kernels::activate_with_slope(self.activation, bias, &mut slope, &mut mlp_post);
        let mut y = vec![0.0; x.len()];
        kernels::fill_rows(&mut y, Some(x), self.proj.bias.of(flat));
        let weight = self.proj.weight.of(flat);
        self.proj.of_rows(rows).forward(&mlp_post, weight, &mut y, Write::Add);
        self.kept.keep(MlpKept { normed, slope, mlp_post });
        y
    }

    fn backward(&self, kept: &MlpKept, x: &[f32], flat: &[f32], dy: &[f32]) -> Vec<f32> {
        let MlpKept { normed: Normed { normed, statistics }, slope, mlp_post } = kept;
        let rows = x.len() / self.fc.d_in;
        let mut gradients = self.sink.lock();
        self.proj.backward(mlp_post, dy, &mut gradients);
        let mut d_pre = buffer(slope.len());
        let weight = self.proj.weight.of(flat);
        self.proj.of_rows(rows).input_gradient(dy, weight, &mut d_pre, Write::Replace);
        kernels::scale_by_slope(slope, &mut d_pre);
        self.fc.backward(normed, &d_pre, &mut gradients);
        let mut d_normed = buffer(x.len());
        let weight = self.fc.weight.of(flat);
        self.fc.of_rows(rows).input_gradient(&d_pre, weight, &mut d_normed, Write::Replace);
        let mut dx = dy.to_vec();
        let up = Upstream { x, statistics, dy: &d_normed };
        self.norm.backward(flat, up, &mut dx, &mut gradients);
        dx
    }
}

/// The final norm, the unembedding (the embedding's table, transposed) and the loss.
pub(super) struct LossHead {
    pub(super) norm: NormSlots,
    pub(super) table: Slot,
    pub(super) d_vocab: usize,
    pub(super) d_model: usize,
    pub(super) targets: Vec<u32>,
    pub(super) sink: Arc<Sink>,
    pub(super) kept: Kept<LossKept>,
}

pub(super) struct LossKept {
    normed: Normed,
    d_logits: Buffer,
}

impl LossHead {
    /// As of a linear layer whose weight is the table, and whose output is the input of this.
    fn sizes(&self) -> Linear {
        Linear { rows: self.targets.len(), d_in: self.d_vocab, d_out: self.d_model }
    }

    fn forward(&self, x: &[f32], flat: &[f32]) -> Vec<f32> {
        let normed = self.norm.forward(flat, x);
        let mut logits = buffer(self.targets.len() * self.d_vocab);
        let table = self.table.of(flat);
        self.sizes().input_gradient(&normed.normed, table, &mut logits, Write::Replace);
        let loss = kernels::cross_entropy(&mut logits, &self.targets, self.d_vocab);
        self.kept.keep(LossKept { normed, d_logits: logits });
        vec![loss]
    }

    fn backward(&self, kept: &LossKept, x: &[f32], flat: &[f32], d_loss: &[f32]) -> Vec<f32> {
        let LossKept { normed: Normed { normed, statistics }, d_logits } = kept;
        let mut scaled = buffer(d_logits.len());
        scaled.copy_from_slice(d_logits);
        kernels::scale(&mut scaled, d_loss.iter().sum());
        let mut gradients = self.sink.lock();
        let sizes = self.sizes();
        gradients.add(self.table, |dw, write| sizes.weight_gradient(&scaled, normed, dw, write));
        let mut d_normed = buffer(x.len());
        sizes.forward(&scaled, self.table.of(flat), &mut d_normed, Write::Replace);
        let mut dx = vec![0.0; x.len()];
        let up = Upstream { x, statistics, dy: &d_normed };
        self.norm.backward(flat, up, &mut dx, &mut gradients);
        dx
    }
}

/// Rows of the table by token, plus rows of positions; takes all weights alone.
pub(super) struct EmbedNode {
    pub(super) tokens: Vec<u32>,
    pub(super) table: Slot,
    pub(super) positions: Slot,
    pub(super) shape: (usize, usize, usize),
    pub(super) sink: Arc<Sink>,
}

impl CustomOp1 for EmbedNode {
    fn name(&self) -> &'static str {
        "fused-embed"
    }

    fn cpu_fwd(&self, flat: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let flat = contiguous(flat, layout)?;
        let (_, seq, d_model) = self.shape;
        let mut x = vec![0.0; self.tokens.len() * d_model];
        kernels::gather(self.table.of(flat), &self.tokens, &mut x, d_model);
        let positions = &self.positions.of(flat)[..seq * d_model];
        for sequence in x.chunks_exact_mut(seq * d_model) {
            kernels::add(sequence, positions);
        }
        Ok((CpuStorage::F32(x), self.shape.into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dx: &Tensor) -> Result<Option<Tensor>> {
        let dx = dx.contiguous()?;
        let dx = Numbers::of(&dx)?;
        let (_, seq, d_model) = self.shape;
        let mut gradients = self.sink.lock();
        gradients.add(self.table, |d_table, write| {
            if write == Write::Replace {
                d_table.fill(0.0);
            }
            kernels::scatter(&dx, &self.tokens, d_table, d_model);
        });
        gradients.add(self.positions, |d_positions, write| {
            let (seen, unseen) = d_positions.split_at_mut(seq * d_model);
            if write == Write::Replace {
                unseen.fill(0.0);
            }
            kernels::sum_rows(&dx, seen, write);
        });
        Ok(None)
    }
}

/// A node of the stream and all weights is its two passes over slices.
macro_rules! node {
    ($node:ident, $name:literal, $shape:expr) => {
        impl CustomOp2 for $node {
            fn name(&self) -> &'static str {
                $name
            }

            fn cpu_fwd(
                &self,
                x: &CpuStorage,
                x_layout: &Layout,
                flat: &CpuStorage,
                flat_layout: &Layout,
            ) -> Result<(CpuStorage, Shape)> {
                let y = self.forward(contiguous(x, x_layout)?, contiguous(flat, flat_layout)?);
                Ok((CpuStorage::F32(y), $shape(x_layout.shape())))
            }

            fn bwd(
                &self,
                x: &Tensor,
                flat: &Tensor,
                _: &Tensor,
                dy: &Tensor,
            ) -> Result<(Option<Tensor>, Option<Tensor>)> {
                let dy = dy.contiguous()?;
                let (xs, flat, dy) = (Numbers::of(x)?, Numbers::of(flat)?, Numbers::of(&dy)?);
                let dx = self.kept.with(|kept| Ok(self.backward(kept, &xs, &flat, &dy)))?;
                Ok((Some(like(x, dx)?), None))
            }
        }
    };
}

node!(AttentionBlock, "fused-attention-block", Shape::clone);
node!(MlpBlock, "fused-mlp-block", Shape::clone);
node!(LossHead, "fused-loss", |_: &Shape| Shape::from(()));
