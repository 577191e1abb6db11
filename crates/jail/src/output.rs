//! What a subject prints: drained as it comes, kept up to a limit.
//!
//! **Invariant:** a subject that prints never blocks for long, and never costs more memory than
//! its limit: what is over it is thrown away, and the subject is killed.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long [`Capture::so_far`] waits at most for bytes that are printed but not yet drained.
/// Those who drain them may have to wait for a processor that others keep busy.
const CATCH_UP: Duration = Duration::from_millis(500);
/// How long [`Capture::finish`] waits for the last bytes of a subject that has ended.
const FINISH: Duration = Duration::from_secs(1);

/// What a subject printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Whether it printed more than its limit; what is over is lost.
    pub over_limit: bool,
}

/// The end of a stream from which prints are taken.
pub(crate) trait Tap: Send {
    /// Blocks until [`Tap::take`] will not.
    fn wait(&mut self);
    /// Takes some bytes; zero of them if the stream has ended.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// A question that any thread may ask: is something printed and not yet taken?
    fn pending(&self) -> Box<dyn Fn() -> bool + Send + Sync>;
}

/// Both streams of one subject, drained by two threads.
pub(crate) struct Capture {
    kept: Arc<Kept>,
    pending: [Box<dyn Fn() -> bool + Send + Sync>; 2],
    drains: Vec<JoinHandle<()>>,
}

struct Kept {
    streams: Mutex<[Vec<u8>; 2]>,
    over_limit: AtomicBool,
    limit: u64,
}

impl Capture {
    /// Drains `taps`, standard output first; calls `end` once if they give more than `limit`.
    pub(crate) fn start(
        taps: [Box<dyn Tap>; 2],
        limit: u64,
        end: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let over_limit = AtomicBool::new(false);
        let kept = Arc::new(Kept { streams: Mutex::default(), over_limit, limit });
        let pending = [taps[0].pending(), taps[1].pending()];
        let end = Arc::new(end);
        let drain = |(stream, mut tap): (usize, Box<dyn Tap>)| {
            let (kept, end) = (Arc::clone(&kept), Arc::clone(&end));
            thread::spawn(move || kept.drain(stream, &mut *tap, &*end))
        };
        let drains = taps.into_iter().enumerate().map(drain).collect();
        Self { kept, pending, drains }
    }

    pub(crate) fn so_far(&self) -> Output {
        let patience = Instant::now() + CATCH_UP;
        while self.pending.iter().any(|pending| pending()) && Instant::now() < patience {
            thread::sleep(Duration::from_micros(50));
        }
        let [stdout, stderr] = self.kept.lock().clone();
        Output { stdout, stderr, over_limit: self.is_over_limit() }
    }

    pub(crate) fn is_over_limit(&self) -> bool {
        self.kept.over_limit.load(Ordering::Acquire)
    }

    /// Waits for the last bytes. A process that holds the streams open cannot hold us up for long.
    pub(crate) fn finish(&mut self) {
        let patience = Instant::now() + FINISH;
        while !self.drains.iter().all(JoinHandle::is_finished) && Instant::now() < patience {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

impl Kept {
    fn drain(&self, stream: usize, tap: &mut dyn Tap, end: &dyn Fn()) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            tap.wait();
            // Taken under the lock, so that whoever finds nothing pending finds it kept.
            let mut streams = self.lock();
            match tap.take(&mut buffer) {
                Ok(0) => return,
                Ok(n) if self.keep(&mut streams, stream, &buffer[..n]) => {}
                Ok(_) => {
                    drop(streams);
                    if !self.over_limit.swap(true, Ordering::AcqRel) {
                        end();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Keeps what fits, and says whether everything did.
    fn keep(&self, streams: &mut [Vec<u8>; 2], stream: usize, bytes: &[u8]) -> bool {
        let held = streams.iter().map(Vec::len).sum::<usize>() as u64;
        let room = usize::try_from(self.limit.saturating_sub(held)).unwrap_or(usize::MAX);
        let fits = bytes.len().min(room);
        streams[stream].extend_from_slice(&bytes[..fits]);
        fits == bytes.len()
    }

    fn lock(&self) -> MutexGuard<'_, [Vec<u8>; 2]> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Fixed(Vec<u8>);

    impl Tap for Fixed {
        fn wait(&mut self) {}
        fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(buffer.len()).min(3);
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0.drain(..n);
            Ok(n)
        }
        fn pending(&self) -> Box<dyn Fn() -> bool + Send + Sync> {
            Box::new(|| false)
        }
    }

    #[track_caller]
    fn check(printed: [&str; 2], limit: u64, kept: usize, n_ends: usize) {
        let taps = printed.map(|text| Box::new(Fixed(text.into())) as Box<dyn Tap>);
        let ends = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&ends);
        let end = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let mut capture = Capture::start(taps, limit, end);
        capture.finish();
        let output = capture.so_far();
        assert_eq!(output.stdout.len() + output.stderr.len(), kept);
        assert_eq!((ends.load(Ordering::Relaxed), output.over_limit), (n_ends, n_ends > 0));
        assert!(printed[0].as_bytes().starts_with(&output.stdout));
        assert!(printed[1].as_bytes().starts_with(&output.stderr));
    }

    #[test]
    fn what_fits_is_kept() {
        check(["hello", "world"], 10, 10, 0);
    }

    #[test]
    fn one_byte_over_the_limit_ends_the_subject_once() {
        check(["hello", "world!"], 10, 10, 1);
    }

    #[test]
    fn a_flood_keeps_no_more_than_the_limit() {
        check([&"x".repeat(10_000), &"y".repeat(10_000)], 64, 64, 1);
    }
}
