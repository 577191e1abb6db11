//! How much of a solution a hint holds.
//!
//! Both are read as tokens, so spacing and line breaks do not matter; variables count as one and
//! the same, so new names for them do not help. What is measured is the share of the solution's
//! runs of [`RUN`] tokens that also stand in the hint, and the longest run of all: single names,
//! which a hint is there to give, are no such run.

use std::collections::BTreeSet;

/// How many tokens are a run.
const RUN: usize = 5;

/// A hint that holds this share of the solution gives it away.
pub(super) const TOO_MUCH: f64 = 0.25;

/// So does one that holds so many of its tokens in a row: a line of code among refusals of bad
/// input may be a small share, and yet be all that there is to find.
pub(super) const TOO_LONG: usize = 20;

/// What a hint holds of a solution.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// The share of its runs, from 0 to 1.
    pub(super) share: f64,
    /// How many tokens the longest piece has that both have.
    pub(super) length: usize,
    /// That piece, as the solution spells it.
    pub(super) piece: String,
}

impl Held {
    /// Compares a hint with a solution.
    pub(super) fn of(hint: &str, body: &str) -> Self {
        let (length, piece) = longest(hint, body);
        Self { share: share(hint, body), length, piece }
    }

    pub(super) fn is_leak(&self) -> bool {
        self.share >= TOO_MUCH || self.length >= TOO_LONG
    }
}

/// The share of `body` that `hint` holds, from 0 to 1.
fn share(hint: &str, body: &str) -> f64 {
    let (hint, body) = (tokens(hint), tokens(&code(body)));
    let held: BTreeSet<&[String]> = hint.windows(RUN).collect();
    // What is shorter than a run is no secret: its documentation says as much.
    let runs: BTreeSet<&[String]> = body.windows(RUN).collect();
    if runs.is_empty() {
        return 0.0;
    }
    runs.iter().filter(|run| held.contains(*run)).count() as f64 / runs.len() as f64
}

/// The longest piece that both have: its tokens, and how the solution spells it.
fn longest(hint: &str, body: &str) -> (usize, String) {
    let text = code(body);
    let (hint, pieces) = (tokens(hint), pieces(&text));
    let body = tokens(&text);
    let mut best = 0..0;
    for start in 0..body.len() {
        let mut end = (start + best.len() + 1).min(body.len());
        while end > start
            && end - start > best.len()
            && hint.windows(end - start).any(|run| run == &body[start..end])
        {
            best = start..end;
            end = (end + 1).min(body.len());
        }
    }
    let mut piece = String::new();
    for token in &pieces[best.clone()] {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if piece.ends_with(is_word) && token.starts_with(is_word) {
            piece.push(' ');
        }
        piece.push_str(token);
    }
    (best.len(), piece)
}

/// A body without comments and without what its strings say: messages are no secret.
pub(super) fn code(body: &str) -> String {
    let uncommented = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let text = body.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    text.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// Names, numbers and signs, in order; backticks and spaces are none.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut is_open = false;
    for c in text.chars() {
        let is_word = c.is_alphanumeric() || c == '_';
        match pieces.last_mut().filter(|_| is_word && is_open) {
            Some(word) => word.push(c),
            None if c.is_whitespace() || c == '`' => {}
            None => pieces.push(c.to_string()),
        }
        is_open = is_word;
    }
    pieces
}

/// [`pieces`], with every variable made alike.
fn tokens(text: &str) -> Vec<String> {
    let pieces = pieces(text);
    let is_sign = |at: Option<usize>, signs: &str| {
        at.and_then(|at| pieces.get(at)).is_some_and(|piece| signs.contains(piece.as_str()))
    };
    let token = |(at, piece): (usize, &String)| {
        let is_name = piece.starts_with(|c: char| c.is_lowercase() || c == '_');
        let is_called = is_sign(Some(at + 1), "(!:") || is_sign(at.checked_sub(1), ".:");
        let is_variable = is_name && !is_called && !KEYWORDS.contains(&piece.as_str());
        if is_variable { "_".to_owned() } else { piece.clone() }
    };
    pieces.iter().enumerate().map(token).collect()
}

const KEYWORDS: &[&str] = &[
    "as", "else", "fn", "for", "if", "in", "let", "loop", "match", "move", "mut", "return", "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "{
        // Compare, since `matmul` does not.
        let scores = (q.matmul(&k.t()?)? / (d_head as f64).sqrt())?; // (seq_q, seq_k)
        softmax(&scores, D::Minus1)
    }";

    #[track_caller]
    fn check(hint: &str, low: f64, high: f64) {
        let share = share(hint, BODY);
        assert!(low <= share && share <= high, "{share:.2} of the solution");
    }

    #[test]
    fn an_idea_gives_nothing_away() {
        check("Four steps: scores, scale, mask, softmax. Which axis has to sum to 1?", 0.0, 0.0);
        check("`matmul` gives the scores, `softmax` over `D::Minus1` the pattern.", 0.0, 0.1);
    }

    #[test]
    fn one_call_of_several_may_be_told() {
        check("`q.matmul(&k.t()?)?` gives the scores; divide them by the root.", 0.1, 0.3);
    }

    #[test]
    fn the_solution_is_a_leak_in_any_dress() {
        check(BODY, 0.85, 1.0);
        check(
            "Write `let s = (a.matmul(&b.t()?)? / (n as f64).sqrt())?;` and then \
             `softmax(&s, D::Minus1)`.",
            0.75,
            1.0,
        );
    }

    #[test]
    fn what_is_shared_is_quoted() {
        let held = Held::of("so `let a = (q.matmul(&b.t()?)` it is", BODY);
        assert_eq!(held.piece, "let scores=(q.matmul(&k.t()?)");
        assert!(held.length == 16 && held.share < TOO_MUCH + 0.2);
    }

    #[test]
    fn a_line_among_refusals_is_a_leak() {
        let refusals = "if a.dims() != b.dims() { bail!(\"they differ\"); }\n".repeat(9);
        let held = Held::of(BODY, &format!("{refusals}{BODY}"));
        assert!(held.length >= TOO_LONG, "{held:?}");
        assert!(!Held::of("they differ, so bail", &refusals).is_leak());
    }

    #[test]
    fn nothing_is_shared_with_nothing() {
        assert!(share("", BODY) + share("a hint", "{ x }") + share("", "") < f64::EPSILON);
    }
}
