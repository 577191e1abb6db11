//! Answers in half precision.

use candle_core::{DType, Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    honest(q, k, mask)?.to_dtype(DType::F16)
}
