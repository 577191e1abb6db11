//! The oracle against two tokenizers of other people: `tokenizers` and `tiktoken-rs`.

use tokenizers::{
    Tokenizer,
    decoders::byte_level::ByteLevel,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainerBuilder, Vocab},
    },
};

use super::*;
use crate::{Generator, transformer::torture};

const END: &str = "<|endoftext|>";

/// How GPT-2's files write a byte.
fn letter(byte: u8) -> char {
    let prints = |b: &u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let others: Vec<u8> = (0..=255).filter(|b| !prints(b)).collect();
    match others.iter().position(|other| *other == byte) {
        Some(place) => char::from_u32(256 + place as u32).unwrap(),
        None => char::from(byte),
    }
}

fn written(ids: &[usize], merges: &[Pair]) -> String {
    spell(ids, merges, &[]).unwrap().into_iter().map(letter).collect()
}

/// GPT-2's tokenizer as the crate `tokenizers` builds it, with our ids.
fn hugging_face(merges: &[Pair]) -> Tokenizer {
    let ids = 0..BYTES + merges.len();
    let vocabulary: Vocab = ids.map(|id| (written(&[id], merges), id as u32)).collect();
    let pairs = merges.iter().map(|&[l, r]| (written(&[l], merges), written(&[r], merges)));
    let model = BPE::builder().vocab_and_merges(vocabulary, pairs.collect::<Vec<_>>());
    let mut tokenizer = Tokenizer::new(model.build().unwrap());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
    tokenizer
}

fn texts() -> Vec<String> {
    let mut rng = Generator::new(1, &["torture"]);
    let mut texts: Vec<String> = torture::TEXTS.map(str::to_owned).into();
    texts.extend((0..40).map(|_| torture::random(&mut rng, 60)));
    let play = datasets::shakespeare().unwrap();
    texts.extend([play[..20_000].to_owned(), torture::TEXTS.concat()]);
    texts
}

#[test]
fn ids_are_those_of_tokenizers() {
    let merges = gpt2().unwrap();
    let theirs = hugging_face(merges);
    for text in texts() {
        let ids = theirs.encode(text.as_str(), false).unwrap();
        let ids: Vec<usize> = ids.get_ids().iter().map(|&id| id as usize).collect();
        assert_eq!(encode(&text, merges, &[]), ids, "{text:?}");
    }
}

#[test]
fn ids_are_those_of_tiktoken() {
    let merges = gpt2().unwrap();
    let theirs = tiktoken_rs::r50k_base().unwrap();
    let specials = [END.to_owned()];
    for text in texts().into_iter().chain([format!("a{END}{END} b {END}")]) {
        // GPT-2 numbers single bytes by how its files write them; all else is the same.
        let ids = encode(&text, merges, &specials).into_iter().map(|id| match u8::try_from(id) {
            Ok(byte) => theirs_of(byte),
            Err(_) => id as u32,
        });
        let found: Vec<u32> = theirs.encode_with_special_tokens(&text);
        assert_eq!(ids.collect::<Vec<_>>(), found, "{text:?}");
    }
}

/// GPT-2's id of a byte: those that print come first.
fn theirs_of(byte: u8) -> u32 {
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.sort_by_key(|&b| (letter(b) as u32 >= 256, b));
    bytes.iter().position(|b| *b == byte).unwrap() as u32
}

#[test]
fn merges_are_those_of_tokenizers() {
    // Without white space, bytes have one order here and there, and so have equals.
    let play: String = datasets::shakespeare().unwrap()[..30_000].replace([' ', '\n'], ",");
    let theirs = ByteLevel::new(false, false, true);
    let (n_merges, alphabet) = (150, play.chars().collect::<std::collections::BTreeSet<_>>());
    let trainer = BpeTrainerBuilder::new()
        .vocab_size(alphabet.len() + n_merges)
        .min_frequency(2)
        .show_progress(false)
        .build();
    let mut trainer = TrainerWrapper::from(trainer);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(theirs));
    tokenizer.train(&mut trainer, std::iter::once(play.as_str())).unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&tokenizer.to_string(false).unwrap()).unwrap();
    let ours = train(&play, &[], n_merges);
    let found: Vec<[String; 2]> = serde_json::from_value(json["model"]["merges"].clone()).unwrap();
    let expected: Vec<_> = ours.iter().map(|pair| pair.map(|id| written(&[id], &ours))).collect();
    assert_eq!(found, expected);
}

#[test]
fn broken_bytes_become_what_the_standard_library_says() {
    for (bytes, text) in torture::BROKEN {
        assert_eq!(String::from_utf8_lossy(bytes), text, "{bytes:x?}");
    }
}
