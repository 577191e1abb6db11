//! Linux: Landlock, seccomp, limits, and namespaces where the system allows them.
//!
//! ```text
//! judge ─┬─ trampoline: this program again, single-threaded; raises the walls, then only watches
//!        └─── init: process 1 of the new namespaces; waits for the subject and reports its end
//!             └─── subject: executed by descriptor, behind every wall
//! ```
//!
//! The trampoline's standard input is a socket to the judge.
//! Closing it, or the judge's death, is the order to end everything.
//!
//! **Invariant:** once the trampoline has ended, so has everything that it started.

mod cell;
mod files;
mod identity;
mod libraries;
mod limits;
mod messages;
mod namespaces;
mod subject;
mod syscalls;
mod system;
mod trampoline;

use std::{
    env,
    fs::File,
    io::{self, PipeReader, PipeWriter, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::OnceLock,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};

pub(crate) use cell::Cell;
use cell::PipeTap;
use messages::{Order, Progress, Walls};

use crate::{Command, JailError, output::Tap, prisoner::Started};

/// The argument that makes this program a trampoline.
const TRAMPOLINE: &str = "--jail-trampoline";
/// How long a trampoline may take to raise the walls on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Room in each direction of the channel; an answer of a megabyte then passes in one go.
const CHANNEL_BYTES: usize = 1 << 20;

/// Becomes the trampoline, and never returns, if [`spawn`](crate::spawn) executed this program.
///
/// It must be the first thing in `main` of every program that spawns subjects: it needs to be the
/// only thread.
pub fn enter_if_asked() {
    if env::args_os().nth(1).is_some_and(|argument| argument == TRAMPOLINE) {
        trampoline::run();
    }
}

pub(crate) fn start(command: &Command) -> Result<Started, JailError> {
    let program = open_program(&command.program)?;
    launch(&Order::new(command), program)
}

/// Raises the walls around nothing, to see which stand.
pub(crate) fn isolation() -> report::Isolation {
    static FOUND: OnceLock<report::Isolation> = OnceLock::new();
    let raise = || {
        let nothing = File::open("/dev/null")?;
        launch(&Order::rehearsal(), nothing.into())
    };
    let found = || match raise() {
        Ok(started) => started.isolation,
        Err(error) => Walls::none(&error.to_string()).into(),
    };
    FOUND.get_or_init(found).clone()
}

/// Opens the program while we still may: it can live in a folder that the subject's user cannot
/// enter.
fn open_program(path: &Path) -> Result<OwnedFd, JailError> {
    let fail = |source| JailError::Program { program: path.to_owned(), source };
    let program = File::open(path).map_err(fail)?;
    let metadata = program.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(fail(io::Error::other("it is not a file")));
    }
    identity::executable_by_subject(program, &metadata).map_err(fail)
}

fn launch(order: &Order, program: OwnedFd) -> Result<Started, JailError> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)?;
    // The kernel then tells us, in our own numbering, which process is the subject.
    sockopt::set_socket_passcred(&ours, true).map_err(io::Error::from)?;
    let (questions_out, questions) = roomy_pipe()?;
    let (replies, replies_in) = roomy_pipe()?;
    let (progress, progress_in) = io::pipe()?;
    let mut child = run_trampoline(theirs)?;
    let prints = [tap(child.stdout.take())?, tap(child.stderr.take())?];
    let handed = [program, questions_out.into(), replies_in.into(), progress_in.into()];
    let walls = match messages::send_order(&ours, order, handed.each_ref().map(OwnedFd::as_fd)) {
        Ok(()) => {
            drop(handed);
            await_walls(progress)
        }
        Err(error) => Err(io::Error::from(error).into()),
    };
    match walls {
        Ok(walls) => Ok(Started {
            cell: Cell::new(ours, child),
            replies: Box::new(replies),
            questions: Box::new(questions),
            prints,
            isolation: walls.into(),
        }),
        Err(error) => {
            drop(ours);
            end_trampoline(&mut child);
            Err(error)
        }
    }
}

/// Executes this program again, even if its file was replaced since.
fn run_trampoline(socket: OwnedFd) -> io::Result<Child> {
    let this = PathBuf::from("/proc/self/exe");
    std::process::Command::new(if this.exists() { this } else { env::current_exe()? })
        .arg0("jail")
        .arg(TRAMPOLINE)
        .env_clear()
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Reads the trampoline's progress until the program was executed, which closes the pipe.
fn await_walls(mut progress: PipeReader) -> Result<Walls, JailError> {
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if !system::wait_readable(&progress, PATIENCE).map_err(io::Error::from)? {
            return Err(JailError::Trampoline("raising the walls took too long".to_owned()));
        }
        match progress.read(&mut buffer)? {
            0 => return Progress::last(&said),
            n => said.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Reaps a trampoline that failed: it ends by itself now that its socket is closed.
fn end_trampoline(child: &mut Child) {
    let patience = std::time::Instant::now() + Duration::from_secs(1);
    while matches!(child.try_wait(), Ok(None)) && std::time::Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _already_gone = child.kill();
    let _reaped = child.wait();
}

fn roomy_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    // A smaller pipe works as well.
    let _kept_small = rustix::pipe::fcntl_setpipe_size(&writer, CHANNEL_BYTES);
    Ok((reader, writer))
}

fn tap(stream: Option<impl Into<OwnedFd>>) -> io::Result<Box<dyn Tap>> {
    let stream = stream.ok_or_else(|| io::Error::other("the trampoline has no output"))?;
    Ok(Box::new(PipeTap::new(stream.into())))
}

impl Order {
    fn new(command: &Command) -> Self {
        let bytes = |text: &std::ffi::OsStr| text.as_bytes().to_vec();
        let mut args = vec![bytes(command.program.as_os_str())];
        args.extend(command.args.iter().map(|argument| bytes(argument)));
        let mut env: Vec<_> =
            command.env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        env.push((command.channel_variable.clone().into_bytes(), b"fd:3,4".to_vec()));
        let (strict, open_to_device) = (command.strict, command.open_to_device);
        let limits = command.limits.clone().into();
        let libraries = command.libraries.iter().map(|path| bytes(path.as_os_str())).collect();
        Self { libraries, args, env, limits, strict, open_to_device, rehearsal: false }
    }

    fn rehearsal() -> Self {
        let limits = crate::Limits::default().into();
        let (args, env, strict, open_to_device) = (Vec::new(), Vec::new(), false, false);
        let libraries = Vec::new();
        Self { libraries, args, env, limits, strict, open_to_device, rehearsal: true }
    }
}
