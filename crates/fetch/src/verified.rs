//! Holding a file to its length and hash.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::Remote;

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) found: String,
    pub(crate) expected: String,
}

/// Compares a file with its pin; `None` if they agree.
pub(crate) fn difference(path: &Path, remote: &Remote) -> io::Result<Option<Difference>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length != remote.bytes {
        let (found, expected) = (format!("{length} bytes"), format!("{} bytes", remote.bytes));
        return Ok(Some(Difference { found, expected }));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let (found, expected) = (format!("SHA-256 {found}"), format!("SHA-256 {}", remote.sha256));
    Ok((found != expected).then_some(Difference { found, expected }))
}
