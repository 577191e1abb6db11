//! What turns a text into a model's tokens and back: your `bpe_encode` and `bpe_decode`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use transformer::tokenizer::{bpe_decode, bpe_encode};
use wick::Weights;

/// Tokens of GPT-2: 256 bytes, 50,000 merges, and one that ends a document.
const GPT2: usize = 50_257;

/// The tokens of one model.
pub(crate) struct Vocabulary {
    merges: Vec<[usize; 2]>,
    specials: Vec<String>,
    /// The model's own number of each byte.
    bytes: Vec<usize>,
}

impl Vocabulary {
    /// Single bytes, and what was merged of them.
    pub(crate) fn new(merges: Vec<[usize; 2]>) -> Self {
        Self { merges, specials: Vec::new(), bytes: (0..256).collect() }
    }

    /// The vocabulary of a model that came from a file, by the words in it or by its size.
    pub(crate) fn of(weights: &Weights, about: &BTreeMap<String, String>) -> Result<Self> {
        if weights.get("wte.weight")?.dim(0)? == GPT2 {
            let specials = vec!["<|endoftext|>".to_owned()];
            return Ok(Self { merges: datasets::gpt2_merges()?, specials, bytes: gpt2_bytes() });
        }
        let pair = |pair: &str| {
            let (left, right) = pair.split_once(' ').context("a merge is two numbers")?;
            Ok([left.parse()?, right.parse()?])
        };
        let merges = about.get("merges").map_or("", String::as_str);
        let merges = merges.split(',').filter(|merge| !merge.is_empty()).map(pair);
        Ok(Self::new(merges.collect::<Result<_>>().context("the model's merges")?))
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        256 + self.merges.len() + self.specials.len()
    }

    /// The merges as words for a model's file.
    pub(crate) fn written(&self) -> String {
        let pair = |[left, right]: &[usize; 2]| format!("{left} {right}");
        self.merges.iter().map(pair).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let ids = bpe_encode(text, &self.merges, &self.specials)?;
        let own = |id: usize| self.bytes.get(id).copied().unwrap_or(id) as u32;
        Ok(ids.into_iter().map(own).collect())
    }

    /// The text of some tokens, and the bytes at their end that may become a character.
    pub(crate) fn decode(&self, tokens: &[u32], pending: &[u8]) -> Result<(String, Vec<u8>)> {
        let byte = |token: &u32| {
            let token = *token as usize;
            self.bytes.iter().position(|own| *own == token).unwrap_or(token)
        };
        let ids: Vec<usize> = tokens.iter().map(byte).collect();
        Ok(bpe_decode(&ids, &self.merges, &self.specials, pending, false)?)
    }
}

/// GPT-2's numbers of the 256 bytes: first those that can be printed, then the others.
fn gpt2_bytes() -> Vec<usize> {
    let is_printed = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let (printed, others): (Vec<u8>, Vec<u8>) = (0..=u8::MAX).partition(is_printed);
    let order: Vec<u8> = printed.into_iter().chain(others).collect();
    let number = |byte: u8| order.iter().position(|other| *other == byte).unwrap_or_default();
    (0..=u8::MAX).map(number).collect()
}
