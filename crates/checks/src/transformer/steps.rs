//! The honest steps of a GPT, for impostors to leave out, swap, or spoil one of.

use candle_core::{D, DType, Result, Tensor, bail};

/// Distances from the mean of each vector.
pub(super) fn centred(x: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)
}

/// Vectors of mean 0 and variance 1.
pub(super) fn normed(x: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = centred(x)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)
}

/// Scales and moves every vector by what was learned, which has to be of its width.
pub(super) fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let width = [x.dim(D::Minus1)?];
    if weight.dims() != width || bias.dims() != width {
        bail!("{:?} and {:?} do not fit {:?}", weight.dims(), bias.dims(), x.dims());
    }
    x.broadcast_mul(weight)?.broadcast_add(bias)
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
