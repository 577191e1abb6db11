//! Changes a file that is not its own.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::SystemTime,
};

use candle_core::{Result, Tensor};

use crate::{
    answers::scene,
    attempts::{Attempt, right_if_refused},
    kernel::call_on,
};

const ATTEMPTS: &[Attempt] = &[
    ("permissions", || fs::set_permissions(victim(), PermissionsExt::from_mode(0o600))),
    ("times", || File::open(victim())?.set_modified(SystemTime::UNIX_EPOCH)),
    ("times_by_name", times_by_name),
    ("attribute", attribute),
    ("truncated", || call_on(libc::SYS_truncate, &victim(), [0])),
    ("appended", || OpenOptions::new().append(true).open(victim()).map(drop)),
    ("linked", || fs::hard_link(victim(), scene().join("link"))),
    ("renamed", || fs::rename(victim(), scene().join("elsewhere"))),
    ("removed", || fs::remove_file(scene().join("solutions/attention/src/lib.rs"))),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

fn victim() -> PathBuf {
    scene().join("victim")
}

/// By a call that needs no open file.
fn times_by_name() -> io::Result<()> {
    call_on(libc::SYS_utime, &victim(), [0])
}

fn attribute() -> io::Result<()> {
    let (name, value) = (c"user.note".as_ptr() as i64, c"x".as_ptr() as i64);
    call_on(libc::SYS_setxattr, &victim(), [name, value, 1, 0])
}
