//! The fused operations against candle's plain ones, values and gradients.

use candle_core::{Device, Var};

use super::*;

fn draw(shape: &[usize], seed: f32) -> Var {
    let n = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..n).map(|at| (at as f32 * 0.7 + seed).sin() * 1.7).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

type Way<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// Proves that two ways give the same values, and the same gradients for all arguments.
#[track_caller]
fn check(shapes: &[&[usize]], ways: [Way<'_>; 2]) {
    let vars: Vec<Var> = shapes.iter().zip(0..).map(|(s, n)| draw(s, n as f32)).collect();
    let args: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let [fused, plain] = ways.map(|way| {
        let out = way(&args).unwrap();
        let loss = (&out * draw(out.dims(), 9.0).as_tensor()).unwrap().sum_all().unwrap();
        let store = loss.backward().unwrap();
        let gradients = vars.iter().map(|var| read(store.get(var).unwrap()).unwrap());
        [read(&out).unwrap()].into_iter().chain(gradients).collect::<Vec<_>>()
    });
    for (n, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
        assert_eq!(fused.len(), plain.len());
        for (a, b) in fused.iter().zip(plain) {
            assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "result {n}: {a} and {b}");
        }
    }
}

#[test]
fn bias_is_bias() {
    check(&[&[2, 3, 5], &[5]], [&|a| add_bias(&a[0], &a[1]), &|a| a[0].broadcast_add(&a[1])]);
}

#[test]
fn gelu_is_gelu() {
    check(&[&[4, 7]], [&|a| gelu(&a[0]), &|a| a[0].gelu()]);
}

#[test]
fn norm_is_norm() {
    let plain = |a: &[Tensor]| plain::layer_norm(&a[0], &a[1], &a[2], EPS.into());
    check(&[&[2, 3, 6], &[6], &[6]], [&|a| layer_norm(&a[0], &a[1], &a[2]), &plain]);
}

#[test]
fn attention_is_attention() {
    let plain = |a: &[Tensor]| plain::causal_self_attention(&a[0], 2);
    check(&[&[2, 5, 18]], [&|a| attention(&a[0], 2), &plain]);
}

#[test]
fn powers_are_precise() {
    for at in -8700..8800 {
        let x = at as f32 * 0.01;
        let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
        assert!((found / expected - 1.0).abs() < 1e-6, "{x}: {found} {expected}");
    }
}
