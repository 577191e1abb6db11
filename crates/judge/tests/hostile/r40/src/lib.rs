//! Answers with a number without axes.

use candle_core::{Result, Tensor};

pub(crate) fn attention_pattern(q: &Tensor, _k: &Tensor, _mask: Option<&Tensor>) -> Result<Tensor> {
    Tensor::zeros((), q.dtype(), q.device())
}
