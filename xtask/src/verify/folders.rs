//! Rules about the course as a whole: its list, its folders, ids and prerequisites.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
};

use report::Rule;

use super::{
    Complaint, Fix, Scene,
    lines::{
        Lines,
        Step::{At, Key},
        line_of,
    },
};
use crate::course::{self, COURSE, Exercise};

/// What each side of an exercise has, beside what its manifest names.
const EXERCISE: &[&str] = &["Cargo.toml", "README.md", "src/lib.rs", "src/main.rs"];
const SOLUTION: &[&str] = &["Cargo.toml", "src/lib.rs", "src/main.rs"];

pub(super) fn look(scene: &Scene, complaints: &mut Vec<Complaint>) {
    let text = fs::read_to_string(scene.root.join(COURSE)).unwrap_or_default();
    let names = course::names(scene.root).unwrap_or_default();
    once(&text, &names, complaints);
    for damaged in &scene.course.damaged {
        let damage = damaged.damage.clone();
        let rule = Rule::ManifestReadable;
        complaints.push(Complaint::new(rule, damage.file, damage.line, damage.message));
    }
    for (at, name) in names.iter().enumerate() {
        let line = Lines::of(&text).line(&[Key("exercise"), At(at), Key("name")]);
        complete(scene, name, line, complaints);
        packages(scene, name, complaints);
    }
    strangers(scene, &names, &text, complaints);
    ids(scene, complaints);
    prerequisites(scene, &names, complaints);
}

fn once(text: &str, names: &[String], complaints: &mut Vec<Complaint>) {
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            let line = Lines::of(text).line(&[Key("exercise"), At(at), Key("name")]);
            let sentence = format!("`{name}` is in the course already; take this entry out.");
            let fix = Fix::Write { file: COURSE.to_owned(), text: without_entry(text, line) };
            complaints.push(Complaint::new(Rule::CourseOnce, COURSE, line, sentence).with_fix(fix));
        }
    }
}

/// The list without the entry that the line is in.
fn without_entry(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_head = |line: &str| line.trim_start().starts_with("[[");
    let line = (line - 1).min(lines.len().saturating_sub(1));
    let start = (0..=line).rev().find(|&n| is_head(lines[n])).unwrap_or(line);
    let end = (start + 1..lines.len()).find(|&n| is_head(lines[n])).unwrap_or(lines.len());
    let rest = [&lines[..start], &lines[end..]].concat().concat();
    format!("{}\n", rest.trim_end())
}

/// Whether both sides of an exercise are there.
fn complete(scene: &Scene, name: &str, line: usize, complaints: &mut Vec<Complaint>) {
    for (room, files) in [("exercises", EXERCISE), ("solutions", SOLUTION)] {
        let folder = format!("{room}/{name}");
        let missing: Vec<&str> = if scene.root.join(&folder).is_dir() {
            let is_missing = |file: &&str| !scene.root.join(&folder).join(file).is_file();
            files.iter().copied().filter(is_missing).collect()
        } else {
            vec![""]
        };
        for file in missing {
            let what = format!("{folder}/{file}");
            let sentence = format!(
                "`{name}` is in the course, but there is no `{}`; write it, or take `{name}` out.",
                what.trim_end_matches('/')
            );
            complaints.push(Complaint::new(Rule::FoldersAgree, COURSE, line, sentence));
        }
    }
}

/// Folders that the course does not know.
fn strangers(scene: &Scene, names: &[String], text: &str, complaints: &mut Vec<Complaint>) {
    for room in ["exercises", "solutions"] {
        let Ok(entries) = fs::read_dir(scene.root.join(room)) else { continue };
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let found: BTreeSet<_> =
            folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        for name in found.iter().filter(|name| !names.contains(name)) {
            let sentence = format!(
                "`{room}/{name}` is not in the course; add `[[exercise]]` with `name = \"{name}\"` \
                 where it belongs, or move the folder away."
            );
            let line = text.lines().count();
            complaints.push(Complaint::new(Rule::FoldersAgree, COURSE, line, sentence));
        }
    }
}

/// Whether cargo can be asked to build both sides of an exercise at all.
pub(super) fn can_be_built(root: &Path, name: &str) -> bool {
    let is_whole = |(room, package): (&str, String)| {
        let folder = root.join(room).join(name);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        package_name(&manifest) == Some(package) && folder.join("src/main.rs").is_file()
    };
    [("exercises", name.to_owned()), ("solutions", format!("{name}-solution"))]
        .into_iter()
        .all(is_whole)
}

/// What a `Cargo.toml` calls its package.
fn package_name(manifest: &str) -> Option<String> {
    let table = manifest.parse::<toml::Table>().ok()?;
    Some(table.get("package")?.get("name")?.as_str()?.to_owned())
}

