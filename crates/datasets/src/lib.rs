//! Reads the data under `datasets/`; nothing else in the workspace opens a file there.
//!
//! [`digits`] and [`fashion`] give whole sets; [`Labelled::part`] splits one by a rule that never
//! changes, so what is held out stays held out.
//!
//! **Invariant:** no byte of a file is used before its length and SHA-256 were found to be those
//! in `datasets/LEDGER.toml`, and no more is read or unpacked than the ledger says.

mod csv;
mod idx;
mod labelled;
mod ledger;

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

/// The folder of the data, as this crate was built.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets"))
}
