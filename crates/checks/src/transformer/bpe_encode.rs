//! `bpe_encode`: from text to token ids.

use std::collections::BTreeMap;

use answer::answer;
use protocol::Value;

use super::{
    bpe::{self, BYTES, Pair, Piece},
    torture,
};
use crate::{Alternative, Check, Impostor, Kind, Outcome, Part, Stop, Trial, args};

/// An answer that makes one mistake.
macro_rules! slip {
    ($slip:expr) => {
        answer!(|text: &str, merges: &[[usize; 2]], specials: &[String]| {
            encode(text, merges, specials, $slip)
        })
    };
}

pub(super) const BPE_ENCODE: Part = Part {
    name: "bpe_encode",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "words_stay_apart",
            promise: "The ids of words put together are the ids of each word, one after the other.",
            kind: Kind::Property,
            run: words_stay_apart,
        },
        Check {
            name: "text_comes_back",
            promise: "The bytes of the ids are the bytes of the text, whatever Unicode it is.",
            kind: Kind::Property,
            run: text_comes_back,
        },
        Check {
            name: "specials_are_one_token",
            promise: "A special is one id, the longest where several fit, and cuts the text.",
            kind: Kind::Property,
            run: specials_are_one_token,
        },
        Check {
            name: "matches_gpt2",
            promise: "With GPT-2's merges, the ids are GPT-2's.",
            kind: Kind::Reference,
            run: matches_gpt2,
        },
        Check {
            name: "unsound_vocabularies_are_refused",
            promise: "An empty special, or a merge of an id that does not exist yet, is an error.",
            kind: Kind::Errors,
            run: unsound_vocabularies_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "merged_in_order_of_appearance",
            diagnosis: "the first pair in the text that is a merge is merged; it should be the one \
                        learned first, wherever it stands",
            caught_by: "documented_example",
            answer: slip!(Slip::ByAppearance),
        },
        Impostor {
            name: "latest_merge_first",
            diagnosis: "of the merges that fit, the one learned last is used; it should be the \
                        first",
            caught_by: "documented_example",
            answer: slip!(Slip::LatestFirst),
        },
        Impostor {
            name: "longest_token_first",
            diagnosis: "from left to right the longest token that fits is taken; that is another \
                        algorithm, WordPiece's",
            caught_by: "documented_example",
            answer: slip!(Slip::LongestToken),
        },
        Impostor {
            name: "merged_across_words",
            diagnosis: "the text is not cut into words first, so that merges reach across them",
            caught_by: "words_stay_apart",
            answer: slip!(Slip::NoWords),
        },
        Impostor {
            name: "space_after_the_word",
            diagnosis: "words are cut after their space; a space belongs to the word that follows",
            caught_by: "words_stay_apart",
            answer: slip!(Slip::SpaceAfter),
        },
        Impostor {
            name: "characters_not_bytes",
            diagnosis: "words start as their characters; they should start as their bytes in UTF-8",
            caught_by: "text_comes_back",
            answer: slip!(Slip::Characters),
        },
        Impostor {
            name: "white_space_tidied",
            diagnosis: "white space at the ends of the text is trimmed; every byte must come back",
            caught_by: "words_stay_apart",
            answer: slip!(Slip::Trimmed),
        },
        Impostor {
            name: "line_ends_changed",
            diagnosis: "CR LF becomes LF; every byte must come back",
            caught_by: "text_comes_back",
            answer: slip!(Slip::LineEnds),
        },
        Impostor {
            name: "specials_taken_apart",
            diagnosis: "specials are encoded like any other text",
            caught_by: "specials_are_one_token",
            answer: slip!(Slip::SpecialsIgnored),
        },
        Impostor {
            name: "first_special_listed",
            diagnosis: "where several specials fit, the first in the list is taken; it should be \
                        the longest",
            caught_by: "specials_are_one_token",
            answer: slip!(Slip::FirstSpecial),
        },
        Impostor {
            name: "specials_numbered_before_merges",
            diagnosis: "specials are numbered from 256 on; the merges come first",
            caught_by: "specials_are_one_token",
            answer: slip!(Slip::SpecialsFirst),
        },
        Impostor {
            name: "one_merge_a_word",
            diagnosis: "a word is merged once; it should be merged until nothing is left to merge",
            caught_by: "documented_example",
            answer: slip!(Slip::OneMerge),
        },
        Impostor {
            name: "merged_from_the_right",
            diagnosis: "where a merge fits at places that overlap, as in `aaa`, the right one is \
                        merged; it should be the left one",
            caught_by: "matches_gpt2",
            answer: slip!(Slip::FromTheRight),
        },
        Impostor {
            name: "vocabulary_not_looked_at",
            diagnosis: "a special without text, or a merge of ids that do not exist yet, goes \
                        unnoticed",
            caught_by: "unsound_vocabularies_are_refused",
            answer: slip!(Slip::Unchecked),
        },
    ],
    alternatives: &[Alternative {
        name: "one_pair_at_a_time",
        answer: answer!(|text: &str, merges: &[[usize; 2]], specials: &[String]| {
            encode(text, merges, specials, Slip::None)
        }),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let merges = [[98, 99], [101, 102], [97, 98], [99, 100], [100, 101], [97, 256]];
    encodes(trial, "def abc bcd", &merges, &[])
}

/// Merges that reach across words, if one lets them.
fn crossing() -> Vec<Pair> {
    let pairs = ["a ", " b", "ab", "a1", "1a", "'t", "n'", "\n\n", "  ", ". "];
    pairs.map(|pair| [pair.as_bytes()[0].into(), pair.as_bytes()[1].into()]).into()
}

fn words_stay_apart(trial: &mut Trial) -> Outcome {
    let merges = crossing();
    let mut words = vec!["a", " b", " ab", "'t", "1", "a", ". ", " ", " b", "\n", "\n", "a"];
    for _ in 0..12 {
        words.push(trial.rng.choose(&[" ab", " a1", " b", "\na", " isn", "'t", ".", " 11"]));
    }
    let text = words.concat();
    let got = ids(trial, question(&text, &merges, &[]))?;
    let mut apart = Vec::new();
    for word in bpe::words(&text) {
        let one = ids(trial, question(&word, &merges, &[]))?;
        let expected = bpe::encode(&word, &merges, &[]);
        same_ids(trial, &word, &one, &expected, &merges)?;
        apart.extend(one);
    }
    same_ids(trial, &text, &got, &apart, &merges)
}

fn text_comes_back(trial: &mut Trial) -> Outcome {
    let merges = &merges(trial)?[..400];
    let mut texts: Vec<String> = torture::TEXTS.map(str::to_owned).into();
    texts.push(torture::random(&mut trial.rng, 200));
    let text = texts.join("\u{1}");
    for text in [text.as_str(), " \n", "\r\n", ""] {
        let got = ids(trial, question(text, merges, &[]))?;
        let spelt = bpe::spell(&got, merges, &[]);
        trial.ensure(spelt.as_deref() == Some(text.as_bytes()), || {
            let found = String::from_utf8_lossy(&spelt.unwrap_or_default()).into_owned();
            format!("The ids spell {}; the text is {}.", short(&found), short(text))
        })?;
    }
    Ok(())
}

fn specials_are_one_token(trial: &mut Trial) -> Outcome {
    let specials = ["<|", "<|end|>", "<|end|><|", "é日"].map(str::to_owned);
    let merges = &merges(trial)?[..300];
    encodes(trial, "<|end|>", merges, &specials)?;
    encodes(trial, "a<|end|><|end|> the<|en cafeé日\n<|", merges, &specials)?;
    let text: Vec<&str> = (0..30)
        .map(|_| {
            trial.rng.choose(&["<|", "end|>", "<|end|>", " the", " the", "é", "日", "|>", " "])
        })
        .collect();
    encodes(trial, &text.concat(), merges, &specials)
}

fn matches_gpt2(trial: &mut Trial) -> Outcome {
    let all = merges(trial)?;
    let random: Vec<_> = (0..6).map(|_| torture::random(&mut trial.rng, 40)).collect();
    let text = [&torture::TEXTS.join("\n"), &random.join("\n")].map(String::as_str).concat();
    encodes(trial, &text, &all[..3000], &[])?;
    let text = format!("Hello world, antidisestablishmentarianism!\n{text}<|endoftext|>");
    encodes(trial, &text, all, &["<|endoftext|>".to_owned()])
}

fn unsound_vocabularies_are_refused(trial: &mut Trial) -> Outcome {
    let empty = args![text: "ab", merges: &[[97, 98]][..], specials: vec![String::new()]];
    trial.refuses("a special is empty", empty)?;
    for merges in [[[97, 98], [97, 258]], [[256, 98], [97, 98]], [[97, 98], [257, 97]]] {
        let case = format!("in {merges:?} a merge joins an id that does not exist by then");
        trial.refuses(&case, question("ab", &merges, &[]))?;
    }
    Ok(())
}

fn question(text: &str, merges: &[Pair], specials: &[String]) -> Vec<(&'static str, Value)> {
    args![text: text, merges: merges, specials: specials.to_vec()]
}

fn encodes(trial: &mut Trial, text: &str, merges: &[Pair], specials: &[String]) -> Outcome {
    let expected = bpe::encode(text, merges, specials);
    let got = ids(trial, question(text, merges, specials))?;
    same_ids(trial, text, &got, &expected, merges)
}

/// The ids that came; one that is negative is no id.
fn ids(trial: &mut Trial, question: Vec<(&'static str, Value)>) -> Result<Vec<usize>, Stop> {
    let ints = trial.ints(question)?;
    let ids = ints.iter().map(|&id| usize::try_from(id)).collect::<Result<_, _>>();
    ids.map_err(|_| trial.wrong("It returned a negative id.".to_owned()))
}

fn same_ids(
    trial: &mut Trial,
    text: &str,
    got: &[usize],
    expected: &[usize],
    merges: &[Pair],
) -> Outcome {
    if got == expected {
        return Ok(());
    }
    let first = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    let say = |ids: &[usize]| match ids.get(first) {
        None => "it ends".to_owned(),
        Some(&id) => match bpe::spell(&[id], merges, &[]) {
            Some(bytes) => format!("id {id}, {:?}", String::from_utf8_lossy(&bytes)),
            None => format!("id {id}"),
        },
    };
    let (got, wanted) = (say(got), say(expected));
    let read = bpe::spell(&expected[..first], merges, &[]).unwrap_or_default().len();
    let rest = String::from_utf8_lossy(text.as_bytes().get(read..).unwrap_or_default());
    Err(trial
        .wrong(format!("At token {first}, before {}: got {got}; expected {wanted}.", short(&rest))))
}

fn short(text: &str) -> String {
    let start: String = text.chars().take(24).collect();
    format!("{start:?}{}", if start.len() < text.len() { "…" } else { "" })
}

pub(super) fn merges(trial: &Trial) -> Result<&'static [Pair], Stop> {
    bpe::gpt2().map_err(|why| trial.wrong(why))
}

/// What can go wrong in encoding.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    ByAppearance,
    LatestFirst,
    LongestToken,
    NoWords,
    SpaceAfter,
    Characters,
    Trimmed,
    LineEnds,
    SpecialsIgnored,
    FirstSpecial,
    SpecialsFirst,
    OneMerge,
    FromTheRight,
    Unchecked,
}

