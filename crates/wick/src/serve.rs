//! The loop that answers the judge's questions.
//!
//! **Invariant:** one reply a question, with the question's id, whatever the part does short of
//! ending the process.

use std::{
    io::{Write as _, stdout},
    panic,
    process::ExitCode,
    sync::Mutex,
    thread,
};

use candle_core::Device;
use protocol::{DeviceKind, FrameError, MAX_QUESTION_BYTES, Panic, Question, Reply, VERSION};

use crate::{Part, channel, line};

/// Stack of the thread that runs a part.
const STACK_BYTES: usize = 16 << 20;

/// Name of that thread; Rust's own message on a stack overflow shows it.
const THREAD_NAME: &str = "part";

/// The panic that the part's thread died of.
static LAST_PANIC: Mutex<Option<Panic>> = Mutex::new(None);

/// [`serve`], by a name under which the program that loads an answer as a library finds it.
#[cfg(feature = "shared")]
#[expect(unsafe_code, reason = "a name that is looked up is not checked to be the only one")]
#[unsafe(no_mangle)]
extern "Rust" fn wick_serve() -> ExitCode {
    serve()
}

/// Answers questions until the judge closes the channel.
#[must_use]
pub fn serve() -> ExitCode {
    let (mut questions, replies) = match channel::open() {
        Ok(Some(ends)) => ends,
        Ok(None) => {
            eprintln!("This program answers the judge. Run `cargo xtask check` instead.");
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("The channel to the judge cannot be opened: {error:#}.");
            return ExitCode::from(70);
        }
    };
    line::open(replies);
    remember_panics();
    let mut device = Device::Cpu;
    loop {
        let (id, question) = match protocol::receive(&mut questions, MAX_QUESTION_BYTES) {
            Ok(received) => received,
            Err(FrameError::Closed) => return ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("The judge's question cannot be read: {error}.");
                return ExitCode::from(70);
            }
        };
        line::begin(id);
        let reply = answer_in_thread(question, &mut device);
        // So that a part's prints are with the judge before its reply is.
        let _ = stdout().flush();
        if !line::reply(id, &reply) {
            return ExitCode::from(70);
        }
    }
}

/// Answers in a thread of its own, whose stack has a known size and whose panic ends only itself.
fn answer_in_thread(question: Question, device: &mut Device) -> Reply {
    thread::scope(|scope| {
        let run = || answer(question, device);
        let thread = thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, run);
        match thread.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Reply::Panic(take_panic()),
            Err(error) => Reply::Error(format!("no thread could be started: {error}")),
        }
    })
}

fn answer(question: Question, device: &mut Device) -> Reply {
    let find = |name: &str| inventory::iter::<Part>().find(|part| part.name == name);
    let missing = |name: &str| {
        Reply::Error(format!("there is no part `{name}`; restore the function and its `#[part]`"))
    };
    match question {
        Question::Open { device: kind, .. } => match open_device(kind) {
            Ok(opened) => {
                *device = opened;
                let mut parts: Vec<_> =
                    inventory::iter::<Part>().map(|part| part.name.to_owned()).collect();
                parts.sort();
                Reply::Opened { version: VERSION, parts }
            }
            Err(error) => Reply::Error(format!("the device cannot be opened: {error}")),
        },
        Question::Call { part, args } => match find(&part) {
            Some(found) => answer::reply(found.call, &args, None, device),
            None => missing(&part),
        },
        Question::Gradient { part, args, cotangents } => match find(&part) {
            Some(found) => answer::reply(found.call, &args, Some(&cotangents), device),
            None => missing(&part),
        },
    }
}

fn open_device(kind: DeviceKind) -> candle_core::Result<Device> {
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        // One stream for all threads: each question is answered in a thread of its own.
        DeviceKind::Cuda => Device::new_cuda_with_stream(0),
        DeviceKind::Metal => Device::new_metal(0),
    }
}

/// Keeps a part's panic for the judge; other threads' panics are printed as usual.
fn remember_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some(THREAD_NAME) {
            print(info);
            return;
        }
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        let location = info.location().map(ToString::to_string);
        *LAST_PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(Panic { message, location });
    }));
}

fn take_panic() -> Panic {
    let mut last = LAST_PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let unknown = || Panic { message: "a panic without a message".to_owned(), location: None };
    last.take().unwrap_or_else(unknown)
}
