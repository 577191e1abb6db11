//! Numbers as large as ±10⁴, and −∞ where something is masked.

use candle_core::{Device, Tensor};
use wick::fused::{self, plain};

use crate::agree::{check, ids, near, noise, numbers};

/// Noise from −10⁴ to 10⁴.
fn large(seed: u64, shape: &[usize]) -> Tensor {
    (noise(seed, shape) * 5e3).unwrap()
}

#[test]
fn norms_of_large_numbers() {
    let inputs = [large(1, &[5, 33]), noise(2, &[33]), noise(3, &[33])];
    check(
        |x| fused::layer_norm(&x[0], &x[1], &x[2], 1e-5),
        |x| plain::layer_norm(&x[0], &x[1], &x[2], 1e-5),
        &inputs,
    );
    check(
        |x| fused::rms_norm(&x[0], &x[1], 1e-5),
        |x| plain::rms_norm(&x[0], &x[1], 1e-5),
        &inputs[..2],
    );
}

#[test]
fn softmax_of_large_numbers() {
    check(|x| fused::softmax(&x[0]), |x| plain::softmax(&x[0]), &[large(1, &[7, 19])]);
    let targets = ids(1, &[7], 19);
    check(
        |x| fused::cross_entropy(&x[0], &targets),
        |x| plain::cross_entropy(&x[0], &targets),
        &[large(1, &[7, 19])],
    );
}

#[test]
fn activations_of_large_numbers() {
    let x = [large(1, &[3, 50])];
    check(|x| fused::gelu_tanh(&x[0]), |x| plain::gelu_tanh(&x[0]), &x);
    check(|x| fused::gelu_erf(&x[0]), |x| plain::gelu_erf(&x[0]), &x);
    check(|x| fused::silu(&x[0]), |x| plain::silu(&x[0]), &x);
}

#[test]
fn attention_of_large_numbers() {
    // Scores differ by up to 10⁵ here, so nearly every pattern has one entry of 1.
    let shape = [1, 2, 70, 8];
    let inputs = [(noise(1, &shape) * 50.0).unwrap(), (noise(2, &shape) * 50.0).unwrap()];
    let both = |attend: fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>| {
        move |x: &[Tensor]| attend(&x[0], &x[1], &x[1])
    };
    let run = |f: &dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>, x: &[Tensor]| {
        numbers(&f(x).unwrap()).unwrap()
    };
    let wide: Vec<Tensor> =
        inputs.iter().map(|x| x.to_dtype(candle_core::DType::F64).unwrap()).collect();
    let found = run(&both(fused::causal_attention), &inputs);
    // A score of 10⁴ has errors of 10⁻³ in `f32`, and so has the logarithm of a pattern.
    near("z", &found, &run(&both(plain::causal_attention), &wide), 1e-3);
}

#[test]
fn a_masked_entry_gets_nothing() {
    let hidden = f32::NEG_INFINITY;
    let row = [1.0, hidden, 2.0, hidden, hidden, 0.5, -1.0];
    let x = Tensor::from_slice(&row, (1, 7), &Device::Cpu).unwrap();
    check(|x| fused::softmax(&x[0]), |x| plain::softmax(&x[0]), std::slice::from_ref(&x));
    let y = numbers(&fused::softmax(&x).unwrap()).unwrap();
    assert_eq!((y[1], y[3], y[4]), (0.0, 0.0, 0.0));
    let targets = Tensor::new(&[2_u32], &Device::Cpu).unwrap();
    let loss = |logits: &Tensor| fused::cross_entropy(logits, &targets).unwrap();
    let plain = plain::cross_entropy(&x, &targets).unwrap();
    near("loss", &numbers(&loss(&x)).unwrap(), &numbers(&plain).unwrap(), 1e-6);
}

#[test]
fn a_row_of_minus_infinity_has_no_softmax() {
    let x = Tensor::full(f32::NEG_INFINITY, (2, 5), &Device::Cpu).unwrap();
    let y = numbers(&fused::softmax(&x).unwrap()).unwrap();
    assert!(y.iter().all(|y| y.is_nan()), "it is {y:?}");
    near("y", &y, &numbers(&plain::softmax(&x).unwrap()).unwrap(), 0.0);
}

#[test]
fn a_nan_is_not_hidden() {
    let x = Tensor::new(&[[1.0_f32, f32::NAN, 2.0]], &Device::Cpu).unwrap();
    let all_nan = |y: Tensor| numbers(&y).unwrap().iter().any(|y| y.is_nan());
    let one = Tensor::new(&[1.0_f32, 1.0, 1.0], &Device::Cpu).unwrap();
    assert!(all_nan(fused::softmax(&x).unwrap()));
    assert!(all_nan(fused::gelu_tanh(&x).unwrap()));
    assert!(all_nan(fused::gelu_erf(&x).unwrap()));
    assert!(all_nan(fused::silu(&x).unwrap()));
    assert!(all_nan(fused::layer_norm(&x, &one, &one, 1e-5).unwrap()));
}
