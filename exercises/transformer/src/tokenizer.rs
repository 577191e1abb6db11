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

use candle_core::Result;
use wick::part;

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
#[part]
pub fn bpe_train(text: &str, specials: &[String], n_merges: usize) -> Result<Vec<[usize; 2]>> {
    todo!("count pairs, merge, recount changed words")
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
#[part]
pub fn bpe_encode(text: &str, merges: &[[usize; 2]], specials: &[String]) -> Result<Vec<usize>> {
    todo!("words, bytes, earliest merge first")
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
#[part]
pub fn bpe_decode(
    ids: &[usize],
    merges: &[[usize; 2]],
    specials: &[String],
    pending: &[u8],
    last: bool,
) -> Result<(String, Vec<u8>)> {
    todo!("spell ids, decode what is whole")
}
