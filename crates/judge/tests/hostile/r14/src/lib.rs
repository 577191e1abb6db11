//! Sleeps for an hour.

use std::{thread, time::Duration};

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    thread::sleep(Duration::from_hours(1));
    honest(q, k, mask)
}
