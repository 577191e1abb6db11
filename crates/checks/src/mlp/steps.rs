//! The honest steps of a network, for impostors to leave out, swap, or spoil one of.

use candle_core::{D, DType, Result, Tensor, bail};

/// `x weightᵀ` for any number of leading axes.
pub(super) fn project(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (d_out, d_in) = weight.dims2()?;
    if x.dim(D::Minus1)? != d_in {
        bail!("vectors of {} do not fit a weight for {d_in}", x.dim(D::Minus1)?);
    }
    let leading = &x.dims()[..x.rank() - 1];
    let rows = x.reshape(((), d_in))?;
    rows.matmul(&weight.t()?)?.reshape([leading, &[d_out]].concat())
}

/// Adds a bias if there is one of the right shape.
pub(super) fn with_bias(out: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let Some(bias) = bias else { return Ok(out.clone()) };
    if bias.dims() != [out.dim(D::Minus1)?] {
        bail!("a bias {:?} does not fit {:?}", bias.dims(), out.dims());
    }
    out.broadcast_add(bias)
}

/// Does the work in `f32` whatever came, and casts back, as an answer with a fixed dtype does.
pub(super) fn in_single(
    work: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    tensors: &[&Tensor],
) -> Result<Tensor> {
    let single: Vec<Tensor> =
        tensors.iter().map(|t| t.to_dtype(DType::F32)).collect::<Result<_>>()?;
    work(&single)?.to_dtype(tensors[0].dtype())
}
