//! The course as its manifests tell it.
//!
//! **Invariant:** a manifest that says something we do not understand is refused with its file,
//! line and mend, never guessed at.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use crate::exit::{Exit, problem};

/// The list of exercises, below the root of the clone.
const COURSE: &str = "exercises/course.toml";

/// The course, in order.
#[derive(Debug)]
pub(crate) struct Course {
    /// Root of the clone.
    pub(crate) root: PathBuf,
    pub(crate) exercises: Vec<Exercise>,
}

/// One exercise.
#[derive(Debug)]
pub(crate) struct Exercise {
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CourseFile {
    exercise: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
}

/// An exercise's `exercise.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Stays the same when the exercise is renamed.
    #[expect(dead_code, reason = "only its presence is demanded so far")]
    id: String,
    pub(crate) title: String,
    pub(crate) summary: String,
    /// 1 to 5.
    pub(crate) difficulty: u8,
    pub(crate) minutes: u32,
    #[expect(dead_code, reason = "only its type is demanded so far")]
    prerequisites: Vec<String>,
    /// The files that the learner edits, relative to the exercise.
    pub(crate) edit: Vec<String>,
    #[serde(default)]
    pub(crate) hints: Vec<String>,
    pub(crate) part: Vec<Part>,
}

/// One part in a manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// The file that it is in, relative to the exercise.
    pub(crate) file: String,
    pub(crate) points: u32,
    #[expect(dead_code, reason = "shown nowhere yet, but its type is demanded")]
    difficulty: u8,
    #[expect(dead_code, reason = "shown nowhere yet, but its type is demanded")]
    minutes: u32,
    pub(crate) hints: Vec<String>,
}

impl Course {
    /// Reads the course that the current folder is in.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let here = env::current_dir()?;
        let root = here.ancestors().find(|folder| folder.join(COURSE).is_file());
        let root = root.ok_or_else(|| {
            problem(
                Exit::Usage,
                format!("There is no {COURSE} here or above; run this in a clone."),
            )
        })?;
        Self::read(root)
    }

    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let list: CourseFile = parse(root, COURSE)?;
        let read = |entry: Entry| {
            let manifest = parse(root, &format!("exercises/{}/exercise.toml", entry.name))?;
            Ok(Exercise { name: entry.name, manifest })
        };
        let exercises = list.exercise.into_iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { root: root.to_owned(), exercises })
    }
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
fn parse<T: DeserializeOwned>(root: &Path, file: &str) -> anyhow::Result<T> {
    let text = fs::read_to_string(root.join(file)).map_err(|error| {
        problem(
            Exit::Usage,
            format!("{file} cannot be read ({error}). Bring it back with `git restore {file}`."),
        )
    })?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let message = error.message().trim_end().replace('\n', "; ");
        let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
        problem(
            Exit::Usage,
            format!(
                "{file}:{line}: {message}, in `{shown}`. Mend that line, or bring the file back \
                 with `git restore {file}`."
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "id = 'x'\ntitle = 'A'\nsummary = 's'\ndifficulty = 1\nminutes = 5\n\
        prerequisites = []\nedit = ['src/lib.rs']\n[[part]]\nname = 'one'\nfile = 'src/lib.rs'\n\
        points = 1\ndifficulty = 1\nminutes = 5\nhints = ['a', 'b', 'c']\n";

    #[track_caller]
    fn check(manifest: &str, said: &str) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("exercises/a")).unwrap();
        fs::write(root.path().join(COURSE), "[[exercise]]\nname = 'a'\n").unwrap();
        fs::write(root.path().join("exercises/a/exercise.toml"), manifest).unwrap();
        let read = Course::read(root.path());
        let text = read.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert!(text.starts_with(said), "{text}");
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
}
