//! The course as its manifests tell it.
//!
//! **Invariant:** a manifest that says something we do not understand is refused with its file,
//! line and mend, never guessed at; and it stands in nobody's way but its own.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    exit::{Exit, problem},
    manifest::{Manifest, Part, name},
};

/// The list of exercises, below the root of the clone.
pub(crate) const COURSE: &str = "exercises/course.toml";

/// The course, in order.
#[derive(Debug)]
pub(crate) struct Course {
    /// Root of the clone.
    pub(crate) root: PathBuf,
    pub(crate) exercises: Vec<Exercise>,
    /// Exercises of which the manifest cannot be read.
    pub(crate) damaged: Vec<Damaged>,
}

/// One exercise.
#[derive(Debug)]
pub(crate) struct Exercise {
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
}

/// An exercise without a manifest.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) name: String,
    /// Where it stands in the course, from 0.
    pub(crate) at: usize,
    pub(crate) damage: Damage,
}

/// Why a file could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub(crate) struct Damage {
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// What is wrong and what to do, as a sentence that goes on after the line.
    pub(crate) message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CourseFile {
    exercise: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(deserialize_with = "name")]
    name: String,
}

impl Course {
    /// Reads the course that the current folder is in.
    pub(crate) fn find() -> anyhow::Result<Self> {
        Self::read(&root()?)
    }

    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let names = names(root).map_err(|damage| problem(Exit::Usage, damage.to_string()))?;
        let (mut exercises, mut damaged) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        // Whoever is there twice is there once; `verify` has a rule about it.
        let names = names.into_iter().filter(|name| seen.insert(name.clone()));
        for (at, name) in names.enumerate() {
            match parse(root, &format!("exercises/{name}/exercise.toml")) {
                Ok(manifest) => exercises.push(Exercise { name, manifest }),
                Err(damage) => damaged.push(Damaged { name, at, damage }),
            }
        }
        Ok(Self { root: root.to_owned(), exercises, damaged })
    }

    /// The exercise of that name, or why it cannot be read; nothing if there is none.
    pub(crate) fn named(&self, name: &str) -> Option<anyhow::Result<&Exercise>> {
        if let Some(damaged) = self.damaged.iter().find(|damaged| damaged.name == name) {
            return Some(Err(problem(Exit::Usage, damaged.damage.to_string())));
        }
        self.exercises.iter().find(|exercise| exercise.name == name).map(Ok)
    }
}

/// The root of the clone that the current folder is in.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let here = env::current_dir()?;
    let root = here.ancestors().find(|folder| folder.join(COURSE).is_file());
    let root = root.ok_or_else(|| {
        problem(Exit::Usage, format!("There is no {COURSE} here or above; run this in a clone."))
    })?;
    Ok(root.to_owned())
}

/// The names in the course, in order.
pub(crate) fn names(root: &Path) -> Result<Vec<String>, Damage> {
    let list: CourseFile = parse(root, COURSE)?;
    Ok(list.exercise.into_iter().map(|entry| entry.name).collect())
}

impl Exercise {
    pub(crate) fn part(&self, name: &str) -> Option<&Part> {
        self.manifest.part.iter().find(|part| part.name == name)
    }

    pub(crate) fn points(&self) -> u32 {
        self.manifest.part.iter().map(|part| part.points).sum()
    }

    /// Folder of the learner's answer, relative to the root.
    pub(crate) fn folder(&self) -> String {
        format!("exercises/{}", self.name)
    }

    /// Its manifest, relative to the root.
    pub(crate) fn manifest_file(&self) -> String {
        format!("exercises/{}/exercise.toml", self.name)
    }

    /// The learner's files, relative to the root.
    pub(crate) fn files(&self) -> Vec<String> {
        self.manifest.edit.iter().map(|file| format!("exercises/{}/{file}", self.name)).collect()
    }

    /// The solution's files, in the same order.
    pub(crate) fn solution_files(&self) -> Vec<String> {
        self.manifest.edit.iter().map(|file| format!("solutions/{}/{file}", self.name)).collect()
    }

    /// `file:line` of a part's function, or its file if it is gone.
    pub(crate) fn place_of(&self, root: &Path, part: &str) -> String {
        let file = self.part(part).map_or("src/lib.rs", |part| part.file.as_str());
        let file = format!("{}/{file}", self.folder());
        let text = fs::read_to_string(root.join(&file)).unwrap_or_default();
        let start = format!("fn {part}(");
        match text.lines().position(|line| line.contains(&start)) {
            Some(line_idx) => format!("{file}:{}", line_idx + 1),
            None => file,
        }
    }
}

