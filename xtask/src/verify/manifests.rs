//! Rules about what one manifest says of its files and parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use report::Rule;
use syn::spanned::Spanned as _;

use super::{
    Complaint, Scene,
    lines::{
        Lines,
        Step::{At, Key},
    },
};
use crate::{course::Exercise, derive::is_part};

pub(super) fn look(scene: &Scene, complaints: &mut Vec<Complaint>) {
    for exercise in scene.asked() {
        let file = exercise.manifest_file();
        let text = fs::read_to_string(scene.root.join(&file)).unwrap_or_default();
        let lines = Lines::of(&text);
        edit(scene.root, exercise, &lines, complaints);
        parts(scene.root, exercise, &lines, complaints);
    }
}

fn edit(root: &Path, exercise: &Exercise, lines: &Lines, complaints: &mut Vec<Complaint>) {
    let (name, edit) = (&exercise.name, &exercise.manifest.edit);
    let mut add = |line, sentence: String| {
        let file = exercise.manifest_file();
        complaints.push(Complaint::new(Rule::EditComplete, file, line, sentence));
    };
    for (at, file) in edit.iter().enumerate() {
        let line = lines.line(&[Key("edit"), At(at)]);
        if edit[..at].contains(file) {
            add(line, format!("`edit` names `{file}` twice; name it once."));
        }
        for room in ["exercises", "solutions"] {
            if !root.join(room).join(name).join(file).is_file() {
                add(line, format!("There is no `{room}/{name}/{file}`; write it, or mend `edit`."));
            }
        }
    }
    for room in ["exercises", "solutions"] {
        let folder = root.join(room).join(name);
        for file in sources(&folder, "src") {
            if file != "src/main.rs" && !edit.contains(&file) {
                let line = lines.line(&[Key("edit")]);
                add(line, format!("`edit` leaves out `{room}/{name}/{file}`; name it there."));
            }
        }
    }
}

/// Every Rust file below a folder, in order, as a manifest would name it.
fn sources(root: &Path, folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(sources(root, &name));
        } else if Path::new(&name).extension().is_some_and(|ending| ending == "rs") {
            found.insert(name);
        }
    }
    found
}

fn parts(root: &Path, exercise: &Exercise, lines: &Lines, complaints: &mut Vec<Complaint>) {
    let Some(mut solved) = solved(root, exercise) else { return };
    let manifest = exercise.manifest_file();
    let rule = Rule::PartsAgree;
    for (at, part) in exercise.manifest.part.iter().enumerate() {
        let (name, wanted) = (&part.name, &part.file);
        let line = lines.line(&[Key("part"), At(at), Key("name")]);
        if exercise.manifest.part[..at].iter().any(|earlier| earlier.name == *name) {
            let sentence = format!("There is a part `{name}` already; give one another name.");
            complaints.push(Complaint::new(rule, &manifest, line, sentence));
            continue;
        }
        let sentence = match solved.remove(name) {
            Some((file, _)) if file == *wanted => continue,
            Some((file, _)) => format!("`{name}` is in `{file}`, not in `{wanted}`; mend `file`."),
            None => format!(
                "The solution has no part `{name}`; write it in `solutions/{}/{wanted}`, under \
                 `#[part(plan = \"…\")]`, or take it out here.",
                exercise.name
            ),
        };
        complaints.push(Complaint::new(rule, &manifest, line, sentence));
    }
    for (name, (file, line)) in solved {
        let file = format!("solutions/{}/{file}", exercise.name);
        let sentence = format!("`{name}` is no part in {manifest}; add a `[[part]]` for it there.");
        complaints.push(Complaint::new(rule, file, line, sentence));
    }
}

/// File and line of each part of the solution; nothing if a file is not Rust.
fn solved(root: &Path, exercise: &Exercise) -> Option<BTreeMap<String, (String, usize)>> {
    let mut solved = BTreeMap::new();
    for (file, path) in exercise.manifest.edit.iter().zip(exercise.solution_files()) {
        let parsed = syn::parse_file(&fs::read_to_string(root.join(path)).ok()?).ok()?;
        let mut items = parsed.items;
        while let Some(item) = items.pop() {
            match item {
                syn::Item::Mod(inner) => items.extend(inner.content.unwrap_or_default().1),
                syn::Item::Fn(function) if function.attrs.iter().any(is_part) => {
                    let line = function.sig.span().start().line;
                    solved.insert(function.sig.ident.to_string(), (file.clone(), line));
                }
                _ => {}
            }
        }
    }
    Some(solved)
}
