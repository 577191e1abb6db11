//! What holds of every input, on inputs drawn at random.

use candle_core::{D, Tensor};
use proptest::prelude::*;
use wick::fused;

use crate::agree::{near, noise, numbers};

fn small() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

/// The list of a row's sums.
fn sums(x: &Tensor) -> Vec<f64> {
    numbers(&x.sum(D::Minus1).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(small())]

    #[test]
    fn a_softmax_is_a_distribution(
        seed in 0_u64..1000, rows in 1_usize..9, width in 1_usize..99, spread in 0.0_f64..200.0,
    ) {
        let y = fused::softmax(&(noise(seed, &[rows, width]) * spread).unwrap()).unwrap();
        near("sum", &sums(&y), &vec![1.0; rows], 1e-5);
        prop_assert!(numbers(&y).unwrap().iter().all(|y| (0.0..=1.0 + 1e-6).contains(y)));
    }

    #[test]
    fn a_softmax_does_not_see_a_shift(
        seed in 0_u64..1000, width in 1_usize..99, shift in -64_i32..64,
    ) {
        // Sixteenths: so that the shift rounds nothing.
        let x = ((noise(seed, &[3, width]) * 16.0).unwrap().round().unwrap() / 16.0).unwrap();
        let moved = fused::softmax(&(&x + f64::from(shift)).unwrap()).unwrap();
        let expected = numbers(&fused::softmax(&x).unwrap()).unwrap();
        near("softmax", &numbers(&moved).unwrap(), &expected, 0.0);
    }

    #[test]
    fn a_layer_norm_has_mean_0_and_variance_1(
        seed in 0_u64..1000, rows in 1_usize..9, width in 2_usize..99,
    ) {
        let one = noise(0, &[width]).ones_like().unwrap();
        let zero = one.zeros_like().unwrap();
        let y = fused::layer_norm(&noise(seed, &[rows, width]), &one, &zero, 0.0);
        let y = y.unwrap();
        near("mean", &sums(&y), &vec![0.0; rows], 1e-4);
        near("variance", &sums(&y.sqr().unwrap()), &vec![width as f64; rows], 1e-4);
    }

    #[test]
    fn rotary_keeps_lengths_and_can_be_undone(
        seed in 0_u64..1000, heads in 1_usize..4, seq in 1_usize..40, half in 1_usize..20,
    ) {
        let (x, angles) = (noise(seed, &[heads, seq, 2 * half]), noise(seed + 1, &[seq, half]));
        let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
        let y = fused::rotary(&x, &cos, &sin).unwrap();
        near("length", &sums(&y.sqr().unwrap()), &sums(&x.sqr().unwrap()), 1e-5);
        let back = fused::rotary(&y, &cos, &sin.neg().unwrap()).unwrap();
        near("back", &numbers(&back).unwrap(), &numbers(&x).unwrap(), 1e-5);
    }

    #[test]
    fn attention_does_not_see_what_comes_later(
        seed in 0_u64..1000, seq in 2_usize..100, d_head in 1_usize..9, at in 0.0_f64..1.0,
    ) {
        let seen = 1 + (at * (seq - 1) as f64) as usize;
        let qkv = noise(seed, &[1, seq, 6 * d_head]);
        let later = noise(seed + 1, &[1, seq - seen, 6 * d_head]);
        let other = Tensor::cat(&[&qkv.narrow(1, 0, seen).unwrap(), &later], 1).unwrap();
        let start = |qkv: &Tensor| {
            let z = fused::causal_self_attention(qkv, 2).unwrap();
            numbers(&z.narrow(1, 0, seen).unwrap()).unwrap()
        };
        near("z", &start(&other), &start(&qkv), 1e-6);
    }

    #[test]
    fn threads_change_nothing(seed in 0_u64..1000, rows in 500_usize..900) {
        let all = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let x = candle_core::Var::from_tensor(&noise(seed, &[2, rows / 2, 96])).unwrap();
                let gain = candle_core::Var::from_tensor(&noise(seed + 1, &[96])).unwrap();
                let bias = candle_core::Var::from_tensor(&noise(seed + 2, &[96])).unwrap();
                let y = fused::layer_norm(&x, &gain, &bias, 1e-5).unwrap();
                let y = fused::causal_self_attention(&y, 2).unwrap();
                let y = fused::linear(&y, &noise(seed + 3, &[32, 96]), Some(&bias)).unwrap();
                let y = fused::softmax(&fused::gelu_tanh(&y).unwrap()).unwrap();
                let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let of = |var: &candle_core::Var| numbers(gradients.get(var).unwrap()).unwrap();
                [numbers(&y).unwrap(), of(&x), of(&gain), of(&bias)]
            })
        };
        for (one, three) in all(1).iter().zip(&all(3)) {
            near("with three threads", three, one, 0.0);
        }
    }
}
