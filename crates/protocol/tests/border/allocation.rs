//! How much memory a frame can make the decoder take.

use std::io::{self, Read};

use protocol::{
    FrameError, Gradient, MAX_LISTED, Progress, Question, Reply, Usage, Value,
    frame::{encode, receive},
};

use crate::counting::peak_of;

/// Bytes in memory that one byte of a frame may cost: an empty string is one byte there and 24
/// here, and a growing list is there twice while it moves.
const FACTOR: usize = 128;

/// Bytes that may be set aside for announced lengths.
const ADVANCE: usize = 4 << 20;

/// Does some work on `length` bytes that came, and proves that it stayed within its memory.
#[track_caller]
pub(crate) fn affordable<T>(length: usize, work: impl FnOnce() -> T) -> T {
    let (result, peak) = peak_of(work);
    let bound = FACTOR * length + ADVANCE;
    assert!(peak <= bound, "{length} bytes took {peak} bytes of memory; at most {bound} may be");
    result
}

#[track_caller]
fn check(frame: &[u8]) -> Result<(u64, Reply), FrameError> {
    affordable(frame.len(), || receive::<Reply>(&mut { frame }, frame.len()))
}

fn values(value: Value) -> Vec<u8> {
    encode(1, &Reply::Values(vec![value], Usage::default())).unwrap()
}

const MANY: usize = 1 << 20;

#[test]
fn a_million_empty_strings() {
    assert!(check(&values(Value::Texts(vec![String::new(); MANY]))).is_ok());
}

#[test]
fn a_million_small_numbers() {
    assert!(check(&values(Value::Ints(vec![0; MANY]))).is_ok());
}

#[test]
fn many_names() {
    let gradients = (0..MANY / 8).map(|n| (format!("{n:x}"), None)).collect();
    assert!(
        check(&encode(1, &Reply::Gradients(vec![Gradient::Named(gradients)])).unwrap()).is_ok()
    );
}

#[test]
fn a_million_values_are_refused() {
    let none = vec![Value::None; MANY];
    let frame = encode(1, &Reply::Values(none, Usage::default())).unwrap();
    let (reply, peak) = peak_of(|| receive::<Reply>(&mut frame.as_slice(), frame.len()));
    assert!(matches!(reply, Err(FrameError::Malformed(_))), "{reply:?}");
    assert!(peak < 4 * frame.len(), "{peak} bytes");
}

#[track_caller]
fn check_listed(n: usize, is_taken: bool) {
    let none = vec![Gradient::NotDifferentiable; n];
    assert_eq!(check(&encode(1, &Reply::Gradients(none)).unwrap()).is_ok(), is_taken);
    let call = Question::Call { part: String::new(), args: vec![Value::None; n] };
    let frame = encode(1, &call).unwrap();
    let read = receive::<Question>(&mut frame.as_slice(), frame.len());
    assert_eq!(read.is_ok(), is_taken);
}

#[test]
fn a_million_metrics_are_refused() {
    let metrics = vec![(String::new(), 0.0); MANY];
    let frame = encode(1, &Reply::Progress(Progress { step: 1, total: 2, metrics })).unwrap();
    let (reply, peak) = peak_of(|| receive::<Reply>(&mut frame.as_slice(), frame.len()));
    assert!(matches!(reply, Err(FrameError::Malformed(_))), "{reply:?}");
    assert!(peak < 4 * frame.len(), "{peak} bytes");
}

#[test]
fn many_named_numbers() {
    let numbers = (0..MANY / 8).map(|n| (format!("{n:x}"), 0.0)).collect();
    assert!(check(&values(Value::Numbers(numbers))).is_ok());
}

#[test]
fn as_many_as_may_be_listed_are_taken() {
    check_listed(MAX_LISTED, true);
}

#[test]
fn one_more_is_not() {
    check_listed(MAX_LISTED + 1, false);
}

/// `announced` as postcard writes a length.
fn varint(mut announced: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while announced >= 0x80 {
        bytes.push(announced as u8 | 0x80);
        announced >>= 7;
    }
    bytes.push(announced as u8);
    bytes
}

/// Sends a reply with one value, whose length is a lie.
#[track_caller]
fn check_announced(variant: u8, before: &[u8], announced: u64) {
    // Values, a list of one, the value's variant.
    let mut body = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, variant].to_vec();
    body.extend(before);
    body.extend(varint(announced));
    body.extend([0; 3]);
    let frame = [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat();
    let (reply, peak) = peak_of(|| receive::<Reply>(&mut frame.as_slice(), frame.len()));
    assert!(matches!(reply, Err(FrameError::Malformed(_))), "{reply:?}");
    assert!(peak <= ADVANCE, "{peak} bytes were set aside");
}

#[test]
fn a_length_within_a_message_reserves_little() {
    for announced in [u64::from(u32::MAX), u64::MAX / 2, u64::MAX] {
        for list in 4..=7 {
            check_announced(list, &[], announced); // text, bytes, ints, texts
        }
        check_announced(8, &[5], announced); // a tensor's shape
        check_announced(8, &[5, 0], announced); // its order
        check_announced(8, &[5, 0, 0], announced); // its bytes
        check_announced(9, &[], announced); // named tensors
        check_announced(10, &[], announced); // named numbers
    }
}

#[test]
fn r48_the_length_of_a_frame_reserves_nothing() {
    let frame = [&u32::MAX.to_le_bytes(), [0; 100].as_slice()].concat();
    let (reply, peak) = peak_of(|| receive::<Reply>(&mut frame.as_slice(), usize::MAX));
    assert!(matches!(reply, Err(FrameError::Io(_))), "{reply:?}");
    assert!(peak < 4096, "{peak} bytes");
}

/// Never ends, and counts how much was taken of it.
struct Endless {
    taken: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0xff);
        self.taken += buffer.len();
        Ok(buffer.len())
    }
}

#[test]
fn r52_an_endless_answer_is_read_no_further_than_its_length() {
    let mut channel = Endless { taken: 0 };
    let refused = receive::<Reply>(&mut channel, 1 << 20);
    assert!(matches!(refused, Err(FrameError::TooLong { .. })), "{refused:?}");
    assert_eq!(channel.taken, 4);
}
