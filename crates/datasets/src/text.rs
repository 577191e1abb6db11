//! Text to train on, and the merges that turn text into tokens.

use std::collections::HashMap;

/// Ids of single bytes; what merges make is numbered from here on.
const BYTES: usize = 256;

/// Leaves out the lines that hold a digit, a bracket or `&`: scene headings, stage directions, and
/// speakers such as "1 KEEPER", 36 lines in all.
pub(crate) fn clean(play: &str) -> String {
    let is_stray = |c: char| c.is_ascii_digit() || "&(){}[]".contains(c);
    play.split_inclusive('\n').filter(|line| !line.contains(is_stray)).collect()
}

/// Reads GPT-2's list of merges as pairs of ids: byte `b` is `b`, and merge `n` makes `256 + n`.
pub(crate) fn merges(list: &str) -> Result<Vec<[usize; 2]>, String> {
    let mut ids: HashMap<String, usize> =
        (0..=u8::MAX).map(|byte| (spelling(byte).to_string(), byte.into())).collect();
    let mut merges = Vec::new();
    for (n, line) in list.lines().enumerate().skip_while(|(_, line)| line.starts_with("#version")) {
        let pair = line.split_once(' ').and_then(|(left, right)| {
            let pair = [*ids.get(left)?, *ids.get(right)?];
            Some((pair, [left, right].concat()))
        });
        let (pair, made) =
            pair.ok_or_else(|| format!("line {}: `{line}` joins no two tokens", n + 1))?;
        ids.insert(made, BYTES + merges.len());
        merges.push(pair);
    }
    Ok(merges)
}

/// How GPT-2's list writes a byte: as itself if it prints, else as a letter from 256 on.
fn spelling(byte: u8) -> char {
    let prints = |b: &u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if prints(&byte) {
        return char::from(byte);
    }
    let place = (0..byte).filter(|b| !prints(b)).count();
    char::from_u32(256 + place as u32).expect("invariant: below 512, every number is a character")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, said: &str) {
        let found = merges(list).map_or_else(|why| why, |merges| format!("{merges:?}"));
        assert_eq!(found, said);
    }

    #[test]
    fn merges_are_pairs_of_ids() {
        check("#version: 0.2\nĠ t\nh e\nĠt he\n", "[[32, 116], [104, 101], [256, 257]]");
        check("", "[]");
    }

    #[test]
    fn what_is_no_merge_is_named() {
        check("h e\nhel lo\n", "line 2: `hel lo` joins no two tokens");
        check("h\n", "line 1: `h` joins no two tokens");
    }

    #[test]
    fn stray_lines_go() {
        assert_eq!(clean("A:\nNo.\n1 KEEPER.\n{To him] Go.\nAy"), "A:\nNo.\nAy");
    }
}
