//! A linear layer, whose weight may be a transposed view.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use kernels::{Matrix, MatrixMut, Write};

use super::{
    numbers::{Numbers, contiguous, have_kernels, like},
    plain,
};

/// x · w, plus `bias` if there is one.
///
/// A weight that is kept as `(d_out, d_in)` comes as `&w.t()?`, and is not copied.
///
/// # Shapes
///
/// | tensor | shape |
/// |---|---|
/// | `x` | `(…, d_in)` |
/// | `w` | `(d_in, d_out)` |
/// | `bias` | `(d_out)` |
/// | result | `(…, d_out)` |
///
/// # Errors
///
/// Fails if the widths do not fit.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (width, (d_in, d_out)) = (x.dim(D::Minus1)?, w.dims2()?);
    if width != d_in {
        bail!("`x` has rows of {width}, but `w` takes {d_in}")
    }
    if let Some(bias) = bias
        && bias.dims1()? != d_out
    {
        bail!("`bias` has {} entries, but `w` gives {d_out}", bias.dims1()?)
    }
    let all = [x, w, bias.unwrap_or(w)];
    if !have_kernels(&all) {
        return plain::linear(x, w, bias);
    }
    let x = x.contiguous()?;
    // A matrix is a view of rows or columns; anything else is copied first.
    let w = if w.is_contiguous() || w.t()?.is_contiguous() { w.clone() } else { w.contiguous()? };
    match bias {
        Some(bias) => x.apply_op3(&w, &bias.contiguous()?, Linear),
        None => x.apply_op2(&w, Linear),
    }
}

struct Linear;

impl Linear {
    fn forward(
        x: (&CpuStorage, &Layout),
        w: (&CpuStorage, &Layout),
        bias: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let numbers = contiguous(x.0, x.1)?;
        let (d_in, d_out) = w.1.shape().dims2()?;
        let (rows, strides) = (numbers.len() / d_in, (w.1.stride()[0], w.1.stride()[1]));
        let all = &w.0.as_slice::<f32>()?[w.1.start_offset()..];
        let w = Matrix::strided(all, (d_in, d_out), strides);
        let mut y = vec![0.0; rows * d_out];
        if let Some(bias) = bias {
            kernels::fill_rows(&mut y, None, bias);
        }
        let write = if bias.is_some() { Write::Add } else { Write::Replace };
        let into = MatrixMut::new(&mut y, rows, d_out);
        kernels::multiply(into, write, 1.0, Matrix::new(numbers, rows, d_in), w);
        let mut shape = x.1.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = d_out;
        }
        Ok((CpuStorage::F32(y), shape.into()))
    }

    /// The gradients of `x` and `w`.
    fn backward(x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
        let (xs, dy) = (Numbers::of(x)?, Numbers::of(dy)?);
        let (d_in, d_out) = w.dims2()?;
        let rows = xs.len() / d_in;
        let dy = Matrix::new(&dy, rows, d_out);
        let is_transposed = !w.is_contiguous();
        let view = if is_transposed { w.t()? } else { w.clone() };
        let ws = Numbers::of(&view)?;
        let w_t = if is_transposed {
            Matrix::new(&ws, d_out, d_in)
        } else {
            Matrix::new(&ws, d_in, d_out).t()
        };
        let mut dx = vec![0.0; xs.len()];
        kernels::multiply(MatrixMut::new(&mut dx, rows, d_in), Write::Replace, 1.0, dy, w_t);
        let mut dw = vec![0.0; d_in * d_out];
        let into = MatrixMut::new(&mut dw, d_in, d_out);
        kernels::multiply(into, Write::Replace, 1.0, Matrix::new(&xs, rows, d_in).t(), dy);
        Ok((like(x, dx)?, like(w, dw)?))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "fused-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Self::forward((x, x_layout), (w, w_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = Self::backward(x, w, &dy.contiguous()?)?;
        Ok((Some(dx), Some(dw)))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "fused-linear-with-bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Self::forward((x, x_layout), (w, w_layout), Some(contiguous(bias, bias_layout)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (dx, dw) = Self::backward(x, w, &dy)?;
        let mut sum = vec![0.0; bias.elem_count()];
        kernels::sum_rows(&Numbers::of(&dy)?, &mut sum, Write::Replace);
        Ok((Some(dx), Some(dw), Some(like(bias, sum)?)))
    }
}
