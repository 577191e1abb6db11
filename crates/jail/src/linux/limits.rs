//! Resource limits, which hold even if every other wall falls.

use std::{fs, io};

use rustix::process::{Resource, Rlimit, geteuid, setrlimit};

use super::messages::Bounds;

/// Descriptors: the five that a subject has, and its loader's.
const MAX_DESCRIPTORS: u64 = 32;
/// The trampoline and init count as processes of the subject's user, too.
const COMPANIONS: u64 = 2;

/// Limits this process and what it executes, for good.
///
/// `others` is how many processes its user has besides these.
///
/// # Errors
///
/// Fails if the system refuses a limit.
pub(super) fn impose(bounds: &Bounds, others: u64) -> io::Result<()> {
    let exact = [
        (Resource::As, bounds.memory_bytes),
        (Resource::Nofile, MAX_DESCRIPTORS),
        (Resource::Fsize, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
    ];
    for (resource, limit) in exact {
        set(resource, limit, limit)?;
    }
    impose_on_time(bounds, others)
}

/// Imposes the limits among these that a device's driver bears: it reserves address space by the
/// terabyte, keeps a cache in files, and opens many.
///
/// # Errors
///
/// Fails if the system refuses a limit.
pub(super) fn impose_on_time(bounds: &Bounds, others: u64) -> io::Result<()> {
    let exact = [
        (Resource::Stack, bounds.stack_bytes),
        (Resource::Nproc, bounds.threads + COMPANIONS + others),
        // With 0, a system that pipes core dumps to a program would still do so; not with 1.
        (Resource::Core, 1),
    ];
    for (resource, limit) in exact {
        set(resource, limit, limit)?;
    }
    // First a signal that says which limit it was, a second later the end.
    set(Resource::Cpu, bounds.cpu_seconds, bounds.cpu_seconds + 1)
}

/// Sets a limit, or leaves a lower one that is already there.
fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let hard = now.maximum.map_or(hard, |ceiling| hard.min(ceiling));
    setrlimit(resource, Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) })?;
    Ok(())
}

/// Counts the tasks of this process's user.
pub(super) fn tasks_of_user() -> u64 {
    let user = geteuid().as_raw().to_string();
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let statuses = processes.flatten().map(|entry| entry.path().join("status"));
    statuses.filter_map(|path| fs::read_to_string(path).ok()).map(|s| tasks(&s, &user)).sum()
}

/// Tasks of a process, from its `/proc/PID/status`, if it is `user`'s.
fn tasks(status: &str, user: &str) -> u64 {
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_ascii_whitespace().next()
    };
    let threads = field("Threads:").and_then(|count| count.parse().ok()).unwrap_or(0);
    if field("Uid:") == Some(user) { threads } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &str, count: u64) {
        assert_eq!(tasks(status, "1000"), count);
    }

    #[test]
    fn tasks_of_the_user_count() {
        check("Name:\tcargo\nUid:\t1000\t1000\t1000\t1000\nThreads:\t7\n", 7);
    }

    #[test]
    fn tasks_of_others_do_not() {
        check("Name:\tcargo\nUid:\t10001\t1000\t1000\t1000\nThreads:\t7\n", 0);
        check("", 0);
    }

    #[test]
    fn this_very_test_is_counted() {
        assert!(tasks_of_user() >= 1);
    }
}
