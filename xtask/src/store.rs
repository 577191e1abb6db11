//! Saving files so that a kill at any moment loses nothing.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

/// Writes a file whole or not at all, with a new modification time.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().context("invariant: a saved file is in a folder")?;
    let saving = || format!("{} could not be saved", path.display());
    fs::create_dir_all(folder).with_context(saving)?;
    let mut file = NamedTempFile::new_in(scratch(path, folder)).with_context(saving)?;
    file.write_all(bytes).with_context(saving)?;
    file.as_file().sync_all().with_context(saving)?;
    // A temporary file is private; what replaces a source file must stay readable as it was.
    if let Ok(old) = fs::metadata(path) {
        file.as_file().set_permissions(old.permissions()).with_context(saving)?;
    }
    file.persist(path).map_err(|error| error.error).with_context(saving)?;
    sync_folder(folder);
    Ok(())
}

/// Where the unfinished file lies: with our own, so that a kill leaves nothing among the learner's.
fn scratch(path: &Path, folder: &Path) -> PathBuf {
    let ours = path.ancestors().map(|above| above.join(".wick")).find(|ours| ours.is_dir());
    ours.unwrap_or_else(|| folder.to_owned())
}

/// Makes a rename durable, where the system can.
fn sync_folder(folder: &Path) {
    if cfg!(unix)
        && let Ok(folder) = fs::File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_file_replaces_the_old_one_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner/progress.json");
        save(&path, b"one").unwrap();
        save(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_hash_is_sha_256() {
        assert!(hash(b"abc").starts_with("ba7816bf8f01cfea"));
    }
}
