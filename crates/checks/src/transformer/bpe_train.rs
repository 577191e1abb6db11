//! `bpe_train`: merges learned from a text.

use std::collections::{BTreeSet, HashMap};

use answer::answer;

use super::bpe::{self, BYTES, Pair, Piece};
use crate::{Alternative, Check, Generator, Impostor, Kind, Outcome, Part, Stop, Trial, args};

/// An answer that makes one mistake.
macro_rules! slip {
    ($slip:expr) => {
        answer!(|text: &str, specials: &[String], n_merges: usize| {
            learn(text, specials, n_merges, $slip)
        })
    };
}

pub(super) const BPE_TRAIN: Part = Part {
    name: "bpe_train",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "learning_stops",
            promise: "Pairs that are there only once are not merged; learning ends early.",
            kind: Kind::Property,
            run: learning_stops,
        },
        Check {
            name: "matches_definition",
            promise: "On plain text and on text full of ties, the merges are the defined ones.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "tokens_are_bytes",
            promise: "Characters beyond ASCII are learned from as their bytes.",
            kind: Kind::Property,
            run: tokens_are_bytes,
        },
        Check {
            name: "specials_are_never_merged",
            promise: "Specials are not learned from, and nothing is merged across one.",
            kind: Kind::Property,
            run: specials_are_never_merged,
        },
        Check {
            name: "empty_specials_are_refused",
            promise: "A special without text gives an error.",
            kind: Kind::Errors,
            run: empty_specials_are_refused,
        },
        Check {
            name: "four_times_the_work_takes_four_times_the_time",
            promise: "Four times the text and merges take at most 6.76 times as long.",
            kind: Kind::Economy,
            run: four_times_the_work_takes_four_times_the_time,
        },
    ],
    impostors: &[
        Impostor {
            name: "larger_pair_first",
            diagnosis: "of pairs that are there equally often, the one with the larger ids is \
                        merged; it should be the one with the smaller",
            caught_by: "documented_example",
            answer: slip!(Slip::LargerPair),
        },
        Impostor {
            name: "first_seen_first",
            diagnosis: "of pairs that are there equally often, the one that was seen first is \
                        merged; the order of the text should not matter",
            caught_by: "documented_example",
            answer: slip!(Slip::FirstSeen),
        },
        Impostor {
            name: "merged_from_the_right",
            diagnosis: "a run such as `aaa` is merged from its right end: `a (aa)`",
            caught_by: "documented_example",
            answer: slip!(Slip::FromTheRight),
        },
        Impostor {
            name: "single_pairs_merged",
            diagnosis: "pairs that are there only once are merged as well",
            caught_by: "learning_stops",
            answer: slip!(Slip::Singles),
        },
        Impostor {
            name: "overlaps_not_counted",
            diagnosis: "in `aaa` the pair `a a` is counted once; it stands at two places",
            caught_by: "matches_definition",
            answer: slip!(Slip::NoOverlaps),
        },
        Impostor {
            name: "merged_across_words",
            diagnosis: "the text is not cut into words first, so that pairs reach across them",
            caught_by: "matches_definition",
            answer: slip!(Slip::NoWords),
        },
        Impostor {
            name: "each_word_counted_once",
            diagnosis: "a word that is there many times counts once; its pairs count each time",
            caught_by: "matches_definition",
            answer: slip!(Slip::WordsOnce),
        },
        Impostor {
            name: "counts_never_renewed",
            diagnosis: "pairs are counted once at the start, so that what merges make is never \
                        merged again",
            caught_by: "documented_example",
            answer: slip!(Slip::CountOnce),
        },
        Impostor {
            name: "characters_not_bytes",
            diagnosis: "words start as their characters; they should start as their bytes in UTF-8",
            caught_by: "tokens_are_bytes",
            answer: slip!(Slip::Characters),
        },
        Impostor {
            name: "specials_ignored",
            diagnosis: "specials are learned from like any other text",
            caught_by: "specials_are_never_merged",
            answer: slip!(Slip::SpecialsIgnored),
        },
        Impostor {
            name: "specials_deleted",
            diagnosis: "specials are taken out and their two sides joined, so that pairs reach \
                        across",
            caught_by: "specials_are_never_merged",
            answer: slip!(Slip::SpecialsDeleted),
        },
        Impostor {
            name: "shorter_special_first",
            diagnosis: "where two specials could be cut, the shorter one is, and the rest of the \
                        longer is learned from",
            caught_by: "specials_are_never_merged",
            answer: slip!(Slip::ShorterSpecial),
        },
        Impostor {
            name: "empty_special_accepted",
            diagnosis: "a special without text is accepted, and then overlooked",
            caught_by: "empty_specials_are_refused",
            answer: answer!(|text: &str, specials: &[String], n_merges: usize| {
                let specials: Vec<_> = specials.iter().filter(|s| !s.is_empty()).cloned().collect();
                incremental(text, &specials, n_merges)
            }),
        },
        Impostor {
            name: "everything_recounted",
            diagnosis: "after each merge all pairs are counted anew; only words that held the \
                        merged pair have changed",
            caught_by: "four_times_the_work_takes_four_times_the_time",
            answer: slip!(Slip::None),
        },
    ],
    alternatives: &[Alternative {
        name: "changed_words_only",
        answer: answer!(|text: &str, specials: &[String], n_merges: usize| {
            anyhow::ensure!(specials.iter().all(|s| !s.is_empty()), "a special is empty");
            anyhow::Ok(incremental(text, specials, n_merges))
        }),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    learns(trial, "cbdacbda", &[], 1)?;
    learns(trial, "aaabdaaabac", &[], 3)
}

fn learning_stops(trial: &mut Trial) -> Outcome {
    learns(trial, "abcab", &[], 5)?;
    learns(trial, "", &[], 4)?;
    learns(trial, "a b c d e f", &[], 4)?;
    learns(trial, "hug hug pug", &[], 0)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let play = play(trial)?;
    let start = trial.rng.below(play.len() - 4000);
    learns(trial, &play[start..start + 1500], &[], 24)?;
    learns(trial, "aaa aaaa aaaaa ab ab ab ab ab ab", &[], 3)?;
    for letters in [2, 3] {
        let text = random_words(&mut trial.rng, 40, letters);
        learns(trial, &text, &[], 12)?;
    }
    Ok(())
}

fn tokens_are_bytes(trial: &mut Trial) -> Outcome {
    learns(trial, "héhéhé né né né 日本 日本 日本 👍🏽👍🏽👍🏽", &[], 16)?;
    learns(trial, &super::torture::TEXTS.join(" "), &[], 10)
}

fn specials_are_never_merged(trial: &mut Trial) -> Outcome {
    let specials = ["<|end|>", "<|", "ab"].map(str::to_owned);
    learns(trial, "xy<|end|>xy<|end|>xz<|end|>xz<|end|>", &specials, 6)?;
    learns(trial, "x<|y x<|y xaby xaby <|end|> end> end>", &specials, 6)?;
    let mut text = String::new();
    for _ in 0..60 {
        text += trial.rng.choose(&["x", "y", " ", "<|end|>", "<|", "ab", "a", "end|>"]);
    }
    learns(trial, &text, &specials, 6)
}

fn empty_specials_are_refused(trial: &mut Trial) -> Outcome {
    let specials = vec!["<|end|>".to_owned(), String::new()];
    let question = args![text: "abab", specials: specials, n_merges: 1usize];
    trial.refuses("a special is empty", question).map(drop)
}

/// How many times as long four times the work may take: 2.6 times for each doubling.
const LIMIT: f64 = 2.6 * 2.6;
/// Up to this share of the limit a median is believed at once; above it, all rounds are run.
const CLEAR: f64 = 0.75;
const ROUNDS: std::ops::RangeInclusive<usize> = 5..=15;

fn four_times_the_work_takes_four_times_the_time(trial: &mut Trial) -> Outcome {
    // Each quarter has other letters: it is as much work again, and no more.
    let quarter = random_words(&mut trial.rng, 120, 6);
    let letter = |c: char, n: u8| if c == ' ' { c } else { char::from(c as u8 + 6 * n) };
    let quarters = [0, 1, 2, 3].map(|n| quarter.chars().map(|c| letter(c, n)).collect::<String>());
    let whole = quarters.join(" ");
    // Other work on the machine comes and goes, and slows what runs beside it. So the whole is held
    // against quarters just before and just after it, and the median of all rounds decides.
    let two_quarters = |trial: &mut Trial| -> Result<f64, Stop> {
        Ok(cpu_nanos(trial, &quarter, 12)? + cpu_nanos(trial, &quarter, 12)?)
    };
    let mut ratios = Vec::new();
    let mut before = two_quarters(trial)?;
    for round in 1..=*ROUNDS.end() {
        let between = cpu_nanos(trial, &whole, 48)?;
        let after = two_quarters(trial)?;
        ratios.push(4.0 * between / (before + after));
        before = after;
        if round >= *ROUNDS.start() && median(&mut ratios) <= CLEAR * LIMIT {
            return Ok(());
        }
    }
    trial.ensure(median(&mut ratios) <= LIMIT, || {
        format!(
            "Four times the text with four times the merges took over {LIMIT:.2} times as long, \
             by the median of {} rounds. Does it count pairs in words that the merge has not \
             changed?",
            ROUNDS.end()
        )
    })
}

fn cpu_nanos(trial: &mut Trial, text: &str, n_merges: usize) -> Result<f64, Stop> {
    trial.values(args![text: text, specials: Vec::<String>::new(), n_merges: n_merges])?;
    Ok(trial.usage().cpu_nanos as f64)
}

fn median(ratios: &mut [f64]) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Asks for merges and compares them with the defined ones.
fn learns(trial: &mut Trial, text: &str, specials: &[String], n_merges: usize) -> Outcome {
    let expected = bpe::train(text, specials, n_merges);
    let question = args![text: text, specials: specials.to_vec(), n_merges: n_merges];
    let got = trial.ints(question)?;
    let pairs: Vec<_> = got.chunks(2).collect();
    let all = &expected;
    for (n, expected) in all.iter().enumerate() {
        let spelt = bpe::spell(expected, &all[..n], specials);
        let spelt = String::from_utf8_lossy(&spelt.unwrap_or_default()).into_owned();
        let Some(pair) = pairs.get(n) else {
            let sentence =
                format!("It learned {n} merges; a further one, {expected:?}, which makes");
            return Err(trial.wrong(format!("{sentence} {spelt:?}, is there at least twice.")));
        };
        trial.ensure(pair.iter().copied().eq(expected.iter().map(|&id| id as i64)), || {
            format!("Merge {n} joins {pair:?}; expected {expected:?}, which makes {spelt:?}.")
        })?;
    }
    trial.ensure(got.len() == 2 * expected.len(), || {
        let n = expected.len();
        format!("It learned {} merges; after {n} it should have ended.", pairs.len())
    })
}

fn play(trial: &Trial) -> Result<&'static str, Stop> {
    static PLAY: std::sync::LazyLock<Result<String, String>> =
        std::sync::LazyLock::new(|| datasets::shakespeare().map_err(|error| error.to_string()));
    PLAY.as_deref().map_err(|why| trial.wrong(why.clone()))
}

