//! A subject in its own process: asking it, with a deadline.
//!
//! **Invariant:** every exchange ends, with one reply that carries the question's id or with a
//! [`Death`]; after a death the process is gone.

use std::{
    collections::hash_map::RandomState,
    env,
    ffi::OsString,
    hash::BuildHasher as _,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use checks::{Death, Subject};
use jail::{Command, Limits, Output, Prisoner};
use protocol::{
    CHANNEL_VARIABLE, DeviceKind, FrameError, MAX_PROGRESS, Panic, Progress, Question, Reply,
    VERSION,
};
use report::{Isolation, Verdict};

use crate::ending;

/// How much one exchange may use.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Processor time.
    pub cpu: Duration,
    /// Wall time in which the subject makes no progress on the processor.
    pub idle: Duration,
    /// Wall time in all; only a backstop, since the machine may be busy.
    pub wall: Duration,
    /// Processor time of all exchanges together; a backstop as well.
    pub life: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { cpu: seconds(3), idle: seconds(6), wall: seconds(30), life: seconds(60) }
    }
}

impl Budget {
    /// The same for exchanges that may take so much processor time.
    #[must_use]
    pub fn with_cpu(self, cpu: Duration) -> Self {
        Self { cpu, wall: 10 * cpu, ..self }
    }
}

/// Processor time that counts as progress, so that a sleeper's own upkeep does not.
const PROGRESS: Duration = Duration::from_millis(20);

/// The variable in which the runner names the folders of CUDA's libraries.
const CUDA_LIBRARIES: &str = "WICK_CUDA_LIBRARIES";

/// How often a slow subject is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// Address space of a subject.
const MEMORY_BYTES: u64 = 2 << 30;

/// Who holds this much when its processor time is up was busy growing, not computing: touching
/// fresh memory is slow, so time can run out before memory does.
const GROWING_BYTES: u64 = MEMORY_BYTES / 4;

/// Largest reply: this much, and so many times the question.
const REPLY_BYTES: usize = 4 << 20;
const REPLY_FACTOR: usize = 16;

/// A subject behind the border.
pub struct Process {
    prisoner: Prisoner,
    device: DeviceKind,
    /// Encoded questions, with the most bytes that the reply may have.
    questions: Sender<Vec<u8>>,
    bounds: Sender<usize>,
    replies: Receiver<Result<(u64, Reply), FrameError>>,
    /// Makes ids that cannot be guessed: a reply prepared before its question has another one.
    ids: RandomState,
    n_asked: u64,
    budget: Budget,
    parts: Vec<String>,
    start: Duration,
}

impl Process {
    /// Starts `subject`, a program or a library, in the jail and opens the protocol with it.
    ///
    /// # Errors
    ///
    /// Fails outside if the jail cannot start it, inside if the program then dies or misbehaves.
    pub fn start(
        subject: &Path,
        device: DeviceKind,
        budget: Budget,
        strict: bool,
    ) -> Result<Result<Self, Death>, jail::JailError> {
        let begun = Instant::now();
        let budget = Budget { cpu: budget.cpu + grace(device), ..budget };
        let mut prisoner = jail::spawn(&command(subject, device, budget, strict))?;
        let (mut from_subject, to_subject) = prisoner.take_channel();
        let (questions, to_write) = channel();
        let (bounds, to_expect) = channel();
        let (heard, replies) = channel();
        thread::spawn(move || write_all(to_subject, &to_write));
        thread::spawn(move || {
            // A bound for each reply; a frame beyond them is taken for the next one, and refused.
            for bound in to_expect {
                if !hear(&mut from_subject, bound, &heard) {
                    return;
                }
            }
        });
        let (ids, n_asked) = (RandomState::new(), 0);
        let (parts, start) = (Vec::new(), Duration::ZERO);
        let mut process = Self {
            prisoner,
            device,
            questions,
            bounds,
            replies,
            ids,
            n_asked,
            budget,
            parts,
            start,
        };
        let opened = process.ask(&Question::Open { version: VERSION, device });
        process.start = begun.elapsed();
        Ok(opened.and_then(|reply| match reply {
            Reply::Opened { version: VERSION, parts } => Ok(Self { parts, ..process }),
            Reply::Error(what) | Reply::Panic(Panic { message: what, .. })
                if device != DeviceKind::Cpu =>
            {
                Err(process.die(no_device(&what)))
            }
            Reply::Error(message) => Err(process.violated(format!("It did not open: {message}"))),
            _ => Err(process.violated("It did not open with its parts.".to_owned())),
        }))
    }

    /// The parts that it has.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Wall time from spawning it to its first answer.
    #[must_use]
    pub fn start_time(&self) -> Duration {
        self.start
    }

