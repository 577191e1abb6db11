//! Text from an answer, made safe to show.
//!
//! **Invariant:** what comes out holds no control character but newlines and tabs, so it cannot
//! move a cursor, colour a verdict or forge one.

use jail::Output;
use report::{Exhibit, Finding, Prints, Shown};

/// Longest text that is kept of each stream for one part, in bytes.
const KEPT: usize = 8 << 10;

/// How far each stream had come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    stdout: usize,
    stderr: usize,
}

impl Mark {
    pub(crate) fn at(output: &Output) -> Self {
        Self { stdout: output.stdout.len(), stderr: output.stderr.len() }
    }

    /// What was printed since, made safe.
    pub(crate) fn since(self, output: &Output) -> Prints {
        let (stdout, cut_stdout) = keep(output.stdout.get(self.stdout..).unwrap_or_default());
        let (stderr, cut_stderr) = keep(output.stderr.get(self.stderr..).unwrap_or_default());
        Prints { stdout, stderr, cut: cut_stdout || cut_stderr || output.over_limit }
    }
}

fn keep(bytes: &[u8]) -> (String, bool) {
    let kept = &bytes[..bytes.len().min(KEPT)];
    (neutralise(&String::from_utf8_lossy(kept)), kept.len() < bytes.len())
}

/// Shows control characters instead of obeying them.
pub(crate) fn neutralise(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => safe.push(character),
            '\0'..='\x1f' => safe.extend(char::from_u32(0x2400 + character as u32)),
            '\x7f' => safe.push('\u{2421}'),
            // C1 controls, and those that reorder or hide what stands around them.
            '\u{80}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => safe.push('\u{fffd}'),
            _ => safe.push(character),
        }
    }
    safe
}

/// Makes a finding safe: it may quote the answer's own error.
pub(crate) fn neutralise_finding(finding: Finding) -> Finding {
    Finding {
        what: finding.what.iter().map(|sentence| neutralise(sentence)).collect(),
        location: finding.location.as_deref().map(neutralise),
        ..finding
    }
}

/// Makes an exhibit's text safe: a learner's model may have written it. Pages are our own, and what
/// they quote was escaped when they were made.
pub(crate) fn neutralise_exhibit(exhibit: Exhibit) -> Exhibit {
    let shown = match exhibit.shown {
        Shown::Text(text) => Shown::Text(neutralise(&text)),
        page @ Shown::Page(_) => page,
    };
    Exhibit { shown, ..exhibit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, safe: &str) {
        assert_eq!(neutralise(text), safe);
    }

    #[test]
    fn escapes_are_shown() {
        check("\x1b[2J\x1b[31mpassed\r\n", "␛[2J␛[31mpassed␍\n");
    }

    #[test]
    fn reordering_is_taken_out() {
        check("a\u{202e}b\u{9b}c", "a\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn plain_text_stays() {
        check("loss\t0.5 → √d_head\n", "loss\t0.5 → √d_head\n");
    }

    #[test]
    fn only_what_came_since_is_shown_and_long_text_is_cut() {
        let output = |n: usize| Output { stdout: vec![b'x'; n], ..Output::default() };
        assert_eq!(Mark::at(&output(3)).since(&output(5)).stdout, "xx");
        let long = Mark::default().since(&output(KEPT + 1));
        assert!(long.cut && long.stdout.len() == KEPT);
    }
}