fn random_words(rng: &mut Generator, n_words: usize, letters: u8) -> String {
    let word = |rng: &mut Generator| -> String {
        let length = rng.between(3, 9);
        (0..length).map(|_| char::from(b'a' + rng.below(letters.into()) as u8)).collect()
    };
    (0..n_words).map(|_| word(rng)).collect::<Vec<_>>().join(" ")
}

/// What can go wrong in learning.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    LargerPair,
    FirstSeen,
    FromTheRight,
    Singles,
    NoOverlaps,
    NoWords,
    WordsOnce,
    CountOnce,
    Characters,
    SpecialsIgnored,
    SpecialsDeleted,
    ShorterSpecial,
}

/// Learns with a slip, counting everything anew after each merge.
fn learn(
    text: &str,
    specials: &[String],
    n_merges: usize,
    slip: Slip,
) -> anyhow::Result<Vec<Pair>> {
    anyhow::ensure!(specials.iter().all(|special| !special.is_empty()), "a special is empty");
    let mut corpus = slipped_corpus(text, specials, slip);
    let mut merges = Vec::new();
    let mut first_counts = None;
    let at_least = if slip == Slip::Singles { 1 } else { 2 };
    while merges.len() < n_merges {
        let mut counts = match (slip, first_counts.take()) {
            (Slip::CountOnce, Some(counts)) => counts,
            _ => counted(&corpus, slip),
        };
        let best = counts.iter().enumerate().max_by_key(|(seen, (pair, count))| match slip {
            Slip::LargerPair => (*count, i64::MAX, pair.map(|id| id as i64)),
            Slip::FirstSeen => (*count, -(*seen as i64), [0, 0]),
            _ => (*count, i64::MAX, pair.map(|id| -(id as i64))),
        });
        let Some((place, &(pair, count))) = best else { break };
        if count < at_least {
            break;
        }
        for word in &mut corpus {
            if slip == Slip::FromTheRight {
                word.reverse();
                bpe::merge(word, [pair[1], pair[0]], BYTES + merges.len());
                word.reverse();
            } else {
                bpe::merge(word, pair, BYTES + merges.len());
            }
        }
        merges.push(pair);
        if slip == Slip::CountOnce {
            counts.remove(place);
            first_counts = Some(counts);
        }
    }
    Ok(merges)
}

