//! Sends plain text.

use std::{fs::File, io, io::Write, process::ExitCode};

use protocol::Question;

use crate::answers::serve_by_hand;

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(_id: u64, _question: &Question, replies: &mut File) -> io::Result<()> {
    writeln!(replies, "test result: ok. 6 passed; 0 failed")
}
