//! Tensors of an impostor as arrays, and back.

use anyhow::Result;
use candle_core::{Device, Tensor};

use crate::Array;

/// Reads a tensor.
pub(super) fn array(tensor: &Tensor) -> Result<Array> {
    Ok(Array::from_raw(&answer::to_raw(tensor)?)?)
}

/// Writes a tensor, of the array's dtype.
pub(super) fn tensor(array: &Array) -> Result<Tensor> {
    answer::from_raw(&array.to_raw(), &Device::Cpu)
}
