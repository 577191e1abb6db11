//! Computes on eight threads.

use std::{hint::black_box, thread};

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let sum = |part: u64| move || (0..100_000).fold(part, |sum, n| sum ^ black_box(n * part));
    let threads: Vec<_> = (0..8).map(|part| thread::spawn(sum(part))).collect();
    let sums: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a sum")).collect();
    println!("{} sums", sums.len());
    honest(q, k, mask)
}
