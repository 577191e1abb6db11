//! The answering end: what every hostile answer shares with an honest one.

use std::{
    env,
    fs::File,
    io::{self, Write},
    mem::ManuallyDrop,
    os::fd::{FromRawFd, RawFd},
    path::{Path, PathBuf},
    process::ExitCode,
};

use answer::answer;
use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops;
use protocol::{
    CHANNEL_VARIABLE, MAX_QUESTION_BYTES, Question, RawTensor, Reply, VERSION, Value, frame,
};
use wick::part;

use crate::PROBES;

/// An answer of the corpus.
#[derive(Clone, Copy)]
pub(crate) enum Probe {
    /// Its part; `wick` serves it.
    Part(fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>),
    /// All of it, the protocol included.
    Program(fn() -> ExitCode),
}

/// The row under whose name this process was started.
pub(crate) fn probe() -> Option<Probe> {
    let own = program();
    let name = own.file_name()?;
    PROBES.iter().find(|(id, _)| name == *id).map(|&(_, probe)| probe)
}

/// Whether this process was started as the row `id`; constructors of all rows run in all of them.
pub(crate) fn is_row(id: &str) -> bool {
    program().file_name().is_some_and(|name| name == id)
}

/// The path under which this process was started: it gives the victim's folder away.
pub(crate) fn program() -> PathBuf {
    env::args_os().next().unwrap_or_default().into()
}

/// The folder with the `victim` and the `solutions`.
pub(crate) fn scene() -> PathBuf {
    program().parent().map(Path::to_owned).unwrap_or_default()
}

/// Whether no walls stand around this process.
pub(crate) fn is_unconfined() -> bool {
    env::var(CHANNEL_VARIABLE).is_ok_and(|channel| channel.starts_with("tcp:"))
}

/// Answers as `probe`.
pub(crate) fn play(probe: Probe) -> ExitCode {
    match probe {
        Probe::Part(_) => wick::serve(),
        Probe::Program(main) => main(),
    }
}

/// The part under attack.
#[part]
fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    match probe() {
        Some(Probe::Part(answer)) => answer(q, k, mask),
        _ => candle_core::bail!("this is no row of the corpus"),
    }
}

/// Another part of the same answer, which does no harm.
#[part]
fn bystander(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    honest(q, k, mask)
}

/// The right answer.
pub(crate) fn honest(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let ((batch, n_heads, _, d_head), other) = (q.dims4()?, k.dims4()?);
    if (batch, n_heads, d_head) != (other.0, other.1, other.3) {
        candle_core::bail!("`q` and `k` disagree on batch, n_heads or d_head");
    }
    let scores = (q.contiguous()?.matmul(&k.t()?.contiguous()?)? / (d_head as f64).sqrt())?;
    let Some(mask) = mask else { return ops::softmax(&scores, D::Minus1) };
    let mask = mask.broadcast_as(scores.shape())?;
    let fill = |value: f32| -> Result<Tensor> {
        Tensor::new(value, scores.device())?.to_dtype(scores.dtype())?.broadcast_as(scores.shape())
    };
    // Finite, so that a row of which everything is hidden has weights, which then become 0.
    let pattern = ops::softmax(&mask.where_cond(&scores, &fill(f32::MIN)?)?, D::Minus1)?;
    mask.where_cond(&pattern, &fill(0.0)?)
}

/// The right reply.
pub(crate) fn honest_reply(question: &Question) -> Reply {
    let call = answer!(|q: &Tensor, k: &Tensor, mask: Option<&Tensor>| honest(q, k, mask));
    match question {
        Question::Open { .. } => {
            let parts = ["attention_pattern", "bystander"].map(str::to_owned).to_vec();
            Reply::Opened { version: VERSION, parts }
        }
        Question::Call { args, .. } => answer::reply(call, args, None, &Device::Cpu),
        Question::Gradient { args, cotangents, .. } => {
            answer::reply(call, args, Some(cotangents), &Device::Cpu)
        }
    }
}

/// The right reply, with its tensor changed by `forge`.
pub(crate) fn forged_reply(question: &Question, forge: fn(&mut RawTensor)) -> Reply {
    let mut reply = honest_reply(question);
    if let Reply::Values(values, _) = &mut reply
        && let Some(Value::Tensor(tensor)) = values.first_mut()
    {
        forge(tensor);
    }
    reply
}

/// A descriptor that somebody else owns.
pub(crate) fn descriptor(number: RawFd) -> ManuallyDrop<File> {
    #[expect(unsafe_code, reason = "a hostile answer takes what is not its own")]
    ManuallyDrop::new(unsafe { File::from_raw_fd(number) })
}

/// Speaks the protocol by hand: honestly for the other part, by `reply` for the one under attack.
pub(crate) fn serve_by_hand(reply: fn(u64, &Question, &mut File) -> io::Result<()>) -> ExitCode {
    let (mut questions, mut replies) = (descriptor(3), descriptor(4));
    while let Ok((id, question)) =
        protocol::receive::<Question>(&mut *questions, MAX_QUESTION_BYTES)
    {
        let attacked = match &question {
            Question::Open { .. } => false,
            Question::Call { part, .. } | Question::Gradient { part, .. } => {
                part == "attention_pattern"
            }
        };
        let outcome = if attacked {
            reply(id, &question, &mut replies)
        } else {
            send(id, &honest_reply(&question), &mut replies)
        };
        if let Err(error) = outcome {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Sends a frame as it should be.
pub(crate) fn send(id: u64, reply: &Reply, replies: &mut File) -> io::Result<()> {
    replies.write_all(&frame::encode(id, reply).map_err(io::Error::other)?)
}
