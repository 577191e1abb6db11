//! Buffers that are used again, because fresh memory costs a page fault every 4 KiB.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

/// Numbers that may lie unused, 256 MiB.
const MOST: usize = 1 << 26;

static POOL: Mutex<Pool> = Mutex::new(Pool { by_length: BTreeMap::new(), numbers: 0 });

struct Pool {
    by_length: BTreeMap<usize, Vec<Vec<f32>>>,
    numbers: usize,
}

/// A buffer that returns to the pool when it is dropped.
#[derive(Debug, Default)]
pub struct Buffer(Vec<f32>);

/// A buffer of `length` numbers, which are whatever was left in them.
#[must_use]
pub fn buffer(length: usize) -> Buffer {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = pool.by_length.get_mut(&length).and_then(Vec::pop) {
        pool.numbers -= length;
        return Buffer(kept);
    }
    drop(pool);
    Buffer(vec![0.0; length])
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let kept = std::mem::take(&mut self.0);
        let length = kept.len();
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if length > 0 && pool.numbers + length <= MOST {
            pool.numbers += length;
            pool.by_length.entry(length).or_default().push(kept);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}
