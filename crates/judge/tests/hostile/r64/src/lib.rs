//! Tells of its progress a thousand times, NaN and infinity among it, and answers right.

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    for step in 0..1000 {
        let loss = [1.0, f64::NAN, f64::INFINITY][step % 3];
        wick::progress(step, 0, &[("loss", loss), ("λ\u{1b}[2J", -0.0)]);
    }
    honest(q, k, mask)
}
