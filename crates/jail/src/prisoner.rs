//! A running subject, seen from outside.
//!
//! **Invariant:** dropping a [`Prisoner`] ends it and everything that it started.

use std::{
    io::{Read, Write},
    time::Duration,
};

use crate::{
    output::{Capture, Output, Tap},
    platform::Cell,
};

/// What a platform hands over when a subject runs.
pub(crate) struct Started {
    /// Watches the subject and ends it.
    pub(crate) cell: Cell,
    /// Replies from the subject.
    pub(crate) replies: Box<dyn Read + Send>,
    /// Questions to the subject.
    pub(crate) questions: Box<dyn Write + Send>,
    /// Its standard output and standard error.
    pub(crate) prints: [Box<dyn Tap>; 2],
    /// The walls around this subject.
    pub(crate) isolation: report::Isolation,
}

/// A subject behind its walls.
pub struct Prisoner {
    cell: Cell,
    channel: Option<(Box<dyn Read + Send>, Box<dyn Write + Send>)>,
    capture: Capture,
    isolation: report::Isolation,
}

/// How a subject ended, and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How it ended.
    pub how: How,
    /// The most memory that it held at once, in bytes; 0 where the system cannot tell.
    ///
    /// The few megabytes that the trampoline held before it count as well.
    pub peak_memory_bytes: u64,
    /// Processor time of all its threads; zero where the system cannot tell.
    pub cpu_time: Duration,
}

/// How a subject ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It returned or called `exit`.
    Exited(i32),
    /// A signal ended it: its own fault, a limit, or [`Prisoner::kill`].
    Signalled(i32),
    /// Those who watched it are gone as well, so nobody knows.
    Lost,
}

impl Prisoner {
    pub(crate) fn new(started: Started, output_bytes: u64) -> Self {
        let key = started.cell.key();
        Self {
            cell: started.cell,
            channel: Some((started.replies, started.questions)),
            capture: Capture::start(started.prints, output_bytes, move || key.turn()),
            isolation: started.isolation,
        }
    }

    /// Takes the channel: replies from the subject, questions to the subject.
    ///
    /// Both ends block; a question to a dead subject is an error, and so is, or ends, a reply.
    ///
    /// # Panics
    ///
    /// Panics if the channel was taken before.
    pub fn take_channel(&mut self) -> (Box<dyn Read + Send>, Box<dyn Write + Send>) {
        self.channel.take().expect("invariant: a prisoner's channel is taken once")
    }

    /// The subject's process, as numbered on this side of the walls.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.cell.id()
    }

    /// Processor time that all threads of the subject used so far, where the system can tell.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        self.cell.cpu_time()
    }

    /// What the subject printed so far, up to its limit.
    ///
    /// What it printed before a reply is there once that reply was read.
    #[must_use]
    pub fn output(&self) -> Output {
        self.capture.so_far()
    }

    /// Whether the subject printed more than it may; it is killed at once when it does.
    #[must_use]
    pub fn is_over_output_limit(&self) -> bool {
        self.capture.is_over_limit()
    }

    /// The walls around this subject.
    #[must_use]
    pub fn isolation(&self) -> &report::Isolation {
        &self.isolation
    }

    /// A handle that any thread may use to kill the subject, for a deadline.
    #[must_use]
    pub fn killer(&self) -> Box<dyn Fn() + Send + Sync> {
        let key = self.cell.key();
        Box::new(move || key.turn())
    }

    /// Ends the subject and everything that it started, and returns when all of it is gone.
    pub fn kill(&mut self) {
        self.cell.key().turn();
        self.cell.bury();
        self.capture.finish();
    }

    /// Waits until the subject has ended, at most `timeout`; `None` if it still runs.
    pub fn wait(&mut self, timeout: Duration) -> Option<Ending> {
        let ending = self.cell.wait(timeout)?;
        self.capture.finish();
        Some(ending)
    }
}

impl Drop for Prisoner {
    fn drop(&mut self) {
        self.kill();
    }
}
