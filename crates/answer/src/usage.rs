//! What a call costs: an allocator that counts, and the thread's own clock.
//!
//! The counts are the subject's own, so they serve to judge an honest answer's economy, never a
//! hostile answer's limits; those are the jail's.
#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait, a thread's clock is a system call"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use protocol::Usage;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);
static PEAK_BYTES: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every request is handed to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Relaxed);
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Relaxed);
        grow(size);
        unsafe { System.realloc(block, layout, size) }
    }
}

fn grow(size: usize) {
    let live = LIVE_BYTES.fetch_add(size as i64, Relaxed) + size as i64;
    PEAK_BYTES.fetch_max(live, Relaxed);
    ALLOCATIONS.fetch_add(1, Relaxed);
}

/// Counts between its start and its stop: memory over all threads of the process, time of this.
pub(crate) struct Meter {
    live_bytes: i64,
    allocations: u64,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn start() -> Self {
        let live_bytes = LIVE_BYTES.load(Relaxed);
        PEAK_BYTES.store(live_bytes, Relaxed);
        Self { live_bytes, allocations: ALLOCATIONS.load(Relaxed), cpu: thread_time() }
    }

    pub(crate) fn stop(&self) -> Usage {
        let peak_bytes = PEAK_BYTES.load(Relaxed) - self.live_bytes;
        Usage {
            peak_bytes: u64::try_from(peak_bytes).unwrap_or(0),
            allocations: ALLOCATIONS.load(Relaxed) - self.allocations,
            cpu_nanos: thread_time().saturating_sub(self.cpu).as_nanos() as u64,
        }
    }
}

/// Processor time that this thread has taken; it stands still while others run.
#[cfg(unix)]
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time` alone, and only a plain struct of two numbers.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "invariant: every thread has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Time that went by, where a thread has no clock of its own that is safe to read.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each start forgets the peak of the process, so two meters at once would spoil each other.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

    #[test]
    fn a_large_block_is_seen_after_it_is_gone() {
        let _alone = ONE_AT_A_TIME.lock();
        let is_seen = |_| {
            let meter = Meter::start();
            drop(std::hint::black_box(vec![0u8; 32 << 20]));
            meter.stop().peak_bytes >= 32 << 20
        };
        // Other tests free memory at the same time, and so take from what is counted.
        assert!((0..100).any(is_seen));
    }

    #[test]
    fn work_takes_time() {
        let _alone = ONE_AT_A_TIME.lock();
        let meter = Meter::start();
        let mut n = 0u64;
        while meter.stop().cpu_nanos < 1_000_000 {
            n = std::hint::black_box(n + 1);
        }
        assert!(n > 0);
    }
}
