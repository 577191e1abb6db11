//! Sends an answer without end.

use std::{fs::File, io, io::Write, process::ExitCode};

use protocol::Question;

use crate::answers::serve_by_hand;

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(_id: u64, _question: &Question, replies: &mut File) -> io::Result<()> {
    let length: u32 = 1 << 20;
    replies.write_all(&length.to_le_bytes())?;
    // Ten gibibytes, if it is let.
    let block = vec![0xff; 1 << 16];
    (0..10 << 14).try_for_each(|_| replies.write_all(&block))
}