fn slipped_corpus(text: &str, specials: &[String], slip: Slip) -> Vec<Vec<usize>> {
    let mut specials = specials.to_vec();
    if slip == Slip::ShorterSpecial {
        specials.sort_by_key(String::len);
        let shorter = specials.first().cloned();
        specials.retain(|s| {
            Some(s) == shorter.as_ref() || !s.starts_with(shorter.as_deref().unwrap_or(s))
        });
    }
    let plain = |piece| if let Piece::Text(text) = piece { Some(text) } else { None };
    let mut texts: Vec<String> = match slip {
        Slip::SpecialsIgnored => vec![text.to_owned()],
        _ => bpe::cut(text, &specials).into_iter().filter_map(plain).collect(),
    };
    if slip == Slip::SpecialsDeleted {
        texts = vec![texts.concat()];
    }
    let mut words: Vec<String> = match slip {
        Slip::NoWords => texts,
        _ => texts.iter().flat_map(|text| bpe::words(text)).collect(),
    };
    if slip == Slip::WordsOnce {
        words = words.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    }
    let ids = |word: &String| match slip {
        Slip::Characters => word.chars().map(|c| c as usize).collect(),
        _ => bpe::bytes(word),
    };
    words.iter().map(ids).collect()
}

/// How often each pair is there, in the order in which they are first seen.
fn counted(corpus: &[Vec<usize>], slip: Slip) -> Vec<(Pair, usize)> {
    let mut counts: Vec<(Pair, usize)> = Vec::new();
    let mut places: HashMap<Pair, usize> = HashMap::new();
    for word in corpus {
        let mut last = None;
        for (at, pair) in word.windows(2).map(|w| [w[0], w[1]]).enumerate() {
            let overlaps = slip == Slip::NoOverlaps && last == Some((at.wrapping_sub(1), pair));
            last = if overlaps { None } else { Some((at, pair)) };
            let place = *places.entry(pair).or_insert(counts.len());
            if place == counts.len() {
                counts.push((pair, 0));
            }
            counts[place].1 += usize::from(!overlaps);
        }
    }
    counts
}

