//! The trampoline: raises the walls that need a whole process, starts init, then only watches.
//!
//! **Invariant:** every path ends the process; nothing of the program around it ever runs.

use std::{
    fs::OpenOptions,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{
        DumpableBehavior, Pid, PidfdFlags, Signal, getpid, kill_process, kill_process_group,
        pidfd_open, set_child_subreaper, set_dumpable_behavior, set_parent_process_death_signal,
        setpgid, setsid,
    },
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin},
};

use super::{
    identity,
    libraries::Libraries,
    limits,
    messages::{OPEN, Order, Progress, Report, Walls, receive_order, send_report},
    namespaces,
    subject::{self, FIRST_FREE, Kit, OWN_FAULT},
    system::{self, exit_now},
};

/// What is ready before the subject's process exists.
pub(super) struct Site {
    pub(super) libraries: Libraries,
    pub(super) walls: Walls,
    /// Tasks of the subject's user that are none of ours.
    pub(super) others: u64,
    /// Readable once the trampoline has ended.
    trampoline: OwnedFd,
}

/// Runs this process as a trampoline.
pub(super) fn run() -> ! {
    let Ok((socket, order, kit)) = receive() else {
        eprintln!("This argument is for the judge's own use: it starts a subject behind walls.");
        exit_now(2);
    };
    let forked = prepare(&order).and_then(|site| Ok((system::fork()?, site)));
    match forked {
        Ok((None, site)) => init(&socket, &order, kit, site),
        Ok((Some(init), _)) => {
            drop(kit);
            exit_now(watch(&socket, init).map_or(OWN_FAULT, |()| 0))
        }
        Err(error) => {
            Progress::Refused { weak: false, why: error.to_string() }.tell(&kit.progress);
            exit_now(OWN_FAULT)
        }
    }
}

/// Takes the order from standard input, and puts `/dev/null` there.
fn receive() -> io::Result<(OwnedFd, Order, Kit)> {
    system::close_from(3)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(stdin(), FIRST_FREE)?;
    dup2_stdin(OpenOptions::new().read(true).write(true).open("/dev/null")?)?;
    let (order, descriptors) = receive_order(&socket)?;
    Ok((socket, order, Kit::new(descriptors)?))
}

/// Gives up root, then moves into namespaces, or notes why not.
fn prepare(order: &Order) -> io::Result<Site> {
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    let libraries = Libraries::find(&order.libraries)?;
    let mut walls = Walls::default();
    if order.open_to_device {
        walls.missing.push(OPEN.to_owned());
        let trampoline = pidfd_open(getpid(), PidfdFlags::empty())?;
        return Ok(Site { libraries, walls, others: limits::tasks_of_user(), trampoline });
    }
    let alone = identity::give_up_root().unwrap_or_else(|error| {
        walls.missing.push(format!("no user of its own, because root cannot be left: {error}"));
        false
    });
    let trampoline = pidfd_open(getpid(), PidfdFlags::empty())?;
    let entered = namespaces::enter();
    let others = if alone || entered.is_ok() { 0 } else { limits::tasks_of_user() };
    walls.note("namespaces", entered.and_then(|()| namespaces::hide_files(&libraries)));
    Ok(Site { libraries, walls, others, trampoline })
}

/// Waits for init to end or for the order to end everything, and leaves nothing behind.
fn watch(socket: &OwnedFd, init: Pid) -> io::Result<()> {
    let_go_of_output()?;
    let ended = pidfd_open(init, PidfdFlags::empty())?;
    let mut polled =
        [PollFd::new(socket, PollFlags::IN | PollFlags::RDHUP), PollFd::new(&ended, PollFlags::IN)];
    while poll(&mut polled, None).is_err() {}
    let ordered = !polled[0].revents().is_empty();
    // Those that are gone already cannot be killed; init leads the group of all.
    let _killed = kill_process(init, Signal::KILL);
    let _killed = kill_process_group(init, Signal::KILL);
    while system::wait_any().is_some() {}
    if ordered {
        // It fails if the judge is gone, too.
        let _unheard = send_report(socket, Report::Killed);
    }
    Ok(())
}

/// Process 1 of the subject's namespace: starts the subject and reports its end.
///
/// The subject cannot be process 1 itself: the kernel hides from that one the signals that it
/// sends itself, and `abort` is one.
fn init(socket: &OwnedFd, order: &Order, kit: Kit, site: Site) -> ! {
    let own = getpid();
    let start = || {
        setpgid(None, None)?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Its number cannot tell whether the trampoline still lives: it is outside our namespace.
        if system::wait_readable(site.trampoline.as_fd(), Duration::ZERO)? {
            exit_now(OWN_FAULT);
        }
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        system::fork()
    };
    match start() {
        Ok(None) => subject::run(own, socket, order, kit, site),
        Ok(Some(subject)) => {
            drop(kit);
            exit_now(report_end(socket, subject).map_or(OWN_FAULT, |()| 0))
        }
        Err(error) => {
            Progress::Refused { weak: false, why: error.to_string() }.tell(&kit.progress);
            exit_now(OWN_FAULT)
        }
    }
}

fn report_end(socket: &OwnedFd, subject: Pid) -> io::Result<()> {
    let_go_of_output()?;
    while let Some((ended, status, usage)) = system::wait_any() {
        if ended == subject {
            send_report(socket, Report::Ended { status, usage })?;
            return Ok(());
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Leaves the subject the only one that holds its standard output and standard error.
fn let_go_of_output() -> io::Result<()> {
    dup2_stdout(stdin())?;
    dup2_stderr(stdin())?;
    Ok(())
}
