//! Answers with more elements than can be counted.

use std::{fs::File, io, process::ExitCode};

use protocol::Question;

use crate::answers::{forged_reply, send, serve_by_hand};

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(id: u64, question: &Question, replies: &mut File) -> io::Result<()> {
    send(id, &forged_reply(question, |tensor| tensor.shape = vec![u64::MAX, 2]), replies)
}
