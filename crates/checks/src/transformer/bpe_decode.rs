//! `bpe_decode`: from token ids to text, piece by piece.

use answer::answer;
use protocol::Value;

use super::{
    bpe::{self, BYTES, Pair},
    bpe_encode::merges,
    torture,
};
use crate::{Alternative, Check, Impostor, Kind, Outcome, Part, Stop, Trial, args};

/// An answer that makes one mistake.
macro_rules! slip {
    ($slip:expr) => {
        answer!(|ids: &[usize],
                 merges: &[[usize; 2]],
                 specials: &[String],
                 pending: &[u8],
                 last: bool| {
            let vocabulary = Vocabulary { merges, specials };
            decode(ids, vocabulary, pending, last, $slip)
        })
    };
}

pub(super) const BPE_DECODE: Part = Part {
    name: "bpe_decode",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "matches_gpt2",
            promise: "With GPT-2's merges, the text is that of the tokens, specials included.",
            kind: Kind::Reference,
            run: matches_gpt2,
        },
        Check {
            name: "broken_bytes_become_replacements",
            promise: "Each broken start of a character becomes one U+FFFD; the rest is kept.",
            kind: Kind::Property,
            run: broken_bytes_become_replacements,
        },
        Check {
            name: "pieces_give_the_same_text",
            promise: "However the ids are cut into calls, the texts together are the same.",
            kind: Kind::Property,
            run: pieces_give_the_same_text,
        },
        Check {
            name: "unknown_ids_are_refused",
            promise: "An id that is no token's, or a merge of ids that do not exist, is an error.",
            kind: Kind::Errors,
            run: unknown_ids_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "each_token_by_itself",
            diagnosis: "each token becomes text by itself, so that a character spread over two is \
                        broken",
            caught_by: "documented_example",
            answer: slip!(Slip::Alone),
        },
        Impostor {
            name: "bytes_taken_for_characters",
            diagnosis: "each byte becomes the character of that number; the bytes are UTF-8",
            caught_by: "documented_example",
            answer: slip!(Slip::Latin),
        },
        Impostor {
            name: "pending_ignored",
            diagnosis: "the bytes that the call before handed back are not put in front",
            caught_by: "documented_example",
            answer: slip!(Slip::PendingIgnored),
        },
        Impostor {
            name: "nothing_held_back",
            diagnosis: "an unfinished character at the end becomes U+FFFD at once; it should be \
                        handed back",
            caught_by: "documented_example",
            answer: slip!(Slip::NothingHeld),
        },
        Impostor {
            name: "end_forgotten",
            diagnosis: "an unfinished character at the very end is still handed back with `last`",
            caught_by: "documented_example",
            answer: slip!(Slip::EndForgotten),
        },
        Impostor {
            name: "halves_swapped",
            diagnosis: "the right half of a merge is spelt before its left half",
            caught_by: "matches_gpt2",
            answer: slip!(Slip::Swapped),
        },
        Impostor {
            name: "merges_spelt_once",
            diagnosis: "the halves of a merge are taken for bytes; they may be merges themselves",
            caught_by: "matches_gpt2",
            answer: slip!(Slip::Shallow),
        },
        Impostor {
            name: "specials_left_out",
            diagnosis: "specials are left out of the text",
            caught_by: "matches_gpt2",
            answer: slip!(Slip::NoSpecials),
        },
        Impostor {
            name: "broken_bytes_dropped",
            diagnosis: "bytes that are no character are dropped; they should become U+FFFD",
            caught_by: "documented_example",
            answer: slip!(Slip::Dropped),
        },
        Impostor {
            name: "broken_bytes_an_error",
            diagnosis: "bytes that are no UTF-8 give an error; a model may well write such",
            caught_by: "documented_example",
            answer: slip!(Slip::Strict),
        },
        Impostor {
            name: "one_replacement_a_byte",
            diagnosis: "each broken byte becomes a U+FFFD; a start that is broken off becomes one",
            caught_by: "broken_bytes_become_replacements",
            answer: slip!(Slip::EachByte),
        },
        Impostor {
            name: "one_replacement_a_run",
            diagnosis: "broken bytes side by side become one U+FFFD together",
            caught_by: "broken_bytes_become_replacements",
            answer: slip!(Slip::Run),
        },
        Impostor {
            name: "broken_text_held_back",
            diagnosis: "from the first broken byte on, everything is handed back; only a start \
                        at the very end may be",
            caught_by: "pieces_give_the_same_text",
            answer: slip!(Slip::AllHeld),
        },
        Impostor {
            name: "held_by_first_byte",
            diagnosis: "what the first byte announces is waited for, though the bytes after it \
                        already break it",
            caught_by: "pieces_give_the_same_text",
            answer: slip!(Slip::ByFirstByte),
        },
        Impostor {
            name: "unknown_ids_skipped",
            diagnosis: "ids that are no token's are skipped without a word",
            caught_by: "unknown_ids_are_refused",
            answer: slip!(Slip::UnknownSkipped),
        },
        Impostor {
            name: "merges_not_looked_at",
            diagnosis: "a merge of ids that do not exist yet goes unnoticed",
            caught_by: "unknown_ids_are_refused",
            answer: slip!(Slip::Unchecked),
        },
    ],
    alternatives: &[Alternative { name: "by_chunks", answer: slip!(Slip::None) }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    gives(trial, call(&[195, 169], &[], false), "é", &[])?;
    gives(trial, call(&[99, 97, 102, 195], &[], false), "caf", &[195])?;
    gives(trial, call(&[169], &[195], false), "é", &[])?;
    gives(trial, call(&[195], &[], true), "�", &[])
}

