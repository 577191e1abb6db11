//! The judge's own arrays: plain `f64` values, indexed by hand.
//!
//! **Invariant:** no kernel is shared with the answers that are judged.

use half::{bf16, f16};
use protocol::{DType, RawTensor, Value};

/// An array of `f64` values, with the dtype and memory order in which it crosses the border.
///
/// Values are rounded to the dtype when it is set, so an oracle sees what the subject sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
    dtype: DType,
    memory_order: Vec<u8>,
}

impl Array {
    /// Makes an `f64` array of row-major values.
    ///
    /// # Panics
    ///
    /// Panics if the values do not fill the shape.
    #[must_use]
    pub fn new(shape: &[usize], values: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "invariant: values fill a shape");
        Self { shape: shape.to_vec(), values, dtype: DType::F64, memory_order: Vec::new() }
    }

    /// Makes an `f64` array by asking for the value at each position, in row-major order.
    #[must_use]
    pub fn from_fn(shape: &[usize], mut value: impl FnMut(&[usize]) -> f64) -> Self {
        let count = shape.iter().product();
        let mut position = vec![0; shape.len()];
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(value(&position));
            advance(&mut position, shape);
        }
        Self::new(shape, values)
    }

    /// Makes an `f64` array filled with one value.
    #[must_use]
    pub fn full(shape: &[usize], value: f64) -> Self {
        Self::from_fn(shape, |_| value)
    }

    /// Makes a one-axis `f64` array.
    #[must_use]
    pub fn vector(values: &[f64]) -> Self {
        Self::new(&[values.len()], values.to_vec())
    }

    /// Makes a two-axis `f64` array.
    #[must_use]
    pub fn matrix<const N: usize>(rows: &[[f64; N]]) -> Self {
        Self::new(&[rows.len(), N], rows.concat())
    }

    /// Reads what crossed the border.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not a tensor.
    pub fn from_raw(raw: &RawTensor) -> Result<Self, protocol::TensorError> {
        let shape = raw.validate()?;
        let values = read(raw.dtype, &raw.bytes);
        if raw.memory_order.is_empty() {
            let dtype = raw.dtype;
            return Ok(Self { shape, values, dtype, memory_order: Vec::new() });
        }
        let order: Vec<usize> = raw.memory_order.iter().map(|&axis| axis as usize).collect();
        let in_memory: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let buffer = Self::new(&in_memory, values);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &axis)| place[axis] = at);
        Ok(Self { dtype: raw.dtype, ..buffer.transpose(&place) }.laid_out(&order))
    }

    /// Writes it for the border.
    #[must_use]
    pub fn to_raw(&self) -> RawTensor {
        if self.memory_order.is_empty() {
            return RawTensor::new(self.dtype, &self.shape, write(self.dtype, &self.values));
        }
        let order: Vec<usize> = self.memory_order.iter().map(|&axis| axis as usize).collect();
        let bytes = write(self.dtype, &self.transpose(&order).values);
        let memory_order = self.memory_order.clone();
        RawTensor { memory_order, ..RawTensor::new(self.dtype, &self.shape, bytes) }
    }

    /// Sets the dtype, rounding the values to it.
    #[must_use]
    pub fn to(&self, dtype: DType) -> Self {
        let values = self.values.iter().map(|&value| round(value, dtype)).collect();
        Self { values, dtype, ..self.clone() }
    }

    /// Sets the order in which the axes lie in memory, outermost first: the values stay, but the
    /// subject gets a tensor that is not contiguous.
    #[must_use]
    pub fn laid_out(&self, order: &[usize]) -> Self {
        let is_row_major = order.iter().enumerate().all(|(at, &axis)| at == axis);
        let memory_order =
            if is_row_major { Vec::new() } else { order.iter().map(|&a| a as u8).collect() };
        Self { memory_order, ..self.clone() }
    }

    /// Length of each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Length of one axis.
    #[must_use]
    pub fn dim(&self, axis: usize) -> usize {
        self.shape[axis]
    }

    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The dtype in which it crosses the border.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The values in row-major order.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The value at a position.
    ///
    /// # Panics
    ///
    /// Panics if the position is outside.
    #[must_use]
    pub fn at(&self, position: &[usize]) -> f64 {
        self.values[self.offset(position)]
    }

    /// Replaces the value at a position.
    ///
    /// # Panics
    ///
    /// Panics if the position is outside.
    pub fn set(&mut self, position: &[usize], value: f64) {
        let offset = self.offset(position);
        self.values[offset] = value;
    }

    /// Applies a function to every value; dtype and memory order stay.
    #[must_use]
    pub fn map(&self, function: impl Fn(f64) -> f64) -> Self {
        let values = self.values.iter().map(|&x| round(function(x), self.dtype)).collect();
        Self { values, ..self.clone() }
    }

    /// Combines two arrays of one shape, value by value.
    ///
    /// # Panics
    ///
    /// Panics if the shapes differ.
    #[must_use]
    pub fn zip_map(&self, other: &Self, function: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.shape, other.shape, "invariant: zipped arrays have one shape");
        let pairs = self.values.iter().zip(&other.values);
        let values = pairs.map(|(&a, &b)| round(function(a, b), self.dtype)).collect();
        Self { values, ..self.clone() }
    }

    /// Reorders the axes: axis `i` of the result is axis `axes[i]` of this; row-major again.
    #[must_use]
    pub fn transpose(&self, axes: &[usize]) -> Self {
        let shape: Vec<usize> = axes.iter().map(|&axis| self.shape[axis]).collect();
        let mut source = vec![0; axes.len()];
        let moved = Self::from_fn(&shape, |position| {
            axes.iter().zip(position).for_each(|(&axis, &at)| source[axis] = at);
            self.at(&source)
        });
        Self { dtype: self.dtype, ..moved }
    }

    /// Keeps `length` positions of an axis from `start` on; row-major again.
    #[must_use]
    pub fn narrow(&self, axis: usize, start: usize, length: usize) -> Self {
        let mut shape = self.shape.clone();
        shape[axis] = length;
        let kept = Self::from_fn(&shape, |position| {
            let mut source = position.to_vec();
            source[axis] += start;
            self.at(&source)
        });
        Self { dtype: self.dtype, ..kept }
    }

    /// Picks positions of an axis, in the order given; row-major again.
    #[must_use]
    pub fn select(&self, axis: usize, positions: &[usize]) -> Self {
        let mut shape = self.shape.clone();
        shape[axis] = positions.len();
        let picked = Self::from_fn(&shape, |position| {
            let mut source = position.to_vec();
            source[axis] = positions[position[axis]];
            self.at(&source)
        });
        Self { dtype: self.dtype, ..picked }
    }

    /// The same values under another shape; row-major again.
    ///
    /// # Panics
    ///
    /// Panics if the counts differ.
    #[must_use]
    pub fn reshape(&self, shape: &[usize]) -> Self {
        Self { dtype: self.dtype, ..Self::new(shape, self.values.clone()) }
    }

    /// Sum of all values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.values.iter().sum()
    }

    /// `Σ self · other`.
    ///
    /// # Panics
    ///
    /// Panics if the shapes differ.
    #[must_use]
    pub fn dot(&self, other: &Self) -> f64 {
        assert_eq!(self.shape, other.shape, "invariant: dotted arrays have one shape");
        self.values.iter().zip(&other.values).map(|(a, b)| a * b).sum()
    }

    /// The largest finite magnitude, 0 if there is none.
    #[must_use]
    pub fn max_abs(&self) -> f64 {
        let finite = self.values.iter().filter(|value| value.is_finite());
        finite.fold(0.0, |largest, value| value.abs().max(largest))
    }

    /// Position of the `n`-th value in row-major order.
    #[must_use]
    pub fn position(&self, mut n: usize) -> Vec<usize> {
        let mut position = vec![0; self.shape.len()];
        for (at, &length) in position.iter_mut().zip(&self.shape).rev() {
            *at = n % length;
            n /= length;
        }
        position
    }

    /// Dtype, shape and layout in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let shape = format!("{} {:?}", self.dtype.name(), self.shape);
        if self.memory_order.is_empty() { shape } else { format!("{shape}, not contiguous") }
    }

    fn offset(&self, position: &[usize]) -> usize {
        assert_eq!(position.len(), self.shape.len(), "invariant: a position has every axis");
        position.iter().zip(&self.shape).fold(0, |offset, (&at, &length)| {
            assert!(at < length, "invariant: position {position:?} is inside {:?}", self.shape);
            offset * length + at
        })
    }
}

