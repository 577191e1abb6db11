//! Every write of a scaffold, taken down so that it can be undone.
//!
//! **Invariant:** a step is taken down before it is made, so that one which was broken off is
//! undone as well.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use anyhow::Context as _;

use crate::store;

/// What was done so far, for the handler of Ctrl-C to see as well.
static STEPS: Mutex<Vec<Step>> = Mutex::new(Vec::new());

/// Whether Ctrl-C came; cargo gets it too, and its end is then no news.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

enum Step {
    CreatedFolder(PathBuf),
    CreatedFile(PathBuf),
    /// With what was there.
    Replaced(PathBuf, Vec<u8>),
}

fn steps() -> MutexGuard<'static, Vec<Step>> {
    STEPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates a file, and the folders that it needs.
pub(crate) fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut steps = steps();
    let creating = || format!("{} could not be created", path.display());
    let missing = path.ancestors().skip(1).take_while(|folder| !folder.exists());
    let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    while let Some(folder) = missing.pop() {
        steps.push(Step::CreatedFolder(folder.clone()));
        fs::create_dir(&folder).with_context(creating)?;
    }
    anyhow::ensure!(!path.exists(), "{} is there already", path.display());
    steps.push(Step::CreatedFile(path.to_owned()));
    fs::write(path, text).with_context(creating)
}

/// Replaces a file in one step.
pub(crate) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    keep(path)?;
    let _steps = steps();
    store::save(path, text.as_bytes())
}

/// Takes a file down that somebody else will replace, such as cargo its lock file.
pub(crate) fn keep(path: &Path) -> anyhow::Result<()> {
    let reading = || format!("{} could not be read", path.display());
    let bytes = fs::read(path).with_context(reading)?;
    steps().push(Step::Replaced(path.to_owned(), bytes));
    Ok(())
}

/// Undoes every step, because somebody pressed Ctrl-C; says whether there was one.
pub(crate) fn interrupt() -> bool {
    INTERRUPTED.store(true, SeqCst);
    let had_steps = !steps().is_empty();
    undo();
    had_steps
}

/// After Ctrl-C, leaves the last word to its handler, which ends the process.
pub(crate) fn yield_to_interrupt() {
    while INTERRUPTED.load(SeqCst) {
        thread::park();
    }
}

/// Keeps what was done.
pub(crate) fn settle() {
    steps().clear();
}

/// Undoes every step since the last [`settle`], the last one first; says what it could not undo.
pub(crate) fn undo() -> Vec<String> {
    let mut steps = steps();
    let mut left = Vec::new();
    while let Some(step) = steps.pop() {
        let (undone, path) = match &step {
            Step::CreatedFolder(path) => (fs::remove_dir(path), path),
            Step::CreatedFile(path) => (fs::remove_file(path), path),
            Step::Replaced(path, bytes) => {
                (store::save(path, bytes).map_err(io::Error::other), path)
            }
        };
        // What was taken down and not made needs no undoing.
        if undone.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            left.push(path.display().to_string());
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_undone_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("list"), "a\n").unwrap();
        create(&path("new/inner/file"), "text").unwrap();
        replace(&path("list"), "a\nb\n").unwrap();
        create(&path("new/inner/file"), "again").unwrap_err();
        assert_eq!(undo(), Vec::<String>::new());
        assert_eq!(fs::read_to_string(path("list")).unwrap(), "a\n");
        assert!(!path("new").exists());
        create(&path("kept"), "text").unwrap();
        settle();
        assert_eq!(undo(), Vec::<String>::new());
        assert!(path("kept").exists());
    }
}
