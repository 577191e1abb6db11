//! Closes the descriptors of its channel.

use candle_core::{Result, Tensor};

use crate::{answers::honest, kernel::close};

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let _closed = (close(3), close(4));
    honest(q, k, mask)
}