fn packages(scene: &Scene, name: &str, complaints: &mut Vec<Complaint>) {
    let solution = format!("{name}-solution");
    for (room, expected) in [("exercises", name), ("solutions", solution.as_str())] {
        let file = format!("{room}/{name}/Cargo.toml");
        let Ok(text) = fs::read_to_string(scene.root.join(&file)) else { continue };
        let found = package_name(&text);
        if found.as_deref() != Some(expected) {
            let line = Lines::of(&text).line(&[Key("package"), Key("name")]);
            let found = found.unwrap_or("nothing".to_owned());
            let sentence = format!("The package is called `{found}`; call it `{expected}`.");
            complaints.push(Complaint::new(Rule::PackageNamed, file, line, sentence));
        }
    }
}

fn ids(scene: &Scene, complaints: &mut Vec<Complaint>) {
    let mut owners: BTreeMap<&str, &Exercise> = BTreeMap::new();
    let committed = committed_ids(scene);
    for exercise in &scene.course.exercises {
        let (file, id) = (exercise.manifest_file(), exercise.manifest.id.as_str());
        let text = fs::read_to_string(scene.root.join(&file)).unwrap_or_default();
        let line = Lines::of(&text).line(&[Key("id")]);
        if let Some(first) = owners.get(id) {
            let sentence = format!(
                "This id is that of `{}`; give each exercise its own, as `uuidgen` makes them.",
                first.name
            );
            complaints.push(Complaint::new(Rule::IdUnique, &file, line, sentence));
        }
        owners.entry(id).or_insert(exercise);
        if let Some(old) = committed.get(&file).filter(|old| *old != id) {
            let sentence = format!(
                "The id was `{old}` in the last commit; an id never changes, so put it back."
            );
            let fix = Fix::Write { file: file.clone(), text: text.replacen(id, old, 1) };
            complaints.push(Complaint::new(Rule::IdStable, file, line, sentence).with_fix(fix));
        }
    }
}

/// The id of each manifest in the last commit; empty where there is no git.
fn committed_ids(scene: &Scene) -> BTreeMap<String, String> {
    let mut git = Command::new("git");
    git.args(["grep", "--no-color", "-E", "^id *=", "HEAD", "--", "exercises/*/exercise.toml"]);
    git.current_dir(scene.root).stdin(Stdio::null()).stderr(Stdio::null());
    let said = git.output().map(|output| output.stdout).unwrap_or_default();
    let mut ids = BTreeMap::new();
    for line in String::from_utf8_lossy(&said).lines() {
        let mut fields = line.splitn(3, ':');
        let (Some("HEAD"), Some(file), Some(setting)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if let Some(id) = setting.split(['"', '\'']).nth(1) {
            ids.insert(file.to_owned(), id.to_owned());
        }
    }
    ids
}

fn prerequisites(scene: &Scene, names: &[String], complaints: &mut Vec<Complaint>) {
    let exercises = &scene.course.exercises;
    for exercise in exercises {
        let file = exercise.manifest_file();
        let text = fs::read_to_string(scene.root.join(&file)).unwrap_or_default();
        for (at, wanted) in exercise.manifest.prerequisites.iter().enumerate() {
            let line = Lines::of(&text).line(&[Key("prerequisites"), At(at)]);
            let line = line.max(line_of(&text, "prerequisites"));
            let place = |name: &str| names.iter().position(|listed| listed == name);
            let (rule, sentence) = if place(wanted).is_none() {
                let there = names.join(", ");
                let sentence = format!("There is no exercise `{wanted}`; there are: {there}.");
                (Rule::PrerequisiteExists, sentence)
            } else if let Some(way) = way_back(exercises, &exercise.name, wanted) {
                let sentence = format!(
                    "`{}` needs itself, by way of {}; leave one of them out.",
                    exercise.name,
                    way.join(" → ")
                );
                (Rule::PrerequisiteAcyclic, sentence)
            } else if place(wanted) > place(&exercise.name) {
                let sentence = format!(
                    "`{wanted}` comes after `{}` in {COURSE}; move it before, or leave it out.",
                    exercise.name
                );
                (Rule::PrerequisiteEarlier, sentence)
            } else {
                continue;
            };
            complaints.push(Complaint::new(rule, &file, line, sentence));
        }
    }
}

/// The way from a prerequisite back to the exercise that needs it, both included.
fn way_back<'a>(exercises: &'a [Exercise], name: &'a str, from: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![name, from]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let here = *way.last()?;
        if here == name {
            return Some(way);
        }
        if !seen.insert(here) {
            continue;
        }
        let needs = exercises.iter().find(|exercise| exercise.name == here);
        for next in needs.into_iter().flat_map(|exercise| &exercise.manifest.prerequisites) {
            ways.push([way.as_slice(), &[next.as_str()]].concat());
        }
    }
    None
}
