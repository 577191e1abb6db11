//! Panics.

use candle_core::{Result, Tensor};

pub(crate) fn attention_pattern(
    _q: &Tensor,
    _k: &Tensor,
    _mask: Option<&Tensor>,
) -> Result<Tensor> {
    panic!("on purpose")
}
