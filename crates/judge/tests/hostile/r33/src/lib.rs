//! Signals its judge, its parent and everyone.

use std::{io, ptr};

use candle_core::{Result, Tensor};

use crate::{
    attempts::{Attempt, right_if_refused},
    kernel::{call_with, own, parent},
};

const ATTEMPTS: &[Attempt] = &[
    ("parent", || call_with(libc::SYS_kill, [parent(), 0])),
    ("thread_of_parent", || call_with(libc::SYS_tgkill, [parent(), parent(), 0])),
    ("everyone", || call_with(libc::SYS_kill, [-1, 0])),
    ("group", || call_with(libc::SYS_kill, [0, 0])),
    ("first_process", || call_with(libc::SYS_kill, [1, 0])),
    ("neighbours", || {
        (2..9).filter(|&id| id != own()).try_for_each(|id| call_with(libc::SYS_kill, [id, 0]))
    }),
    ("queued", queued),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

fn queued() -> io::Result<()> {
    let nothing = [0_u64; 16];
    call_with(libc::SYS_rt_sigqueueinfo, [parent(), 0, ptr::from_ref(&nothing) as i64])
}
