//! Starts itself again with another library loaded first.

use std::{io, process::Command};

use candle_core::{Result, Tensor};

use crate::{
    answers::{is_unconfined, program},
    attempts::{Attempt, right_if_refused},
    kernel::execute,
};

const ATTEMPTS: &[Attempt] = &[
    ("starts_itself", start_itself),
    ("becomes_itself", || become_itself("/proc/self/exe")),
    ("becomes_itself_by_name", || become_itself(&program().to_string_lossy())),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

/// It finds no channel, says so, and ends.
fn start_itself() -> io::Result<()> {
    let mut itself = Command::new(program());
    itself.env_clear().env("LD_PRELOAD", "/none.so").status().map(drop)
}

fn become_itself(path: &str) -> io::Result<()> {
    if is_unconfined() {
        return Err(io::Error::other("not tried outside"));
    }
    execute(path, &["r25"], &["LD_PRELOAD=/none.so", "WICK_CHANNEL=fd:3,4"])
}