/// Reads and parses a manifest, below the root.
fn parse<T: DeserializeOwned>(root: &Path, file: &str) -> Result<T, Damage> {
    let damage = |line, message| Damage { file: file.to_owned(), line, message };
    let text = fs::read_to_string(root.join(file)).map_err(|error| {
        let mend = format!("Bring it back with `git restore {file}`.");
        damage(1, format!("it cannot be read ({error}). {mend}"))
    })?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let message = error.message().trim_end().replace('\n', "; ");
        let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
        let mend = format!("Mend that line, or bring the file back with `git restore {file}`.");
        damage(line, format!("{message}, in `{shown}`. {mend}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "id = '0b5f6c1e-8a53-4c51-9d9e-0f3f5b8f7a11'\ntitle = 'A'\nsummary = 's'\n\
        difficulty = 1\nminutes = 5\nprerequisites = []\nedit = ['src/lib.rs']\n[[part]]\n\
        name = 'one'\nfile = 'src/lib.rs'\npoints = 1\ndifficulty = 1\nminutes = 5\n\
        hints = ['a', 'b', 'c']\n";

    fn read(manifests: &[(&str, &str)]) -> Course {
        let root = tempfile::tempdir().unwrap();
        let mut list = String::new();
        for (name, manifest) in manifests {
            let folder = root.path().join("exercises").join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("exercise.toml"), manifest).unwrap();
            list += &format!("[[exercise]]\nname = '{name}'\n");
        }
        fs::write(root.path().join(COURSE), list).unwrap();
        Course::read(root.path()).unwrap()
    }

    #[track_caller]
    fn check(manifest: &str, said: &str) {
        let course = read(&[("a", manifest)]);
        let text = course.named("a").expect("is listed");
        let text = text.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert!(text.starts_with(said), "{text}");
    }

    #[track_caller]
    fn refused(good: &str, bad: &str, said: &str) {
        assert!(GOOD.contains(good));
        let line = GOOD[..GOOD.find(good).unwrap()].matches('\n').count() + 1;
        let said = format!("exercises/a/exercise.toml:{line}: {said}");
        check(&GOOD.replacen(good, bad, 1), &said);
    }

    #[test]
    fn a_good_manifest_is_read() {
        check(GOOD, "ok");
    }

    #[test]
    fn a_wrong_type_names_its_line() {
        let said = "exercises/a/exercise.toml:11: invalid type: string \"1\", expected u32, in \
                    `points = \"1\"`. Mend that line";
        check(&GOOD.replace("points = 1", "points = \"1\""), said);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let said = "exercises/a/exercise.toml:11: unknown field `pionts`, expected one of";
        check(&GOOD.replace("points", "pionts"), said);
    }

    #[test]
    fn broken_toml_names_its_line() {
        check(&GOOD.replace("title = 'A'", "title = 'A"), "exercises/a/exercise.toml:2: ");
    }

    #[test]
    fn a_value_out_of_range_names_its_line() {
        refused("difficulty = 1", "difficulty = 6", "a difficulty is 1 to 5, not 6");
        refused("difficulty = 1", "difficulty = 0", "a difficulty is 1 to 5, not 0");
        refused("minutes = 5", "minutes = 0", "minutes are 1 to 10000, not 0");
        refused("points = 1", "points = 0", "points are 1 to 100, not 0");
        refused("title = 'A'", "title = ' '", "this needs a line of text without `|`");
        refused("summary = 's'", "summary = 'a|b'", "this needs a line of text without `|`");
        refused("id = '0b5", "id = '0B5", "an id is a UUID in lower case");
        refused("src/lib.rs", "../lib.rs", "a source is named like `src/lib.rs`");
        refused("src/lib.rs", "src\\lib.rs", "a source is named like `src/lib.rs`");
        refused("name = 'one'", "name = 'One'", "a name is lower case");
        refused("['src/lib.rs']", "[]", "this list needs an entry");
    }

    #[test]
    fn one_damaged_manifest_leaves_the_others() {
        let course = read(&[("a", "id = 1"), ("b", GOOD)]);
        assert!(course.named("b").unwrap().is_ok() && course.named("a").unwrap().is_err());
        assert_eq!((course.damaged[0].at, course.exercises.len()), (0, 1));
        assert!(course.named("c").is_none());
    }
}
