//! Loops compiled for the machine's instruction set, and sums that vectorise.

/// Partial sums side by side: one register of AVX-512, two of AVX2.
const LANES: usize = 16;

/// Runs `work`, compiled for the best instruction set that this machine has.
///
/// What `work` calls must be inlined into it, or it is compiled for the least one.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Σ f(xᵢ), in an order that depends on the length alone.
#[inline(always)]
pub(crate) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += f(x);
    }
    total(&lanes)
}

/// Σ f(xᵢ, yᵢ), in an order that depends on the length alone.
#[inline(always)]
pub(crate) fn sum_of_two(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (mut left, mut right) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    for (x, y) in (&mut left).zip(&mut right) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += f(x, y);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(left.remainder()).zip(right.remainder()) {
        *lane += f(x, y);
    }
    total(&lanes)
}

/// max xᵢ, −∞ of nothing; a NaN is passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = if x > *lane { x } else { *lane };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
fn total(lanes: &[f32; LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for n in 0..width {
            lanes[n] += lanes[n + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small whole numbers have no rounding")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(n: usize) {
        let x: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 2.0).collect();
        let expected: f32 = x.iter().map(|x| x * x).sum();
        assert_eq!(vectorised(|| sum(&x, |x| x * x)), expected, "sum of {n}");
        assert_eq!(vectorised(|| sum_of_two(&x, &x, |x, y| x * y)), expected, "two of {n}");
        let expected = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(vectorised(|| max(&x)), expected, "max of {n}");
    }

    #[test]
    fn every_remainder_is_counted() {
        (0..=2 * LANES + 1).for_each(check);
    }
}
