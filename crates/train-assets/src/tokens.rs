//! A byte-level tokenizer, written for plainness: every merge recounts all words.

use std::collections::HashMap;

/// The ids below this are single bytes.
const BYTES: usize = 256;

/// Learns merges from a text, the most frequent pair first; among equals the one with the smaller
/// ids.
#[must_use]
pub fn learn_merges(text: &str, n_merges: usize) -> Vec<[usize; 2]> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in wick::words(text) {
        *counts.entry(word).or_default() += 1;
    }
    let ids = |word: &str| word.bytes().map(usize::from).collect::<Vec<_>>();
    let mut words: Vec<_> = counts.into_iter().map(|(word, n)| (ids(word), n)).collect();
    let mut merges = Vec::new();
    while merges.len() < n_merges {
        let mut pairs: HashMap<[usize; 2], usize> = HashMap::new();
        for (ids, n) in &words {
            for pair in ids.windows(2) {
                *pairs.entry([pair[0], pair[1]]).or_default() += n;
            }
        }
        let best = pairs.into_iter().max_by_key(|(pair, n)| (*n, std::cmp::Reverse(*pair)));
        let Some((pair, 2..)) = best else { break };
        for (ids, _) in &mut words {
            *ids = merged(ids, pair, BYTES + merges.len());
        }
        merges.push(pair);
    }
    merges
}

/// Replaces a pair from left to right.
fn merged(ids: &[usize], pair: [usize; 2], by: usize) -> Vec<usize> {
    let mut out = Vec::with_capacity(ids.len());
    let mut rest = ids;
    while let [first, tail @ ..] = rest {
        if rest.starts_with(&pair) {
            out.push(by);
            rest = &rest[2..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// Turns text into tokens and back.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    /// What is put together, in the order in which it was learned.
    merges: Vec<[usize; 2]>,
    /// How each token is spelt.
    spellings: Vec<Vec<u8>>,
}

impl Tokenizer {
    /// Makes a tokenizer of merges, each of which may name earlier tokens only.
    ///
    /// # Panics
    ///
    /// Panics if a merge names a token that is not there yet.
    #[must_use]
    pub fn new(merges: &[[usize; 2]]) -> Self {
        let mut spellings: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        for [left, right] in merges {
            spellings.push([spellings[*left].as_slice(), &spellings[*right]].concat());
        }
        Self { merges: merges.to_vec(), spellings }
    }

    /// Cuts a text into tokens.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let ranks = self.merges.iter().enumerate().map(|(rank, pair)| (*pair, rank));
        let ranks: HashMap<[usize; 2], usize> = ranks.collect();
        let mut known: HashMap<&str, Vec<u32>> = HashMap::new();
        let mut tokens = Vec::new();
        for word in wick::words(text) {
            let ids = known.entry(word).or_insert_with(|| spell(word, &ranks));
            tokens.extend_from_slice(ids);
        }
        tokens
    }

    /// Puts tokens together again; bytes that are no text become question marks in a box.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes = tokens.iter().filter_map(|&token| self.spellings.get(token as usize));
        let bytes: Vec<u8> = bytes.flatten().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Merges the pair that was learned first, until none is left.
fn spell(word: &str, ranks: &HashMap<[usize; 2], usize>) -> Vec<u32> {
    let mut ids: Vec<usize> = word.bytes().map(usize::from).collect();
    let first = |ids: &[usize]| {
        let pairs = ids.windows(2).map(|pair| [pair[0], pair[1]]);
        pairs.filter_map(|pair| Some((*ranks.get(&pair)?, pair))).min()
    };
    while let Some((rank, pair)) = first(&ids) {
        ids = merged(&ids, pair, BYTES + rank);
    }
    ids.into_iter().map(|id| id as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_are_learned_by_count_and_then_by_id() {
        assert_eq!(learn_merges("aaabdaaabac", 3), [[97, 97], [97, 98], [256, 257]]);
        assert_eq!(learn_merges("ab", 3), [[0; 2]; 0]);
    }

    #[test]
    fn text_comes_back() {
        let text = "the cat sat on the mat; the hat sat on the cat.";
        let tokenizer = Tokenizer::new(&learn_merges(text, 9));
        let tokens = tokenizer.encode(text);
        assert!(tokens.len() < text.len() * 2 / 3, "{tokens:?}");
        assert_eq!(tokenizer.decode(&tokens), text);
    }
}
