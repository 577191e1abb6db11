//! Asks for 100 GiB at once.

use std::hint::black_box;

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    println!("{}", black_box(vec![1_u8; 100 << 30]).len());
    honest(q, k, mask)
}