fn matches_gpt2(trial: &mut Trial) -> Outcome {
    let specials = ["<|endoftext|>", "<|日|>"].map(str::to_owned);
    let merges = &merges(trial)?[..3000];
    let text = format!(
        "{}<|日|>{}",
        torture::TEXTS.join("<|endoftext|>"),
        torture::random(&mut trial.rng, 99)
    );
    let ids = bpe::encode(&text, merges, &specials);
    let vocabulary = Vocabulary { merges, specials: &specials };
    decodes(trial, &ids, vocabulary)?;
    // What a model that was never trained would write.
    let random: Vec<usize> = (0..80).map(|_| trial.rng.below(BYTES + 3002)).collect();
    decodes(trial, &random, vocabulary)
}

fn broken_bytes_become_replacements(trial: &mut Trial) -> Outcome {
    for (bytes, text) in torture::BROKEN {
        let ids: Vec<usize> = bytes.iter().map(|&byte| byte.into()).collect();
        gives(trial, call(&ids, &[], true), text, &[])?;
    }
    let random: Vec<usize> = (0..120).map(|_| trial.rng.between(0x7a, 0xff)).collect();
    decodes(trial, &random, Vocabulary { merges: &[], specials: &[] })
}

fn pieces_give_the_same_text(trial: &mut Trial) -> Outcome {
    let merges = &merges(trial)?[..300];
    let vocabulary = Vocabulary { merges, specials: &[] };
    let mut bytes = torture::random(&mut trial.rng, 8).into_bytes();
    bytes.extend(torture::BROKEN.iter().flat_map(|(bytes, _)| *bytes));
    let mut ids: Vec<usize> = bytes.into_iter().map(usize::from).collect();
    ids.extend((0..10).map(|_| trial.rng.below(BYTES + merges.len())));
    let (mut text, mut pending, mut at) = (String::new(), Vec::new(), 0);
    while at < ids.len() {
        let next = (at + trial.rng.between(1, 2)).min(ids.len());
        let last = next == ids.len();
        let (more, held) = answered(trial, question(&ids[at..next], vocabulary, &pending, last))?;
        text += &more;
        let read = bpe::spell(&ids[..next], merges, &[]).unwrap_or_default();
        let (wanted, wanted_held) = whole(&read, last);
        trial.ensure(text == wanted && held == wanted_held, || {
            let (got, wanted) = (tail(&text), tail(&wanted));
            format!(
                "After {next} ids the text ends in {got}, and {held:02x?} is handed back; \
                 expected {wanted} and {wanted_held:02x?}."
            )
        })?;
        (pending, at) = (held, next);
    }
    Ok(())
}

