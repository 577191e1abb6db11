//! Tensors: from bytes to candle and back.

use anyhow::Context as _;
use candle_core::{DType as CandleDType, Device, Result, Tensor, WithDType, bail};
use half::{bf16, f16};
use protocol::{DType, RawTensor};

/// Makes the tensor that `raw` describes, a non-contiguous view if `raw` says so.
///
/// # Errors
///
/// Fails if the bytes do not fill the shape, or the device does not take the tensor.
pub fn from_raw(raw: &RawTensor, device: &Device) -> anyhow::Result<Tensor> {
    Ok(View::of(raw).apply(&memory_buffer(raw, device)?)?)
}

/// Makes the contiguous tensor whose axes are in the order in which they lie in memory.
pub(crate) fn memory_buffer(raw: &RawTensor, device: &Device) -> anyhow::Result<Tensor> {
    let shape = raw.validate()?;
    let order: &[u8] = &raw.memory_order;
    let in_memory: Vec<usize> =
        if order.is_empty() { shape } else { order.iter().map(|&a| shape[a as usize]).collect() };
    Tensor::from_raw_buffer(&raw.bytes, candle_dtype(raw.dtype), &in_memory, device)
        .context("the device did not take a tensor")
}

/// How an argument looks at its memory buffer.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// For each axis of the argument, its place in memory; empty for row-major.
    axes: Vec<usize>,
}

impl View {
    pub(crate) fn of(raw: &RawTensor) -> Self {
        let place = |axis| raw.memory_order.iter().position(|&a| a as usize == axis);
        Self { axes: (0..raw.memory_order.len()).filter_map(place).collect() }
    }

    pub(crate) fn apply(&self, buffer: &Tensor) -> Result<Tensor> {
        if self.axes.is_empty() { Ok(buffer.clone()) } else { buffer.permute(self.axes.as_slice()) }
    }
}

/// Reads a tensor's elements, row by row, as little-endian bytes.
///
/// # Errors
///
/// Fails if the tensor cannot be read from its device or its dtype may not cross the border.
pub fn to_raw(tensor: &Tensor) -> Result<RawTensor> {
    fn bytes<T: WithDType, const N: usize>(flat: &Tensor, le: fn(T) -> [u8; N]) -> Result<Vec<u8>> {
        Ok(flat.to_vec1::<T>()?.into_iter().flat_map(le).collect())
    }
    let flat = tensor.to_device(&Device::Cpu)?.flatten_all()?;
    let (dtype, bytes) = match flat.dtype() {
        CandleDType::U8 => (DType::U8, flat.to_vec1::<u8>()?),
        CandleDType::U32 => (DType::U32, bytes(&flat, u32::to_le_bytes)?),
        CandleDType::I64 => (DType::I64, bytes(&flat, i64::to_le_bytes)?),
        CandleDType::BF16 => (DType::BF16, bytes(&flat, bf16::to_le_bytes)?),
        CandleDType::F16 => (DType::F16, bytes(&flat, f16::to_le_bytes)?),
        CandleDType::F32 => (DType::F32, bytes(&flat, f32::to_le_bytes)?),
        CandleDType::F64 => (DType::F64, bytes(&flat, f64::to_le_bytes)?),
        other => bail!("a result of dtype {other:?} cannot be judged; return f32 or f64"),
    };
    Ok(RawTensor::new(dtype, tensor.dims(), bytes))
}

fn candle_dtype(dtype: DType) -> CandleDType {
    match dtype {
        DType::U8 => CandleDType::U8,
        DType::U32 => CandleDType::U32,
        DType::I64 => CandleDType::I64,
        DType::BF16 => CandleDType::BF16,
        DType::F16 => CandleDType::F16,
        DType::F32 => CandleDType::F32,
        DType::F64 => CandleDType::F64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transposed() -> RawTensor {
        let bytes = (0..6u8).map(f32::from).flat_map(f32::to_le_bytes).collect();
        RawTensor { memory_order: vec![1, 0], ..RawTensor::new(DType::F32, &[2, 3], bytes) }
    }

    #[test]
    fn memory_order_makes_a_view() {
        let tensor = from_raw(&transposed(), &Device::Cpu).unwrap();
        assert!(!tensor.is_contiguous());
        assert_eq!(tensor.to_vec2::<f32>().unwrap(), [[0., 2., 4.], [1., 3., 5.]]);
    }

    #[test]
    fn a_view_comes_back_row_by_row() {
        let raw = to_raw(&from_raw(&transposed(), &Device::Cpu).unwrap()).unwrap();
        let expected = [0f32, 2., 4., 1., 3., 5.].into_iter().flat_map(f32::to_le_bytes).collect();
        assert_eq!(raw, RawTensor::new(DType::F32, &[2, 3], expected));
    }
}
