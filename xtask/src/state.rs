//! What Wick remembers: progress, hints shown, and snapshots, under one folder of the clone.
//!
//! **Invariant:** a damaged file is reported and never overwritten; every save is whole or not at
//! all; only the holder of the lock saves.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::{
    course::Exercise,
    exit::{Exit, problem},
    store,
};

/// Version of the progress file.
const VERSION: u32 = 1;

const PROGRESS: &str = ".wick/progress.json";
const OBJECTS: &str = ".wick/objects";
const LOCK: &str = ".wick/lock";

/// Everything that is remembered.
#[derive(Debug)]
pub(crate) struct State {
    root: PathBuf,
    progress: Progress,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    version: u32,
    #[serde(default)]
    exercises: BTreeMap<String, Record>,
}

/// What is remembered of one exercise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Parts that passed, with the hash of the text that passed.
    #[serde(default)]
    pub(crate) passed: BTreeMap<String, String>,
    /// Where those parts passed that did so elsewhere than on the processor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) devices: BTreeMap<String, String>,
    /// How many hints were shown; the exercise's own under the empty name.
    #[serde(default)]
    pub(crate) hints: BTreeMap<String, usize>,
    /// Oldest first.
    #[serde(default)]
    pub(crate) snapshots: Vec<Snapshot>,
}

impl Record {
    /// Remembers that a part passed on a device, with the hash of the text that did.
    pub(crate) fn pass(&mut self, part: &str, text: &str, device: &str) {
        self.fail(part);
        self.passed.insert(part.to_owned(), text.to_owned());
        if device != "cpu" {
            self.devices.insert(part.to_owned(), device.to_owned());
        }
    }

    /// Remembers that a part does not pass any more.
    pub(crate) fn fail(&mut self, part: &str) {
        self.passed.remove(part);
        self.devices.remove(part);
    }
}

/// A learner's files at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// Why it was taken: `check`, `reset` or `restore`.
    pub(crate) before: String,
    /// What came of it, such as `3 of 15 passed`; empty if unknown.
    pub(crate) outcome: String,
    /// Whether every part of it passed.
    pub(crate) passed: bool,
    /// Hash of each file, by its path below the root.
    pub(crate) files: BTreeMap<String, String>,
}

