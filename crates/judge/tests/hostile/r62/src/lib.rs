//! Tells of the progress of a question that nobody asked.

use std::{fs::File, io, process::ExitCode};

use protocol::{Progress, Question, Reply};

use crate::answers::{honest_reply, send, serve_by_hand};

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(id: u64, question: &Question, replies: &mut File) -> io::Result<()> {
    let told = Progress { step: 1, total: 1, metrics: Vec::new() };
    send(id ^ 1, &Reply::Progress(told), replies)?;
    send(id, &honest_reply(question), replies)
}
