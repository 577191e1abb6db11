//! Layer norm and RMS norm.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use kernels::{Buffer, Norm, Upstream, Write};

use super::{
    numbers::{Kept, Numbers, contiguous, have_kernels, like},
    plain,
};

/// Normalises over the last axis: subtracts the mean, divides by the deviation, then `gain` and
/// `bias`.
///
/// # Shapes
///
/// | tensor | shape |
/// |---|---|
/// | `x`, result | `(…, d_model)` |
/// | `gain`, `bias` | `(d_model)` |
///
/// # Errors
///
/// Fails if `gain` or `bias` is not as wide as `x`.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    check_width(x, "gain", gain)?;
    check_width(x, "bias", bias)?;
    if !have_kernels(&[x, gain, bias]) {
        return plain::layer_norm(x, gain, bias, eps);
    }
    let op = NormOp { eps: eps as f32, statistics: Kept::nothing() };
    x.contiguous()?.apply_op3(&gain.contiguous()?, &bias.contiguous()?, op)
}

/// Normalises over the last axis: divides by the root of the mean of squares, then `gain`.
///
/// # Shapes
///
/// | tensor | shape |
/// |---|---|
/// | `x`, result | `(…, d_model)` |
/// | `gain` | `(d_model)` |
///
/// # Errors
///
/// Fails if `gain` is not as wide as `x`.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f64) -> Result<Tensor> {
    check_width(x, "gain", gain)?;
    if !have_kernels(&[x, gain]) {
        return plain::rms_norm(x, gain, eps);
    }
    let op = NormOp { eps: eps as f32, statistics: Kept::nothing() };
    x.contiguous()?.apply_op2(&gain.contiguous()?, op)
}

fn check_width(x: &Tensor, name: &str, tensor: &Tensor) -> Result<()> {
    let (width, found) = (x.dim(D::Minus1)?, tensor.dims1()?);
    if width != found {
        bail!("`{name}` has {found} entries, but rows of `x` have {width}")
    }
    Ok(())
}

/// With two arguments RMS norm, with three layer norm.
struct NormOp {
    eps: f32,
    statistics: Kept<Buffer>,
}

impl NormOp {
    fn forward(&self, x: &[f32], gain: &[f32], bias: Option<&[f32]>) -> CpuStorage {
        let mut y = vec![0.0; x.len()];
        let mut statistics = kernels::buffer(2 * (x.len() / gain.len()));
        kernels::normalise(Norm { gain, bias, eps: self.eps }, x, &mut y, &mut statistics);
        self.statistics.keep(statistics);
        CpuStorage::F32(y)
    }

    /// The gradients of `x`, `gain` and `bias`.
    fn backward(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let dy = dy.contiguous()?;
        let bias = bias.map(Numbers::of).transpose()?;
        let (xs, gains, dy) = (Numbers::of(x)?, Numbers::of(gain)?, Numbers::of(&dy)?);
        let norm = Norm { gain: &gains, bias: bias.as_deref(), eps: self.eps };
        let mut dx = vec![0.0; xs.len()];
        let mut d_gain = self.statistics.with(|statistics| {
            let up = Upstream { x: &xs, statistics, dy: &dy };
            Ok(kernels::normalise_backward(norm, up, &mut dx, Write::Replace))
        })?;
        let d_bias = d_gain.split_off(gains.len());
        Ok((like(x, dx)?, like(gain, d_gain)?, like(gain, d_bias)?))
    }
}

impl CustomOp2 for NormOp {
    fn name(&self) -> &'static str {
        "fused-rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain) = (contiguous(x, x_layout)?, contiguous(gain, gain_layout)?);
        Ok((self.forward(x, gain, None), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, d_gain, _) = self.backward(x, gain, None, dy)?;
        Ok((Some(dx), Some(d_gain)))
    }
}

impl CustomOp3 for NormOp {
    fn name(&self) -> &'static str {
        "fused-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain) = (contiguous(x, x_layout)?, contiguous(gain, gain_layout)?);
        let y = self.forward(x, gain, Some(contiguous(bias, bias_layout)?));
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, d_gain, d_bias) = self.backward(x, gain, Some(bias), dy)?;
        Ok((Some(dx), Some(d_gain), Some(d_bias)))
    }
}
