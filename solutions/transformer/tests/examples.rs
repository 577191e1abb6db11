//! The examples of the exercise, run with right parts.

#![allow(clippy::duplicate_mod, reason = "both examples have it, as programs of their own")]

// What a learner's file calls `transformer`.
extern crate transformer_solution as transformer;

#[path = "../../../exercises/transformer/examples/chat.rs"]
#[expect(dead_code, reason = "it has a `main`")]
mod chat;
#[path = "../../../exercises/transformer/examples/train.rs"]
#[expect(dead_code, reason = "it has a `main`")]
mod train;
#[path = "../../../exercises/transformer/examples/vocabulary/mod.rs"]
#[expect(dead_code, reason = "the examples use the rest")]
mod vocabulary;

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::{DType, Device, Tensor};
use vocabulary::Vocabulary;
use wick::{Weights, load_weights, save_weights};

/// Runs an example with these words after its name.
macro_rules! run {
    ($example:ident, $($word:expr),+) => {
        $example::run(&[$($word.to_string()),+])
    };
}

#[test]
fn a_text_is_learned_in_two_goes_and_talked_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = datasets::shakespeare().unwrap();
    fs::write(path("text"), &text[..5_000]).unwrap();
    run!(train, path("text"), path("model"), "30", "20").unwrap();
    let (weights, about) = load_weights(Path::new(&path("model"))).unwrap();
    assert_eq!(
        (about["done"].as_str(), weights.get("wte.weight").unwrap().dims()),
        ("30", &[276, 64][..])
    );

    let message = run!(train, path("text"), path("model"), "40", "20").unwrap_err().to_string();
    assert!(message.ends_with("name another file"), "{message}");
    run!(train, path("text"), path("model"), "30", "20").unwrap();
    run!(chat, path("model"), "What news, my lord?", "70").unwrap();
}

#[test]
fn both_shipped_models_talk() {
    for model in ["char_gpt", "bpe_gpt"] {
        let path = datasets::folder().join(format!("models/{model}.safetensors"));
        run!(chat, path.display(), "To be, or", "20").unwrap();
    }
}

/// Tensors with GPT-2's names, vocabulary and masks, and hardly any width.
fn small_gpt2() -> candle_core::Result<Weights> {
    let mut weights = Weights::new();
    let mut add = |name: &str, shape: &[usize]| -> candle_core::Result<()> {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|i| ((i * 7919) % 211) as f32 / 211.0 - 0.5).collect();
        weights.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    };
    add("wte.weight", &[50_257, 64])?;
    add("wpe.weight", &[32, 64])?;
    add("h.0.attn.bias", &[1, 1, 32, 32])?;
    for (name, d_in, d_out) in [
        ("attn.c_attn", 64, 192),
        ("attn.c_proj", 64, 64),
        ("mlp.c_fc", 64, 256),
        ("mlp.c_proj", 256, 64),
    ] {
        add(&format!("h.0.{name}.weight"), &[d_in, d_out])?;
        add(&format!("h.0.{name}.bias"), &[d_out])?;
    }
    for name in ["h.0.ln_1", "h.0.ln_2", "ln_f"] {
        add(&format!("{name}.weight"), &[64])?;
        add(&format!("{name}.bias"), &[64])?;
    }
    Ok(weights)
}

#[test]
fn a_file_as_gpt2s_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let about = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    save_weights(&path, &small_gpt2().unwrap(), &about).unwrap();
    run!(chat, path.display(), "Hello, world", "40").unwrap();
}

#[test]
fn tokens_are_gpt2s_own() {
    let wte = Tensor::zeros((50_257, 1), DType::F32, &Device::Cpu).unwrap();
    let weights = Weights::from_iter([("wte.weight".to_owned(), wte)]);
    let vocabulary = Vocabulary::of(&weights, &BTreeMap::new()).unwrap();
    // As published: "Hello world" and "Hello, my dog is cute" of the library's documentation.
    assert_eq!(vocabulary.encode("Hello world").unwrap(), [15_496, 995]);
    let tokens = [15_496, 11, 616, 3_290, 318, 13_779];
    assert_eq!(vocabulary.encode("Hello, my dog is cute").unwrap(), tokens);
    assert_eq!(vocabulary.encode("!\n<|endoftext|>").unwrap(), [0, 198, 50_256]);
    let text = "naïve — 東京 ✓\n";
    let tokens = vocabulary.encode(text).unwrap();
    assert_eq!(vocabulary.decode(&tokens, &[]).unwrap(), (text.to_owned(), vec![]));
}