/// Learns by keeping a count of each pair, and the words where each may be.
fn incremental(text: &str, specials: &[String], n_merges: usize) -> Vec<Pair> {
    let mut corpus = slipped_corpus(text, specials, Slip::None);
    let mut counts: HashMap<Pair, i64> = HashMap::new();
    let mut holders: HashMap<Pair, Vec<usize>> = HashMap::new();
    for (n, word) in corpus.iter().enumerate() {
        for pair in word.windows(2).map(|w| [w[0], w[1]]) {
            *counts.entry(pair).or_default() += 1;
            holders.entry(pair).or_default().push(n);
        }
    }
    let mut merges = Vec::new();
    while merges.len() < n_merges {
        let best = counts.iter().max_by_key(|(pair, count)| (**count, std::cmp::Reverse(**pair)));
        let Some((&pair, _)) = best.filter(|(_, count)| **count >= 2) else { break };
        for n in holders.remove(&pair).unwrap_or_default() {
            let before = corpus[n].clone();
            bpe::merge(&mut corpus[n], pair, BYTES + merges.len());
            if before == corpus[n] {
                continue;
            }
            for gone in before.windows(2).map(|w| [w[0], w[1]]) {
                *counts.entry(gone).or_default() -= 1;
            }
            for new in corpus[n].windows(2).map(|w| [w[0], w[1]]) {
                *counts.entry(new).or_default() += 1;
                holders.entry(new).or_default().push(n);
            }
        }
        merges.push(pair);
    }
    merges
}