impl From<&Array> for Value {
    fn from(array: &Array) -> Self {
        Self::Tensor(array.to_raw())
    }
}

/// Moves to the next position in row-major order.
fn advance(position: &mut [usize], shape: &[usize]) {
    for (at, &length) in position.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < length {
            return;
        }
        *at = 0;
    }
}

fn round(value: f64, dtype: DType) -> f64 {
    match dtype {
        DType::U8 => f64::from(value as u8),
        DType::U32 => f64::from(value as u32),
        DType::I64 => value as i64 as f64,
        DType::BF16 => bf16::from_f64(value).to_f64(),
        DType::F16 => f16::from_f64(value).to_f64(),
        DType::F32 => f64::from(value as f32),
        DType::F64 => value,
    }
}

fn write(dtype: DType, values: &[f64]) -> Vec<u8> {
    fn all<const N: usize>(values: &[f64], bytes: impl Fn(f64) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|&value| bytes(value)).collect()
    }
    match dtype {
        DType::U8 => values.iter().map(|&x| x as u8).collect(),
        DType::U32 => all(values, |x| (x as u32).to_le_bytes()),
        DType::I64 => all(values, |x| (x as i64).to_le_bytes()),
        DType::BF16 => all(values, |x| bf16::from_f64(x).to_le_bytes()),
        DType::F16 => all(values, |x| f16::from_f64(x).to_le_bytes()),
        DType::F32 => all(values, |x| (x as f32).to_le_bytes()),
        DType::F64 => all(values, f64::to_le_bytes),
    }
}

