//! Byte-pair encoding as its definition says, slowly; held against two other tokenizers below.

use std::{collections::BTreeMap, sync::LazyLock};

use regex_syntax::hir::{Class, ClassUnicode, HirKind};

/// Ids below this are single bytes.
pub(super) const BYTES: usize = 256;

/// A merge: the ids that it joins.
pub(super) type Pair = [usize; 2];

/// GPT-2's 50,000 merges.
///
/// # Errors
///
/// Fails with what to do if the data cannot be read.
pub(super) fn gpt2() -> Result<&'static [Pair], String> {
    static MERGES: LazyLock<Result<Vec<Pair>, String>> =
        LazyLock::new(|| datasets::gpt2_merges().map_err(|error| error.to_string()));
    MERGES.as_deref().map_err(Clone::clone)
}

/// A piece of text, or the place of a special.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Special(usize),
}

/// Goes through a text from left to right; at each place the longest special that fits is cut out.
pub(super) fn cut(text: &str, specials: &[String]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let here = specials.iter().enumerate().filter(|(_, s)| rest.starts_with(s.as_str()));
        if let Some((n, special)) = here.max_by_key(|(_, special)| special.len()) {
            pieces.extend([Piece::Text(std::mem::take(&mut plain)), Piece::Special(n)]);
            rest = &rest[special.len()..];
        } else {
            plain.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    pieces.push(Piece::Text(plain));
    pieces
}

/// The words of a text: at each place, the first rule of GPT-2's expression that matches.
pub(super) fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut words, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let rest = &chars[at..];
        let rules = [ending(rest), run(rest, is_letter), run(rest, is_number), run(rest, is_other)];
        let spaces = || rest.iter().take_while(|c| c.is_whitespace()).count();
        let length = rules.into_iter().flatten().next().unwrap_or_else(|| match spaces() {
            all if all == rest.len() || all == 1 => all,
            all => all - 1,
        });
        words.push(rest[..length].iter().collect());
        at += length;
    }
    words
}

fn ending(rest: &[char]) -> Option<usize> {
    let endings = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    let fits = |ending: &&str| {
        let length = ending.chars().count();
        rest.len() >= length && ending.chars().eq(rest[..length].iter().copied())
    };
    endings.iter().find(|ending| fits(ending)).map(|ending| ending.chars().count())
}

/// One space at most, and then at least one character of a kind.
fn run(rest: &[char], is_kind: fn(char) -> bool) -> Option<usize> {
    let space = usize::from(rest.first() == Some(&' '));
    let length = rest[space..].iter().take_while(|&&c| is_kind(c)).count();
    (length > 0).then_some(space + length)
}

fn is_letter(c: char) -> bool {
    static LETTERS: LazyLock<Vec<(char, char)>> = LazyLock::new(|| category(r"\p{L}"));
    if c.is_ascii() { c.is_ascii_alphabetic() } else { holds(&LETTERS, c) }
}

fn is_number(c: char) -> bool {
    static NUMBERS: LazyLock<Vec<(char, char)>> = LazyLock::new(|| category(r"\p{N}"));
    if c.is_ascii() { c.is_ascii_digit() } else { holds(&NUMBERS, c) }
}

fn is_other(c: char) -> bool {
    !c.is_whitespace() && !is_letter(c) && !is_number(c)
}

fn holds(ranges: &[(char, char)], c: char) -> bool {
    ranges.iter().any(|(first, last)| (first..=last).contains(&&c))
}

fn category(name: &str) -> Vec<(char, char)> {
    let class: ClassUnicode = match regex_syntax::parse(name).map(regex_syntax::hir::Hir::into_kind)
    {
        Ok(HirKind::Class(Class::Unicode(class))) => class,
        other => unreachable!("a category is a class of characters, not {other:?}"),
    };
    class.ranges().iter().map(|range| (range.start(), range.end())).collect()
}

/// Learns merges by counting everything anew each time.
pub(super) fn train(text: &str, specials: &[String], n_merges: usize) -> Vec<Pair> {
    let texts = cut(text, specials).into_iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(text),
        Piece::Special(_) => None,
    });
    let mut corpus: Vec<Vec<usize>> =
        texts.flat_map(|text| words(&text)).map(|word| bytes(&word)).collect();
    let mut merges = Vec::new();
    while merges.len() < n_merges {
        let mut counts: BTreeMap<Pair, usize> = BTreeMap::new();
        for word in &corpus {
            word.windows(2).for_each(|w| *counts.entry([w[0], w[1]]).or_default() += 1);
        }
        // In the order of pairs; a later one must be there more often.
        let best =
            counts.into_iter().fold(
                ([0, 0], 1),
                |best, (pair, count)| {
                    if count > best.1 { (pair, count) } else { best }
                },
            );
        if best.1 < 2 {
            break;
        }
        for word in &mut corpus {
            merge(word, best.0, BYTES + merges.len());
        }
        merges.push(best.0);
    }
    merges
}

/// The ids of a text.
pub(super) fn encode(text: &str, merges: &[Pair], specials: &[String]) -> Vec<usize> {
    let ranks: BTreeMap<Pair, usize> = merges.iter().copied().zip(0..).collect();
    let mut ids = Vec::new();
    for piece in cut(text, specials) {
        match piece {
            Piece::Special(n) => ids.push(BYTES + merges.len() + n),
            Piece::Text(text) => {
                for word in words(&text) {
                    let mut word = bytes(&word);
                    while let Some(rank) =
                        word.windows(2).filter_map(|w| ranks.get(&[w[0], w[1]])).min()
                    {
                        merge(&mut word, merges[*rank], BYTES + rank);
                    }
                    ids.extend(word);
                }
            }
        }
    }
    ids
}

/// The bytes of ids; `None` if one is no token's.
pub(super) fn spell(ids: &[usize], merges: &[Pair], specials: &[String]) -> Option<Vec<u8>> {
    let mut spelt = Vec::new();
    for &id in ids {
        if let Ok(byte) = u8::try_from(id) {
            spelt.push(byte);
        } else if let Some(&[left, right]) = merges.get(id - BYTES) {
            if left.max(right) >= id {
                return None;
            }
            spelt.extend(spell(&[left, right], merges, specials)?);
        } else {
            spelt.extend(specials.get(id - BYTES - merges.len())?.bytes());
        }
    }
    Some(spelt)
}

pub(super) fn bytes(word: &str) -> Vec<usize> {
    word.bytes().map(usize::from).collect()
}

/// Replaces a pair in place, from left to right.
pub(super) fn merge(word: &mut Vec<usize>, pair: Pair, made: usize) {
    let mut at = 0;
    while at + 1 < word.len() {
        if word[at..at + 2] == pair {
            word.splice(at..at + 2, [made]);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests;
