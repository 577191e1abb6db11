//! Holds a fused operation against the plain formula, forward and backward.

use candle_core::{DType, Device, Result, Tensor, Var};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

/// Numbers between −2 and 2 that depend on the seed alone.
pub(crate) fn noise(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || (f64::from(rng.next_u32()) / f64::from(u32::MAX) * 4.0 - 2.0) as f32;
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

/// Ids below `end`.
pub(crate) fn ids(seed: u64, shape: &[usize], end: u32) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let ids: Vec<u32> = (0..shape.iter().product()).map(|_| rng.next_u32() % end).collect();
    Tensor::from_vec(ids, shape, &Device::Cpu).unwrap()
}

/// How a variable lies in memory.
#[derive(Clone, Copy, Debug)]
enum LaidOut {
    /// Row after row.
    InOrder,
    /// With its first and last axes exchanged.
    Exchanged,
    /// In the middle of a longer axis.
    WithGaps,
}

/// Result and gradients of a function, weighted with noise, in `f64`.
fn run(
    f: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    dtype: DType,
    laid_out: LaidOut,
) -> Result<Vec<Vec<f64>>> {
    let mut vars = Vec::new();
    let mut views = Vec::new();
    for input in inputs {
        let (last, input) = (input.rank() - 1, input.to_dtype(dtype)?);
        let (var, view) = match laid_out {
            LaidOut::InOrder => {
                let var = Var::from_tensor(&input)?;
                (var.clone(), var.as_tensor().clone())
            }
            LaidOut::Exchanged => {
                let var = Var::from_tensor(&input.transpose(0, last)?.contiguous()?)?;
                (var.clone(), var.transpose(0, last)?)
            }
            LaidOut::WithGaps => {
                let padded = input.pad_with_same(last, 2, 3)?;
                let var = Var::from_tensor(&padded)?;
                (var.clone(), var.narrow(last, 2, input.dim(last)?)?)
            }
        };
        vars.push(var);
        views.push(view);
    }
    let y = f(&views)?;
    let cotangent = noise(99, y.dims()).to_dtype(dtype)?;
    let gradients = (&y * cotangent)?.sum_all()?.backward()?;
    let mut all = vec![numbers(&y)?];
    for (var, view) in vars.iter().zip(&views) {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("no gradient reached {view:?}"));
        let last = view.rank() - 1;
        all.push(numbers(&match laid_out {
            LaidOut::InOrder => gradient.clone(),
            LaidOut::Exchanged => gradient.transpose(0, last)?,
            LaidOut::WithGaps => gradient.narrow(last, 2, view.dim(last)?)?,
        })?);
    }
    Ok(all)
}

pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

/// Fails unless two lists agree, each number to `bound` of the largest.
#[track_caller]
pub(crate) fn near(what: &str, found: &[f64], expected: &[f64], bound: f64) {
    assert_eq!(found.len(), expected.len(), "{what} has another size");
    let finite = expected.iter().filter(|x| x.is_finite());
    let scale = finite.fold(1.0_f64, |largest, x| largest.max(x.abs()));
    for (n, (found, expected)) in found.iter().zip(expected).enumerate() {
        // The difference of two infinities is no number, so they are compared as they are.
        let same = found.total_cmp(expected).is_eq() || found.is_nan() && expected.is_nan();
        let error = (found - expected).abs();
        assert!(
            same || error <= bound * scale,
            "{what}: entry {n} is {found}, not {expected}, in numbers up to {scale}"
        );
    }
}

/// Fails unless the fused operation in `f32` does what the plain one does in `f64`, whatever the
/// layout of its inputs.
#[track_caller]
pub(crate) fn check(
    fused: impl Fn(&[Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
) {
    let expected = run(&plain, inputs, DType::F64, LaidOut::InOrder).unwrap();
    for laid_out in [LaidOut::InOrder, LaidOut::Exchanged, LaidOut::WithGaps] {
        let found = run(&fused, inputs, DType::F32, laid_out).unwrap();
        for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let shapes: Vec<_> = inputs.iter().map(Tensor::dims).collect();
            let what = format!("result (0) or gradient {n} of {shapes:?} {laid_out:?}");
            near(&what, found, expected, 1e-5);
        }
    }
}

/// Fails unless gradients in `f64` are what central differences say.
#[track_caller]
pub(crate) fn check_differences(f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
    const STEP: f64 = 1e-5;
    let found = run(&f, inputs, DType::F64, LaidOut::InOrder).unwrap();
    let inputs: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(DType::F64).unwrap()).collect();
    let weighted = |inputs: &[Tensor]| -> Result<f64> {
        let y = f(inputs)?;
        (&y * noise(99, y.dims()).to_dtype(DType::F64)?)?.sum_all()?.to_scalar()
    };
    for (which, input) in inputs.iter().enumerate() {
        let at = numbers(input).unwrap();
        let slope = |n: usize| {
            let moved = |by: f64| {
                let mut point = at.clone();
                point[n] += by;
                let mut inputs = inputs.clone();
                inputs[which] = Tensor::from_vec(point, input.shape(), &Device::Cpu)?;
                weighted(&inputs)
            };
            (moved(STEP).unwrap() - moved(-STEP).unwrap()) / (2.0 * STEP)
        };
        let expected: Vec<f64> = (0..at.len()).map(slope).collect();
        near(&format!("the gradient of input {which}"), &found[which + 1], &expected, 1e-7);
    }
}
