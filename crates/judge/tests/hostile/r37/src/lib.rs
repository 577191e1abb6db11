//! Answers NaN in one place.

use candle_core::{DType, Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let right = honest(q, k, mask)?;
    let mut values = right.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    values[0] = f64::NAN;
    Tensor::from_vec(values, right.shape(), right.device())?.to_dtype(right.dtype())
}
