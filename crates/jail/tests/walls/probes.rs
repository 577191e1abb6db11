//! Forbidden things, each tried in the simplest way; rows of the attack corpus.
//!
//! All are harmless or bounded: traffic stays on this machine, signals are 0, sizes are small.
#![allow(unsafe_code, reason = "a hostile answer calls the kernel directly")]

use std::{
    ffi::{CString, c_int, c_long},
    fs::{self, File, OpenOptions},
    io::{self, Error, Read},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    ptr,
    time::SystemTime,
};

use Outside::{Differs, Works};

/// One forbidden thing.
pub(crate) struct Probe {
    /// Row of the attack corpus.
    pub(crate) row: &'static str,
    pub(crate) name: &'static str,
    /// Tries it in the folder of the scene, which holds the file `victim`.
    pub(crate) attempt: fn(&Path) -> io::Result<()>,
    pub(crate) outside: Outside,
}

/// What comes of a probe without walls.
pub(crate) enum Outside {
    /// It succeeds.
    Works,
    /// That depends on the machine or the user, or would do harm.
    Differs,
}

macro_rules! probes {
    ($($row:literal $name:ident $outside:ident $attempt:expr;)*) => {
        /// Every probe.
        pub(crate) const PROBES: &[Probe] = &[$(Probe {
            row: $row, name: stringify!($name), attempt: $attempt, outside: $outside,
        }),*];
    };
}

