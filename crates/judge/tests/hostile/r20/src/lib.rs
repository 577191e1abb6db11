//! Forks 64 times.

use std::io;

use candle_core::{Result, Tensor};

use crate::{
    attempts::{Attempt, right_if_refused},
    kernel::{call, fork},
};

const ATTEMPTS: &[Attempt] =
    &[("forks", || (0..64).try_for_each(|_| fork(|| ()))), ("plain_fork", plain_fork)];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

/// By the older call, which takes no flags.
fn plain_fork() -> io::Result<()> {
    if call(libc::SYS_fork, [])? == 0 {
        call(libc::SYS_exit_group, [])?;
    }
    Ok(())
}
