//! Stops itself.

use candle_core::{Result, Tensor};

use crate::{
    answers::honest,
    kernel::{call_with, own},
};

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let _stopped = call_with(libc::SYS_kill, [own(), libc::SIGSTOP.into()]);
    honest(q, k, mask)
}
