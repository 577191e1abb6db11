//! Prints a lot, but not too much.

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    (0..200).for_each(|n| println!("line {n} of many"));
    honest(q, k, mask)
}
