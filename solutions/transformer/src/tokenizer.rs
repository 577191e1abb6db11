//! From text to tokens and back: byte-level byte-pair encoding, as GPT-2 has it.
//!
//! A token is a string of bytes with a number, its *id*. The ids `0` to `255` are the single bytes.
//! A *merge* is a pair of ids that may be put together; merge `n` makes the token `256 + n`, spelt
//! as its left token followed by its right one. *Specials* are texts such as `<|endoftext|>` that
//! are one token each, numbered after the last merge, and are never cut or merged.
//!
//! ```text
//! "the cat" → words "the", " cat" → bytes 116 104 101, 32 99 97 116 → merged [1169], [3797]
//! ```
//!
//! Text is first cut into words, and nothing is merged across words. The cutting is given, as
//! `wick::words`: GPT-2 does it by one regular expression, and you learn more from the rest.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use candle_core::{Result, bail};
use wick::{part, words};

/// The ids below this are single bytes.
const BYTES: usize = 256;

/// Learns merges from a text: again and again, the pair of neighbours that is there most often.
///
/// # Shapes
///
/// | value      | what                                                                 |
/// |------------|----------------------------------------------------------------------|
/// | `text`     | the text to learn from                                               |
/// | `specials` | texts within it that are tokens already, and not to be learned from  |
/// | `n_merges` | how many merges to learn                                             |
/// | result     | `(merges)` pairs of ids, in the order in which they were learned     |
///
/// # Contract
///
/// - The text is cut at its specials, and what lies between into words with `wick::words`. Each
///   word starts as its bytes.
/// - A pair counts once for every place in a word at which its two ids stand side by side, also
///   where places overlap: `aaa` has the pair `a a` twice.
/// - The pair with the highest count is merged next; among equals the one with the smaller left id,
///   and then the one with the smaller right id.
/// - A merge replaces the pair in every word, from left to right: `aaa` becomes `(aa) a`.
/// - Learning ends early when no pair is there at least twice.
/// - Where two specials could be cut at one place, the longer one is.
/// - Four times the text and four times the merges take at most 6.76 times as long, 2.6 times for
///   each doubling. So count all pairs once, and after a merge only those in the words where it
///   changed something.
///
/// # Errors
///
/// Fails if a special is empty.
///
/// # Example: equals, and three merges
///
/// ```text
/// text = "cbdacbda", no specials, n_merges = 1
/// c b, b d and d a  are there twice each; b d has the smallest left id → result = [[98, 100]]
///
/// text = "aaabdaaabac", no specials, n_merges = 3        (a = 97, b = 98, c = 99, d = 100)
/// a a  is there four times                  → merge 0: [97, 97],    now (aa)abd(aa)abac
/// a b  and  (aa) a  twice, and 97 < 256     → merge 1: [97, 98],    now (aa)(ab)d(aa)(ab)ac
/// (aa) (ab)  twice                          → merge 2: [256, 257]
/// result = [[97, 97], [97, 98], [256, 257]]
/// ```
///
/// Source: Sennrich et al. (2016), §3.2, arXiv:1508.07909; on bytes, Radford et al. (2019),
/// "Language Models are Unsupervised Multitask Learners", §2.2. The example is Wikipedia's.
#[part(plan = "count pairs, merge, recount changed words")]
pub fn bpe_train(text: &str, specials: &[String], n_merges: usize) -> Result<Vec<[usize; 2]>> {
    let mut corpus = Corpus::default();
    for piece in cut(text, specials)? {
        if let Piece::Text(text) = piece {
            for word in words(text) {
                corpus.add(word);
            }
        }
    }
    corpus.count_pairs();
    let mut merges = Vec::new();
    while merges.len() < n_merges {
        let Some(pair) = corpus.best() else { break };
        corpus.merge(pair, BYTES + merges.len());
        merges.push(pair);
    }
    Ok(merges)
}

