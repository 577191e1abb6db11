//! How far an honest answer may be from the exact one.

use protocol::DType;

use crate::Array;

/// A bound on the error, derived from how an honest answer rounds.
///
/// An operation in dtype `d` errs by at most half a unit in the last place, `u(d)`, of the numbers
/// that it adds up. An answer that makes `n` such roundings on numbers as large as `scale` is
/// within `n · u(d) · scale`. `tests/strength.rs` proves that right answers stay below a quarter
/// of the bound, and wrong ones above ten times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    kind: Bound,
    scale: Option<f64>,
    /// For `f64` answers, a fraction of the scale in place of roundings.
    double: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Exact,
    Roundings(f64),
    Relative(f64),
}

/// The catalogue's bound for `f64` answers, relative to the scale.
const DOUBLE: f64 = 1e-9;

impl Tolerance {
    /// Nothing but the exact value.
    pub const EXACT: Self = Self { kind: Bound::Exact, scale: None, double: DOUBLE };

    /// Gradients in `f64` against central differences, which are good to about 1e-9.
    pub const GRADIENT: Self = Self::relative(1e-6);

    /// `n` roundings in the dtype of the result; for `f64`, 1e-9 of the scale.
    #[must_use]
    pub const fn roundings(n: f64) -> Self {
        Self { kind: Bound::Roundings(n), scale: None, double: DOUBLE }
    }

    /// A fraction of the scale, whatever the dtype.
    #[must_use]
    pub const fn relative(fraction: f64) -> Self {
        Self { kind: Bound::Relative(fraction), scale: None, double: DOUBLE }
    }

    /// Sets the scale: the size of the numbers that an honest answer adds up.
    ///
    /// Left out, it is the largest magnitude that is expected.
    #[must_use]
    pub const fn at_scale(self, scale: f64) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// Sets the bound for `f64` answers, as a fraction of the scale.
    ///
    /// For checks whose scale is so large, or whose values are so few, that an answer which
    /// computes in `f32` on the way would be less than ten times 1e-9 of it away.
    #[must_use]
    pub const fn in_double(self, fraction: f64) -> Self {
        Self { double: fraction, ..self }
    }

    /// The size of the numbers that an honest answer adds up, for these expected values.
    #[must_use]
    pub fn scale(&self, expected: &Array) -> f64 {
        self.scale.unwrap_or_else(|| expected.max_abs())
    }

    /// The largest error that passes, for these expected values.
    #[must_use]
    pub fn bound(&self, expected: &Array) -> f64 {
        let scale = self.scale(expected);
        match self.kind {
            Bound::Exact => 0.0,
            Bound::Roundings(_) if expected.dtype() == DType::F64 => self.double * scale,
            Bound::Roundings(n) => n * unit_roundoff(expected.dtype()) * scale,
            Bound::Relative(fraction) => fraction * scale,
        }
    }
}

/// The largest relative error of one correct rounding.
fn unit_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON / 2.0,
        DType::F32 => f64::from(f32::EPSILON) / 2.0,
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        DType::U8 | DType::U32 | DType::I64 => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tolerance: Tolerance, dtype: DType, bound: f64) {
        let expected = Array::vector(&[1.0, -4.0]).to(dtype);
        assert!((tolerance.bound(&expected) - bound).abs() <= 1e-12 * bound);
    }

    #[test]
    fn roundings_follow_the_dtype_and_the_largest_value() {
        check(Tolerance::roundings(8.0), DType::F32, 32.0 * 2f64.powi(-24));
        check(Tolerance::roundings(8.0), DType::F64, 4e-9);
        check(Tolerance::roundings(8.0), DType::U8, 0.0);
    }

    #[test]
    fn a_given_scale_replaces_the_largest_value() {
        check(Tolerance::relative(1e-3).at_scale(10.0), DType::F32, 1e-2);
    }

    #[test]
    fn doubles_can_be_held_closer() {
        check(Tolerance::roundings(8.0).in_double(1e-11), DType::F64, 4e-11);
        check(Tolerance::roundings(8.0).in_double(1e-11), DType::F32, 32.0 * 2f64.powi(-24));
    }

    #[test]
    fn exact_allows_nothing() {
        check(Tolerance::EXACT, DType::F64, 0.0);
    }
}
