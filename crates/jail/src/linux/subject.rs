//! The last steps of the process that becomes the subject.
//!
//! **Invariant:** the program is executed with every wall noted as standing already up, and
//! with no descriptor but its five.

use std::{
    convert::Infallible,
    ffi::CString,
    fmt::Display,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::{
    io::{dup2, fcntl_dupfd_cloexec},
    process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal},
    stdio::stdin,
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
};

use super::{
    files, limits,
    messages::{N_DESCRIPTORS, Order, Progress, Report, send_report},
    syscalls,
    system::{self, exit_now},
    trampoline::Site,
};

/// The lowest number that our own descriptors may have.
pub(super) const FIRST_FREE: i32 = 10;
/// `EX_SOFTWARE`: this program's own fault.
pub(super) const OWN_FAULT: i32 = 70;
const QUESTIONS: i32 = 3;
const REPLIES: i32 = 4;

/// The descriptors that the judge handed over.
pub(super) struct Kit {
    program: OwnedFd,
    questions: OwnedFd,
    replies: OwnedFd,
    pub(super) progress: OwnedFd,
    /// The numbers [`QUESTIONS`] and [`REPLIES`], kept free.
    reserved: [OwnedFd; 2],
}

impl Kit {
    pub(super) fn new(descriptors: [OwnedFd; N_DESCRIPTORS]) -> io::Result<Self> {
        let mut moved = Vec::with_capacity(N_DESCRIPTORS);
        for descriptor in descriptors {
            moved.push(fcntl_dupfd_cloexec(descriptor, FIRST_FREE)?);
        }
        let reserved = [reserve(QUESTIONS)?, reserve(REPLIES)?];
        let moved = <[OwnedFd; N_DESCRIPTORS]>::try_from(moved);
        let [program, questions, replies, progress] =
            moved.expect("invariant: as many were moved as came");
        Ok(Self { program, questions, replies, progress, reserved })
    }
}

fn c_strings(strings: impl IntoIterator<Item = Vec<u8>>) -> io::Result<Vec<CString>> {
    strings.into_iter().map(|bytes| Ok(CString::new(bytes)?)).collect()
}

fn reserve(number: i32) -> io::Result<OwnedFd> {
    let descriptor = fcntl_dupfd_cloexec(stdin(), number)?;
    if descriptor.as_raw_fd() != number {
        return Err(io::Error::other(format!("descriptor {number} is taken")));
    }
    Ok(descriptor)
}

/// Why the program is not executed.
struct Refusal {
    weak: bool,
    why: String,
}

impl<E: Display> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { weak: false, why: error.to_string() }
    }
}

/// Becomes the subject, or says why not.
pub(super) fn run(init: Pid, socket: &OwnedFd, order: &Order, mut kit: Kit, site: Site) -> ! {
    let become_subject = || {
        die_with(init)?;
        send_report(socket, Report::Here)?;
        become_subject(order, &mut kit, site)
    };
    let Err(Refusal { weak, why }) = become_subject();
    Progress::Refused { weak, why }.tell(&kit.progress);
    exit_now(OWN_FAULT)
}

/// Makes sure that this process does not outlive init.
fn die_with(init: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(init) {
        return Err(io::Error::other("init is gone"));
    }
    Ok(())
}

fn become_subject(order: &Order, kit: &mut Kit, mut site: Site) -> Result<Infallible, Refusal> {
    let args = c_strings(order.args.iter().cloned())?;
    let env = c_strings(order.env.iter().map(|(name, value)| [name, &b"="[..], value].concat()))?;
    let filter = syscalls::filter(kit.program.as_raw_fd(), getpid());
    if !order.open_to_device {
        site.walls.note("landlock", files::restrict(&kit.program, &site.libraries));
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    dup2(&kit.questions, &mut kit.reserved[0])?;
    dup2(&kit.replies, &mut kit.reserved[1])?;
    system::close_on_execute_from(5)?;
    let impose = if order.open_to_device { limits::impose_on_time } else { limits::impose };
    let imposed = impose(&order.limits, site.others);
    site.walls.note("rlimits", imposed.map_err(|error| error.to_string()));
    // Last: what it forbids from here on is forbidden to us, too.
    if !order.open_to_device {
        site.walls.note("seccomp", filter.and_then(|filter| syscalls::restrict(&filter)));
    }
    if order.strict && !site.walls.missing.is_empty() {
        return Err(Refusal { weak: true, why: site.walls.missing.join("; ") });
    }
    Progress::Ready(site.walls).tell(&kit.progress);
    if order.rehearsal {
        exit_now(0);
    }
    Err(system::execute(&kit.program, &args, &env).into())
}
