//! What the shipped models can do, on a play that they never saw.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{collections::BTreeMap, fs};

use candle_core::{DType, Device, Tensor};
use datasets::Split;
use train_assets::{BPE_GPT, CHAR_GPT, Config, Targets, Tokenizer, bigram, learn_merges, loss};

/// Windows of the play that are read.
const WINDOWS: usize = 32;

/// Proves that a shipped model is of its configuration, and surprised by so many nats a character
/// at most.
#[track_caller]
fn check(config: Config, enough: f64) {
    let path = datasets::folder().join(format!("models/{}.safetensors", config.name));
    let (weights, about) = wick::load_weights(&path).unwrap();
    for (name, number) in config.about() {
        assert_eq!(about.get(&name), Some(&number), "{name} in the words about {}", config.name);
    }
    let [train, test] = [Split::Train, Split::Test].map(|s| datasets::shakespeare_part(s).unwrap());
    let tokenizer = Tokenizer::new(&merges(&about["merges"]));
    let tokens = tokenizer.encode(&test);
    let stride = (tokens.len() - config.n_ctx - 1) / WINDOWS;
    let windows =
        (0..WINDOWS).flat_map(|n| tokens[n * stride..=n * stride + config.n_ctx].to_vec());
    let windows: Vec<u32> = windows.collect();
    let shape = (WINDOWS, config.n_ctx + 1);
    let windows = Tensor::from_vec(windows, shape, &Device::Cpu).unwrap();
    let cut = |from: usize| windows.narrow(1, from, config.n_ctx).unwrap().contiguous().unwrap();
    let single = |(name, half): (&str, &Tensor)| {
        assert_eq!(half.dtype(), DType::F16, "{name} is in half precision");
        (name.to_owned(), half.to_dtype(DType::F32).unwrap())
    };
    let weights: BTreeMap<String, Tensor> = weights.iter().map(single).collect();
    let per_token = loss(&weights, config.n_heads, &cut(0), &Targets::Tokens(cut(1))).unwrap();
    let per_token = f64::from(per_token.to_scalar::<f32>().unwrap());
    let per_character = per_token * tokens.len() as f64 / test.len() as f64;
    let pairs = bigram(&train, &test);
    println!("{}: {per_character:.3} nats a character; pairs {pairs:.3}", config.name);
    assert!(per_character <= enough, "{}: {per_character:.3} > {enough}", config.name);
    assert!(enough < pairs - 0.4, "{enough} is well below counting pairs, {pairs:.3}");
}

/// Reads merges as the words about a model have them.
fn merges(words: &str) -> Vec<[usize; 2]> {
    let pairs = words.split(',').filter(|pair| !pair.is_empty());
    let numbers = pairs.map(|pair| {
        let (left, right) = pair.split_once(' ').unwrap();
        [left.parse().unwrap(), right.parse().unwrap()]
    });
    numbers.collect()
}

#[test]
fn the_byte_model_reads_shakespeare() {
    check(CHAR_GPT, 1.95);
}

#[test]
fn the_model_on_merges_reads_shakespeare() {
    check(BPE_GPT, 1.9);
}

#[test]
fn merges_are_those_of_the_text() {
    let path = datasets::folder().join("models/bpe_gpt.safetensors");
    let (_, about) = wick::load_weights(&path).unwrap();
    let text = datasets::shakespeare_part(Split::Train).unwrap();
    assert_eq!(merges(&about["merges"])[..40], learn_merges(&text, 40));
}

#[test]
fn both_are_small() {
    let files = [CHAR_GPT, BPE_GPT].map(|config| format!("models/{}.safetensors", config.name));
    let sizes = files.map(|file| fs::metadata(datasets::folder().join(file)).unwrap().len());
    assert!(sizes.iter().sum::<u64>() <= 4_000_000, "{sizes:?} bytes");
}
