//! A small stack, on which recursion shows.

use std::{panic, thread};

/// Room for loops and ordinary calls, not for one call each of ten thousand nodes.
const STACK_BYTES: usize = 256 << 10;

/// Runs `work` on a stack of 256 KiB, so that code which calls itself once a node overflows it.
///
/// # Panics
///
/// Panics as `work` does, or if the system gives no thread.
pub fn on_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        // The name under which a panic is kept for the judge.
        let name = thread::current().name().unwrap_or_default().to_owned();
        let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
        let thread =
            thread.spawn_scoped(scope, work).expect("invariant: there is room for a thread");
        thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    })
}
