//! Tells of its progress for ever instead of answering.

use std::{fs::File, io, process::ExitCode};

use protocol::{Progress, Question, Reply};

use crate::answers::{send, serve_by_hand};

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(id: u64, _question: &Question, replies: &mut File) -> io::Result<()> {
    for step in 0..1 << 22 {
        let metrics = vec![("loss".to_owned(), 1.0)];
        send(id, &Reply::Progress(Progress { step, total: 0, metrics }), replies)?;
    }
    Ok(())
}
