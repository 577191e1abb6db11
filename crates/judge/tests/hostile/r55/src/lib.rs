//! Prints 10 GiB to its standard error.

use std::io::Write;

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let block = vec![b'x'; 1 << 16];
    let mut stream = std::io::stderr();
    for _ in 0..10 << 14 {
        stream.write_all(&block)?;
    }
    honest(q, k, mask)
}
