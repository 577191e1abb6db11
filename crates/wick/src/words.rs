//! Cuts text into the words within which GPT-2's tokenizer merges.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, ClassUnicode, HirKind};

/// Endings that are words of their own, in the order in which they are tried.
const ENDINGS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// Cuts `text` into words, as GPT-2 does before it merges; put together again, they are the text.
///
/// A word is a run of letters, of numbers, or of other characters, with at most one space before
/// it; an ending such as `'s` is a word of its own. White space that precedes no word that way is
/// a word too:
///
/// ```
/// assert_eq!(wick::words("Isn't it  10%?\n"), ["Isn", "'t", " it", " ", " 10", "%?", "\n"]);
/// ```
///
/// It does by hand what `OpenAI`'s code does by this regular expression:
///
/// ```text
/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// ```
#[must_use]
pub fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(first_word(rest));
        words.push(word);
        rest = after;
    }
    words
}

/// What a word is made of.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Letter,
    Number,
    Space,
    Other,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            'a'..='z' | 'A'..='Z' => Self::Letter,
            '0'..='9' => Self::Number,
            c if c.is_whitespace() => Self::Space,
            c if c.is_ascii() => Self::Other,
            c if holds(&LETTERS, c) => Self::Letter,
            c if holds(&NUMBERS, c) => Self::Number,
            _ => Self::Other,
        }
    }
}

/// The bytes of the first word of a text that is not empty.
fn first_word(text: &str) -> usize {
    if let Some(ending) = ENDINGS.iter().find(|ending| text.starts_with(**ending)) {
        return ending.len();
    }
    let body = text.strip_prefix(' ').unwrap_or(text);
    match body.chars().next().map(Kind::of) {
        None | Some(Kind::Space) => white_space(text),
        Some(kind) => {
            let after = body.trim_start_matches(|c| Kind::of(c) == kind);
            text.len() - after.len()
        }
    }
}

/// The bytes of a run of white space; its last character is left to the word that follows.
fn white_space(text: &str) -> usize {
    let run = text.len() - text.trim_start().len();
    let last = text[..run].chars().next_back().map_or(0, char::len_utf8);
    // One character alone cannot be left: it would never be a word.
    if run == text.len() || run == last { run } else { run - last }
}

static LETTERS: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"\p{L}"));
static NUMBERS: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"\p{N}"));

/// The characters of a general category; the standard library knows letters by a wider one.
fn class(category: &str) -> ClassUnicode {
    let parsed = regex_syntax::parse(category).map(regex_syntax::hir::Hir::into_kind);
    match parsed {
        Ok(HirKind::Class(Class::Unicode(class))) => class,
        other => unreachable!("a category is a class of characters, not {other:?}"),
    }
}

fn holds(class: &ClassUnicode, c: char) -> bool {
    let ranges = class.ranges();
    let after = ranges.partition_point(|range| range.end() < c);
    ranges.get(after).is_some_and(|range| range.start() <= c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(words(text), expected);
        assert_eq!(words(text).concat(), text);
    }

    #[test]
    fn a_space_goes_with_the_word_after_it() {
        check("a b", &["a", " b"]);
        check("a  b", &["a", " ", " b"]);
        check("a\n\nb", &["a", "\n", "\n", "b"]);
        check("a \n ", &["a", " \n "]);
        check("", &[]);
    }

    #[test]
    fn letters_numbers_and_the_rest_are_apart() {
        check("x10%", &["x", "10", "%"]);
        check(" ½²x", &[" ½²", "x"]);
        check("don't 'sun", &["don", "'t", " '", "sun"]);
        check("'sun'LL", &["'s", "un", "'", "LL"]);
    }

    #[test]
    fn marks_are_no_letters() {
        // The vowel sign and the combining accent belong to no letter's category.
        check("हिन्दी", &["ह", "ि", "न", "्", "द", "ी"]);
        check("e\u{301}a", &["e", "\u{301}", "a"]);
        check("\u{a0}日本語", &["\u{a0}", "日本語"]);
    }
}
