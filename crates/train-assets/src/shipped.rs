//! From a trained model to the file that is shipped, and its row in the ledger.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use candle_core::{DType, Tensor};
use sha2::{Digest as _, Sha256};
use wick::{Weights, save_weights};

/// Writes the weights in half precision, with the words about them.
///
/// # Errors
///
/// Fails if the file cannot be written.
pub fn ship(
    path: &Path,
    weights: &BTreeMap<String, Tensor>,
    about: &BTreeMap<String, String>,
) -> Result<()> {
    let mut halves = Weights::new();
    for (name, weight) in weights {
        halves.insert(name, weight.to_dtype(DType::F16)?);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(save_weights(path, &halves, about)?)
}

/// Brings length and SHA-256 in a ledger's row up to date with the file.
///
/// # Errors
///
/// Fails if there is no such row, or a file cannot be read or written.
pub fn enter_in_ledger(folder: &Path, path: &str) -> Result<()> {
    let bytes = fs::read(folder.join(path))?;
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let ledger = folder.join("LEDGER.toml");
    let text = fs::read_to_string(&ledger)?;
    let row = text.find(&format!("path = \"{path}\"\n"));
    let row = row.with_context(|| format!("the ledger has no row of {path}; write one first"))?;
    let end = text[row..].find("[[file]]").map_or(text.len(), |length| row + length);
    let new = |line: &str| match line.split(" = ").next() {
        Some("sha256") => format!("sha256 = \"{hash}\"\n"),
        Some(name @ ("bytes" | "unpacked_bytes")) => format!("{name} = {}\n", bytes.len()),
        _ => line.to_owned(),
    };
    let row_now: String = text[row..end].split_inclusive('\n').map(new).collect();
    fs::write(&ledger, [&text[..row], &row_now, &text[end..]].concat())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_row_of_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let row = |path: &str| {
            format!(
                "[[file]]\npath = \"{path}\"\nsha256 = \"0\"\nbytes = 1\nunpacked_bytes = 1\n\n"
            )
        };
        let ledger = folder.path().join("LEDGER.toml");
        fs::write(&ledger, [row("a"), row("b"), row("c")].concat()).unwrap();
        fs::write(folder.path().join("b"), "hello").unwrap();
        enter_in_ledger(folder.path(), "b").unwrap();
        let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let now = row("b").replace("\"0\"", &format!("\"{hash}\"")).replace("= 1", "= 5");
        assert_eq!(fs::read_to_string(&ledger).unwrap(), [row("a"), now, row("c")].concat());
        assert!(enter_in_ledger(folder.path(), "d").is_err());
    }
}
