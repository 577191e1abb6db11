//! Leaves a process behind by forking twice.

use std::ptr;

use candle_core::{Result, Tensor};

use crate::{
    attempts::{Attempt, right_if_refused},
    kernel::{call, call_with, fork},
};

const ATTEMPTS: &[Attempt] = &[("daemon", || fork(leave_a_daemon))];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

/// Its own child outlives it, in a session of its own, for a second.
fn leave_a_daemon() {
    let flags = libc::SIGCHLD.into();
    if call(libc::SYS_clone, [flags, 0, 0, 0, 0]).is_ok_and(|child| child == 0) {
        let second = libc::timespec { tv_sec: 1, tv_nsec: 0 };
        let _new_session = call_with(libc::SYS_setsid, []);
        let _slept = call_with(libc::SYS_nanosleep, [ptr::from_ref(&second) as i64]);
        let _ended = call_with(libc::SYS_exit_group, [0]);
    }
}
