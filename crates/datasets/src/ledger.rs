//! The ledger: what each file must be, and the reading that holds files to it.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The rows of `datasets/LEDGER.toml`, and the folder that they speak of.
#[derive(Debug)]
pub struct Ledger {
    /// The rows.
    pub entries: Vec<Entry>,
    folder: PathBuf,
}

/// What stands in the ledger about one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it is below `datasets/`.
    pub path: String,
    /// What is in it.
    pub what: String,
    /// Who made it, and from where it was taken.
    pub source: String,
    /// Its SPDX identifier.
    pub licence: String,
    /// What was changed since the source.
    pub changes: String,
    /// Of the bytes as they lie there, in hexadecimal.
    pub sha256: String,
    /// Their number.
    pub bytes: u64,
    /// Their number once unpacked.
    pub unpacked_bytes: u64,
    /// Exercises that read it.
    pub used_by: Vec<String>,
}

/// Why data could not be read; each says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The ledger itself cannot be read.
    #[error(
        "datasets/LEDGER.toml cannot be read: {0}. Bring it back with `git checkout -- \
         datasets/LEDGER.toml`"
    )]
    Ledger(String),
    /// Nothing stands in the ledger about a file.
    #[error("datasets/{0} has no row in datasets/LEDGER.toml; only files with one are read")]
    Unlisted(String),
    /// The file is not there, or the system does not let it be read.
    #[error(
        "datasets/{path} cannot be read: {error}. Bring it back with `git checkout -- \
         datasets/{path}`"
    )]
    Missing {
        /// Which file.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The bytes are not those of the ledger.
    #[error(
        "datasets/{path} is damaged: it has {found_bytes} bytes and SHA-256 {found}; expected \
         {expected_bytes} bytes and {expected}. Bring it back with `git checkout -- \
         datasets/{path}`"
    )]
    Damaged {
        /// Which file.
        path: String,
        /// How many bytes are there; if too many, one more than there may be.
        found_bytes: u64,
        /// How many there must be.
        expected_bytes: u64,
        /// The SHA-256 of what is there, as far as it was read.
        found: String,
        /// The SHA-256 that it must have.
        expected: String,
    },
    /// The bytes are those of the ledger and yet not what a reader expects.
    #[error("datasets/{path} does not hold what its reader expects: {why}")]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The set has no such part.
    #[error("the set {0} has no part of that name")]
    NoSplit(&'static str),
}

impl Ledger {
    /// The ledger of this workspace.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn ours() -> Result<Self, DataError> {
        Self::of(crate::folder())
    }

    /// The ledger in a folder.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or it says something else than rows.
    pub fn of(folder: &Path) -> Result<Self, DataError> {
        #[derive(Deserialize)]
        struct Rows {
            file: Vec<Entry>,
        }
        let bad = |why: &dyn ToString| DataError::Ledger(why.to_string());
        let text = std::fs::read_to_string(folder.join("LEDGER.toml")).map_err(|e| bad(&e))?;
        let rows: Rows = toml::from_str(&text).map_err(|e| bad(&e))?;
        Ok(Self { entries: rows.file, folder: folder.to_owned() })
    }

    /// Reads a file, proves that it is the ledger's, and unpacks it.
    ///
    /// Returns its path as well, for messages.
    ///
    /// # Errors
    ///
    /// Fails if the file has no row, is missing or damaged, or does not unpack as its row says.
    pub fn read(&self, path: &str) -> Result<(String, Vec<u8>), DataError> {
        let entry = self.entries.iter().find(|entry| entry.path == path);
        let entry = entry.ok_or_else(|| DataError::Unlisted(path.to_owned()))?;
        let packed = self.packed(entry)?;
        let path = path.to_owned();
        if Path::new(&path).extension().is_none_or(|ending| ending != "gz") {
            return Ok((path, packed));
        }
        match at_most(GzDecoder::new(packed.as_slice()), entry.unpacked_bytes) {
            Ok(bytes) if bytes.len() as u64 == entry.unpacked_bytes => Ok((path, bytes)),
            Ok(bytes) => {
                let (found, expected) = (bytes.len(), entry.unpacked_bytes);
                let why = format!("it unpacks to {found} bytes or more, not {expected}");
                Err(DataError::Malformed { path, why })
            }
            Err(error) => Err(DataError::Malformed { path, why: error.to_string() }),
        }
    }

    /// The bytes of a file as they lie there.
    fn packed(&self, entry: &Entry) -> Result<Vec<u8>, DataError> {
        let missing = |error| DataError::Missing { path: entry.path.clone(), error };
        let file = File::open(self.folder.join(&entry.path)).map_err(missing)?;
        let bytes = at_most(file, entry.bytes).map_err(missing)?;
        let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        if found == entry.sha256 {
            return Ok(bytes);
        }
        Err(DataError::Damaged {
            path: entry.path.clone(),
            found_bytes: bytes.len() as u64,
            expected_bytes: entry.bytes,
            found,
            expected: entry.sha256.clone(),
        })
    }
}

/// Reads no further than one byte beyond `bound`.
fn at_most(from: impl Read, bound: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
