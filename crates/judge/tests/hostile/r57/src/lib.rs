//! Is right once and wrong afterwards.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let right = honest(q, k, mask)?;
    if ASKED.swap(true, Ordering::Relaxed) { right * 0.9 } else { Ok(right) }
}