/// Encodes with a slip, one pair at a time.
fn encode(
    text: &str,
    merges: &[Pair],
    specials: &[String],
    slip: Slip,
) -> anyhow::Result<Vec<usize>> {
    let empty = specials.iter().any(String::is_empty);
    let late = merges.iter().enumerate().any(|(n, pair)| pair.iter().any(|&id| id >= BYTES + n));
    anyhow::ensure!(slip == Slip::Unchecked || !(empty || late), "the vocabulary is unsound");
    let ranks: BTreeMap<Pair, usize> = merges.iter().copied().zip(0..).collect();
    let text = match slip {
        Slip::Trimmed => text.trim().to_owned(),
        Slip::LineEnds => text.replace("\r\n", "\n"),
        _ => text.to_owned(),
    };
    let mut ids = Vec::new();
    for piece in slipped_pieces(&text, specials, slip) {
        match piece {
            Piece::Special(n) if slip == Slip::SpecialsFirst => ids.push(BYTES + n),
            Piece::Special(n) => ids.push(BYTES + merges.len() + n),
            Piece::Text(text) => {
                for word in slipped_words(&text, slip) {
                    ids.extend(encode_word(&word, merges, &ranks, slip));
                }
            }
        }
    }
    Ok(ids)
}

fn slipped_pieces(text: &str, specials: &[String], slip: Slip) -> Vec<Piece> {
    match slip {
        Slip::SpecialsIgnored => return vec![Piece::Text(text.to_owned())],
        Slip::Unchecked if specials.iter().any(String::is_empty) => {
            return vec![Piece::Text(text.to_owned())];
        }
        Slip::FirstSpecial => {}
        _ => return bpe::cut(text, specials),
    }
    // Of those that fit at the earliest place, the first in the list.
    let mut pieces = Vec::new();
    let mut rest = text;
    let places = |rest: &str| {
        let found = specials.iter().enumerate();
        found.filter_map(|(n, s)| rest.find(s.as_str()).map(|at| (at, n))).min()
    };
    while let Some((at, n)) = places(rest) {
        pieces.extend([Piece::Text(rest[..at].to_owned()), Piece::Special(n)]);
        rest = &rest[at + specials[n].len()..];
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces
}

fn slipped_words(text: &str, slip: Slip) -> Vec<String> {
    match slip {
        Slip::NoWords => vec![text.to_owned()],
        Slip::SpaceAfter => text.split_inclusive(' ').map(str::to_owned).collect(),
        _ => bpe::words(text),
    }
}

fn encode_word(
    word: &str,
    merges: &[Pair],
    ranks: &BTreeMap<Pair, usize>,
    slip: Slip,
) -> Vec<usize> {
    let mut ids: Vec<usize> = match slip {
        Slip::Characters => word.chars().map(|c| c as usize).collect(),
        _ => bpe::bytes(word),
    };
    if slip == Slip::LongestToken {
        return longest_tokens(&ids, merges);
    }
    loop {
        let found = ids.windows(2).enumerate().filter_map(|(at, w)| {
            let rank = *ranks.get(&[w[0], w[1]])?;
            Some(match slip {
                Slip::ByAppearance => (0, at, rank),
                Slip::LatestFirst => (merges.len() - rank, at, rank),
                Slip::FromTheRight => (rank, usize::MAX - at, rank),
                _ => (rank, at, rank),
            })
        });
        let Some((_, at, rank)) = found.min() else { return ids };
        let at = if slip == Slip::FromTheRight { usize::MAX - at } else { at };
        ids.splice(at..at + 2, [BYTES + rank]);
        if slip == Slip::OneMerge {
            return ids;
        }
    }
}

/// From left to right, the longest token that fits.
fn longest_tokens(bytes: &[usize], merges: &[Pair]) -> Vec<usize> {
    let mut spelt: BTreeMap<Vec<usize>, usize> = (0..BYTES).map(|id| (vec![id], id)).collect();
    for id in BYTES..BYTES + merges.len().min(400) {
        let bytes = bpe::spell(&[id], merges, &[]).unwrap_or_default();
        spelt.insert(bytes.into_iter().map(usize::from).collect(), id);
    }
    let (mut ids, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let longest = (1..=rest.len()).rev().find_map(|n| Some((n, *spelt.get(&rest[..n])?)));
        let Some((n, id)) = longest else { break };
        ids.push(id);
        rest = &rest[n..];
    }
    ids
}
