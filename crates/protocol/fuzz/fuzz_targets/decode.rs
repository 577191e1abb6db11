//! Fuzzes the decoder: `cargo +nightly fuzz run decode` in `crates/protocol`.
//!
//! libFuzzer reports a panic, an endless loop, and memory beyond `-rss_limit_mb`; beside those, a
//! message that was read must come out the same when it is written and read again.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use protocol::{
    Gradient, Question, RawTensor, Reply, Value,
    frame::{decode, encode, receive},
};
use serde::{Serialize, de::DeserializeOwned};

const BOUND: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Some((id, question)) = agree::<Question>(bytes) {
        again(id, &question);
        match question {
            Question::Call { args, .. } | Question::Gradient { args, .. } => validate(&args),
            Question::Open { .. } => {}
        }
    }
    if let Some((id, reply)) = agree::<Reply>(bytes) {
        again(id, &reply);
        match reply {
            Reply::Values(values, _) => validate(&values),
            Reply::Gradients(gradients) => gradients.iter().for_each(validate_gradient),
            Reply::Progress(progress) => _ = progress.validate(),
            Reply::Opened { .. } | Reply::Error(_) | Reply::Panic(_) => {}
        }
    }
    // As a stream, lengths included.
    let mut channel = bytes;
    while receive::<Reply>(&mut channel, BOUND).is_ok() {}
});

fn agree<T: DeserializeOwned>(body: &[u8]) -> Option<(u64, T)> {
    decode(body).ok()
}

fn again<T: Serialize + DeserializeOwned + Debug>(id: u64, message: &T) {
    let frame = encode(id, message).expect("what was read can be written");
    let (other, read) = decode::<T>(&frame[4..]).expect("what was written can be read");
    // As bytes, since a NaN is not itself.
    assert_eq!(frame, encode(other, &read).expect("what was read can be written"));
}

fn validate(values: &[Value]) {
    for value in values {
        match value {
            Value::Tensor(raw) => validate_tensor(raw),
            Value::Named(set) => set.values().for_each(validate_tensor),
            _ => {}
        }
    }
}

fn validate_gradient(gradient: &Gradient) {
    match gradient {
        Gradient::NotDifferentiable => {}
        Gradient::Tensor(raw) => raw.iter().for_each(validate_tensor),
        Gradient::Named(set) => set.values().flatten().for_each(validate_tensor),
    }
}

fn validate_tensor(raw: &RawTensor) {
    if let Ok(shape) = raw.validate() {
        assert_eq!(shape.iter().product::<usize>() * raw.dtype.size_in_bytes(), raw.bytes.len());
    }
}
