//! Calls itself without end.

use candle_core::{Result, Tensor};

use crate::answers::honest;

#[expect(unconditional_recursion, reason = "to overflow the stack")]
fn recurse(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 128]);
    recurse(depth + 1) + page[3]
}

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    println!("{}", recurse(0));
    honest(q, k, mask)
}
