//! `GELU` in both forms and `SiLU`, with the slope that their backward passes need.

use crate::{scalar, simd, threads};

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU by the tanh of a cubic, as GPT-2 has it.
    GeluTanh,
    /// GELU by the normal distribution itself.
    GeluErf,
    /// x · logistic(x), also called swish.
    Silu,
}

/// y = f(x).
pub fn activate(f: Activation, x: &[f32], y: &mut [f32]) {
    threads::split(y, 1, |first, y| {
        let x = &x[first..][..y.len()];
        match f {
            Activation::GeluTanh => map(
                x,
                y,
                #[inline(always)]
                |x| gelu_tanh(x).0,
            ),
            Activation::GeluErf => map(
                x,
                y,
                #[inline(always)]
                |x| gelu_erf(x).0,
            ),
            Activation::Silu => map(
                x,
                y,
                #[inline(always)]
                |x| silu(x).0,
            ),
        }
    });
}

/// dx = f′(x) · dy.
pub fn slope(f: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    threads::split(dx, 1, |first, dx| {
        let (x, dy) = (&x[first..][..dx.len()], &dy[first..][..dx.len()]);
        match f {
            Activation::GeluTanh => map_two(
                x,
                dy,
                dx,
                #[inline(always)]
                |x| gelu_tanh(x).1,
            ),
            Activation::GeluErf => map_two(
                x,
                dy,
                dx,
                #[inline(always)]
                |x| gelu_erf(x).1,
            ),
            Activation::Silu => map_two(
                x,
                dy,
                dx,
                #[inline(always)]
                |x| silu(x).1,
            ),
        }
    });
}

/// Adds a bias to each row of `x`; `y` becomes f of it, and `x` its slope f′.
///
/// Both need the same exponential, so the backward pass is left with a multiplication.
pub fn activate_with_slope(f: Activation, bias: &[f32], x: &mut [f32], y: &mut [f32]) {
    let width = bias.len();
    threads::split_two((x, width), (y, width), threads::BLOCK, |_, x, y| match f {
        Activation::GeluTanh => both(bias, x, y, gelu_tanh),
        Activation::GeluErf => both(bias, x, y, gelu_erf),
        Activation::Silu => both(bias, x, y, silu),
    });
}

/// dx = slope · dx, in place.
pub fn scale_by_slope(slope: &[f32], dx: &mut [f32]) {
    threads::split(dx, 1, |first, dx| {
        let slope = &slope[first..][..dx.len()];
        simd::vectorised(
            #[inline(always)]
            || {
                for (dx, &slope) in dx.iter_mut().zip(slope) {
                    *dx *= slope;
                }
            },
        );
    });
}

#[inline(always)]
fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    simd::vectorised(
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = f(x);
            }
        },
    );
}

#[inline(always)]
fn map_two(x: &[f32], dy: &[f32], dx: &mut [f32], slope: impl Fn(f32) -> f32) {
    simd::vectorised(
        #[inline(always)]
        || {
            for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = slope(x) * dy;
            }
        },
    );
}

#[inline(always)]
fn both(bias: &[f32], x: &mut [f32], y: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    let width = bias.len();
    simd::vectorised(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact_mut(width)) {
                for ((x, y), &bias) in x.iter_mut().zip(y).zip(bias) {
                    (*y, *x) = f(*x + bias);
                }
            }
        },
    );
}

/// √(2/π) and the weight of the cube, Hendrycks and Gimpel (2016), arXiv:1606.08415.
const SLOPE_AT_ZERO: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715;

/// ½x(1 + tanh u) = x · logistic(2u): one exponential for value and slope.
#[inline(always)]
fn gelu_tanh(x: f32) -> (f32, f32) {
    let square = x * x;
    let double_u = 2.0 * SLOPE_AT_ZERO * x * (CUBE * square + 1.0);
    let s = scalar::logistic(double_u);
    let d_double_u = 2.0 * SLOPE_AT_ZERO * (3.0 * CUBE * square + 1.0);
    (x * s, with_tail(s, x * d_double_u))
}

#[inline(always)]
fn gelu_erf(x: f32) -> (f32, f32) {
    let below = 0.5 * (1.0 + scalar::erf(x * std::f32::consts::FRAC_1_SQRT_2));
    let density = 0.398_942_3 * scalar::exp(-0.5 * x * x);
    (x * below, density.mul_add(x, below))
}

#[inline(always)]
fn silu(x: f32) -> (f32, f32) {
    let s = scalar::logistic(x);
    (x * s, with_tail(s, x))
}

/// s + s(1 − s) · t, which is s where the middle factor is 0, however large t is.
#[inline(always)]
fn with_tail(s: f32, t: f32) -> f32 {
    (s * (1.0 - s)).mul_add(t, s)
}
