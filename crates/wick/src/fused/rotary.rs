//! Rotary position embedding.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};

use super::{
    numbers::{Numbers, contiguous, have_kernels, like},
    plain,
};

/// Turns pairs of numbers, one in each half of the last axis, by an angle for each position.
///
/// No gradient goes to `cos` and `sin`.
///
/// # Shapes
///
/// | tensor | shape |
/// |---|---|
/// | `x`, result | `(…, seq, d_head)`, with `d_head` even |
/// | `cos`, `sin` | `(seq, d_head / 2)` |
///
/// # Errors
///
/// Fails if the sizes do not fit.
///
/// Source: Su et al. (2021), §3.2, arXiv:2104.09864, with halves for pairs, as Llama has it.
pub fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (seq, d_head) = (x.dim(D::Minus2)?, x.dim(D::Minus1)?);
    for (name, tensor) in [("cos", cos), ("sin", sin)] {
        let found = tensor.dims2()?;
        if d_head % 2 != 0 || found != (seq, d_head / 2) {
            bail!("`{name}` is {found:?}, but `x` has seq {seq} and d_head {d_head}")
        }
    }
    let (cos, sin) = (cos.detach(), sin.detach());
    if !have_kernels(&[x, &cos, &sin]) {
        return plain::rotary(x, &cos, &sin);
    }
    let numbers = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    let op = Rotary { cos: numbers(&cos)?, sin: numbers(&sin)?, width: d_head };
    x.contiguous()?.apply_op1(op)
}

struct Rotary {
    cos: Vec<f32>,
    sin: Vec<f32>,
    width: usize,
}

impl Rotary {
    fn turn(&self, x: &[f32], forth: f32) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        kernels::rotate(x, &self.cos, &self.sin, &mut y, self.width, forth);
        y
    }
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "fused-rotary"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.turn(contiguous(x, layout)?, 1.0)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        Ok(Some(like(x, self.turn(&Numbers::of(&dy)?, -1.0))?))
    }
}