/// Turns text into token ids.
///
/// # Shapes
///
/// | value      | what                                                             |
/// |------------|------------------------------------------------------------------|
/// | `text`     | any text                                                         |
/// | `merges`   | `(merges)` pairs of ids, in the order in which they were learned |
/// | `specials` | texts that are one token each; the `n`-th is `256 + merges + n`  |
/// | result     | `(seq)` ids                                                      |
///
/// # Contract
///
/// - The text is cut at its specials, the longer one where two could be, and what lies between into
///   words with `wick::words`. Each word starts as its bytes.
/// - Within a word, of all pairs of neighbours that are merges, the one learned first is merged
///   first, wherever it stands; where it stands twice, from left to right. This goes on until no
///   pair of neighbours is a merge.
/// - With GPT-2's 50,000 merges and `<|endoftext|>` the ids are GPT-2's own, but for the single
///   bytes, which GPT-2 numbers in another order.
///
/// # Errors
///
/// Fails if a special is empty, or a merge names an id that no byte and no earlier merge has.
///
/// # Example: the order of learning decides
///
/// ```text
/// merges = [[98, 99], [101, 102], [97, 98], [99, 100], [100, 101], [97, 256]]
/// which make (bc), (ef), (ab), (cd), (de), (abc): 256 to 261
/// text = "def abc bcd"
/// "def"  → d (ef)         [100, 257]       (ef) was learned before (de)
/// " abc" → " " (abc)      [32, 261]        (bc) comes first, and makes room for (abc)
/// " bcd" → " " (bc) d     [32, 256, 100]
/// result = [100, 257, 32, 261, 32, 256, 100]
/// ```
///
/// Source: Sennrich et al. (2016), §3.2, arXiv:1508.07909; the code released with GPT-2,
/// `encoder.py`.
#[part(plan = "words, bytes, earliest merge first")]
pub fn bpe_encode(text: &str, merges: &[[usize; 2]], specials: &[String]) -> Result<Vec<usize>> {
    check_merges(merges)?;
    let made: HashMap<_, _> =
        merges.iter().enumerate().map(|(n, &pair)| (pair, BYTES + n)).collect();
    let mut ids = Vec::new();
    for piece in cut(text, specials)? {
        match piece {
            Piece::Special(n) => ids.push(BYTES + merges.len() + n),
            Piece::Text(text) => {
                for word in words(text) {
                    ids.extend(encode_word(word, &made));
                }
            }
        }
    }
    Ok(ids)
}

/// Turns token ids into text, piece by piece as they are generated.
///
/// A character may be spread over several tokens, so the ids that came so far may end in the middle
/// of one. Its bytes are handed back, and given again with the next ids.
///
/// # Shapes
///
/// | value      | what                                                                      |
/// |------------|---------------------------------------------------------------------------|
/// | `ids`      | `(seq)` ids                                                               |
/// | `merges`   | `(merges)` pairs of ids                                                   |
/// | `specials` | texts that are one token each; the `n`-th is `256 + merges + n`           |
/// | `pending`  | bytes that the call before handed back; at first none                     |
/// | `last`     | whether no further ids will come                                          |
/// | result     | the text, and the bytes at its end that may become a character            |
///
/// # Contract
///
/// - The bytes are `pending`, followed by the spelling of each id; the text is those bytes as
///   UTF-8.
/// - Bytes that can be no part of a character become U+FFFD, `�`, one for each longest start of a
///   character that is broken off: what `String::from_utf8_lossy` does.
/// - A start of a character at the very end that more bytes could complete is handed back, and is
///   not in the text; with `last` it becomes one `�`, and nothing is handed back.
/// - However the ids are cut into calls, the texts together are the same.
///
/// # Errors
///
/// Fails if an id is neither a byte, nor a merge, nor a special, or if a merge names an id that no
/// byte and no earlier merge has.
///
/// # Example: a character in two halves
///
/// ```text
/// "é" is the bytes 195 169
/// ids = [195, 169],         pending = [],    last = false → "é",   and [] is handed back
/// ids = [99, 97, 102, 195], pending = [],    last = false → "caf", and [195] is handed back
/// ids = [169],              pending = [195], last = false → "é",   and [] is handed back
/// ids = [195],              pending = [],    last = true  → "�",   and [] is handed back
/// ```
///
/// Source: the Unicode Standard, §3.9, "U+FFFD Substitution of Maximal Subparts".
#[part(plan = "spell ids, decode what is whole")]
pub fn bpe_decode(
    ids: &[usize],
    merges: &[[usize; 2]],
    specials: &[String],
    pending: &[u8],
    last: bool,
) -> Result<(String, Vec<u8>)> {
    check_merges(merges)?;
    let mut bytes = pending.to_vec();
    for &id in ids {
        spell(id, merges, specials, &mut bytes)?;
    }
    let mut text = String::new();
    let mut rest = bytes.as_slice();
    loop {
        let broken = match std::str::from_utf8(rest) {
            Ok(whole) => {
                text.push_str(whole);
                return Ok((text, Vec::new()));
            }
            Err(broken) => broken,
        };
        let (whole, after) = rest.split_at(broken.valid_up_to());
        text.push_str(&String::from_utf8_lossy(whole));
        // Without a length, the bytes just end too early.
        let length = match broken.error_len() {
            None if !last => return Ok((text, after.to_vec())),
            None => after.len(),
            Some(length) => length,
        };
        text.push(char::REPLACEMENT_CHARACTER);
        rest = &after[length..];
    }
}

/// Text between specials, or the place of a special in its list.
enum Piece<'a> {
    Text(&'a str),
    Special(usize),
}