fn read(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    fn all<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| value(chunk)).collect()
    }
    match dtype {
        DType::U8 => bytes.iter().map(|&x| f64::from(x)).collect(),
        DType::U32 => all(bytes, |x| f64::from(u32::from_le_bytes(x))),
        DType::I64 => all(bytes, |x| i64::from_le_bytes(x) as f64),
        DType::BF16 => all(bytes, |x| bf16::from_le_bytes(x).to_f64()),
        DType::F16 => all(bytes, |x| f16::from_le_bytes(x).to_f64()),
        DType::F32 => all(bytes, |x| f64::from(f32::from_le_bytes(x))),
        DType::F64 => all(bytes, f64::from_le_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn survives_the_border(array: &Array) {
        assert_eq!(&Array::from_raw(&array.to_raw()).unwrap(), array);
    }

    #[test]
    fn every_dtype_survives_the_border() {
        let counting = Array::from_fn(&[2, 3], |at| (at[0] * 3 + at[1]) as f64);
        let dtypes = [DType::U8, DType::U32, DType::I64, DType::BF16, DType::F16, DType::F32];
        for dtype in dtypes {
            survives_the_border(&counting.to(dtype));
        }
        survives_the_border(&counting);
    }

    #[test]
    fn a_memory_order_survives_the_border() {
        let array = Array::from_fn(&[2, 3, 4], |at| (at[0] * 100 + at[1] * 10 + at[2]) as f64);
        survives_the_border(&array.laid_out(&[2, 0, 1]));
        survives_the_border(&array.laid_out(&[1, 2, 0]).to(DType::F32));
    }

    #[test]
    fn narrowing_and_transposing_move_values() {
        let array = Array::matrix(&[[1., 2., 3.], [4., 5., 6.]]);
        assert_eq!(array.transpose(&[1, 0]), Array::matrix(&[[1., 4.], [2., 5.], [3., 6.]]));
        assert_eq!(array.narrow(1, 1, 2), Array::matrix(&[[2., 3.], [5., 6.]]));
        assert_eq!(array.position(4), [1, 1]);
    }
}
