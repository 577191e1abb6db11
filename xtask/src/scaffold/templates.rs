//! The files of a new exercise, filled in from `xtask/templates`.
//!
//! Templates are real files with stand-ins for names: `sample_exercise`, `sample_part`, and the
//! like. `tests/scaffold.rs` builds and judges what they give.

use std::{fs, path::Path};

use clap::ValueEnum;

use super::Names;
use crate::{
    derive::{self, Source},
    exit::{Exit, problem},
};

const FOLDER: &str = "xtask/templates";

/// Files that every exercise has alike, and where they go.
const EVERY: [(&str, &str); 7] = [
    ("exercise-manifest.toml", "exercises/sample_exercise/Cargo.toml"),
    ("exercise-main.rs", "exercises/sample_exercise/src/main.rs"),
    ("README.md", "exercises/sample_exercise/README.md"),
    ("figure.svg", "exercises/sample_exercise/figure.svg"),
    ("solution-manifest.toml", "solutions/sample_exercise/Cargo.toml"),
    ("solution-main.rs", "solutions/sample_exercise/src/main.rs"),
    ("suite.rs", "crates/checks/src/sample_exercise.rs"),
];

/// Files that each template has of its own.
const OWN: [(&str, &str); 3] = [
    ("exercise.toml", MANIFEST),
    ("solution.rs", SOLUTION),
    ("part.rs", "crates/checks/src/sample_exercise/sample_part.rs"),
];

const MANIFEST: &str = "exercises/sample_exercise/exercise.toml";
const SOLUTION: &str = "solutions/sample_exercise/src/lib.rs";
const STUB: &str = "exercises/sample_exercise/src/lib.rs";

/// What to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// One pure function of tensors.
    Function,
    /// A layer with named weights.
    Module,
    /// A part that trains weights on data.
    Training,
}

impl Template {
    fn folder(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Module => "module",
            Self::Training => "training",
        }
    }

    /// What its part is called unless somebody says otherwise.
    pub(crate) fn part(self) -> &'static str {
        match self {
            Self::Function => "centre_rows",
            Self::Module => "gated_layer",
            Self::Training => "fit_line",
        }
    }
}

/// An exercise that is not there yet.
#[derive(Debug)]
pub(crate) struct NewExercise {
    pub(crate) names: Names,
    /// Each file with its place below the root.
    pub(crate) files: Vec<(String, String)>,
}

impl NewExercise {
    /// Fills a template in, and derives the stub from its solution.
    pub(crate) fn fill(root: &Path, template: Template, names: Names) -> anyhow::Result<Self> {
        let id = uuid()?;
        let mut files = Vec::new();
        let own = OWN.iter().map(|file| (template.folder(), file));
        for (folder, (file, to)) in EVERY.iter().map(|file| ("every", file)).chain(own) {
            let path = format!("{FOLDER}/{folder}/{file}");
            let text = fs::read_to_string(root.join(&path)).map_err(|error| {
                let mend = format!("Bring it back with `git restore {path}`.");
                problem(Exit::Usage, format!("{path} cannot be read ({error}). {mend}"))
            })?;
            files.push((names.fill(to), names.fill(&text).replace("SAMPLE_ID", &id)));
        }
        let new = Self { names, files };
        let stub = new.stub()?;
        let place = new.names.fill(STUB);
        Ok(Self { files: [new.files, vec![(place, stub)]].concat(), ..new })
    }

    fn stub(&self) -> anyhow::Result<String> {
        let path = self.names.fill(SOLUTION);
        let source = Source { text: self.text(SOLUTION).to_owned(), path };
        let stubs = derive::derive(&[source]);
        let stubs = stubs.map_err(|fault| problem(Exit::Usage, fault.to_string()))?;
        Ok(stubs.concat())
    }

    /// The manifest, for what it says to be listed elsewhere.
    pub(crate) fn manifest(&self) -> &str {
        self.text(MANIFEST)
    }

    fn text(&self, place: &str) -> &str {
        let place = self.names.fill(place);
        let file = self.files.iter().find(|(path, _)| *path == place);
        file.map_or("", |(_, text)| text.as_str())
    }
}

impl Names {
    /// Puts the names where a template has stand-ins.
    fn fill(&self, text: &str) -> String {
        text.replace("sample_exercise", &self.exercise)
            .replace("Sample exercise", &self.title())
            .replace("sample_part", &self.part)
            .replace("SAMPLE_PART", &self.part.to_uppercase())
    }
}

/// A fresh random UUID, version 4.
fn uuid() -> anyhow::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)?;
    // RFC 9562, §5.4: four bits say the version, two the variant.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Ok(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, process};

    use super::*;

    const TEMPLATES: [Template; 3] = [Template::Function, Template::Module, Template::Training];

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    fn filled(template: Template, exercise: &str, part: &str) -> NewExercise {
        let names = Names { exercise: exercise.to_owned(), part: part.to_owned() };
        NewExercise::fill(root(), template, names).unwrap()
    }

    #[track_caller]
    fn assert_formatted(file: &str, text: &str) {
        let mut child = process::Command::new("rustfmt")
            .args(["--edition", "2024", "--check", "--config-path"])
            .arg(root().join(".rustfmt.toml"))
            .stdin(process::Stdio::piped())
            .stdout(process::Stdio::piped())
            .spawn()
            .expect("rustfmt comes with the toolchain");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stdout));
    }

    #[test]
    fn code_is_formatted_whatever_the_names() {
        for template in TEMPLATES {
            for (exercise, part) in [("a", "b"), (&*"a".repeat(32), &*"b".repeat(32))] {
                for (file, text) in filled(template, exercise, part).files {
                    let over = text.lines().find(|line| line.chars().count() > 100);
                    let is_code = Path::new(&file).extension().is_some_and(|ending| ending == "rs");
                    assert!(!is_code || over.is_none(), "{file} has a long line: {over:?}");
                    if is_code {
                        assert_formatted(&file, &text);
                    }
                }
            }
        }
    }

    #[test]
    fn no_stand_in_is_left() {
        for template in TEMPLATES {
            for (file, text) in filled(template, "layer_norm_by_hand", "moments").files {
                let text = format!("{file}\n{text}").to_lowercase();
                let left = text.contains("sample_") || text.contains("sample exercise");
                assert!(!left, "{file} has a stand-in");
            }
        }
    }

    #[test]
    fn each_id_is_a_uuid_of_its_own() {
        let (one, other) = (uuid().unwrap(), uuid().unwrap());
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
        assert!("89ab".contains(&one[19..20]), "{one}");
    }
}
