//! Systems without walls of ours: a subject runs under resource limits, or under none.
//!
//! On Unix a trampoline sets the limits and executes the subject; elsewhere it runs as it is.
//! The private channel is a loopback connection everywhere.
//!
//! **Invariant:** [`isolation`] never claims more than `rlimits`.

use std::{
    env,
    io::{self, Read},
    process::{Child, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Command, JailError,
    loopback::{Loopback, split},
    output::Tap,
    prisoner::{Ending, How, Started},
};

/// How long a subject may take to open its channel.
const PATIENCE: Duration = Duration::from_secs(10);
/// The argument that makes this program a trampoline.
#[cfg(unix)]
const TRAMPOLINE: &str = "--jail-trampoline";

/// Becomes the trampoline, and never returns, if [`spawn`](crate::spawn) executed this program.
///
/// It must be the first thing in `main` of every program that spawns subjects.
pub fn enter_if_asked() {
    #[cfg(unix)]
    if env::args_os().nth(1).is_some_and(|argument| argument == TRAMPOLINE) {
        trampoline();
    }
}

/// The honest sentence.
pub(crate) fn isolation() -> report::Isolation {
    let layers = if cfg!(unix) { vec!["rlimits".to_owned()] } else { Vec::new() };
    let held = if cfg!(unix) { "its limits hold" } else { "nothing holds it" };
    let weakness = format!(
        "On this system an answer is not confined: {held}, but it can read your files and use \
         your network."
    );
    report::Isolation { full: false, layers, weakness }
}

pub(crate) fn start(command: &Command) -> Result<Started, JailError> {
    if command.strict {
        return Err(JailError::Weak(isolation().weakness));
    }
    let fail = |source| JailError::Program { program: command.program.clone(), source };
    std::fs::File::open(&command.program).map_err(fail)?;
    let loopback = Loopback::open()?;
    let address = loopback.address()?;
    let mut child = program(command)?
        .env_clear()
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .env(&command.channel_variable, address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let prints = [tap(child.stdout.take())?, tap(child.stderr.take())?];
    let cell = Cell(Arc::new(Mutex::new(Watched { child, ending: None })));
    let channel = loopback.accept(PATIENCE).and_then(split);
    if channel.is_err() {
        cell.key().turn();
    }
    let (replies, questions) = channel?;
    Ok(Started { cell, replies, questions, prints, isolation: isolation() })
}

/// The subject behind its trampoline.
#[cfg(unix)]
fn program(command: &Command) -> io::Result<std::process::Command> {
    let mut program = std::process::Command::new(env::current_exe()?);
    let limits = &command.limits;
    let seconds = limits.cpu.as_secs() + u64::from(limits.cpu.subsec_nanos() > 0);
    let numbers = [seconds, limits.memory_bytes, limits.stack_bytes];
    program.arg(TRAMPOLINE).args(numbers.map(|number| number.to_string()));
    program.arg(&command.program).args(&command.args);
    Ok(program)
}

/// The subject as it is.
#[cfg(not(unix))]
fn program(command: &Command) -> io::Result<std::process::Command> {
    let program = env::current_dir()?.join(&command.program);
    let mut program = std::process::Command::new(program);
    program.args(&command.args);
    Ok(program)
}

/// Sets the limits that this system knows, and executes the subject.
#[cfg(unix)]
fn trampoline() -> ! {
    use std::os::unix::process::CommandExt;

    use rustix::process::{Resource, Rlimit, setrlimit};

    let mut args = env::args_os().skip(2);
    let mut number = || args.next()?.into_string().ok()?.parse::<u64>().ok();
    for resource in [Resource::Cpu, Resource::As, Resource::Stack] {
        let limit = number();
        let _unknown_here = setrlimit(resource, Rlimit { current: limit, maximum: limit });
    }
    let _unknown_here = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let program = args.next().unwrap_or_default();
    let error = std::process::Command::new(program).args(args).exec();
    eprintln!("The answer's program could not be executed: {error}.");
    std::process::exit(70)
}

/// A subject and how it ended, shared with those who may end it.
pub(crate) struct Cell(Arc<Mutex<Watched>>);

/// Ends a subject, from any thread.
pub(crate) struct Key(Arc<Mutex<Watched>>);

struct Watched {
    child: Child,
    ending: Option<Ending>,
}

impl Key {
    pub(crate) fn turn(&self) {
        let mut watched = lock(&self.0);
        // Not after it was reaped: its number may be another's by then.
        if watched.look().is_none() {
            let _already_gone = watched.child.kill();
        }
    }
}

impl Cell {
    pub(crate) fn key(&self) -> Key {
        Key(Arc::clone(&self.0))
    }

    #[expect(clippy::unnecessary_wraps, reason = "other systems cannot always tell")]
    pub(crate) fn id(&self) -> Option<u32> {
        Some(lock(&self.0).child.id())
    }

    #[expect(clippy::unused_self, reason = "other systems can tell")]
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        None
    }

    pub(crate) fn wait(&mut self, timeout: Duration) -> Option<Ending> {
        let deadline = Instant::now() + timeout;
        loop {
            let ending = lock(&self.0).look();
            if ending.is_some() || Instant::now() >= deadline {
                return ending;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn bury(&mut self) {
        self.wait(PATIENCE);
    }
}

impl Watched {
    fn look(&mut self) -> Option<Ending> {
        if self.ending.is_none() {
            let how = match self.child.try_wait() {
                Ok(None) => return None,
                Ok(Some(status)) => how(status),
                Err(_) => How::Lost,
            };
            let ending = Ending { how, peak_memory_bytes: 0, cpu_time: Duration::ZERO };
            self.ending = Some(ending);
        }
        self.ending
    }
}

#[cfg(unix)]
fn how(status: std::process::ExitStatus) -> How {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => How::Signalled(signal),
        (None, code) => code.map_or(How::Lost, How::Exited),
    }
}

#[cfg(not(unix))]
fn how(status: std::process::ExitStatus) -> How {
    status.code().map_or(How::Lost, How::Exited)
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tap(stream: Option<impl Read + Send + 'static>) -> io::Result<Box<dyn Tap>> {
    let stream = stream.ok_or_else(|| io::Error::other("the subject has no output"))?;
    Ok(Box::new(Reader { stream, ahead: Ok(Vec::new()) }))
}

/// Reads ahead, so that [`Tap::take`] never blocks.
struct Reader<R> {
    stream: R,
    ahead: io::Result<Vec<u8>>,
}

impl<R: Read + Send> Tap for Reader<R> {
    fn wait(&mut self) {
        let mut buffer = vec![0; 1 << 14];
        self.ahead = self.stream.read(&mut buffer).map(|n_bytes| {
            buffer.truncate(n_bytes);
            buffer
        });
    }

    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = std::mem::replace(&mut self.ahead, Ok(Vec::new()))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn pending(&self) -> Box<dyn Fn() -> bool + Send + Sync> {
        Box::new(|| false)
    }
}
