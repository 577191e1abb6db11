//! What is sent is what arrives.

use std::fmt::Debug;

use proptest::prelude::*;
use protocol::frame::{encode, receive};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    arbitrary::{question, raw_tensor, reply},
    config,
};

/// Compares as bytes, since a NaN is not itself.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + Debug>(id: u64, message: &T) {
    let frame = encode(id, message).unwrap();
    // Twice, so that the first must end where the second begins.
    let twice = [frame.as_slice(), frame.as_slice()].concat();
    let mut channel = twice.as_slice();
    for _ in 0..2 {
        let (found, read) = receive::<T>(&mut channel, frame.len()).unwrap();
        assert_eq!(found, id);
        assert_eq!(encode(found, &read).unwrap(), frame, "{message:?} arrived as {read:?}");
        assert_eq!(format!("{read:?}"), format!("{message:?}"));
    }
    assert!(channel.is_empty());
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_question_arrives(id: u64, question in question()) {
        check(id, &question);
    }

    #[test]
    fn a_reply_arrives(id: u64, reply in reply()) {
        check(id, &reply);
    }

    #[test]
    fn a_tensor_is_valid_only_if_its_bytes_fill_its_shape(raw in raw_tensor()) {
        if let Ok(shape) = raw.validate() {
            let bytes = shape.iter().product::<usize>() * raw.dtype.size_in_bytes();
            prop_assert_eq!(bytes, raw.bytes.len());
            let mut order = raw.memory_order.clone();
            order.sort_unstable();
            prop_assert!(order.is_empty() || order == (0..shape.len() as u8).collect::<Vec<_>>());
        }
    }
}
