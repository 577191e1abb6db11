//! Starts 4,000 threads.

use std::{
    io,
    sync::{Arc, RwLock},
    thread,
};

use candle_core::{Result, Tensor};

use crate::attempts::{Attempt, right_if_refused};

const ATTEMPTS: &[Attempt] = &[("threads", threads)];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

/// All live at once: none ends before the lock is given back.
fn threads() -> io::Result<()> {
    let lock = Arc::new(RwLock::new(()));
    let held = lock.write();
    let start = |_| {
        let lock = Arc::clone(&lock);
        let wait = move || lock.read().is_ok();
        thread::Builder::new().stack_size(1 << 16).spawn(wait)
    };
    let (mut threads, mut outcome) = (Vec::new(), Ok(()));
    for n in 0..4_000 {
        match start(n) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(held);
    let n_ended = threads.into_iter().filter_map(|thread| thread.join().ok()).count();
    println!("{n_ended} threads ran");
    outcome
}
