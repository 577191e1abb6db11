//! An answer of our own as a subject, in our own process.
//!
//! **Invariant:** only impostors and alternatives run here, never a learner's code.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use answer::Call;
use candle_core::Device;
use protocol::{Panic, Question, Reply, VERSION};

use crate::{Death, Subject};

/// Held while an answer runs: what it uses is counted over the whole process, so two answers in
/// two threads, as tests run them, would count each other's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// An impostor or alternative that answers questions about any one part.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    answer: Call,
}

impl Local {
    /// Makes a subject of `answer`.
    #[must_use]
    pub fn new(answer: Call) -> Self {
        Self { answer }
    }
}

impl Subject for Local {
    fn ask(&mut self, question: &Question) -> Result<Reply, Death> {
        Ok(reply(self.answer, question, &Device::Cpu))
    }
}

/// The same, with the arguments on a device that its owner has opened.
#[derive(Clone, Debug)]
pub struct OnDevice {
    answer: Call,
    device: Device,
}

impl OnDevice {
    /// Makes a subject of `answer`.
    #[must_use]
    pub fn new(answer: Call, device: Device) -> Self {
        Self { answer, device }
    }
}

impl Subject for OnDevice {
    fn ask(&mut self, question: &Question) -> Result<Reply, Death> {
        Ok(reply(self.answer, question, &self.device))
    }
}

fn reply(answer: Call, question: &Question, device: &Device) -> Reply {
    let (args, cotangents) = match question {
        Question::Open { .. } => return Reply::Opened { version: VERSION, parts: Vec::new() },
        Question::Call { args, .. } => (args, None),
        Question::Gradient { args, cotangents, .. } => (args, Some(cotangents.as_slice())),
    };
    let reply = || answer::reply(answer, args, cotangents, device);
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    catch_unwind(AssertUnwindSafe(reply)).unwrap_or_else(|payload| {
        Reply::Panic(Panic { message: message(payload.as_ref()), location: None })
    })
}

/// What a panic said.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}
