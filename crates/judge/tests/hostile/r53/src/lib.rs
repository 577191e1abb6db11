//! Sends one byte each 300 ms.

use std::{fs::File, io, io::Write, process::ExitCode, thread, time::Duration};

use protocol::Question;

use crate::answers::serve_by_hand;

pub(crate) fn main() -> ExitCode {
    serve_by_hand(reply)
}

fn reply(_id: u64, _question: &Question, replies: &mut File) -> io::Result<()> {
    let length: u32 = 1 << 10;
    for byte in length.to_le_bytes().into_iter().chain([0; 200]) {
        replies.write_all(&[byte])?;
        thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}