/// Cuts a text at its specials.
fn cut<'a>(text: &'a str, specials: &[String]) -> Result<Vec<Piece<'a>>> {
    if specials.iter().any(String::is_empty) {
        bail!("a special token has no text");
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let found = specials.iter().enumerate().filter_map(|(n, special)| {
            let at = rest.find(special.as_str())?;
            // Earliest first, and of those the longest.
            Some((at, Reverse(special.len()), n))
        });
        let Some((at, Reverse(length), n)) = found.min() else {
            pieces.push(Piece::Text(rest));
            return Ok(pieces);
        };
        pieces.extend([Piece::Text(&rest[..at]), Piece::Special(n)]);
        rest = &rest[at + length..];
    }
}

/// What is learned from: each different word once, and where every pair is.
#[derive(Default)]
struct Corpus {
    /// The place of each word in `words`.
    places: HashMap<String, usize>,
    /// The ids of each word, and how often it is in the text.
    words: Vec<(Vec<usize>, usize)>,
    /// How often each pair is there.
    counts: HashMap<[usize; 2], usize>,
    /// Words that held a pair when they were last counted.
    holders: HashMap<[usize; 2], BTreeSet<usize>>,
}

impl Corpus {
    fn add(&mut self, word: &str) {
        let place = *self.places.entry(word.to_owned()).or_insert(self.words.len());
        if place == self.words.len() {
            self.words.push((word.bytes().map(usize::from).collect(), 0));
        }
        self.words[place].1 += 1;
    }

    fn count_pairs(&mut self) {
        (0..self.words.len()).for_each(|place| self.count(place, true));
    }

    /// Adds or takes away what one word has of each pair.
    fn count(&mut self, place: usize, adds: bool) {
        let (ids, times) = &self.words[place];
        for pair in pairs(ids) {
            let count = self.counts.entry(pair).or_default();
            if adds {
                *count += times;
                self.holders.entry(pair).or_default().insert(place);
            } else {
                *count -= times;
            }
        }
    }

    /// The pair to merge next, if one is there at least twice.
    fn best(&self) -> Option<[usize; 2]> {
        let often = self.counts.iter().filter(|(_, count)| **count >= 2);
        // A map has no order, so equals must be told apart by what they are.
        let (pair, _) = often.max_by_key(|(pair, count)| (*count, Reverse(*pair)))?;
        Some(*pair)
    }

    /// Merges a pair wherever it is; only words that hold it are looked at.
    fn merge(&mut self, pair: [usize; 2], made: usize) {
        for place in self.holders.remove(&pair).unwrap_or_default() {
            self.count(place, false);
            let merged = merge(&self.words[place].0, pair, made);
            self.words[place].0 = merged;
            self.count(place, true);
        }
    }
}

fn pairs(ids: &[usize]) -> impl Iterator<Item = [usize; 2]> {
    ids.windows(2).map(|pair| [pair[0], pair[1]])
}

/// Replaces a pair by the id that it makes, from left to right.
fn merge(ids: &[usize], pair: [usize; 2], made: usize) -> Vec<usize> {
    let mut merged = Vec::with_capacity(ids.len());
    let mut rest = ids;
    while let Some((&first, after)) = rest.split_first() {
        let found = rest.starts_with(&pair);
        merged.push(if found { made } else { first });
        rest = if found { &rest[2..] } else { after };
    }
    merged
}

/// Merges within one word until nothing is left to merge.
fn encode_word(word: &str, made: &HashMap<[usize; 2], usize>) -> Vec<usize> {
    let mut ids: Vec<usize> = word.bytes().map(usize::from).collect();
    // What was learned first has the smallest id.
    while let Some(next) =
        pairs(&ids).filter_map(|pair| made.get(&pair).map(|&id| (id, pair))).min()
    {
        ids = merge(&ids, next.1, next.0);
    }
    ids
}

/// Adds the bytes of a token, left half before right half, without recursion.
fn spell(id: usize, merges: &[[usize; 2]], specials: &[String], bytes: &mut Vec<u8>) -> Result<()> {
    let mut waiting = vec![id];
    while let Some(id) = waiting.pop() {
        if let Ok(byte) = u8::try_from(id) {
            bytes.push(byte);
        } else if let Some([left, right]) = merges.get(id - BYTES) {
            waiting.extend([right, left]);
        } else if let Some(special) = specials.get(id - BYTES - merges.len()) {
            bytes.extend(special.bytes());
        } else {
            bail!("there is no token {id}; there are {}", BYTES + merges.len() + specials.len());
        }
    }
    Ok(())
}

/// Proves that each merge joins tokens that were there before it, so that spelling ends.
fn check_merges(merges: &[[usize; 2]]) -> Result<()> {
    for (n, pair) in merges.iter().enumerate() {
        if pair.iter().any(|&id| id >= BYTES + n) {
            bail!("merge {n} joins {pair:?}, but only ids below {} exist by then", BYTES + n);
        }
    }
    Ok(())
}