    /// The walls around it.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        self.prisoner.isolation()
    }

    /// What it printed so far.
    #[must_use]
    pub fn output(&self) -> Output {
        self.prisoner.output()
    }

    /// Makes sure that nothing came beside the replies so far.
    ///
    /// # Errors
    ///
    /// Fails if something did, or if the process is gone.
    pub fn settle(&mut self) -> Result<(), Death> {
        // Whatever was sent before comes before its reply; what the reply says is of no interest.
        self.ask(&Question::Call { part: String::new(), args: Vec::new() }).map(drop)
    }

    /// Ends the process.
    pub fn end(&mut self) {
        self.prisoner.kill();
    }

    fn wait_for_reply(&mut self, id: u64, live: &mut dyn FnMut(&Progress)) -> Result<Reply, Death> {
        let asked = Instant::now();
        let cpu_before = self.prisoner.cpu_time().unwrap_or_default();
        let mut progress = (asked, cpu_before);
        loop {
            match self.replies.recv_timeout(LOOK) {
                Ok(Ok((found, Reply::Progress(progress)))) if found == id => live(&progress),
                Ok(Ok((found, reply))) if found == id => return Ok(reply),
                Ok(Ok(_)) => {
                    return Err(
                        self.violated("It sent an answer that nobody asked for.".to_owned())
                    );
                }
                Ok(Err(error)) => return Err(self.broke(&error)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.broke(&FrameError::Closed)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let cpu = self.prisoner.cpu_time().unwrap_or(cpu_before);
            if cpu > progress.1 + PROGRESS {
                progress = (Instant::now(), cpu);
            }
            if self.prisoner.is_over_output_limit() {
                return Err(self.broke(&FrameError::Closed));
            }
            if cpu.saturating_sub(cpu_before) > self.budget.cpu {
                return Err(self.ran_over());
            }
            if progress.0.elapsed() > self.budget.idle || asked.elapsed() > self.budget.wall {
                return Err(self.die(ending::waited_too_long(asked.elapsed())));
            }
        }
    }

    /// Finds out why the channel gave no reply.
    fn broke(&mut self, error: &FrameError) -> Death {
        match error {
            FrameError::Closed | FrameError::Io(_) => {
                let ended = self.prisoner.wait(Duration::from_millis(500));
                let output = self.prisoner.output();
                self.die(ending::diagnose(ended, &output, self.budget))
            }
            FrameError::TooLong { .. } | FrameError::Malformed(_) => {
                self.violated(format!("What it sent is not an answer: {error}."))
            }
        }
    }

    /// Ends a process whose processor time is up, and says what it used the time for.
    fn ran_over(&mut self) -> Death {
        self.prisoner.kill();
        // Giving back gibibytes takes its time on a busy machine.
        let ending = self.prisoner.wait(Duration::from_secs(5));
        if let Some(death) = ending::ran_out_of_memory(&self.prisoner.output()) {
            return death;
        }
        match ending.map_or(0, |ending| ending.peak_memory_bytes) {
            held @ GROWING_BYTES.. => ending::grew_without_end(held),
            _ => ending::too_much_cpu(self.budget.cpu),
        }
    }

    fn violated(&mut self, sentence: String) -> Death {
        self.die(Death { verdict: Verdict::ProtocolViolation, what: vec![sentence] })
    }

    fn die(&mut self, death: Death) -> Death {
        self.prisoner.kill();
        death
    }
}

impl Subject for Process {
    fn ask(&mut self, question: &Question) -> Result<Reply, Death> {
        self.ask_live(question, &mut |_| {})
    }

    fn ask_live(
        &mut self,
        question: &Question,
        live: &mut dyn FnMut(&Progress),
    ) -> Result<Reply, Death> {
        self.n_asked += 1;
        let id = self.ids.hash_one(self.n_asked);
        let frame = protocol::frame::encode(id, question).map_err(|error| Death {
            verdict: Verdict::JudgeFault,
            what: vec![format!("The question could not be asked: {error}.")],
        })?;
        // Both threads end only when the channel breaks, which waiting for the reply finds out.
        let _ = self.bounds.send(REPLY_BYTES + REPLY_FACTOR * frame.len());
        let _ = self.questions.send(frame);
        self.wait_for_reply(id, live)
    }

    fn allow(&mut self, cpu: Duration) {
        self.budget = self.budget.with_cpu(cpu + grace(self.device));
    }
}

/// Hears one reply, and the progress before it; says whether another may come.
fn hear(
    from_subject: &mut impl Read,
    bound: usize,
    heard: &Sender<Result<(u64, Reply), FrameError>>,
) -> bool {
    for n_before in 0.. {
        let message = protocol::receive(from_subject, bound).and_then(|(id, reply)| {
            let Reply::Progress(progress) = &reply else { return Ok((id, reply)) };
            let sound = progress.validate().map_err(|error| error.to_string());
            let sound = sound.and_then(|()| match n_before {
                0..MAX_PROGRESS => Ok(()),
                _ => Err(format!("more than {MAX_PROGRESS} reports of progress came")),
            });
            sound.map(|()| (id, reply)).map_err(FrameError::Malformed)
        });
        let is_progress = matches!(message, Ok((_, Reply::Progress(_))));
        let is_last = message.is_err();
        if heard.send(message).is_err() || is_last {
            return false;
        }
        if !is_progress {
            return true;
        }
    }
    false
}

/// Why nothing can be judged on a device that seemed to be there.
fn no_device(what: &str) -> Death {
    let first = what.lines().next().unwrap_or_default();
    let what = vec![format!("The device could not be opened: {first}.")];
    Death { verdict: Verdict::NoDevice, what }
}

/// Processor time beyond a check's: at a card's first use its driver compiles every kernel.
fn grace(device: DeviceKind) -> Duration {
    Duration::from_secs(if device == DeviceKind::Cpu { 0 } else { 60 })
}

/// What a device's driver and libraries need of the environment: where the libraries are, which
/// card to show, and where to keep compiled kernels.
fn of_device(device: DeviceKind) -> Vec<(OsString, OsString)> {
    let handed = |name: &str, from: &str| {
        let value = env::var_os(from).filter(|value| !value.is_empty())?;
        Some((OsString::from(name), value))
    };
    let variables = match device {
        DeviceKind::Cpu => return Vec::new(),
        DeviceKind::Cuda | DeviceKind::Metal => [
            handed("LD_LIBRARY_PATH", CUDA_LIBRARIES),
            handed("CUDA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
            handed("CUDA_CACHE_PATH", "CUDA_CACHE_PATH"),
            handed("HOME", "HOME"),
        ],
    };
    variables.into_iter().flatten().collect()
}

/// The variable in which the runner names the libraries that the subject is linked with.
const SHARED_LIBRARIES: &str = "WICK_SHARED_LIBRARIES";

/// Libraries that the subject is linked with, and where its loader finds them.
fn shared() -> (Vec<PathBuf>, Option<(OsString, OsString)>) {
    let libraries = env::var_os(SHARED_LIBRARIES).unwrap_or_default();
    let libraries: Vec<_> =
        env::split_paths(&libraries).filter(|path| path.is_absolute()).collect();
    let folders = env::join_paths(libraries.iter().filter_map(|path| path.parent()));
    let folders = folders.ok().filter(|folders| !folders.is_empty());
    (libraries, folders.map(|folders| ("LD_LIBRARY_PATH".into(), folders)))
}

/// The program beside the judge that serves an answer which is a library.
const HOST: &str = "host";

/// What to run for a subject, and with which argument: a program of its own, or a library.
fn served(subject: &Path) -> (PathBuf, Option<&Path>) {
    if subject.extension().is_none_or(|extension| extension != "so") {
        return (subject.to_owned(), None);
    }
    let judge = env::current_exe().unwrap_or_default();
    (judge.with_file_name(HOST), Some(subject))
}

fn command(subject: &Path, device: DeviceKind, budget: Budget, strict: bool) -> Command {
    let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let (program, library) = served(subject);
    let (mut libraries, search) = shared();
    libraries.extend(library.map(Path::to_owned));
    Command {
        program,
        libraries,
        args: library.map(OsString::from).into_iter().collect(),
        // Small tensors are several times faster on one thread, and candle appends twenty lines
        // to every error if backtraces are on.
        env: [variable("RAYON_NUM_THREADS", "1"), variable("RUST_BACKTRACE", "0")]
            .into_iter()
            .chain(of_device(device))
            .chain(search)
            .collect(),
        channel_variable: CHANNEL_VARIABLE.to_owned(),
        limits: Limits {
            cpu: budget.life + grace(device),
            memory_bytes: MEMORY_BYTES,
            ..Limits::default()
        },
        strict,
        open_to_device: device != DeviceKind::Cpu,
    }
}

/// Writes frames until the channel or the sender closes.
fn write_all(mut channel: Box<dyn Write + Send>, frames: &Receiver<Vec<u8>>) {
    for frame in frames {
        if channel.write_all(&frame).and_then(|()| channel.flush()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_served_by_the_program_beside_the_judge() {
        let [library, program] = ["/answers/libfirst.so", "/answers/first"].map(Path::new);
        let host = env::current_exe().map(|judge| judge.with_file_name("host")).ok();
        assert_eq!((Some(served(library).0), served(library).1), (host, Some(library)));
        assert_eq!(served(program), (program.to_owned(), None));
    }
}