fn unknown_ids_are_refused(trial: &mut Trial) -> Outcome {
    let specials = ["<|end|>".to_owned()];
    let vocabulary = Vocabulary { merges: &[[97, 98], [256, 99]], specials: &specials };
    trial.refuses("there is no token 259", question(&[97, 259], vocabulary, &[], true))?;
    let unsound = Vocabulary { merges: &[[97, 257], [97, 98]], ..vocabulary };
    let case = "the first merge joins an id that comes after it";
    trial.refuses(case, question(&[97], unsound, &[], true)).map(drop)
}

/// What ids mean.
#[derive(Clone, Copy)]
struct Vocabulary<'a> {
    merges: &'a [Pair],
    specials: &'a [String],
}

fn question(
    ids: &[usize],
    vocabulary: Vocabulary<'_>,
    pending: &[u8],
    last: bool,
) -> Vec<(&'static str, Value)> {
    args![
        ids: ids,
        merges: vocabulary.merges,
        specials: vocabulary.specials.to_vec(),
        pending: pending.to_vec(),
        last: last
    ]
}

/// A question about bytes alone.
fn call(ids: &[usize], pending: &[u8], last: bool) -> Vec<(&'static str, Value)> {
    question(ids, Vocabulary { merges: &[], specials: &[] }, pending, last)
}

