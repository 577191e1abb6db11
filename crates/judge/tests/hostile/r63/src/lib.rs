//! Tells of its progress every 300 ms and never answers.

use std::{fs::File, io, process::ExitCode, thread, time::Duration};

use protocol::{Progress, Question, Reply};

use crate::answers::{send, serve_by_hand};

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(id: u64, _question: &Question, replies: &mut File) -> io::Result<()> {
    for step in 0..200 {
        send(id, &Reply::Progress(Progress { step, total: 200, metrics: Vec::new() }), replies)?;
        thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}
