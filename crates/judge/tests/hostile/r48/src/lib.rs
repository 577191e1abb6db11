//! Announces an answer of 4 GiB.

use std::{fs::File, io, io::Write, process::ExitCode};

use protocol::Question;

use crate::answers::serve_by_hand;

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(_id: u64, _question: &Question, replies: &mut File) -> io::Result<()> {
    replies.write_all(&u32::MAX.to_le_bytes())?;
    replies.write_all(&[0; 64])
}
