//! What is committed agrees with itself: stubs with solutions, README with manifests.

use std::{fs, path::Path, process::Command};

use serde::Deserialize;

#[derive(Deserialize)]
struct Course {
    exercise: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
}

#[derive(Deserialize)]
struct Manifest {
    id: String,
    title: String,
    summary: String,
    minutes: u32,
    prerequisites: Vec<String>,
    edit: Vec<String>,
    part: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    name: String,
    file: String,
    hints: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the clone")
}

fn read<T: for<'a> Deserialize<'a>>(file: &str) -> T {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn exercises() -> Vec<(String, Manifest)> {
    let course: Course = read("exercises/course.toml");
    let manifest = |entry: Entry| {
        let manifest = read(&format!("exercises/{}/exercise.toml", entry.name));
        (entry.name, manifest)
    };
    course.exercise.into_iter().map(manifest).collect()
}

#[test]
fn every_stub_is_the_derived_one() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.args(["stub", "--all", "--check"]).current_dir(root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn folders_and_course_agree() {
    for folder in ["exercises", "solutions"] {
        let mut found: Vec<String> = fs::read_dir(root().join(folder))
            .unwrap()
            .filter_map(Result::ok)
            .filter(|entry| entry.path().join("Cargo.toml").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let mut listed: Vec<String> = exercises().into_iter().map(|(name, _)| name).collect();
        found.sort();
        listed.sort();
        assert_eq!(found, listed, "{folder} and exercises/course.toml");
    }
}

#[test]
fn manifests_are_whole() {
    let exercises = exercises();
    let mut earlier: Vec<&str> = Vec::new();
    for (name, manifest) in &exercises {
        assert_eq!(manifest.id.len(), 36, "{name}: the id is a UUID");
        for wanted in &manifest.prerequisites {
            assert!(earlier.contains(&wanted.as_str()), "{name}: {wanted} comes before it");
        }
        for part in &manifest.part {
            let place = format!("{name}::{}", part.name);
            assert!(manifest.edit.contains(&part.file), "{place}: `edit` has {}", part.file);
            assert!(part.hints.len() >= 3, "{place} has {} hints, not three", part.hints.len());
            for hint in &part.hints {
                let words = hint.split_whitespace().count();
                assert!(words <= 60, "{place}: a hint of {words} words");
            }
            let text = fs::read_to_string(root().join("exercises").join(name).join(&part.file));
            let signature = format!("pub fn {}(", part.name);
            assert!(text.unwrap().contains(&signature), "{place} is in {}", part.file);
        }
        earlier.push(name);
    }
}

#[test]
fn the_readme_lists_the_exercises() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, table) = readme.split_once("<!-- exercises:begin -->\n").expect("README marks a table");
    let (table, _) = table.split_once("<!-- exercises:end -->").expect("README ends its table");
    let mut expected =
        "| exercise | parts | what you write | minutes |\n|---|---:|---|---:|\n".to_owned();
    for (name, manifest) in exercises() {
        let (parts, summary) = (manifest.part.len(), manifest.summary);
        expected += &format!(
            "| [`{name}`](exercises/{name}/README.md): {} | {parts} | {summary} | {} |\n",
            manifest.title, manifest.minutes
        );
    }
    assert_eq!(table, expected, "the table in README.md");
}
