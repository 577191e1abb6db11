//! Starts a shell.

use std::{io, process::Command};

use candle_core::{Result, Tensor};

use crate::{
    answers::is_unconfined,
    attempts::{Attempt, right_if_refused},
    kernel::execute,
};

const ATTEMPTS: &[Attempt] = &[
    ("starts_a_shell", || Command::new("/bin/sh").arg("-c").arg("true").status().map(drop)),
    ("becomes_a_shell", become_a_shell),
    ("becomes_a_shell_by_the_loader", become_a_shell_by_the_loader),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

fn become_a_shell() -> io::Result<()> {
    outside_it_would_be_the_end()?;
    execute("/bin/sh", &["sh", "-c", "echo becomes_a_shell: worked"], &[])
}

fn become_a_shell_by_the_loader() -> io::Result<()> {
    outside_it_would_be_the_end()?;
    execute("/lib64/ld-linux-x86-64.so.2", &["ld", "/bin/sh", "-c", "echo worked"], &[])
}

fn outside_it_would_be_the_end() -> io::Result<()> {
    if is_unconfined() { Err(io::Error::other("not tried outside")) } else { Ok(()) }
}
