//! Leaves a thread computing after the answer.

use std::{
    thread,
    time::{Duration, Instant},
};

use candle_core::{Result, Tensor};

use crate::answers::honest;

/// Bounded, should nobody end it.
fn spin() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(1) {}
}

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    thread::spawn(spin);
    honest(q, k, mask)
}
