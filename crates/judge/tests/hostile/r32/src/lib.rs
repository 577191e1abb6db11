//! Reaches into other processes.

use std::{fs::File, io, ptr};

use candle_core::{Result, Tensor};

use crate::{
    answers::is_unconfined,
    attempts::{Attempt, right_if_refused},
    kernel::{call, call_with, own, parent},
};

const ATTEMPTS: &[Attempt] = &[
    ("attaches", || outside_it_would_stop(libc::PTRACE_ATTACH)),
    ("seizes", || outside_it_would_stop(libc::PTRACE_SEIZE)),
    ("reads_memory", read_memory),
    ("takes_a_descriptor", take_a_descriptor),
    ("memory_of_parent", || File::open(format!("/proc/{}/mem", parent())).map(drop)),
    ("own_memory", || File::open("/proc/self/mem").map(drop)),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

fn outside_it_would_stop(request: libc::c_uint) -> io::Result<()> {
    if is_unconfined() {
        return Err(io::Error::other("not tried outside"));
    }
    call_with(libc::SYS_ptrace, [request.into(), parent()])
}

/// Its own, by the call that reads that of others.
fn read_memory() -> io::Result<()> {
    let (from, to) = (7_u64, 0_u64);
    let part =
        |word: &u64| libc::iovec { iov_base: ptr::from_ref(word).cast_mut().cast(), iov_len: 8 };
    let (local, remote) = (part(&to), part(&from));
    let address = |part: &libc::iovec| ptr::from_ref(part) as i64;
    call_with(libc::SYS_process_vm_readv, [own(), address(&local), 1, address(&remote), 1, 0])
}

/// Its own, by the call that takes those of others.
fn take_a_descriptor() -> io::Result<()> {
    let process = call(libc::SYS_pidfd_open, [own(), 0])?;
    call_with(libc::SYS_pidfd_getfd, [process, 1, 0])
}
