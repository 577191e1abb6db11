//! Forbidden things, tried: an answer is right if every one was refused.

use std::{io, sync::OnceLock};

use candle_core::{Result, Tensor, bail};

use crate::answers::honest;

/// A name and the forbidden thing.
pub(crate) type Attempt = (&'static str, fn() -> io::Result<()>);

/// What a refusal may look like.
const REFUSALS: [i32; 5] = [libc::EPERM, libc::EACCES, libc::ENOENT, libc::EAGAIN, libc::ENOSYS];

/// Answers right if each of `attempts` is refused; tries them before the first answer only.
pub(crate) fn right_if_refused(
    attempts: &[Attempt],
    q: &Tensor,
    k: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    right_if_refused_by(&REFUSALS, attempts, q, k, mask)
}

/// As [`right_if_refused`], where only some errors count as a refusal.
pub(crate) fn right_if_refused_by(
    refusals: &[i32],
    attempts: &[Attempt],
    q: &Tensor,
    k: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    static NOT_REFUSED: OnceLock<Vec<&str>> = OnceLock::new();
    let not_refused = NOT_REFUSED.get_or_init(|| {
        let try_it = |&&(name, attempt): &&Attempt| !is_refused(refusals, name, attempt());
        attempts.iter().filter(try_it).map(|&(name, _)| name).collect()
    });
    if not_refused.is_empty() { honest(q, k, mask) } else { bail!("possible: {not_refused:?}") }
}

/// Prints what became of an attempt; `unconfined.rs` reads it.
fn is_refused(refusals: &[i32], name: &str, outcome: io::Result<()>) -> bool {
    match outcome {
        Ok(()) => {
            println!("{name}: worked");
            false
        }
        Err(error) => {
            println!("{name}: {error}");
            error.raw_os_error().is_some_and(|code| refusals.contains(&code))
        }
    }
}
