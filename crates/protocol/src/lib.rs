//! The frames and values that cross the border between the judge and the subject.
//!
//! The judge asks a [`Question`], the subject gives a [`Reply`]; each travels as one
//! length-prefixed [`frame`].
//! This crate knows neither judging nor learning, and depends on no tensor library.
//!
//! **Invariant:** no type here contains itself, so no bytes can make the decoder recurse, and
//! every length is bounded before anything is allocated for it: a frame of `n` bytes never takes
//! more than 128 `n` + 4 MiB of memory to decode, whatever it says. `tests/border` proves it.

mod few;
pub mod frame;
mod progress;
mod tensor;
mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use few::MAX_LISTED;
pub use frame::{FrameError, MAX_QUESTION_BYTES, receive, send};
pub use progress::{MAX_METRIC_NAME, MAX_METRICS, MAX_PROGRESS, Progress, ProgressError};
pub use tensor::{DType, MAX_RANK, RawTensor, TensorError};

/// Version of the protocol; both ends must agree on it.
pub const VERSION: u32 = 3;

/// The environment variable that tells a subject where its private channel is.
///
/// `fd:3,4` names the descriptors to read questions from and to write replies to;
/// `tcp:PORT:TOKEN` is a loopback socket, for systems that cannot hand descriptors down.
pub const CHANNEL_VARIABLE: &str = "WICK_CHANNEL";

/// A value that crosses the border, as argument or as result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// An optional argument that is absent.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number: sizes, indices, counts.
    Int(i64),
    /// A real number.
    Float(f64),
    /// A string.
    Text(String),
    /// Raw bytes.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A list of whole numbers: shapes, token ids.
    Ints(Vec<i64>),
    /// A list of strings.
    Texts(Vec<String>),
    /// A tensor.
    Tensor(RawTensor),
    /// Tensors by name: weights, activations.
    Named(BTreeMap<String, RawTensor>),
    /// Real numbers by name: settings, measurements.
    Numbers(BTreeMap<String, f64>),
}

/// What the judge asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// Who are you, and which parts do you have? Always the first question.
    Open {
        /// The judge's [`VERSION`].
        version: u32,
        /// Where the subject's tensors must live.
        device: DeviceKind,
    },
    /// What does `part` return for `args`?
    Call {
        /// The part's name.
        part: String,
        /// Its arguments, in order.
        #[serde(deserialize_with = "few::deserialize")]
        args: Vec<Value>,
    },
    /// What is the gradient of `Σ cotangent · part(args)` for each argument?
    Gradient {
        /// The part's name.
        part: String,
        /// Its arguments, in order; floating-point tensors among them are differentiated.
        #[serde(deserialize_with = "few::deserialize")]
        args: Vec<Value>,
        /// One tensor for each result, each of that result's shape.
        #[serde(deserialize_with = "few::deserialize")]
        cotangents: Vec<RawTensor>,
    },
}

/// Where a subject computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// The first CUDA device.
    Cuda,
    /// The first Metal device.
    Metal,
}

/// What the subject answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Question::Open`]: the names of the registered parts.
    Opened {
        /// The subject's [`VERSION`].
        version: u32,
        /// Names of the parts, sorted.
        #[serde(deserialize_with = "few::deserialize")]
        parts: Vec<String>,
    },
    /// To [`Question::Call`]: the results; a tuple gives several.
    Values(#[serde(deserialize_with = "few::deserialize")] Vec<Value>, Usage),
    /// To [`Question::Gradient`]: one entry for each argument.
    Gradients(#[serde(deserialize_with = "few::deserialize")] Vec<Gradient>),
    /// The part returned an error.
    Error(String),
    /// The part panicked.
    Panic(Panic),
    /// How far the part has come; the reply proper, with the same id, is still to come.
    Progress(Progress),
}

/// What a call cost, as the subject itself counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The most bytes that were live at once, beyond those live before the call.
    pub peak_bytes: u64,
    /// How often memory was asked for.
    pub allocations: u64,
    /// Processor time of the thread that was called, in nanoseconds.
    pub cpu_nanos: u64,
}

/// A panic of the answer's code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// What it said.
    pub message: String,
    /// `file:line:column`, where known.
    pub location: Option<String>,
}

/// The gradient for one argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Gradient {
    /// The argument is not a floating-point tensor.
    NotDifferentiable,
    /// The argument is a tensor; `None` if no gradient reached it.
    Tensor(Option<RawTensor>),
    /// The argument is a set of named tensors.
    Named(BTreeMap<String, Option<RawTensor>>),
}
