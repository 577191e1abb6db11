//! Answers twice.

use std::{fs::File, io, process::ExitCode};

use protocol::Question;

use crate::answers::{honest_reply, send, serve_by_hand};

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(id: u64, question: &Question, replies: &mut File) -> io::Result<()> {
    send(id, &honest_reply(question), replies)?;
    send(id, &honest_reply(question), replies)
}
