//! Each operation against its plain formula in `f64`, and that against central differences.

use candle_core::Tensor;
use wick::fused::{self, plain};

use crate::agree::{check, check_differences, ids, noise};

/// Odd widths, widths of one register more or less, single rows, single columns.
const SHAPES: [&[usize]; 9] =
    [&[1], &[5], &[1, 1], &[3, 1], &[1, 33], &[4, 17], &[2, 3, 15], &[70, 16], &[2, 65, 48]];

fn last(shape: &[usize]) -> usize {
    *shape.last().unwrap()
}

#[test]
fn layer_norm() {
    for shape in SHAPES.into_iter().filter(|shape| last(shape) > 1) {
        let width = [last(shape)];
        let inputs = [noise(1, shape), noise(2, &width), noise(3, &width)];
        check(
            |x| fused::layer_norm(&x[0], &x[1], &x[2], 1e-5),
            |x| plain::layer_norm(&x[0], &x[1], &x[2], 1e-5),
            &inputs,
        );
    }
    let inputs = [noise(1, &[2, 7]), noise(2, &[7]), noise(3, &[7])];
    check_differences(|x| fused::layer_norm(&x[0], &x[1], &x[2], 1e-5), &inputs);
}

#[test]
fn rms_norm() {
    for shape in SHAPES {
        let inputs = [noise(1, shape), noise(2, &[last(shape)])];
        check(
            |x| fused::rms_norm(&x[0], &x[1], 1e-5),
            |x| plain::rms_norm(&x[0], &x[1], 1e-5),
            &inputs,
        );
    }
    let inputs = [noise(1, &[2, 7]), noise(2, &[7])];
    check_differences(|x| fused::rms_norm(&x[0], &x[1], 1e-5), &inputs);
}

#[test]
fn softmax() {
    for shape in SHAPES {
        check(|x| fused::softmax(&x[0]), |x| plain::softmax(&x[0]), &[noise(1, shape)]);
    }
    check_differences(|x| fused::softmax(&x[0]), &[noise(1, &[3, 5])]);
}

#[test]
fn activations() {
    for shape in SHAPES {
        let x = [noise(1, shape)];
        check(|x| fused::gelu_tanh(&x[0]), |x| plain::gelu_tanh(&x[0]), &x);
        check(|x| fused::gelu_erf(&x[0]), |x| plain::gelu_erf(&x[0]), &x);
        check(|x| fused::silu(&x[0]), |x| plain::silu(&x[0]), &x);
        check(|x| fused::gelu_tanh(&x[0]), |x| x[0].gelu(), &x);
        check(|x| fused::gelu_erf(&x[0]), |x| x[0].gelu_erf(), &x);
        check(|x| fused::silu(&x[0]), |x| x[0].silu(), &x);
    }
    let x = [noise(1, &[2, 9])];
    check_differences(|x| fused::gelu_tanh(&x[0]), &x);
    check_differences(|x| fused::gelu_erf(&x[0]), &x);
    check_differences(|x| fused::silu(&x[0]), &x);
}

#[test]
fn linear() {
    for shape in SHAPES {
        for d_out in [1, 6, 33] {
            let d_in = last(shape);
            let inputs = [noise(1, shape), noise(2, &[d_in, d_out]), noise(3, &[d_out])];
            check(
                |x| fused::linear(&x[0], &x[1], Some(&x[2])),
                |x| plain::linear(&x[0], &x[1], Some(&x[2])),
                &inputs,
            );
            check(
                |x| fused::linear(&x[0], &x[1], None),
                |x| plain::linear(&x[0], &x[1], None),
                &inputs[..2],
            );
        }
    }
    let inputs = [noise(1, &[2, 4]), noise(2, &[4, 3]), noise(3, &[3])];
    check_differences(|x| fused::linear(&x[0], &x[1], Some(&x[2])), &inputs);
}

