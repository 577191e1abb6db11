//! Frames: a length, an id, and one message.
//!
//! ```text
//! u32 LE: bytes that follow │ u64 LE: id │ the message, postcard-encoded
//! ```
//!
//! **Invariant:** a frame longer than the receiver's bound is refused before a byte of it is read,
//! and a frame with bytes left over after its message is an error, not a longer message.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// The longest question a judge may send, in bytes.
pub const MAX_QUESTION_BYTES: usize = 1 << 28;

const ID_BYTES: usize = 8;

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other end closed the channel between two frames.
    #[error("the channel was closed")]
    Closed,
    /// Reading or writing failed, or the channel closed within a frame.
    #[error("the channel broke: {0}")]
    Io(#[from] io::Error),
    /// A frame announced more bytes than the receiver takes.
    #[error("a frame of {length} bytes was announced; at most {bound} are taken")]
    TooLong {
        /// Announced length.
        length: usize,
        /// The receiver's bound.
        bound: usize,
    },
    /// The bytes are no message.
    #[error("the frame holds no message: {0}")]
    Malformed(String),
}

/// Writes one message and flushes it.
///
/// # Errors
///
/// Fails if the message is over 4 GiB or the channel does not take it.
pub fn send<T: Serialize>(
    channel: &mut impl Write,
    id: u64,
    message: &T,
) -> Result<(), FrameError> {
    let encoded = encode(id, message)?;
    channel.write_all(&encoded)?;
    channel.flush()?;
    Ok(())
}

/// Encodes one message as a whole frame.
///
/// # Errors
///
/// Fails if the message is over 4 GiB.
pub fn encode<T: Serialize>(id: u64, message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    frame.extend(id.to_le_bytes());
    let mut frame = postcard::to_extend(message, frame).map_err(malformed)?;
    let length = u32::try_from(frame.len() - 4).map_err(malformed)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Reads one message and its id, taking at most `bound` bytes.
///
/// # Errors
///
/// Fails if the channel is closed or breaks, if the frame is longer than `bound`, or if it is not
/// exactly one message.
pub fn receive<T: DeserializeOwned>(
    channel: &mut impl Read,
    bound: usize,
) -> Result<(u64, T), FrameError> {
    let mut length = [0; 4];
    read_start(channel, &mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > bound {
        return Err(FrameError::TooLong { length, bound });
    }
    // Grows as bytes arrive: an announced length alone reserves nothing.
    let mut body = Vec::new();
    channel.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    decode(&body)
}

/// Decodes what follows a frame's length.
///
/// # Errors
///
/// Fails if `body` is not exactly an id and one message.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<(u64, T), FrameError> {
    let Some((id, message)) = body.split_first_chunk::<ID_BYTES>() else {
        return Err(malformed("too short for an id"));
    };
    let (message, rest) = postcard::take_from_bytes(message).map_err(malformed)?;
    if !rest.is_empty() {
        return Err(malformed(format!("{} bytes follow the message", rest.len())));
    }
    Ok((u64::from_le_bytes(*id), message))
}

/// Fills `buffer`, telling a channel that is closed from one that breaks.
fn read_start(channel: &mut impl Read, buffer: &mut [u8; 4]) -> Result<(), FrameError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match channel.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Err(FrameError::Closed),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands its error over")]
fn malformed(why: impl ToString) -> FrameError {
    FrameError::Malformed(why.to_string())
}
