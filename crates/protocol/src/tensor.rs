//! Tensors as plain bytes.

use serde::{Deserialize, Serialize};

/// The most axes a tensor on the border may have.
pub const MAX_RANK: usize = 16;

/// Element types that may cross the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DType {
    /// Unsigned 8-bit integer; masks use it.
    U8,
    /// Unsigned 32-bit integer; token ids use it.
    U32,
    /// Signed 64-bit integer.
    I64,
    /// Brain float.
    BF16,
    /// Half precision.
    F16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl DType {
    /// Bytes an element takes.
    #[must_use]
    pub fn size_in_bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::BF16 | Self::F16 => 2,
            Self::U32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether gradients exist for it.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::BF16 | Self::F16 | Self::F32 | Self::F64)
    }

    /// The name as Rust and candle spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::BF16 => "bf16",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// A tensor as dtype, shape and little-endian bytes in row-major order.
///
/// `memory_order` lists the axes as they lie in memory, outermost first; empty means row-major.
/// The bytes are in *that* order, so that the judge can hand out tensors that are not contiguous:
/// shape `(2, 3)` with `memory_order` `[1, 0]` arrives as the transposed view of a `(3, 2)` buffer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawTensor {
    /// Type of the elements.
    pub dtype: DType,
    /// Length of each axis.
    pub shape: Vec<u64>,
    /// Axes from outermost to innermost in memory; empty for row-major.
    pub memory_order: Vec<u8>,
    /// The elements.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Why a [`RawTensor`] is not a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// More axes than [`MAX_RANK`].
    #[error("a tensor of rank {0} crossed the border; at most {MAX_RANK} axes may")]
    Rank(usize),
    /// The shape's product does not fit in a `u64`.
    #[error("the shape {0:?} has more elements than can be counted")]
    Overflow(Vec<u64>),
    /// The bytes do not fill the shape.
    #[error("{found} bytes crossed the border for shape {shape:?}, which needs {expected}")]
    Length {
        /// The declared shape.
        shape: Vec<u64>,
        /// Bytes it needs.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// `memory_order` is not a permutation of the axes.
    #[error("{0:?} is not an order of {1} axes")]
    MemoryOrder(Vec<u8>, usize),
}

impl RawTensor {
    /// Makes a row-major tensor.
    #[must_use]
    pub fn new(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> Self {
        let shape = shape.iter().map(|&length| length as u64).collect();
        Self { dtype, shape, memory_order: Vec::new(), bytes }
    }

    /// Proves that shape, order and bytes agree, and returns the shape.
    ///
    /// # Errors
    ///
    /// Fails if the rank is above [`MAX_RANK`], the element count overflows, the bytes do not
    /// fill the shape, or `memory_order` is no permutation of the axes.
    pub fn validate(&self) -> Result<Vec<usize>, TensorError> {
        if self.shape.len() > MAX_RANK {
            return Err(TensorError::Rank(self.shape.len()));
        }
        let overflow = || TensorError::Overflow(self.shape.clone());
        let width = self.dtype.size_in_bytes() as u64;
        // A zero-length axis must not hide an absurd one beside it.
        let nonzero = self.shape.iter().filter(|&&length| length > 0);
        nonzero
            .copied()
            .try_fold(width, u64::checked_mul)
            .filter(|&bytes| i64::try_from(bytes).is_ok())
            .ok_or_else(overflow)?;
        let expected = self.shape.iter().product::<u64>() * width;
        let found = self.bytes.len() as u64;
        if expected != found {
            return Err(TensorError::Length { shape: self.shape.clone(), expected, found });
        }
        self.validate_memory_order()?;
        self.shape.iter().map(|&n| usize::try_from(n).map_err(|_| overflow())).collect()
    }

    fn validate_memory_order(&self) -> Result<(), TensorError> {
        let rank = self.shape.len();
        let mut sorted = self.memory_order.clone();
        sorted.sort_unstable();
        let is_permutation = sorted.iter().enumerate().all(|(axis, &found)| axis == found as usize);
        if self.memory_order.is_empty() || (sorted.len() == rank && is_permutation) {
            return Ok(());
        }
        Err(TensorError::MemoryOrder(self.memory_order.clone(), rank))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shape: &[u64], memory_order: &[u8], n_bytes: usize, sentence: &str) {
        let tensor = RawTensor {
            dtype: DType::F32,
            shape: shape.to_vec(),
            memory_order: memory_order.to_vec(),
            bytes: vec![0; n_bytes],
        };
        let said = tensor.validate().map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(said, sentence);
    }

    #[test]
    fn matching_bytes_are_a_tensor() {
        check(&[2, 3], &[1, 0], 24, "ok");
        check(&[], &[], 4, "ok");
        check(&[0, 3], &[], 0, "ok");
    }

    #[test]
    fn too_few_and_too_many_bytes_are_refused() {
        check(&[2, 3], &[], 20, "20 bytes crossed the border for shape [2, 3], which needs 24");
        check(&[2], &[], 12, "12 bytes crossed the border for shape [2], which needs 8");
    }

    #[test]
    fn absurd_shapes_are_refused() {
        let sentence = "the shape [0, 18446744073709551615] has more elements than can be counted";
        check(&[0, u64::MAX], &[], 0, sentence);
        let sentence = "a tensor of rank 255 crossed the border; at most 16 axes may";
        check(&[1; 255], &[], 4, sentence);
    }

    #[test]
    fn a_repeated_axis_is_no_order() {
        check(&[2, 3], &[0, 0], 24, "[0, 0] is not an order of 2 axes");
    }
}