impl State {
    /// Reads what is remembered.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let path = root.join(PROGRESS);
        let progress = match fs::read_to_string(&path) {
            Ok(text) => parse(&text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Progress { version: VERSION, exercises: BTreeMap::new() }
            }
            Err(error) => {
                return Err(problem(
                    Exit::Usage,
                    format!("{PROGRESS} cannot be read ({error}). It is left as it is."),
                ));
            }
        };
        Ok(Self { root: root.to_owned(), progress })
    }

    pub(crate) fn record(&self, exercise: &str) -> Record {
        self.progress.exercises.get(exercise).cloned().unwrap_or_default()
    }

    /// How many of the exercise's parts have passed.
    pub(crate) fn n_passed(&self, exercise: &Exercise) -> usize {
        let record = self.record(&exercise.name);
        let parts = exercise.manifest.part.iter();
        parts.filter(|part| record.passed.contains_key(&part.name)).count()
    }

    pub(crate) fn is_done(&self, exercise: &Exercise) -> bool {
        self.n_passed(exercise) == exercise.manifest.part.len()
    }

    /// Changes what is remembered of one exercise, and saves it.
    pub(crate) fn update<T>(
        &mut self,
        _held: &Lock,
        exercise: &str,
        change: impl FnOnce(&mut Record) -> T,
    ) -> anyhow::Result<T> {
        let record = self.progress.exercises.entry(exercise.to_owned()).or_default();
        let result = change(record);
        let mut json = serde_json::to_vec_pretty(&self.progress)?;
        json.push(b'\n');
        store::save(&self.root.join(PROGRESS), &json)?;
        Ok(result)
    }

    /// Keeps the learner's files as they are now; returns the snapshot's number.
    ///
    /// If they are what the newest snapshot holds, that one is taken.
    pub(crate) fn snapshot(
        &mut self,
        held: &Lock,
        exercise: &Exercise,
        before: &str,
    ) -> anyhow::Result<u64> {
        let mut files = BTreeMap::new();
        for file in exercise.files() {
            let Ok(bytes) = fs::read(self.root.join(&file)) else { continue };
            let hash = store::hash(&bytes);
            let object = self.root.join(OBJECTS).join(&hash);
            if !object.exists() {
                store::save(&object, &bytes)?;
            }
            files.insert(file, hash);
        }
        let newest = self.record(&exercise.name).snapshots.last().cloned();
        if let Some(newest) = newest.filter(|s| s.files == files && s.before == before) {
            return Ok(newest.number);
        }
        self.update(held, &exercise.name, |record| {
            let number = record.snapshots.last().map_or(1, |snapshot| snapshot.number + 1);
            let (before, outcome) = (before.to_owned(), String::new());
            let time = now();
            record.snapshots.push(Snapshot { number, time, before, outcome, passed: false, files });
            number
        })
    }

    /// The text of a file as a snapshot holds it.
    pub(crate) fn text(&self, snapshot: &Snapshot, file: &str) -> anyhow::Result<Option<String>> {
        let Some(hash) = snapshot.files.get(file) else { return Ok(None) };
        let object = format!("{OBJECTS}/{hash}");
        let bytes =
            fs::read(self.root.join(&object)).with_context(|| format!("reading {object}"))?;
        if store::hash(&bytes) != *hash {
            return Err(problem(
                Exit::Usage,
                format!("{object} is damaged: its content has another hash. It is left as it is."),
            ));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Writes a snapshot's files back, afresh, so that cargo sees the change.
    pub(crate) fn bring_back(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        // All are read before one is written.
        let mut texts = Vec::new();
        for file in snapshot.files.keys() {
            texts.extend(self.text(snapshot, file)?.map(|text| (file, text)));
        }
        texts
            .iter()
            .try_for_each(|(file, text)| store::save(&self.root.join(file), text.as_bytes()))
    }
}

fn parse(text: &str) -> anyhow::Result<Progress> {
    let damaged = |line: usize, why: &str| {
        problem(
            Exit::Usage,
            format!(
                "{PROGRESS}:{line}: {why}. It is left as it is: mend that line, or move the file \
                 away to start afresh (your answers are not in it)."
            ),
        )
    };
    let progress: Progress =
        serde_json::from_str(text).map_err(|error| damaged(error.line(), &error.to_string()))?;
    if progress.version != VERSION {
        let why = format!("version {} is not {VERSION}, which this Wick reads", progress.version);
        return Err(damaged(1, &why));
    }
    Ok(progress)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Proof that no other run of this clone saves anything.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who holds it.
    pub(crate) fn take(root: &Path, what: &str) -> anyhow::Result<Self> {
        let path = root.join(LOCK);
        fs::create_dir_all(root.join(".wick")).context(".wick could not be made")?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context(".wick/lock could not be opened")?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.is_empty() { "another run" } else { holder.trim_end() };
                let sentence =
                    format!("{holder} is under way in this clone; wait for it, then try again.");
                return Err(problem(Exit::Temporary, sentence));
            }
            Err(TryLockError::Error(error)) => return Err(error).context(".wick/lock"),
        }
        file.set_len(0).context(".wick/lock")?;
        writeln!(file, "`cargo xtask {what}` (process {})", std::process::id())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn damaged(text: &str, said: &str) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".wick")).unwrap();
        fs::write(root.path().join(PROGRESS), text).unwrap();
        let error = State::read(root.path()).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
        assert_eq!(fs::read_to_string(root.path().join(PROGRESS)).unwrap(), text);
    }

    #[test]
    fn a_damaged_progress_file_names_its_line_and_stays() {
        damaged("{\n  \"version\": 1,\n  \"exer", ".wick/progress.json:3: EOF");
        damaged("{\"version\": 9}", ".wick/progress.json:1: version 9 is not 1");
        damaged("", ".wick/progress.json:1: EOF");
    }

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let first = Lock::take(root.path(), "check attention").unwrap();
        let error = Lock::take(root.path(), "check").unwrap_err();
        assert!(error.to_string().starts_with("`cargo xtask check attention` (process "));
        assert_eq!(crate::exit::of(&error), Exit::Temporary);
        drop(first);
        Lock::take(root.path(), "check").unwrap();
    }
}
