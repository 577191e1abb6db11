//! Never ends its computation.

use candle_core::{Result, Tensor};

pub(crate) fn attention_pattern(
    _q: &Tensor,
    _k: &Tensor,
    _mask: Option<&Tensor>,
) -> Result<Tensor> {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}
