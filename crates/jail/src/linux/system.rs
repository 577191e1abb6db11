//! The calls that neither the standard library nor rustix offers safely.
#![allow(unsafe_code, reason = "fork, execveat and friends have no safe wrapper")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_long, c_uint},
    io, mem,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    ptr,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::Pid,
    thread::UnshareFlags,
};

use super::messages::Usage;

/// The path that [`execute`] passes; the filter compares its address.
pub(super) static NO_PATH: &CStr = c"";

/// Waits until `source` can be read or has ended; false if that took longer than `timeout`.
pub(super) fn wait_readable(source: impl AsFd, timeout: Duration) -> Result<bool, Errno> {
    let timeout = Timespec::try_from(timeout).ok();
    loop {
        let mut polled = [PollFd::new(&source, PollFlags::IN | PollFlags::RDHUP)];
        match poll(&mut polled, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            outcome => return Ok(outcome? > 0),
        }
    }
}

/// Forks; `None` in the child.
///
/// Only a single-threaded process may call this: the trampoline is one.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: with one thread, no lock can be left held and no invariant broken in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Ends this process without running anything else of it.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any code and does not return.
    unsafe { libc::_exit(code) }
}

/// Moves into new namespaces.
pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: descriptors are not unshared, which is what rustix warns of.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Waits for any child to end; `None` if there is none left.
pub(super) fn wait_any() -> Option<(Pid, c_int, Usage)> {
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which all zeroes are valid.
    let mut used: libc::rusage = unsafe { mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live values of the right types.
        let pid = unsafe { libc::wait4(-1, &raw mut status, 0, &raw mut used) };
        match Pid::from_raw(pid.max(0)) {
            Some(pid) => return Some((pid, status, usage(&used))),
            None if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            None => return None,
        }
    }
}

fn usage(used: &libc::rusage) -> Usage {
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    let cpu_micros = micros(used.ru_utime) + micros(used.ru_stime);
    Usage {
        cpu_micros: u64::try_from(cpu_micros).unwrap_or(0),
        peak_kib: u64::try_from(used.ru_maxrss).unwrap_or(0),
    }
}

/// Processor time that all threads of a living process used.
pub(super) fn cpu_time_of(process: Pid) -> Option<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both pointers are to live values of the right types.
    let failed = unsafe {
        libc::clock_getcpuclockid(process.as_raw_nonzero().get(), &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (!failed).then(|| Duration::new(seconds, nanos))
}

/// Closes every descriptor from `first` up.
///
/// Only a process that owns none of them yet may call this.
pub(super) fn close_from(first: c_uint) -> io::Result<()> {
    // SAFETY: the trampoline calls this before anything in it owns a descriptor.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) })
}

/// Marks every descriptor from `first` up to be closed by the execution.
pub(super) fn close_on_execute_from(first: c_uint) -> io::Result<()> {
    const CLOEXEC: c_uint = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: marking closes nothing yet, so every owner keeps what it owns.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, CLOEXEC) })
}

/// Makes everything mounted at or below `folder` read-only, without devices and without setuid.
pub(super) fn mount_read_only(folder: &OwnedFd) -> io::Result<()> {
    // SAFETY: `mount_attr` is plain numbers, for which all zeroes are valid.
    let mut attributes: libc::mount_attr = unsafe { mem::zeroed() };
    attributes.attr_set =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID;
    // SAFETY: the path is a C string and the attributes are as long as stated.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            folder.as_raw_fd(),
            NO_PATH.as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw mut attributes,
            mem::size_of::<libc::mount_attr>(),
        )
    })
}

/// Executes the program behind a descriptor; returns only if that fails.
pub(super) fn execute(program: &OwnedFd, args: &[CString], env: &[CString]) -> io::Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with null, and all strings outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            NO_PATH.as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn check(outcome: c_long) -> io::Result<()> {
    match outcome {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
