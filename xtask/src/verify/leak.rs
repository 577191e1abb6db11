//! How much of a solution a hint holds.
//!
//! Both are read as tokens, so spacing and line breaks do not matter; variables count as one and
//! the same, so new names for them do not help. What is measured is the share of the solution's
//! runs of [`RUN`] tokens that also stand in the hint: single names, which a hint is there to
//! give, are no such run.

use std::collections::BTreeSet;

/// How many tokens are a run.
const RUN: usize = 5;

/// A hint that holds this much of the solution gives it away.
pub(super) const TOO_MUCH: f64 = 0.5;

/// The share of `body` that `hint` holds, from 0 to 1.
pub(super) fn share(hint: &str, body: &str) -> f64 {
    let (hint, body) = (tokens(hint), tokens(&without_comments(body)));
    let held: BTreeSet<&[String]> = hint.windows(RUN).collect();
    // What is shorter than a run is no secret: its documentation says as much.
    let runs: BTreeSet<&[String]> = body.windows(RUN).collect();
    if runs.is_empty() {
        return 0.0;
    }
    runs.iter().filter(|run| held.contains(*run)).count() as f64 / runs.len() as f64
}

/// The longest piece that both have, as the solution spells it; for the sentence.
pub(super) fn longest(hint: &str, body: &str) -> String {
    let text = without_comments(body);
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
    pieces[best].concat()
}

pub(super) fn without_comments(body: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    body.lines().map(code).collect::<Vec<_>>().join("\n")
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
        check("`q.matmul(&k.t()?)?` gives the scores; divide them by the root.", 0.2, 0.45);
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
        assert_eq!(longest("so `a.matmul(&b.t()?)` it is", BODY), "q.matmul(&k.t()?)");
    }

    #[test]
    fn nothing_is_shared_with_nothing() {
        assert!(share("", BODY) + share("a hint", "{ x }") + share("", "") < f64::EPSILON);
    }
}
