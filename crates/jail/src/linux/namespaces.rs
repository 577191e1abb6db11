//! Own user, process, network, mount, message and name spaces: nothing of the system is visible.
//!
//! **Invariant:** the root folder that a subject sees is read-only and holds the folders of its
//! libraries, and nothing else.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, open},
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
        mount_change, move_mount, open_tree, unmount,
    },
    process::{chdir, fchdir, getegid, geteuid, pivot_root},
    thread::UnshareFlags,
};

use super::{libraries::Libraries, system};

/// Folders that may be links on this system and that programs and loaders name as they are.
const LINKS: [&str; 3] = ["lib", "lib64", "usr/lib64"];
/// Folders of which one surely exists, to build the new root over.
const SITES: [&str; 4] = ["/tmp", "/mnt", "/var", "/usr"];
/// Folders that a loader searches without an index.
const USUAL: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// Moves this process, and those that it starts from now on, into new namespaces.
///
/// # Errors
///
/// Says which step the system refuses.
pub(super) fn enter() -> Result<(), String> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    step("making namespaces", system::unshare(flags))?;
    step("denying groups", fs::write("/proc/self/setgroups", "deny"))?;
    step("mapping the user", fs::write("/proc/self/uid_map", format!("{user} {user} 1")))?;
    step("mapping the group", fs::write("/proc/self/gid_map", format!("{group} {group} 1")))
}

/// Replaces the root folder, inside new namespaces, by one that shows `libraries` only.
///
/// # Errors
///
/// Says which step the system refuses.
pub(super) fn hide_files(libraries: &Libraries) -> Result<(), String> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step("unsharing mounts", mount_change("/", private))?;
    let visible = visible(libraries);
    // Taken before anything covers them.
    let trees = visible.iter().map(|path| tree(path)).collect::<Result<Vec<_>, _>>()?;
    let site = SITES.map(Path::new).into_iter().find(|site| site.is_dir());
    let site = site.ok_or("there is no folder to build a new root over")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    step(
        "mounting a root",
        mount("none", site, "tmpfs", flags, c"size=64k,nr_inodes=64,mode=555"),
    )?;
    for (path, tree) in visible.iter().zip(&trees) {
        attach(tree, path, &inside(site, path))?;
    }
    for link in LINKS {
        copy_link(&Path::new("/").join(link), &site.join(link))?;
    }
    if let Some(loader) = &libraries.loader {
        step("finding the loader", fs::metadata(inside(site, loader)))?;
    }
    enter_root(site)
}

/// Folders of libraries, the loader's index if it needs one, and libraries that lie elsewhere.
fn visible(libraries: &Libraries) -> Vec<PathBuf> {
    let usual = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let parent = if name.contains("-linux-") { folder.parent() } else { Some(&**folder) };
        parent.is_some_and(|parent| USUAL.map(Path::new).contains(&parent))
    };
    let index = libraries.index.iter().map(|(path, _)| path.clone());
    let needed = !libraries.folders.iter().all(usual);
    let system = libraries.folders.iter().cloned().chain(index.filter(|_| needed));
    system.chain(libraries.own.iter().cloned()).collect()
}

/// A copy of what is mounted at `path`, attached to nothing.
fn tree(path: &Path) -> Result<OwnedFd, String> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    step("taking a folder of libraries", open_tree(CWD, path, flags))
}

fn attach(tree: &OwnedFd, from: &Path, to: &Path) -> Result<(), String> {
    let parent = to.parent().unwrap_or(to);
    step("making a folder", fs::create_dir_all(if from.is_dir() { to } else { parent }))?;
    if !from.is_dir() {
        step("making a file", fs::write(to, ""))?;
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    step("attaching libraries", move_mount(tree, c"", CWD, to, flags))
}

/// Makes `to` the same link that `from` is, if it is one.
fn copy_link(from: &Path, to: &Path) -> Result<(), String> {
    let Ok(target) = fs::read_link(from) else { return Ok(()) };
    if let Some(parent) = to.parent() {
        step("making a folder", fs::create_dir_all(parent))?;
    }
    step("making a link", symlink(target, to))
}

/// Makes `site` the root folder and forgets the old one.
fn enter_root(site: &Path) -> Result<(), String> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let root = step("opening the new root", open(site, flags, Mode::empty()))?;
    step("closing the new root", system::mount_read_only(&root))?;
    step("entering the new root", fchdir(&root))?;
    // Both names the same: the old root then lies on top of the new one, and is taken off.
    step("changing the root", pivot_root(".", "."))?;
    step("leaving the old root", unmount(".", UnmountFlags::DETACH))?;
    step("entering the new root", chdir("/"))
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn step<T, E: std::fmt::Display>(what: &str, outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| format!("{what} failed: {error}"))
}
