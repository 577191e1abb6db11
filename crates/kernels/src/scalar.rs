//! exp, the logistic function and erf without a branch, so that loops over them vectorise.

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first times a whole number below 2⁸ is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Adding this to a small number leaves its nearest integer in the last bits.
const ROUNDER: f32 = 12_582_912.0;

/// eˣ, within 2 units in the last place; 0 below −87.3 and ∞ above 88.7; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let inside = if x > 88.72 { 88.72 } else { x };
    let inside = if inside < -87.33 { -87.33 } else { inside };
    let rounded = inside.mul_add(LOG2_E, ROUNDER);
    let n = rounded - ROUNDER;
    let r = (-n).mul_add(LN_2[1], (-n).mul_add(LN_2[0], inside));
    let p = 1.987_569_2e-4_f32;
    let p = p.mul_add(r, 1.398_2e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 5.000_000_3e-1);
    let p = p.mul_add(r * r, r + 1.0);
    // 2ⁿ in two factors, because 2¹²⁸ has no representation.
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32);
    let half = n >> 1;
    let y = p * power_of_two(half) * power_of_two(n - half);
    let y = if x < -87.33 { 0.0 } else { y };
    if x > 88.722_83 { f32::INFINITY } else { y }
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// erf x, within 4e-7: the quotient of polynomials that Eigen and XLA use, whose own error is 5e-8.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = if x > 3.832_507 { 3.832_507 } else { x };
    let x = if x < -3.832_507 { -3.832_507 } else { x };
    let z = x * x;
    let p = 2.123_732_2e-6_f32;
    let p = p.mul_add(z, 2.861_979_6e-4);
    let p = p.mul_add(z, 3.658_048_3e-3);
    let p = p.mul_add(z, 5.243_302e-2);
    let p = p.mul_add(z, 1.874_160_8e-1);
    let p = p.mul_add(z, std::f32::consts::FRAC_2_SQRT_PI);
    let q = 3.891_857_3e-5_f32;
    let q = q.mul_add(z, 1.143_296e-3);
    let q = q.mul_add(z, 1.475_208_8e-2);
    let q = q.mul_add(z, 1.129_456_8e-1);
    let q = q.mul_add(z, 4.994_258e-1);
    let q = q.mul_add(z, 1.0);
    x * p / q
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "limits are exact")]
mod tests {
    use super::*;

    /// The largest error of `f` against `expected` on a grid, as `measure` has it.
    #[track_caller]
    fn check(f: fn(f32) -> f32, expected: fn(f64) -> f64, to: f32, relative: bool, bound: f64) {
        for n in -100_000..=100_000 {
            let x = to * n as f32 / 100_000.0;
            let exact = expected(f64::from(x));
            let error = (f64::from(f(x)) - exact).abs() / if relative { exact } else { 1.0 };
            assert!(error <= bound, "at {x} the error is {error:e}");
        }
    }

    /// erf by its series, which converges everywhere, in f64.
    fn erf_by_series(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..120 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        check(exp, f64::exp, 87.3, true, 2.0 * f64::from(f32::EPSILON));
    }

    #[test]
    fn the_logistic_function_is_near() {
        check(logistic, |x| 1.0 / (1.0 + (-x).exp()), 80.0, false, 2e-7);
    }

    #[test]
    fn erf_is_near() {
        check(erf, erf_by_series, 4.5, false, 4e-7);
    }

    #[test]
    fn exp_has_its_limits() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e4), 0.0);
        assert_eq!(exp(1e4), f32::INFINITY);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!((exp(88.7) / 88.7_f32.exp() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn the_logistic_function_has_its_limits() {
        assert_eq!(logistic(-1e4), 0.0);
        assert_eq!(logistic(1e4), 1.0);
    }
}
