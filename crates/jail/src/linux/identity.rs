//! Who the subject is: never root.

use std::{
    fs::{File, Metadata},
    io::{self, Seek, SeekFrom},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    process::{DumpableBehavior, geteuid, getpid, set_dumpable_behavior},
    thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// The first of the users that subjects of root run as; each gets its own.
const FIRST_USER: u32 = 1_879_048_192;
/// The user `nobody`, for systems that map only so many.
const NOBODY: u32 = 65_534;

/// Gives up root, if this is root, and says whether the new user has no other processes.
///
/// # Errors
///
/// Fails if root cannot be given up.
pub(super) fn give_up_root() -> io::Result<bool> {
    if !geteuid().is_root() {
        return Ok(false);
    }
    // Kernel process ids stay below 2²², so no two living trampolines share a user.
    let own = FIRST_USER + getpid().as_raw_nonzero().get().unsigned_abs();
    let alone = become_user(own).is_ok();
    if !alone {
        become_user(NOBODY)?;
    }
    // The change made this process's own files in /proc root's; the user map is one of them.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    Ok(alone)
}

/// Changes user, group and groups; with one thread, that is the whole process.
fn become_user(id: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

/// Makes sure that the user whom the subject becomes may execute `program`.
///
/// Under a umask such as 077, what root builds is executable by root alone; a sealed copy in memory
/// stands in for it.
pub(super) fn executable_by_subject(mut program: File, metadata: &Metadata) -> io::Result<OwnedFd> {
    if !geteuid().is_root() || metadata.mode() & 0o005 == 0o005 {
        return Ok(program.into());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(memfd_create("subject", flags)?);
    io::copy(&mut program, &mut copy)?;
    copy.seek(SeekFrom::Start(0))?;
    copy.set_permissions(PermissionsExt::from_mode(0o555))?;
    fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(copy.into())
}
