//! Writes through a null pointer.
#![allow(unsafe_code, reason = "it crashes on purpose")]

use std::ptr;

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    unsafe { ptr::null_mut::<u8>().write_volatile(1) };
    honest(q, k, mask)
}