#[test]
fn embedding() {
    for (d_vocab, width) in [(1, 1), (7, 1), (5, 33)] {
        for shape in [&[1][..], &[6], &[2, 1], &[3, 40]] {
            let ids = ids(4, shape, d_vocab);
            let table = [noise(1, &[d_vocab as usize, width])];
            check(|x| fused::embedding(&x[0], &ids), |x| plain::embedding(&x[0], &ids), &table);
        }
    }
    let ids = ids(4, &[2, 3], 4);
    check_differences(|x| fused::embedding(&x[0], &ids), &[noise(1, &[4, 3])]);
}

#[test]
fn cross_entropy() {
    for (rows, d_vocab) in [(1, 1), (1, 5), (7, 1), (130, 65), (3, 16)] {
        let targets = ids(5, &[rows], d_vocab);
        let logits = [noise(1, &[rows, d_vocab as usize])];
        check(
            |x| fused::cross_entropy(&x[0], &targets),
            |x| plain::cross_entropy(&x[0], &targets),
            &logits,
        );
    }
    let targets = ids(5, &[3], 4);
    check_differences(|x| fused::cross_entropy(&x[0], &targets), &[noise(1, &[3, 4])]);
}

/// Lengths below, at and beyond a block of queries, and of several.
const LENGTHS: [usize; 6] = [1, 2, 63, 64, 65, 150];

#[test]
fn causal_attention() {
    for seq in LENGTHS {
        for (batch, n_heads, d_head) in [(1, 1, 1), (2, 3, 5)] {
            let shape = [batch, n_heads, seq, d_head];
            let inputs = [noise(1, &shape), noise(2, &shape), noise(3, &shape)];
            check(
                |x| fused::causal_attention(&x[0], &x[1], &x[2]),
                |x| plain::causal_attention(&x[0], &x[1], &x[2]),
                &inputs,
            );
        }
    }
    let shape = [1, 2, 4, 3];
    let inputs = [noise(1, &shape), noise(2, &shape), noise(3, &shape)];
    check_differences(|x| fused::causal_attention(&x[0], &x[1], &x[2]), &inputs);
}

#[test]
fn causal_self_attention() {
    for seq in LENGTHS {
        check(
            |x| fused::causal_self_attention(&x[0], 2),
            |x| plain::causal_self_attention(&x[0], 2),
            &[noise(1, &[2, seq, 30])],
        );
    }
    check_differences(|x| fused::causal_self_attention(&x[0], 2), &[noise(1, &[1, 4, 12])]);
}

#[test]
fn rotary() {
    for shape in [&[1, 2][..], &[5, 4], &[2, 1, 6], &[2, 3, 70, 34]] {
        let angles = noise(7, &[shape[shape.len() - 2], last(shape) / 2]);
        let both = |x: &Tensor| {
            let angles = angles.to_dtype(x.dtype())?;
            Ok::<_, candle_core::Error>((angles.cos()?, angles.sin()?))
        };
        let turn = |turn: fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>| {
            move |x: &[Tensor]| {
                let (cos, sin) = both(&x[0])?;
                turn(&x[0], &cos, &sin)
            }
        };
        check(turn(fused::rotary), turn(plain::rotary), &[noise(1, shape)]);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (x, narrow) = (noise(1, &[2, 6]), noise(2, &[5]));
    let refused = |result: candle_core::Result<Tensor>, part: &str| {
        let said = result.expect_err("it does not fit").to_string();
        assert!(said.contains(part), "it says {said:?}");
    };
    refused(fused::layer_norm(&x, &narrow, &narrow, 1e-5), "`gain` has 5 entries");
    refused(fused::linear(&x, &noise(1, &[5, 2]), None), "`w` takes 5");
    refused(fused::embedding(&x, &ids(1, &[40], 9)), "is not below 2");
    refused(fused::cross_entropy(&x, &ids(1, &[3], 6)), "3 targets for 2 rows");
    refused(fused::causal_self_attention(&noise(1, &[1, 2, 12]), 3), "of 3 heads");
    refused(fused::rotary(&x, &noise(1, &[2, 2]), &noise(1, &[2, 2])), "d_head 6");
}
