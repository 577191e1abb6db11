//! Softmax over the last axis, with a gradient.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};

use super::{
    numbers::{Numbers, contiguous, have_kernels, like},
    plain,
};

/// Softmax over the last axis; an entry of −∞ becomes 0, and a row of nothing else NaN.
///
/// # Errors
///
/// Fails if `x` has no axis.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    x.dim(D::Minus1)?;
    if !have_kernels(&[x]) {
        return plain::softmax(x);
    }
    x.contiguous()?.apply_op1(Softmax)
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "fused-softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(x, layout)?;
        let mut y = vec![0.0; x.len()];
        kernels::softmax(x, &mut y, layout.shape().dim(D::Minus1)?);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let (ys, dy) = (Numbers::of(y)?, Numbers::of(&dy)?);
        let mut dx = vec![0.0; ys.len()];
        kernels::softmax_backward(&ys, &dy, &mut dx, y.dim(D::Minus1)?);
        Ok(Some(like(y, dx)?))
    }
}
