//! What a call costs: an allocator that counts.
//!
//! The counts are the subject's own, so they serve to judge an honest answer's economy, never a
//! hostile answer's limits; those are the jail's.
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
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

/// Counts between its start and its stop, over all threads of the process.
pub(crate) struct Meter {
    live_bytes: i64,
    allocations: u64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        let live_bytes = LIVE_BYTES.load(Relaxed);
        PEAK_BYTES.store(live_bytes, Relaxed);
        Self { live_bytes, allocations: ALLOCATIONS.load(Relaxed) }
    }

    pub(crate) fn stop(&self) -> Usage {
        let peak_bytes = PEAK_BYTES.load(Relaxed) - self.live_bytes;
        Usage {
            peak_bytes: u64::try_from(peak_bytes).unwrap_or(0),
            allocations: ALLOCATIONS.load(Relaxed) - self.allocations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_block_is_seen_after_it_is_gone() {
        let meter = Meter::start();
        drop(std::hint::black_box(vec![0u8; 32 << 20]));
        assert!(meter.stop().peak_bytes >= 32 << 20);
    }
}