fn answered(
    trial: &mut Trial,
    question: Vec<(&'static str, Value)>,
) -> Result<(String, Vec<u8>), Stop> {
    match trial.values(question)?.as_slice() {
        [Value::Text(text), Value::Bytes(held)] => Ok((text.clone(), held.clone())),
        _ => Err(trial.wrong("It did not return a text and bytes.".to_owned())),
    }
}

fn gives(
    trial: &mut Trial,
    question: Vec<(&'static str, Value)>,
    expected: &str,
    expected_held: &[u8],
) -> Outcome {
    let (text, held) = answered(trial, question)?;
    trial.ensure(text == expected, || {
        let at = text.chars().zip(expected.chars()).take_while(|(a, b)| a == b).count();
        let from = |text: &str| text.chars().skip(at).take(12).collect::<String>();
        format!(
            "From character {at} on, the text is {:?}; expected {:?}.",
            from(&text),
            from(expected)
        )
    })?;
    trial.ensure(held == expected_held, || {
        format!("The bytes {held:02x?} are handed back; expected {expected_held:02x?}.")
    })
}

/// Asks for everything at once.
fn decodes(trial: &mut Trial, ids: &[usize], vocabulary: Vocabulary<'_>) -> Outcome {
    let spelt = bpe::spell(ids, vocabulary.merges, vocabulary.specials).unwrap_or_default();
    let expected = String::from_utf8_lossy(&spelt).into_owned();
    gives(trial, question(ids, vocabulary, &[], true), &expected, &[])
}

fn tail(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(8);
    format!("{:?}", text.chars().skip(skipped).collect::<String>())
}

/// The text of bytes, and what at their end may become a character: the shortest end without which
/// one more character could follow.
fn whole(bytes: &[u8], last: bool) -> (String, Vec<u8>) {
    // A start of a character has at most three bytes, and some four bytes make it whole.
    let fillers: [&[u8]; 6] =
        [&[0x80], &[0xbf], &[0x80, 0x80], &[0xbf, 0x80], &[0x80, 0x80, 0x80], &[0xbf, 0x80, 0x80]];
    for n in 1..=3.min(bytes.len()) {
        let (before, end) = bytes.split_at(bytes.len() - n);
        let completes = |filler: &&[u8]| std::str::from_utf8(&[end, filler].concat()).is_ok();
        let starts = end[0] >= 0xc0 && fillers.iter().any(completes);
        if !last && starts {
            return (String::from_utf8_lossy(before).into_owned(), end.to_vec());
        }
    }
    (String::from_utf8_lossy(bytes).into_owned(), Vec::new())
}

/// What can go wrong in decoding.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    Alone,
    Latin,
    PendingIgnored,
    NothingHeld,
    EndForgotten,
    Swapped,
    Shallow,
    NoSpecials,
    Dropped,
    Strict,
    EachByte,
    Run,
    AllHeld,
    ByFirstByte,
    UnknownSkipped,
    Unchecked,
}

/// Decodes with a slip.
fn decode(
    ids: &[usize],
    vocabulary: Vocabulary<'_>,
    pending: &[u8],
    last: bool,
    slip: Slip,
) -> anyhow::Result<(String, Vec<u8>)> {
    let late = |(n, pair): (usize, &Pair)| pair.iter().any(|&id| id >= BYTES + n);
    let unsound = vocabulary.merges.iter().enumerate().any(late);
    anyhow::ensure!(!unsound || slip == Slip::Unchecked, "a merge joins what comes after it");
    let mut bytes = if slip == Slip::PendingIgnored { Vec::new() } else { pending.to_vec() };
    let mut alone = String::new();
    for &id in ids {
        let spelt = spelt(id, vocabulary, slip);
        anyhow::ensure!(spelt.is_some() || slip == Slip::UnknownSkipped, "there is no token {id}");
        let spelt = spelt.unwrap_or_default();
        alone += &String::from_utf8_lossy(&spelt);
        bytes.extend(spelt);
    }
    match slip {
        Slip::Alone => return Ok((alone, Vec::new())),
        Slip::Latin => return Ok((bytes.into_iter().map(char::from).collect(), Vec::new())),
        _ => {}
    }
    let last = last && slip != Slip::EndForgotten || slip == Slip::NothingHeld;
    let held = if last { 0 } else { held_back(&bytes, slip) };
    let (now, later) = bytes.split_at(bytes.len() - held);
    if slip == Slip::Strict {
        return Ok((std::str::from_utf8(now)?.to_owned(), later.to_vec()));
    }
    Ok((replaced(now, slip), later.to_vec()))
}

fn spelt(id: usize, vocabulary: Vocabulary<'_>, slip: Slip) -> Option<Vec<u8>> {
    let Vocabulary { merges, specials } = vocabulary;
    if let Ok(byte) = u8::try_from(id) {
        return Some(vec![byte]);
    }
    if let Some(&[left, right]) = merges.get(id - BYTES) {
        return match slip {
            Slip::Shallow => Some(vec![left as u8, right as u8]),
            Slip::Swapped => {
                Some([spelt(right, vocabulary, slip)?, spelt(left, vocabulary, slip)?].concat())
            }
            _ => Some([spelt(left, vocabulary, slip)?, spelt(right, vocabulary, slip)?].concat()),
        };
    }
    let special = specials.get(id - BYTES - merges.len())?;
    Some(if slip == Slip::NoSpecials { Vec::new() } else { special.clone().into_bytes() })
}

/// How many bytes at the end may still become a character.
fn held_back(bytes: &[u8], slip: Slip) -> usize {
    match slip {
        Slip::AllHeld => {
            std::str::from_utf8(bytes).map_or_else(|e| bytes.len() - e.valid_up_to(), |_| 0)
        }
        Slip::ByFirstByte => {
            let end = (1..=3.min(bytes.len())).find(|n| bytes[bytes.len() - n] >= 0xc0);
            let announced = |n: &usize| match bytes[bytes.len() - n] {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            end.filter(|n| announced(n) > *n).unwrap_or(0)
        }
        _ => unfinished(bytes),
    }
}

/// The broken bytes of the last chunk, if the end is all that is wrong with them.
fn unfinished(bytes: &[u8]) -> usize {
    let broken = bytes.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
    match std::str::from_utf8(&bytes[bytes.len() - broken..]) {
        Err(error) if error.error_len().is_none() => broken,
        _ => 0,
    }
}

fn replaced(bytes: &[u8], slip: Slip) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        let n = match (slip, chunk.invalid().len()) {
            (Slip::Dropped, _) | (_, 0) => 0,
            (Slip::EachByte, n) => n,
            (Slip::Run, _) => usize::from(!(chunk.valid().is_empty() && text.ends_with('�'))),
            _ => 1,
        };
        text.extend(std::iter::repeat_n('�', n));
    }
    text
}
