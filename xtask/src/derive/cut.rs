//! Cuts whole lines out of a text and puts other text in, by byte position.

use std::ops::Range;

/// A change to a text.
#[derive(Debug)]
pub(crate) enum Change {
    /// The lines of an item go, and the blank lines that set it apart.
    Remove(Range<usize>),
    /// Another text takes the place of this one.
    Replace(Range<usize>, String),
}

/// Applies changes, which must not overlap unless one removal holds the others.
pub(crate) fn apply(text: &str, changes: Vec<Change>) -> String {
    let (mut removals, mut replacements) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Remove(range) => removals.push(whole_lines(text, range)),
            Change::Replace(range, with) => replacements.push((range, with)),
        }
    }
    let removals: Vec<_> =
        merge(removals).into_iter().map(|range| close_gap(text, range)).collect();
    replacements.retain(|(range, _)| !removals.iter().any(|gone| gone.contains(&range.start)));
    replacements.extend(removals.into_iter().map(|range| (range, String::new())));
    replacements.sort_by_key(|(range, _)| range.start);

    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (range, with) in replacements {
        out.push_str(&text[at..range.start]);
        out.push_str(&with);
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// The start of the line that holds `at`.
pub(crate) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// How far the line that holds `at` is indented.
pub(crate) fn indent(text: &str, at: usize) -> usize {
    let line = &text[line_start(text, at)..];
    line.len() - line.trim_start_matches(' ').len()
}

/// The comment lines directly above the line that holds `at`: where they start, and their text.
pub(crate) fn comments_above(text: &str, at: usize) -> (usize, &str) {
    let end = line_start(text, at);
    let mut start = end;
    while start > 0 {
        let previous = line_start(text, start - 1);
        let line = text[previous..start].trim();
        let plain = line.starts_with("//") && !line.starts_with("//!") && !line.starts_with("///");
        if !plain {
            break;
        }
        start = previous;
    }
    (start, &text[start..end])
}

/// From the first comment above to the end of the last line and the blank lines below it.
fn whole_lines(text: &str, range: Range<usize>) -> Range<usize> {
    let start = comments_above(text, range.start).0;
    let end = text[range.end..].find('\n').map_or(text.len(), |newline| range.end + newline + 1);
    start..after_blank_lines(text, end)
}

fn after_blank_lines(text: &str, mut at: usize) -> usize {
    while let Some(newline) = text[at..].find('\n') {
        if !text[at..at + newline].trim().is_empty() {
            break;
        }
        at += newline + 1;
    }
    at
}

fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Leaves what is around a removal set apart by one blank line, or by none at the end of a block.
fn close_gap(text: &str, range: Range<usize>) -> Range<usize> {
    let rest = text[range.end..].trim_start();
    let above = text[..range.start].trim_end();
    if rest.is_empty() || rest.starts_with('}') {
        let start = text[above.len()..].find('\n').map_or(range.start, |n| above.len() + n + 1);
        return start.min(range.start)..range.end;
    }
    let is_set_apart = above.is_empty()
        || above.ends_with('{')
        || text[above.len()..range.start].matches('\n').count() > 1;
    let removed = text[range.clone()].trim_end();
    if is_set_apart { range } else { range.start..range.start + removed.len() + 1 }
}
