//! What judge, trampoline, init and subject-to-be say to each other.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
    },
    process::Pid,
};
use serde::{Deserialize, Serialize};

use crate::JailError;

/// Descriptors that travel with an order: program, questions, replies, progress.
pub(super) const N_DESCRIPTORS: usize = 4;
const MAX_ORDER_BYTES: usize = 1 << 18;
const MAX_REPORT_BYTES: usize = 256;
/// Why there are no walls around a subject on a device.
pub(super) const OPEN: &str = "its limits hold, but it can read your files and use your network, \
                               since the device's driver needs what walls keep away";

/// Judge to trampoline: run this.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Paths of libraries that the subject needs beside ours.
    pub(super) libraries: Vec<Vec<u8>>,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) env: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) limits: Bounds,
    pub(super) strict: bool,
    /// Whether a device's driver must be in reach, which only limits leave.
    pub(super) open_to_device: bool,
    /// Whether to raise the walls and execute nothing.
    pub(super) rehearsal: bool,
}

/// [`crate::Limits`], in the units of the kernel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bounds {
    pub(super) cpu_seconds: u64,
    pub(super) memory_bytes: u64,
    pub(super) threads: u64,
    pub(super) stack_bytes: u64,
}

impl From<crate::Limits> for Bounds {
    fn from(limits: crate::Limits) -> Self {
        let whole = limits.cpu.as_secs();
        Self {
            cpu_seconds: whole + u64::from(limits.cpu.subsec_nanos() > 0),
            memory_bytes: limits.memory_bytes,
            threads: limits.threads.into(),
            stack_bytes: limits.stack_bytes,
        }
    }
}

/// Which walls stand, and why the others do not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walls {
    pub(super) standing: Vec<String>,
    pub(super) missing: Vec<String>,
}

impl Walls {
    pub(super) fn none(why: &str) -> Self {
        Self { standing: Vec::new(), missing: vec![why.to_owned()] }
    }

    /// Notes that `wall` stands or why it does not.
    pub(super) fn note(&mut self, wall: &str, raised: Result<(), String>) {
        match raised {
            Ok(()) => self.standing.push(wall.to_owned()),
            Err(why) => self.missing.push(format!("no {wall}, because {why}")),
        }
    }
}

impl From<Walls> for report::Isolation {
    fn from(walls: Walls) -> Self {
        let full = walls.missing.is_empty();
        let missing = walls.missing.join("; ");
        let sentence = format!("This system does not confine an answer fully: {missing}.");
        let weakness = match missing.as_str() {
            "" => String::new(),
            OPEN => format!("An answer on a device is not confined: {OPEN}."),
            _ => sentence,
        };
        Self { full, layers: walls.standing, weakness }
    }
}

/// Anyone on the way to the subject, to the judge, over the progress pipe.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Progress {
    /// Behind these walls, the next thing is to execute the program.
    Ready(Walls),
    /// It did not come to that.
    Refused {
        /// Whether that is for the want of a wall.
        weak: bool,
        why: String,
    },
}

impl Progress {
    /// Reads all that was said until the pipe closed.
    pub(super) fn last(mut said: &[u8]) -> Result<Walls, JailError> {
        let mut outcome = Err(JailError::NotATrampoline);
        while !said.is_empty() {
            let (progress, rest) = postcard::take_from_bytes(said)
                .map_err(|_| JailError::Trampoline("it did not say why".to_owned()))?;
            said = rest;
            outcome = match progress {
                Self::Ready(walls) => Ok(walls),
                Self::Refused { weak: true, why } => return Err(JailError::Weak(why)),
                Self::Refused { weak: false, why } => return Err(JailError::Trampoline(why)),
            };
        }
        outcome
    }

    /// Tells the judge; if that fails, its silence tells it.
    pub(super) fn tell(&self, progress: &OwnedFd) {
        if let Ok(bytes) = postcard::to_stdvec(self) {
            let _unheard = rustix::io::write(progress, &bytes);
        }
    }
}

/// Trampoline, init or subject-to-be, to the judge, over the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The sender becomes the subject.
    Here,
    /// Everything was ended, as ordered.
    Killed,
    /// The subject ended by itself.
    Ended {
        /// As `wait` gives it.
        status: i32,
        usage: Usage,
    },
}

/// What a process used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    pub(super) cpu_micros: u64,
    pub(super) peak_kib: u64,
}

pub(super) fn send_order(
    socket: &OwnedFd,
    order: &Order,
    descriptors: [BorrowedFd<'_>; N_DESCRIPTORS],
) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(order).map_err(|_| Errno::INVAL)?;
    if bytes.len() > MAX_ORDER_BYTES {
        return Err(Errno::TOOBIG);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(N_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

pub(super) fn receive_order(socket: &OwnedFd) -> Result<(Order, [OwnedFd; N_DESCRIPTORS]), Errno> {
    let mut bytes = vec![0; MAX_ORDER_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(N_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut bytes)];
    let n_bytes = recvmsg(socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let order = postcard::from_bytes(&bytes[..n_bytes]).map_err(|_| Errno::BADMSG)?;
    Ok((order, descriptors.try_into().map_err(|_| Errno::BADMSG)?))
}

pub(super) fn send_report(socket: impl AsFd, report: Report) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(&report).map_err(|_| Errno::INVAL)?;
    send(socket, &bytes, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a report and who sent it; `None` if nobody can send any more.
pub(super) fn receive_report(socket: &OwnedFd) -> Result<Option<(Report, Option<Pid>)>, Errno> {
    let mut bytes = [0; MAX_REPORT_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut bytes)];
    let n_bytes = recvmsg(socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut sender = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = message {
            sender = Some(credentials.pid);
        }
    }
    if n_bytes == 0 {
        return Ok(None);
    }
    let report = postcard::from_bytes(&bytes[..n_bytes]).map_err(|_| Errno::BADMSG)?;
    Ok(Some((report, sender)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &[Progress], outcome: &str) {
        let bytes: Vec<u8> =
            said.iter().flat_map(|progress| postcard::to_stdvec(progress).unwrap()).collect();
        let heard = match Progress::last(&bytes) {
            Ok(walls) => walls.standing.join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(heard, outcome);
    }

    fn ready() -> Progress {
        Progress::Ready(Walls { standing: vec!["seccomp".to_owned()], missing: Vec::new() })
    }

    #[test]
    fn a_subject_that_was_executed_is_behind_its_walls() {
        check(&[ready()], "seccomp");
    }

    #[test]
    fn a_refusal_after_readiness_is_a_refusal() {
        let refused = Progress::Refused { weak: false, why: "no such program".to_owned() };
        check(&[ready(), refused], "a subject could not be started: no such program");
    }

    #[test]
    fn a_missing_wall_is_told_from_other_failures() {
        let refused = Progress::Refused { weak: true, why: "no seccomp".to_owned() };
        check(&[refused], "this system cannot confine a subject fully: no seccomp");
    }

    #[test]
    fn silence_means_that_no_trampoline_ran() {
        check(&[], "this program must call `jail::enter_if_asked` first thing in `main`");
    }

    #[test]
    fn part_of_a_second_of_processor_time_is_a_whole_one() {
        let cpu = std::time::Duration::from_millis(1500);
        let bounds = Bounds::from(crate::Limits { cpu, ..Default::default() });
        assert_eq!(bounds.cpu_seconds, 2);
    }
}
