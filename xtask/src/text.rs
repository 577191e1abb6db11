//! Words and numbers as people read them.

use crate::state;

/// `1 part`, `2 parts`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// How long ago a moment was.
pub(crate) fn ago(time: u64) -> String {
    let seconds = state::now().saturating_sub(time);
    match seconds {
        0..=59 => "just now".to_owned(),
        60..=3599 => format!("{} min ago", seconds / 60),
        3600..=86_399 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Starts a clause with a capital and ends it with a full stop.
pub(crate) fn sentence(clause: &str) -> String {
    let mut characters = clause.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    let stop = if clause.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{}{}{stop}", first.unwrap_or_default(), characters.as_str())
}

/// Breaks a text into lines of a width; `indent` stands before all but the first.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let options = textwrap::Options::new(width.max(40)).subsequent_indent(indent);
    // Paths and commands have hyphens, and are to be copied.
    let whole = textwrap::WordSplitter::NoHyphenation;
    textwrap::fill(text, options.break_words(false).word_splitter(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_become_sentences() {
        assert_eq!(sentence("the mask is transposed"), "The mask is transposed.");
        assert_eq!(sentence("Already one."), "Already one.");
    }

    #[test]
    fn one_is_not_plural() {
        assert_eq!((count(1, "part"), count(3, "part")), ("1 part".into(), "3 parts".into()));
    }
}
