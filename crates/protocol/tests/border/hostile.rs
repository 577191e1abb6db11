//! Bytes that no honest end sends: arbitrary ones, damaged frames, lying lengths, absurd shapes.

use proptest::{collection::vec, prelude::*, sample::Index};
use protocol::{
    DType, FrameError, Question, RawTensor, Reply, Usage, Value,
    frame::{decode, encode, receive},
};

use crate::{
    allocation::affordable,
    arbitrary::{question, reply},
    config,
};

/// Reads `bytes` in every way that the two ends do; each must end, and within its memory.
fn survive(bytes: &[u8]) {
    let bound = bytes.len() + 1000;
    affordable(bytes.len(), || drop(decode::<Question>(bytes)));
    affordable(bytes.len(), || drop(decode::<Reply>(bytes)));
    affordable(bytes.len(), || drop(receive::<Question>(&mut { bytes }, bound)));
    affordable(bytes.len(), || drop(receive::<Reply>(&mut { bytes }, bound)));
    let framed = framed(bytes.len() as u32, bytes);
    affordable(bytes.len(), || drop(receive::<Reply>(&mut framed.as_slice(), bound)));
    if let Ok((_, Reply::Progress(progress))) = decode::<Reply>(bytes) {
        let _short_or_not = progress.validate();
    }
    // Whatever was a message holds tensors that can be judged as valid or not.
    let values = match (decode::<Question>(bytes), decode::<Reply>(bytes)) {
        (Ok((_, Question::Call { args, .. })), _) => args,
        (_, Ok((_, Reply::Values(values, _)))) => values,
        _ => Vec::new(),
    };
    for value in values {
        match value {
            Value::Tensor(raw) => drop(raw.validate()),
            Value::Named(set) => set.values().for_each(|raw| drop(raw.validate())),
            _ => {}
        }
    }
}

fn framed(announced: u32, body: &[u8]) -> Vec<u8> {
    [&announced.to_le_bytes(), body].concat()
}

/// Bytes that often are a variant's number or the start of a huge length.
fn likely_byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 0u8..12, 2 => Just(0xff), 1 => Just(0x7f), 1 => any::<u8>()]
}

/// Sets bytes, then cuts the end off.
fn damage(frame: &mut Vec<u8>, edits: &[(Index, u8)], cut: Option<Index>) {
    for (place, byte) in edits {
        let place = place.index(frame.len());
        frame[place] = *byte;
    }
    if let Some(cut) = cut {
        frame.truncate(cut.index(frame.len()));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..512)) {
        survive(&bytes);
    }

    #[test]
    fn bytes_that_look_like_a_message(id: u64, bytes in vec(likely_byte(), 0..256)) {
        survive(&[&id.to_le_bytes(), bytes.as_slice()].concat());
    }

    #[test]
    fn damaged_questions(
        question in question(),
        edits in vec((any::<Index>(), likely_byte()), 1..6),
        cut: Option<Index>,
    ) {
        let mut frame = encode(7, &question).unwrap();
        damage(&mut frame, &edits, cut);
        survive(&frame);
        survive(frame.get(4..).unwrap_or_default());
    }

    #[test]
    fn damaged_replies(
        reply in reply(),
        edits in vec((any::<Index>(), likely_byte()), 1..6),
        cut: Option<Index>,
    ) {
        let mut frame = encode(7, &reply).unwrap();
        damage(&mut frame, &edits, cut);
        survive(&frame);
        survive(frame.get(4..).unwrap_or_default());
    }

    #[test]
    fn lying_lengths(announced: u32, body in vec(any::<u8>(), 0..64), bound in 0usize..1 << 20) {
        let frame = framed(announced, &body);
        let mut rest = frame.as_slice();
        let error = affordable(frame.len(), || receive::<Reply>(&mut rest, bound)).err();
        if announced as usize > bound {
            let refused = matches!(
                error,
                Some(FrameError::TooLong { length, bound: b })
                    if length == announced as usize && b == bound
            );
            prop_assert!(refused, "{error:?}");
            prop_assert_eq!(rest.len(), body.len(), "bytes of a refused frame were read");
        } else if announced as usize > body.len() {
            prop_assert!(matches!(error, Some(FrameError::Io(_))), "{error:?}");
        }
    }
}

/// Sends a tensor as a reply and says what becomes of it.
#[track_caller]
fn check_shape(shape: &[u64], memory_order: &[u8], n_bytes: usize, said: &str) {
    let (shape, memory_order) = (shape.to_vec(), memory_order.to_vec());
    let raw = RawTensor { dtype: DType::F32, shape, memory_order, bytes: vec![0; n_bytes] };
    let frame = encode(1, &Reply::Values(vec![Value::Tensor(raw)], Usage::default())).unwrap();
    let (_, reply) = receive::<Reply>(&mut frame.as_slice(), frame.len()).unwrap();
    let Reply::Values(values, _) = reply else { panic!("{reply:?} arrived") };
    let [Value::Tensor(raw)] = values.as_slice() else { panic!("{values:?} arrived") };
    let error = raw.validate().unwrap_err().to_string();
    assert!(error.contains(said), "{error}");
}

#[test]
fn r44_dims_that_overflow() {
    check_shape(&[1 << 32, 1 << 32], &[], 4, "more elements than can be counted");
    check_shape(&[u64::MAX], &[], 0, "more elements than can be counted");
    check_shape(&[1 << 61], &[], 0, "more elements than can be counted");
}

#[test]
fn r45_rank_255() {
    check_shape(&[1; 255], &[], 4, "rank 255");
}

#[test]
fn r46_too_few_bytes() {
    check_shape(&[2, 3], &[], 23, "23 bytes crossed the border for shape [2, 3], which needs 24");
}

#[test]
fn r47_too_many_bytes() {
    check_shape(&[2, 3], &[], 25, "25 bytes crossed the border for shape [2, 3], which needs 24");
}

#[test]
fn s04_an_absurd_axis_beside_an_empty_one() {
    check_shape(&[0, u64::MAX], &[], 0, "more elements than can be counted");
    check_shape(&[u64::MAX, 2, 0], &[], 0, "more elements than can be counted");
}

#[test]
fn an_order_that_is_none() {
    check_shape(&[2, 3], &[0, 255], 24, "is not an order of 2 axes");
    check_shape(&[2, 3], &[1, 0, 2], 24, "is not an order of 2 axes");
}
