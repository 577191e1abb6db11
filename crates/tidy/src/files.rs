//! The files of the repository, as text.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::root;

/// A text file.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it is, seen from the root, with `/` between folders.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// Folders that git ignores or that are git's own.
const NOT_OURS: [&str; 4] = [".git", ".wick", "target", "shared"];

/// What cargo puts into every folder that it builds in.
const BUILD_MARK: &str = "CACHEDIR.TAG";

/// Endings of files that people write.
const TEXT: [&str; 9] = ["rs", "toml", "md", "json", "sh", "py", "yml", "yaml", "lock"];

impl File {
    /// Whether it holds tests only.
    #[must_use]
    pub fn is_test(&self) -> bool {
        let mut folders = self.path.split('/');
        folders.any(|name| matches!(name, "tests" | "tests.rs" | "benches" | "fuzz"))
    }

    /// The text up to a closing `mod tests { … }`, which every house file has last.
    #[must_use]
    pub fn without_tests(&self) -> &str {
        if self.is_test() {
            return "";
        }
        // Other attributes may stand between the two.
        let end = self.text.find("\nmod tests {").unwrap_or(self.text.len());
        let attribute = self.text[..end].rfind("\n#[cfg(test)]");
        let rest = |start: &usize| {
            let mut between = self.text[*start..end].lines().filter(|line| !line.is_empty());
            end < self.text.len() && between.all(|line| line.starts_with('#'))
        };
        &self.text[..attribute.filter(rest).unwrap_or(self.text.len())]
    }

    /// Lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(n, line)| (n + 1, line))
    }
}

/// Every text file, in the order of their paths.
///
/// # Panics
///
/// Panics if a folder or file cannot be read.
#[must_use]
pub fn files() -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let entry = entry.expect("a folder can be read");
            let kind = entry.file_type().expect("a file has a kind");
            if kind.is_dir() {
                if is_ours(&entry.path()) {
                    folders.push(entry.path());
                }
            } else if kind.is_file() && is_text(&entry.path()) {
                found.push(read(&entry.path()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every Rust file.
#[must_use]
pub fn sources() -> Vec<File> {
    ending_in(".rs")
}

/// Every `Cargo.toml`.
#[must_use]
pub fn manifests() -> Vec<File> {
    ending_in("Cargo.toml")
}

fn ending_in(ending: &str) -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(ending)).collect()
}

fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    !NOT_OURS.iter().any(|other| name == *other) && !folder.join(BUILD_MARK).exists()
}

fn is_text(file: &Path) -> bool {
    file.extension().is_some_and(|ending| TEXT.iter().any(|text| ending == *text))
}

fn read(file: &Path) -> File {
    let bytes = fs::read(file).expect("a file can be read");
    let inside: PathBuf =
        file.strip_prefix(root()).expect("invariant: files lie below the root").to_owned();
    let folders: Vec<_> = inside.iter().map(|name| name.to_string_lossy()).collect();
    File { path: folders.join("/"), text: String::from_utf8_lossy(&bytes).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, without_tests: &str) {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(file.without_tests(), without_tests);
    }

    #[test]
    fn closing_tests_are_left_out() {
        check("src/a.rs", "fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n", "fn a() {}\n");
        check("src/a.rs", "a\n#[cfg(test)]\n#[expect(b)]\nmod tests {\n}\n", "a");
        check("tests/a.rs", "fn a() {}\n", "");
    }

    #[test]
    fn what_follows_another_test_item_stays() {
        let text = "#[cfg(test)]\nmod a;\nfn b() {}\n";
        check("src/a.rs", text, text);
        let text = "a\n#[cfg(test)]\nuse b;\nfn c() {}\nmod tests {\n}\n";
        check("src/a.rs", text, text);
    }
}
