//! A machine that offers no namespaces: the other walls hold alone, and the gap is told.
//!
//! The kernel is told so for one judge only, inside a user namespace made for it.
#![allow(unsafe_code, reason = "the standard library cannot make namespaces")]

use std::{fs, io, process::Command};

use jail::JailError;
use libtest_mimic::{Failed, Trial};

use crate::{behaviours::command, outcomes::refused, probes::PROBES};

/// The known gap: without a mount namespace, a file's size and existence show.
const GAP: &str = "r27";

/// The test, which starts this program again as [`judge`].
pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("degraded::walls_hold_without_namespaces", || {
        let output = Command::new(std::env::current_exe()?).arg("degraded").output()?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        let gaps = PROBES.iter().filter(|probe| probe.row == GAP).count();
        let expected = format!("{} refused\n", PROBES.len() - gaps);
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
    for probe in PROBES.iter().filter(|probe| probe.row != GAP) {
        match refused(probe, false) {
            Ok(()) => n_refused += 1,
            Err(why) => println!("{}: {}", probe.name, why.message().unwrap_or_default()),
        }
    }
    println!("{n_refused} refused");
    Ok(())
}

fn forbid_namespaces() -> io::Result<()> {
    let root = unsafe { libc::getuid() } == 0;
    let id = unsafe { libc::getuid() };
    // Root may map everybody, and needs to: it becomes somebody else to start a subject.
    let map = if root { "0 0 4294967295".to_owned() } else { format!("{id} {id} 1") };
    if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
        return Err(io::Error::last_os_error());
    }
    fs::write("/proc/self/uid_map", &map)?;
    if root {
        fs::write("/proc/self/gid_map", &map)?;
    }
    fs::write("/proc/sys/user/max_user_namespaces", "0")
}
