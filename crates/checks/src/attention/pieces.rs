//! The pieces that impostors and alternatives are put together from, in plain candle.

use candle_core::{D, DType, Device, Result, Tensor};

pub(super) use super::steps::scaled;
use super::steps::{fill, mix, softmax, softmax_without_backward};

/// Averages the values by the softmax of the scores.
pub(super) fn average(scores: &Tensor, v: &Tensor) -> Result<Tensor> {
    mix(&softmax(scores)?, v)
}

/// Plain attention.
pub(super) fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    average(&hide(&scaled(q, k)?, mask)?, v)
}

/// Plain attention whose softmax passes no gradient back.
pub(super) fn attend_without_backward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    mix(&softmax_without_backward(&hide(&scaled(q, k)?, mask)?)?, v)
}

/// Plain attention without the division by √`d_head`.
pub(super) fn attend_unscaled(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    attend(&(q * (q.dim(D::Minus1)? as f64).sqrt())?, k, v, mask)
}

/// Scores with −∞ where the mask is 0.
pub(super) fn hide(scores: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    fill(scores, mask, f64::NEG_INFINITY)
}

/// A mask `(seq_q, seq_k)` by index of query and key.
pub(super) fn mask(
    seq_q: usize,
    seq_k: usize,
    may: impl Fn(usize, usize) -> bool,
) -> Result<Tensor> {
    let may = &may;
    let mask: Vec<u8> =
        (0..seq_q).flat_map(|i| (0..seq_k).map(move |j| u8::from(may(i, j)))).collect();
    Tensor::from_vec(mask, (seq_q, seq_k), &Device::Cpu)
}

/// Whole numbers from `start` on, in the dtype of `like`.
pub(super) fn count_from(start: usize, count: usize, like: &Tensor) -> Result<Tensor> {
    let numbers: Vec<f64> = (start..start + count).map(|number| number as f64).collect();
    Tensor::from_vec(numbers, count, like.device())?.to_dtype(like.dtype())
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
