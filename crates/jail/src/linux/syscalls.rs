//! seccomp: the system calls that computing needs, and no others.
//!
//! What is not listed answers `EPERM`; what this list has never heard of answers `ENOSYS`, so that
//! libraries fall back to what they used before.
//!
//! **Invariant:** no listed call can reach another process, make one, or change a file.

use std::{collections::BTreeMap, env::consts::ARCH, os::fd::RawFd};

use rustix::process::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

use super::system::NO_PATH;

/// Calls that may have any arguments.
///
/// The file calls among them are Landlock's to bound.
const FREE: &[i64] = &[
    // Descriptors that are already open.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_ppoll,
    // Looking at files.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Threads and waiting.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Its own signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Knowing things.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getrlimit,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

/// The newest call that this list has considered: `futex_requeue`.
const NEWEST: u32 = 456;
/// Numbers from here up are those of the x32 interface, which no filter for x86-64 looks at.
const X32: u32 = 0x4000_0000;

/// Flags of a thread, and flags of anything more than a thread.
const THREAD: i32 = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
const MORE: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PTRACE;
/// Flags of opening for anything but reading. The last bit of `O_TMPFILE` is its own.
const WRITING: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_PATH
    | (libc::O_TMPFILE & !libc::O_DIRECTORY);
const MAP_KIND: i32 = 0x0f;

/// The filter for a subject with process id `own` that is executed from descriptor `program`.
///
/// # Errors
///
/// Fails if this processor is one that the filter's makers do not know.
pub(super) fn filter(program: RawFd, own: Pid) -> Result<BpfProgram, String> {
    let why = |error: seccompiler::BackendError| error.to_string();
    let rules = rules(program, own).map_err(why)?;
    let architecture = TargetArch::try_from(ARCH).map_err(why)?;
    let (deny, allow) = (SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, deny, allow, architecture).map_err(why)?;
    let listed = BpfProgram::try_from(filter).map_err(why)?;
    Ok(guard().into_iter().chain(listed).collect())
}

/// Puts `filter` on this process and what it executes, for good.
///
/// # Errors
///
/// Says why the kernel does not take it.
pub(super) fn restrict(filter: &BpfProgram) -> Result<(), String> {
    apply_filter(filter).map_err(|error| error.to_string())
}

/// Answers `ENOSYS` to x32 numbers, to calls newer than this list, and to `clone3`, whose flags a
/// filter cannot see: libraries then use `clone`.
fn guard() -> [sock_filter; 5] {
    let unknown = u32::from(SeccompAction::Errno(libc::ENOSYS.unsigned_abs()));
    let statement = |code: u32, k| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |code: u32, k, jt, jf| sock_filter { code: code as u16, jt, jf, k };
    let number_offset = 0;
    [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, number_offset),
        jump(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, X32, 2, 0),
        jump(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, NEWEST, 1, 0),
        jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_clone3 as u32, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, unknown),
    ]
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules(program: RawFd, own: Pid) -> Result<Rules, seccompiler::BackendError> {
    let own = number(own.as_raw_nonzero().get());
    // A rule with no conditions would match nothing; no rules at all match everything.
    let mut rules: Rules = FREE.iter().map(|&call| (call, Vec::new())).collect();
    let mut when = |call: i64, conditions: &[Argument]| -> Result<(), _> {
        let conditions = conditions.iter().map(Argument::condition).collect::<Result<_, _>>()?;
        rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
        Ok::<(), seccompiler::BackendError>(())
    };
    when(libc::SYS_clone, &[masked(0, THREAD | MORE, THREAD)])?;
    when(libc::SYS_mmap, &[masked(3, MAP_KIND, libc::MAP_PRIVATE)])?;
    when(libc::SYS_openat, &[masked(2, WRITING, 0)])?;
    #[cfg(target_arch = "x86_64")]
    when(libc::SYS_open, &[masked(1, WRITING, 0)])?;
    when(libc::SYS_kill, &[exactly(0, own)])?;
    when(libc::SYS_tgkill, &[exactly(0, own)])?;
    for process in [0, own] {
        when(libc::SYS_prlimit64, &[exactly(0, process), exactly(2, 0)])?;
    }
    for request in [libc::TCGETS, libc::TIOCGWINSZ, libc::FIOCLEX] {
        when(libc::SYS_ioctl, &[exactly(1, request)])?;
    }
    let descriptor_flags = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL];
    for request in descriptor_flags.into_iter().chain([libc::F_DUPFD, libc::F_DUPFD_CLOEXEC]) {
        when(libc::SYS_fcntl, &[exactly(1, number(request))])?;
    }
    for request in [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA] {
        when(libc::SYS_prctl, &[exactly(0, number(request))])?;
    }
    // The one execution to come; its path is known by its address.
    let path = NO_PATH.as_ptr() as u64;
    let empty = exactly(4, number(libc::AT_EMPTY_PATH));
    when(libc::SYS_execveat, &[exactly(0, number(program)), exactly(1, path), empty])?;
    Ok(rules)
}

/// A condition on one argument of a call.
struct Argument {
    index: u8,
    mask: u64,
    value: u64,
}

fn exactly(index: u8, value: u64) -> Argument {
    Argument { index, mask: u64::MAX, value }
}

fn masked(index: u8, mask: i32, value: i32) -> Argument {
    Argument { index, mask: number(mask), value: number(value) }
}

fn number(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

impl Argument {
    fn condition(&self) -> Result<SeccompCondition, seccompiler::BackendError> {
        let operator = SeccompCmpOp::MaskedEq(self.mask);
        SeccompCondition::new(self.index, SeccompCmpArgLen::Qword, operator, self.value)
    }
}
