//! Takes 8 MiB after 8 MiB.

use std::hint::black_box;

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let held: Vec<Vec<u8>> = (0..16_000).map(|_| black_box(vec![1; 8 << 20])).collect();
    println!("{} blocks", held.len());
    honest(q, k, mask)
}
