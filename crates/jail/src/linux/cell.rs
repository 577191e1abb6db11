//! A subject seen from the judge: its end, its processor time, its prints.

use std::{
    fs, io,
    os::fd::OwnedFd,
    process::Child,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
    process::Pid,
};

use super::{
    messages::{Report, Usage, receive_report},
    system,
};
use crate::{
    output::Tap,
    prisoner::{Ending, How},
};

/// How long the trampoline may take to end everything before it is ended itself.
const BURIAL: Duration = Duration::from_secs(5);

/// Watches a trampoline.
pub(crate) struct Cell {
    door: Arc<Door>,
    trampoline: Child,
    ending: Option<Ending>,
}

/// Ends a subject, from any thread.
pub(crate) struct Key(Arc<Door>);

/// What those who watch and those who end share.
struct Door {
    socket: OwnedFd,
    /// The subject, once it said [`Report::Here`].
    subject: OnceLock<Pid>,
    /// What the subject had used when it was killed: nobody waits for it then.
    at_killing: OnceLock<Usage>,
}

impl Key {
    /// Orders the trampoline to end everything.
    pub(crate) fn turn(&self) {
        let door = &self.0;
        if let Some(&subject) = door.subject.get() {
            door.at_killing.get_or_init(|| usage_so_far(subject));
        }
        // It fails only if the trampoline is gone.
        let _already_ended = shutdown(&door.socket, Shutdown::Write);
    }
}

impl Cell {
    /// Watches the subject that said [`Report::Here`] on `socket`.
    pub(super) fn new(socket: OwnedFd, trampoline: Child) -> Self {
        let door = Door { socket, subject: OnceLock::new(), at_killing: OnceLock::new() };
        let mut cell = Self { door: Arc::new(door), trampoline, ending: None };
        cell.wait(Duration::ZERO);
        cell
    }

    pub(crate) fn key(&self) -> Key {
        Key(Arc::clone(&self.door))
    }

    pub(crate) fn id(&self) -> Option<u32> {
        Some(self.door.subject.get()?.as_raw_nonzero().get().cast_unsigned())
    }

    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        match self.ending {
            Some(ending) => Some(ending.cpu_time),
            None => system::cpu_time_of(*self.door.subject.get()?),
        }
    }

    pub(crate) fn wait(&mut self, timeout: Duration) -> Option<Ending> {
        let deadline = Instant::now() + timeout;
        while self.ending.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if !system::wait_readable(&self.door.socket, left).unwrap_or(true) {
                return None;
            }
            self.listen();
            if self.ending.is_some() {
                self.reap();
            }
        }
        self.ending
    }

    /// Takes one report.
    fn listen(&mut self) {
        let at_killing = || self.door.at_killing.get().copied().unwrap_or_default();
        self.ending = match receive_report(&self.door.socket) {
            Ok(Some((Report::Here, sender))) => {
                sender.map(|subject| self.door.subject.get_or_init(|| subject));
                None
            }
            Ok(Some((Report::Ended { status, usage }, _))) => Some(ending(how(status), usage)),
            Ok(Some((Report::Killed, _))) => {
                Some(ending(How::Signalled(libc::SIGKILL), at_killing()))
            }
            Err(Errno::INTR) => None,
            Ok(None) | Err(_) => Some(ending(How::Lost, at_killing())),
        };
    }

    /// Waits until everything is gone, after [`Key::turn`].
    pub(crate) fn bury(&mut self) {
        if self.wait(BURIAL).is_none() {
            self.ending = Some(ending(How::Lost, Usage::default()));
            self.reap();
        }
    }

    /// Waits for the trampoline, which ends last.
    fn reap(&mut self) {
        let patience = Instant::now() + BURIAL;
        while matches!(self.trampoline.try_wait(), Ok(None)) {
            if Instant::now() > patience {
                // Its death ends the others; only the certainty that they are gone is lost.
                let _already_gone = self.trampoline.kill();
                let _reaped = self.trampoline.wait();
                return;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn ending(how: How, usage: Usage) -> Ending {
    Ending {
        how,
        peak_memory_bytes: usage.peak_kib * 1024,
        cpu_time: Duration::from_micros(usage.cpu_micros),
    }
}

/// What a living process used.
fn usage_so_far(process: Pid) -> Usage {
    let cpu_time = system::cpu_time_of(process).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()))
        .unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak_kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
    Usage {
        cpu_micros: u64::try_from(cpu_time.as_micros()).unwrap_or(u64::MAX),
        peak_kib: peak_kib.unwrap_or(0),
    }
}

fn how(status: i32) -> How {
    if libc::WIFSIGNALED(status) {
        How::Signalled(libc::WTERMSIG(status))
    } else {
        How::Exited(libc::WEXITSTATUS(status))
    }
}

/// The reading end of a pipe that a subject prints into.
pub(super) struct PipeTap {
    pipe: Arc<OwnedFd>,
}

impl PipeTap {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: Arc::new(pipe) }
    }
}

impl Tap for PipeTap {
    fn wait(&mut self) {
        // An error here shows again, and is handled, in `take`.
        let _ready = system::wait_readable(&self.pipe, Duration::MAX);
    }

    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.pipe, buffer)?)
    }

    fn pending(&self) -> Box<dyn Fn() -> bool + Send + Sync> {
        let pipe = Arc::clone(&self.pipe);
        Box::new(move || rustix::io::ioctl_fionread(&pipe).is_ok_and(|n_bytes| n_bytes > 0))
    }
}