probes! {
    "r18" shared_anonymous_memory Works |_| map(libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    "r19" file_in_memory Works |_| call(libc::SYS_memfd_create, [c"x".as_ptr() as i64, 0, 0, 0, 0]);
    "r20" sixty_four_forks Works |_| (0..64).try_for_each(|_| fork(libc::SYS_clone, 17));
    "r20" plain_fork Works |_| fork(libc::SYS_fork, 0);
    "r20" plain_vfork Works |_| vfork();
    "r20" clone3 Differs |_| call(libc::SYS_clone3, [0; 5]);
    "r21" daemon Works |_| fork(libc::SYS_clone, 17).and_then(|()| fork(libc::SYS_fork, 0));
    "r22" two_hundred_threads Works |_| threads(200);
    "r24" shell Works |_| execute("/bin/sh", &["-c", "echo done"], &[]);
    "r24" shell_by_loader Differs |_| execute("/lib64/ld-linux-x86-64.so.2", &["/bin/sh"], &[]);
    "r25" itself_with_preload Works |scene| {
        let scene = scene.to_string_lossy();
        execute("/proc/self/exe", &["probe", "nothing", &*scene], &["LD_PRELOAD=/none.so"])
    };
    "r26" read_victim Works |scene| read(&victim(scene));
    "r26" read_users Works |_| read("/etc/passwd".as_ref());
    "r26" read_system_files Works |_| read("/etc/hostname".as_ref());
    "r26" read_own_environment Works |_| read("/proc/self/environ".as_ref());
    "r26" read_judge_environment Differs |_| read(&of_parent("environ"));
    "r26" read_own_program Works |_| read("/proc/self/exe".as_ref());
    "r26" list_root Works |_| fs::read_dir("/").map(drop);
    "r26" list_scene Works |scene| fs::read_dir(scene).map(drop);
    "r26" list_processes Works |_| fs::read_dir("/proc").map(drop);
    "r26" list_libraries Works |_| fs::read_dir("/usr/lib").map(drop);
    "r26" read_random_device Works |_| read("/dev/urandom".as_ref());
    "r26" open_path_only Works |scene| open(&victim(scene), libc::O_PATH);
    "r27" size_of_victim Works |scene| fs::metadata(victim(scene)).map(drop);
    "r27" existence_of_home Works |_| fs::metadata("/home").map(drop);
    "r28" chmod Works |scene| fs::set_permissions(victim(scene), PermissionsExt::from_mode(0o600));
    "r28" chmod_own_output Differs |_| number(unsafe { libc::fchmod(1, 0o600) });
    "r28" touch Works |scene| File::open(victim(scene))?.set_modified(SystemTime::now());
    "r28" extended_attribute Differs set_attribute;
    "r28" truncate Works |scene| truncate(&victim(scene));
    "r28" append Works |scene| OpenOptions::new().append(true).open(victim(scene)).map(drop);
    "r28" unlink Works |scene| fs::remove_file(victim(scene));
    "r28" rename Works |scene| fs::rename(victim(scene), scene.join("elsewhere"));
    "r28" hard_link Works |scene| fs::hard_link(victim(scene), scene.join("elsewhere"));
    "r29" write_temporary Works |scene| fs::write(scene.join("new"), "x");
    "r29" write_shared_memory Works |_| write_and_remove("/dev/shm".as_ref());
    "r29" write_here Works |_| write_and_remove(".".as_ref());
    "r29" write_root_folder Differs |_| write_and_remove("/".as_ref());
    "r29" nameless_file Differs |_| open("/tmp".as_ref(), libc::O_TMPFILE | libc::O_RDWR);
    "r29" make_folder Works |scene| fs::create_dir(scene.join("new"));
    "r29" make_link Works |scene| symlink("/", scene.join("new"));
    "r29" make_fifo Works make_fifo;
    "r30" tcp Works |_| tcp();
    "r30" udp Works |_| UdpSocket::bind("127.0.0.1:0").map(drop);
    "r30" listen Works |_| TcpListener::bind("127.0.0.1:0").map(drop);
    "r30" raw_socket Differs |_| socket(libc::AF_INET, libc::SOCK_RAW, 1);
    "r30" netlink Works |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, 0);
    "r30" vsock Differs |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0);
    "r30" unix_path Works |scene| UnixListener::bind(scene.join("socket")).map(drop);
    "r30" unix_abstract Works |_| socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
    "r30" unix_datagram Works |_| UnixDatagram::unbound().map(drop);
    "r30" socket_pair Works |_| UnixStream::pair().map(drop);
    "r31" x32_getpid Differs |_| call(0x4000_0000 | libc::SYS_getpid, [0; 5]);
    "r31" x32_open Differs |_| call(0x4000_0000 | libc::SYS_open, [0; 5]);
    "r32" ptrace_parent Differs |_| ptrace(libc::PTRACE_SEIZE, unsafe { libc::getppid() });
    "r32" ptrace_me Works |_| ptrace(libc::PTRACE_TRACEME, 0);
    "r32" read_own_memory_by_call Works |_| process_vm_readv();
    "r32" process_descriptor Works |_| call(libc::SYS_pidfd_open, [me(), 0, 0, 0, 0]);
    "r32" steal_descriptor Differs |_| call(libc::SYS_pidfd_getfd, [0; 5]);
    "r32" memory_of_parent Differs |_| File::open(of_parent("mem")).map(drop);
    "r33" signal_parent Works |_| number(unsafe { libc::kill(libc::getppid(), 0) });
    "r33" signal_everyone Works |_| number(unsafe { libc::kill(-1, 0) });
    "r33" signal_group Works |_| number(unsafe { libc::kill(0, 0) });
    "r33" signal_first_process Differs |_| number(unsafe { libc::kill(1, 0) });
    "r33" signal_thread_of_parent Works |_| {
        let parent = i64::from(unsafe { libc::getppid() });
        call(libc::SYS_tgkill, [parent, parent, 0, 0, 0])
    };
    "r33" queue_signal Works |_| number(unsafe {
        libc::sigqueue(libc::getppid(), 0, libc::sigval { sival_ptr: ptr::null_mut() })
    });
    "r34" unshare_user Differs |_| number(unsafe { libc::unshare(libc::CLONE_NEWUSER) });
    "r34" unshare_files Works |_| number(unsafe { libc::unshare(libc::CLONE_FILES) });
    "r34" enter_namespace Differs |_| call(libc::SYS_setns, [0; 5]);
    "r34" io_uring Differs |_| io_uring();
    "r34" keyring Differs |_| call(libc::SYS_keyctl, [0, -3, 0, 0, 0]);
    "r34" bpf Differs |_| call(libc::SYS_bpf, [0; 5]);
    "r34" performance_events Differs |_| call(libc::SYS_perf_event_open, [0, 0, -1, -1, 0]);
    "r34" page_faults_by_hand Differs |_| call(libc::SYS_userfaultfd, [1, 0, 0, 0, 0]);
    "r34" mount Differs |_| call(libc::SYS_mount, [0; 5]);
    "r34" new_mount Differs |_| call(libc::SYS_fsopen, [c"tmpfs".as_ptr() as i64, 0, 0, 0, 0]);
    "r34" chroot Differs |_| number(unsafe { libc::chroot(c"/".as_ptr()) });
    "r34" change_folder Works |_| std::env::set_current_dir("/");
    "r34" watch_files Works |_| number(unsafe { libc::inotify_init1(0) });
    "r34" shared_memory Works |_| shared_memory();
    "r34" message_queue Works |_| message_queue();
    "r34" personality Works |_| number(unsafe { libc::personality(0x0004_0000) });
    "r34" push_terminal_input Differs |_| number(unsafe { libc::ioctl(0, libc::TIOCSTI, c"x") });
    "r34" new_session Differs |_| number(unsafe { libc::setsid() });
    "r34" new_group Differs |_| number(unsafe { libc::setpgid(0, 0) });
    "r34" outlive_parent Works |_| number(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) });
    "r34" adopt_orphans Works |_| number(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) });
    "r34" raise_limit Works |_| set_limit();
    "r34" set_priority Works |_| number(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) });
    "r34" timer Works |_| call(libc::SYS_timerfd_create, [1, 0, 0, 0, 0]);
    "r34" secret_memory Differs |_| call(libc::SYS_memfd_secret, [0; 5]);
    "r34" become_root Differs |_| number(unsafe { libc::setuid(0) });
    "r34" lock_memory Differs |_| lock_memory();
    "r34" nested_landlock Differs |_| call(libc::SYS_landlock_create_ruleset, [0, 0, 1, 0, 0]);
    "r34" own_filter Differs |_| call(libc::SYS_seccomp, [2, 0, 0, 0, 0]);
}

