//! The hooked model against the trainer's own forward pass, on a shipped model.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{collections::BTreeMap, fs};

use candle_core::{D, Device, Tensor};
use models::Gpt;
use train_assets::{CHAR_GPT, Targets, loss};

#[test]
fn both_read_alike() {
    let file = datasets::folder().join("models/char_gpt.safetensors");
    let (gpt, about) = Gpt::from_safetensors(&fs::read(file).unwrap()).unwrap();
    assert_eq!(about["n_heads"], CHAR_GPT.n_heads.to_string());
    let text = datasets::shakespeare_part(datasets::Split::Test).unwrap();
    let tokens: Vec<u32> = text.bytes().take(2 * 65).map(u32::from).collect();
    let tokens = Tensor::from_vec(tokens, (2, 65), &Device::Cpu).unwrap();
    let cut = |from: usize| tokens.narrow(1, from, 64).unwrap().contiguous().unwrap();
    let (x, y) = (cut(0), cut(1));

    let named: BTreeMap<String, Tensor> =
        gpt.weights().iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    let expected = loss(&named, CHAR_GPT.n_heads, &x, &Targets::Tokens(y.clone()))
        .unwrap()
        .to_scalar::<f32>()
        .unwrap();
    let logits = gpt.forward(&x, &mut ()).unwrap();
    let surprise = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
    let found = surprise.gather(&y.unsqueeze(2).unwrap(), 2).unwrap().neg().unwrap();
    let found = found.mean_all().unwrap().to_scalar::<f32>().unwrap();
    println!("{found} nats a character by the hooked model, {expected} by the trainer's own");
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    assert!(found < 2.2, "{found}");
}
