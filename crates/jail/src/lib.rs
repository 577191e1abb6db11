//! Starts a subject that can compute and nothing else.
//!
//! [`spawn`] runs a program with an exact environment, limits, captured output and one private
//! channel, and hands back a [`Prisoner`].
//! On Linux the program can open nothing but its own libraries, reach no network, start no process
//! and see no other one; elsewhere only its limits hold, and [`isolation`] says so.
//!
//! To set the walls up, the calling program is executed again as a single-threaded trampoline: its
//! `main` must begin with [`enter_if_asked`].
//!
//! **Invariant:** under [`Command::strict`], a subject runs behind every wall or not at all.

#[cfg(not(target_os = "linux"))]
mod limited;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
mod loopback;
mod output;
mod prisoner;

use std::{ffi::OsString, io, path::PathBuf, time::Duration};

#[cfg(not(target_os = "linux"))]
use limited as platform;
#[cfg(target_os = "linux")]
use linux as platform;

pub use output::Output;
pub use platform::enter_if_asked;
pub use prisoner::{Ending, How, Prisoner};

/// What to run, and how far it may go.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program, opened once and executed by its descriptor.
    pub program: PathBuf,
    /// Shared libraries that it needs beside those that the calling program runs with.
    pub libraries: Vec<PathBuf>,
    /// Its arguments, without its own name.
    pub args: Vec<OsString>,
    /// Its whole environment, but for the channel: nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Name of the environment variable that tells it where its channel is.
    pub channel_variable: String,
    /// How much it may use.
    pub limits: Limits,
    /// Whether to refuse to run it rather than drop a wall that the system does not offer.
    pub strict: bool,
    /// Whether it computes on a device, whose driver needs what the walls keep away: the system's
    /// devices and folders, its own helpers, and far more address space than memory. Then only
    /// processor time, threads and stack are limited, and [`Prisoner::isolation`] says so.
    pub open_to_device: bool,
}

/// How much a subject may use, over its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time of all its threads, rounded up to whole seconds.
    pub cpu: Duration,
    /// Address space, which is more than what it touches: a thread reserves its whole stack.
    pub memory_bytes: u64,
    /// Standard output and standard error together.
    pub output_bytes: u64,
    /// Threads, the first included.
    pub threads: u32,
    /// Stack of the first thread.
    pub stack_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(10),
            memory_bytes: 4 << 30,
            output_bytes: 1 << 20,
            threads: 32,
            stack_bytes: 8 << 20,
        }
    }
}

/// Why no subject runs.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// The program cannot be opened.
    #[error("the program {program} cannot be opened: {source}")]
    Program {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that every subject needs is not to be had, such as a pipe.
    #[error("a subject could not be started: {0}")]
    Start(#[from] io::Error),
    /// The trampoline could not make the walls or could not execute the program.
    #[error("a subject could not be started: {0}")]
    Trampoline(String),
    /// The calling program did not become a trampoline when it was executed again.
    #[error("this program must call `jail::enter_if_asked` first thing in `main`")]
    NotATrampoline,
    /// A wall is missing and [`Command::strict`] was asked for.
    #[error("this system cannot confine a subject fully: {0}")]
    Weak(String),
}

/// Starts `command` and waits until the program itself runs behind its walls.
///
/// # Errors
///
/// Fails if the program cannot be opened or executed, if the system is out of pipes or processes,
/// if the calling program's `main` does not begin with [`enter_if_asked`], or if a wall is missing
/// under [`Command::strict`].
pub fn spawn(command: &Command) -> Result<Prisoner, JailError> {
    let started = platform::start(command)?;
    Ok(Prisoner::new(started, command.limits.output_bytes))
}

/// Says which walls stand on this system, found by raising them once.
#[must_use]
pub fn isolation() -> report::Isolation {
    platform::isolation()
}
