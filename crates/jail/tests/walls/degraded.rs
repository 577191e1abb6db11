//! A machine that offers no namespaces: the other walls hold alone, and the gap is told.
//!
//! The kernel is told so for one judge only, inside a user namespace made for it.
#![allow(unsafe_code, reason = "the standard library cannot make namespaces")]

use std::{fs, io, process::Command};

use jail::JailError;
use libtest_mimic::{Failed, Trial};

use crate::{
    behaviours::{command, library_elsewhere},
    outcomes::refused,
    probes::PROBES,
};

/// The known gaps: without a mount namespace, a subject sees that files exist, and reads its own.
const GAPS: [&str; 3] = ["size_of_victim", "existence_of_home", "read_own_program"];
const NOBODY: u32 = 65_534;

/// The test, which starts this program again as [`judge`].
pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("degraded::walls_hold_without_namespaces", || {
        let output = Command::new(std::env::current_exe()?).arg("degraded").output()?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        let expected = format!("{} refused\n", PROBES.len() - GAPS.len());
        if said == expected { Ok(()) } else { Err(said.into()) }
    })]
}

/// Judges where there are no namespaces, and prints how many probes were refused.
pub(crate) fn judge() -> Result<(), Failed> {
    forbid_namespaces()?;
    let error = jail::spawn(&command(["subject", "sleep"])).err();
    if !matches!(&error, Some(JailError::Weak(why)) if why.starts_with("no namespaces, because ")) {
        return Err(format!("a strict judge was answered {error:?}").into());
    }
    let isolation = jail::isolation();
    if isolation.layers != ["landlock", "rlimits", "seccomp"] || isolation.full {
        return Err(format!("it claims {isolation:?}").into());
    }
    let mut n_refused = 0;
    for probe in PROBES.iter().filter(|probe| !GAPS.contains(&probe.name)) {
        match refused(probe, false) {
            Ok(()) => n_refused += 1,
            Err(why) => println!("{}: {}", probe.name, why.message().unwrap_or_default()),
        }
    }
    if let Err(why) = library_elsewhere(false) {
        println!("library: {}", why.message().unwrap_or_default());
    }
    println!("{n_refused} refused");
    Ok(())
}

fn forbid_namespaces() -> io::Result<()> {
    // Root could neither map itself usefully nor be refused anything.
    if unsafe { libc::getuid() } == 0 {
        check(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) })?;
        check(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) })?;
        check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) })?;
    }
    let id = unsafe { libc::getuid() };
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
    fs::write("/proc/self/uid_map", format!("{id} {id} 1"))?;
    fs::write("/proc/sys/user/max_user_namespaces", "0")
}

fn check(outcome: i32) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