fn victim(scene: &Path) -> PathBuf {
    scene.join("victim")
}

fn me() -> i64 {
    std::process::id().into()
}

fn of_parent(file: &str) -> PathBuf {
    let parent = unsafe { libc::getppid() };
    Path::new("/proc").join(parent.max(1).to_string()).join(file)
}

fn number(outcome: c_int) -> io::Result<()> {
    result(outcome.into())
}

fn result(outcome: c_long) -> io::Result<()> {
    if outcome < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

fn call(number: c_long, [a, b, c, d, e]: [i64; 5]) -> io::Result<()> {
    result(unsafe { libc::syscall(number, a, b, c, d, e) })
}

/// Makes a process that ends at once, and waits for it.
fn fork(number: c_long, flags: i64) -> io::Result<()> {
    match unsafe { libc::syscall(number, flags, 0, 0, 0, 0) } {
        0 => unsafe { libc::_exit(0) },
        outcome => {
            result(outcome)?;
            self::number(unsafe { libc::wait(ptr::null_mut()) })
        }
    }
}

fn vfork() -> io::Result<()> {
    let shell = std::process::Command::new("/bin/true").status();
    shell.map(drop)
}

/// The program answers for us if this succeeds.
fn execute(program: &str, args: &[&str], env: &[&str]) -> io::Result<()> {
    let strings = |first: &[&str], rest: &[&str]| -> io::Result<Vec<CString>> {
        first.iter().chain(rest).map(|text| Ok(CString::new(*text)?)).collect()
    };
    let (args, env) = (strings(&[program], args)?, strings(&[], env)?);
    let pointers = |strings: &[CString]| -> Vec<_> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(&args), pointers(&env));
    number(unsafe { libc::execve(args[0].as_ptr(), arguments.as_ptr(), environment.as_ptr()) })
}

fn threads(count: usize) -> io::Result<()> {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let mut outcome = Ok(());
    let mut living = Vec::new();
    for _ in 0..count {
        let held = std::sync::Arc::clone(&held);
        let wait = move || {
            let _ended = held.lock().is_ok_and(|held| held.recv().is_ok());
        };
        match std::thread::Builder::new().stack_size(1 << 16).spawn(wait) {
            Ok(thread) => living.push(thread),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(release);
    for thread in living {
        thread.join().expect("a waiting thread ends");
    }
    outcome
}

fn read(path: &Path) -> io::Result<()> {
    File::open(path)?.read_exact(&mut [0])
}

fn open(path: &Path, flags: c_int) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    number(unsafe { libc::open(path.as_ptr(), flags, 0o600) })
}

fn truncate(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    number(unsafe { libc::truncate(path.as_ptr(), 0) })
}

fn set_attribute(scene: &Path) -> io::Result<()> {
    let path = CString::new(victim(scene).as_os_str().as_encoded_bytes())?;
    let (name, value) = (c"user.x".as_ptr(), c"1".as_ptr().cast());
    number(unsafe { libc::setxattr(path.as_ptr(), name, value, 1, 0) })
}

fn make_fifo(scene: &Path) -> io::Result<()> {
    let path = CString::new(scene.join("new").as_os_str().as_encoded_bytes())?;
    number(unsafe { libc::mkfifo(path.as_ptr(), 0o600) })
}

fn write_and_remove(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!("jail-probe-{}", me()));
    fs::write(&path, "x")?;
    fs::remove_file(path)
}

fn map(flags: c_int) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let address = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(()) }
}

fn socket(family: c_int, kind: c_int, protocol: c_int) -> io::Result<()> {
    number(unsafe { libc::socket(family, kind, protocol) })
}

/// Connects to itself.
fn tcp() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    TcpStream::connect(listener.local_addr()?).map(drop)
}

fn ptrace(request: libc::c_uint, process: c_int) -> io::Result<()> {
    result(unsafe { libc::ptrace(request, process, 0, 0) })
}

fn process_vm_readv() -> io::Result<()> {
    let (from, mut to) = (7_u64, 0_u64);
    let remote = libc::iovec { iov_base: (&raw const from).cast_mut().cast(), iov_len: 8 };
    let local = libc::iovec { iov_base: (&raw mut to).cast(), iov_len: 8 };
    let own = std::process::id().cast_signed();
    let n_read =
        unsafe { libc::process_vm_readv(own, &raw const local, 1, &raw const remote, 1, 0) };
    result(n_read as c_long)
}

fn io_uring() -> io::Result<()> {
    let mut parameters = [0_u8; 256];
    call(libc::SYS_io_uring_setup, [1, parameters.as_mut_ptr() as i64, 0, 0, 0])
}

fn shared_memory() -> io::Result<()> {
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) };
    number(id)?;
    number(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) })
}

fn message_queue() -> io::Result<()> {
    let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
    number(id)?;
    number(unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) })
}

/// Sets the limit on open files to what it is: that alone is allowed outside, and nothing here.
fn set_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    number(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    number(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
}

fn lock_memory() -> io::Result<()> {
    let byte = [0_u8; 4096];
    number(unsafe { libc::mlock(byte.as_ptr().cast(), byte.len()) })
}
