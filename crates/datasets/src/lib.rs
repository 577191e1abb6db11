//! Reads the data under `datasets/`; nothing else in the workspace opens a file there.
//!
//! [`digits`] and [`fashion`] give whole sets; [`Labelled::part`] splits one by a rule that never
//! changes, so what is held out stays held out.
//! [`shakespeare`] is text, and [`gpt2_merges`] turns text into tokens.
//! [`model`] gives a trained model's file; [`othello`] and [`repeats`] draw, from a seed and
//! without a file, what such models read.
//!
//! **Invariant:** no byte of a file is used before its length and SHA-256 were found to be those
//! in `datasets/LEDGER.toml`, and no more is read or unpacked than the ledger says.

mod csv;
mod idx;
mod labelled;
mod ledger;
pub mod othello;
pub mod repeats;
mod text;

use std::path::Path;

pub use labelled::{Labelled, Split};
pub use ledger::{DataError, Entry, Ledger};

/// Grey values of a digit, row by row.
const DIGIT_PIXELS: usize = 64;

/// Reads the 1,797 handwritten digits, 8×8 with grey values from 0 to 16.
///
/// # Errors
///
/// Fails if the file is missing, damaged, or not what its ledger says; the error tells the mend.
pub fn digits() -> Result<Labelled, DataError> {
    let ledger = Ledger::ours()?;
    let (path, bytes) = ledger.read("tabular/digits.csv.gz")?;
    csv::labelled_rows(&bytes, DIGIT_PIXELS).map_err(|why| DataError::Malformed { path, why })
}

/// Reads the Fashion-MNIST pictures of [`Split::Train`] (3,000) or [`Split::Test`] (1,000), 28×28
/// with grey values from 0 to 255.
///
/// # Errors
///
/// Fails as [`digits`] does, and for [`Split::Valid`], which this set does not have.
pub fn fashion(split: Split) -> Result<Labelled, DataError> {
    let part = match split {
        Split::Train => "train-3000",
        Split::Test => "test-1000",
        Split::Valid => return Err(DataError::NoSplit("fashion")),
    };
    let ledger = Ledger::ours()?;
    let (path, images) = ledger.read(&format!("images/fashion-{part}-images-idx3-ubyte.gz"))?;
    let (_, labels) = ledger.read(&format!("images/fashion-{part}-labels-idx1-ubyte.gz"))?;
    idx::labelled_images(&images, &labels).map_err(|why| DataError::Malformed { path, why })
}

/// Reads nine plays of Shakespeare as one text, without the few lines that hold a digit, a bracket
/// or `&`: 63 different characters, all ASCII.
///
/// # Errors
///
/// Fails as [`digits`] does.
pub fn shakespeare() -> Result<String, DataError> {
    let (path, bytes) = Ledger::ours()?.read("text/shakespeare_1m.txt.gz")?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|error| DataError::Malformed { path, why: error.to_string() })?;
    Ok(text::clean(&text))
}

/// Reads one part of that text: the first eight tenths to train on, one to choose by, and the last,
/// which is most of "Much Ado About Nothing", to judge by.
///
/// # Errors
///
/// Fails as [`digits`] does.
pub fn shakespeare_part(split: Split) -> Result<String, DataError> {
    let text = shakespeare()?;
    let tenth = |n: usize| text.len() * n / 10;
    let part = match split {
        Split::Train => 0..tenth(8),
        Split::Valid => tenth(8)..tenth(9),
        Split::Test => tenth(9)..text.len(),
    };
    // All its characters are ASCII.
    Ok(text[part].to_owned())
}

/// Reads the 50,000 merges of GPT-2's tokenizer as pairs of ids, in the order in which they were
/// learned: byte `b` has the id `b`, and merge `n` makes the token `256 + n`.
///
/// GPT-2 itself numbers the 256 bytes in another order; every other id is its own.
///
/// # Errors
///
/// Fails as [`digits`] does.
pub fn gpt2_merges() -> Result<Vec<[usize; 2]>, DataError> {
    let (path, bytes) = Ledger::ours()?.read("text/gpt2_merges.txt.gz")?;
    let list = String::from_utf8_lossy(&bytes);
    text::merges(&list).map_err(|why| DataError::Malformed { path, why })
}

/// Reads the safetensors file of a model that was trained here, such as `induction`, whole.
///
/// # Errors
///
/// Fails as [`digits`] does; a name that is no model's has no row in the ledger.
pub fn model(name: &str) -> Result<Vec<u8>, DataError> {
    Ok(Ledger::ours()?.read(&format!("models/{name}.safetensors"))?.1)
}

/// The folder of the data, as this crate was built.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets"))
}
