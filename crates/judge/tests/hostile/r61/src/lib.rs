//! Tells of its progress in a name of a megabyte.

use std::{fs::File, io, process::ExitCode};

use protocol::{Progress, Question, Reply};

use crate::answers::{honest_reply, send, serve_by_hand};

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(id: u64, question: &Question, replies: &mut File) -> io::Result<()> {
    let metrics = vec![("\u{1b}[2J".repeat(1 << 18), 1.0)];
    send(id, &Reply::Progress(Progress { step: 1, total: 1, metrics }), replies)?;
    send(id, &honest_reply(question), replies)
}
