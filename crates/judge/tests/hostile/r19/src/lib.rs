//! Makes a file in memory and fills it.

use std::io;

use candle_core::{Result, Tensor};

use crate::{
    attempts::{Attempt, right_if_refused},
    kernel::{call, call_with},
};

const ATTEMPTS: &[Attempt] = &[("memory_file", memory_file)];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

fn memory_file() -> io::Result<()> {
    let file = call(libc::SYS_memfd_create, [c"x".as_ptr() as i64, 0])?;
    call_with(libc::SYS_fallocate, [file, 0, 0, 1 << 20])?;
    call_with(libc::SYS_close, [file])
}
