//! The kernel, called directly, as a hostile answer would.
#![allow(unsafe_code, reason = "a hostile answer calls the kernel directly")]

use std::{
    ffi::{CString, c_int, c_long},
    io::{self, Error},
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr,
};

/// Makes a system call with up to six arguments.
pub(crate) fn call<const N: usize>(number: c_long, given: [i64; N]) -> io::Result<i64> {
    let mut args = [0; 6];
    args[..N].copy_from_slice(&given);
    let [a, b, c, d, e, f] = args;
    // SAFETY: of the calls in this corpus, those that write do so into the caller's live buffers.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        outcome if outcome < 0 => Err(Error::last_os_error()),
        outcome => Ok(outcome),
    }
}

/// Makes a system call, and forgets what it returned.
pub(crate) fn call_with<const N: usize>(number: c_long, given: [i64; N]) -> io::Result<()> {
    call(number, given).map(drop)
}

/// Makes a system call on a path.
pub(crate) fn call_on<const N: usize>(
    number: c_long,
    path: &Path,
    given: [i64; N],
) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut args = [0; 6];
    args[0] = path.as_ptr() as i64;
    args[1..=N].copy_from_slice(&given);
    call(number, args).map(drop)
}

/// Forks; the child does `child` and ends, the parent waits for it.
///
/// The child may only make system calls: another thread may have held the allocator's lock.
pub(crate) fn fork(child: fn()) -> io::Result<()> {
    // By the call itself: libc's `fork` would run its handlers.
    if call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0])? == 0 {
        child();
        // SAFETY: it does not return.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: no status is asked for.
    match unsafe { libc::wait(ptr::null_mut()) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Becomes another program; returns only if that fails.
pub(crate) fn execute(program: &str, args: &[&str], env: &[&str]) -> io::Result<()> {
    let strings = |texts: &[&str]| -> io::Result<Vec<CString>> {
        texts.iter().map(|text| Ok(CString::new(*text)?)).collect()
    };
    let (program, args, env) = (CString::new(program)?, strings(args)?, strings(env)?);
    let pointers = |strings: &[CString]| -> Vec<_> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (args, env) = (pointers(&args), pointers(&env));
    // SAFETY: both arrays end with null, and all strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Err(Error::last_os_error())
}

/// Maps a page of memory in the way that `flags` say.
pub(crate) fn map(flags: c_int) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing of ours.
    let address = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Closes a descriptor, whoever owns it.
pub(crate) fn close(number: c_int) -> io::Result<()> {
    call_with(libc::SYS_close, [number.into()])
}

/// The process that started this one.
pub(crate) fn parent() -> i64 {
    std::os::unix::process::parent_id().into()
}

/// This process.
pub(crate) fn own() -> i64 {
    std::process::id().into()
}
