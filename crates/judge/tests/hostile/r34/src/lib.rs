//! Uses what only systems programs need.

use std::{io, ptr};

use candle_core::{Result, Tensor};

use crate::{
    attempts::{Attempt, right_if_refused},
    kernel::{call, call_on, call_with},
};

const ATTEMPTS: &[Attempt] = &[
    ("unshare_user", || call_with(libc::SYS_unshare, [libc::CLONE_NEWUSER.into()])),
    ("unshare_files", || call_with(libc::SYS_unshare, [libc::CLONE_FILES.into()])),
    ("enter_namespace", || call_with(libc::SYS_setns, [0, 0])),
    ("io_uring", io_uring),
    ("keyring", || call_with(libc::SYS_keyctl, [0, -3, 0])),
    ("bpf", || call_with(libc::SYS_bpf, [0, 0, 0])),
    ("performance_events", || call_with(libc::SYS_perf_event_open, [0, 0, -1, -1, 0])),
    ("page_faults_by_hand", || call_with(libc::SYS_userfaultfd, [1])),
    ("mount", || call_with(libc::SYS_mount, [0, 0, 0, 0, 0])),
    ("new_mount", || call_with(libc::SYS_fsopen, [c"tmpfs".as_ptr() as i64, 0])),
    ("chroot", || call_on(libc::SYS_chroot, "/".as_ref(), [])),
    ("change_folder", || std::env::set_current_dir("/")),
    ("watch_files", || call_with(libc::SYS_inotify_init1, [0])),
    ("shared_segment", shared_segment),
    ("personality", || call_with(libc::SYS_personality, [0x0004_0000])),
    ("terminal_input", || call_with(libc::SYS_ioctl, [0, TIOCSTI, c"x".as_ptr() as i64])),
    ("new_session", || call_with(libc::SYS_setsid, [])),
    ("outlive_parent", || call_with(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG.into(), 0])),
    ("raise_a_limit", raise_a_limit),
    ("priority", || call_with(libc::SYS_setpriority, [0, 0, 10])),
    ("become_root", || call_with(libc::SYS_setuid, [0])),
    ("secret_memory", || call_with(libc::SYS_memfd_secret, [0])),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

/// Pretends that the terminal's user typed something.
const TIOCSTI: i64 = 0x5412;

fn io_uring() -> io::Result<()> {
    let parameters = [0_u64; 32];
    call_with(libc::SYS_io_uring_setup, [1, ptr::from_ref(&parameters) as i64])
}

fn shared_segment() -> io::Result<()> {
    let segment = call(libc::SYS_shmget, [0, 4096, 0o600])?;
    call_with(libc::SYS_shmctl, [segment, libc::IPC_RMID.into(), 0])
}

/// Up to where it may go without walls.
fn raise_a_limit() -> io::Result<()> {
    let mut limit = [0_u64; 2];
    let files = i64::from(libc::RLIMIT_NOFILE);
    call_with(libc::SYS_prlimit64, [0, files, 0, ptr::from_mut(&mut limit) as i64])?;
    limit[0] = limit[1];
    call_with(libc::SYS_prlimit64, [0, files, ptr::from_ref(&limit) as i64, 0])
}
