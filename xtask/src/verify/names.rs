//! Paths that every system can check out.

use std::{collections::BTreeMap, fs, path::Path};

use report::Rule;

use super::Complaint;

/// Longest path below the root: Windows allows 260 with the clone's own folder.
const LONGEST: usize = 160;

/// Names that Windows keeps for devices, with any ending.
const RESERVED: &[&str] = &[
    "con", "prn", "aux", "nul", "com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7",
    "com8", "com9", "lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// Folders that are not checked in.
const NOT_OURS: &[&str] = &[".git", ".wick", "target", "shared"];

/// What cargo puts into every folder that it builds in.
const BUILD_MARK: &str = "CACHEDIR.TAG";

pub(super) fn look(root: &Path, complaints: &mut Vec<Complaint>) {
    let mut paths = Vec::new();
    gather(root, "", &mut paths);
    paths.sort();
    complaints.extend(unsafe_paths(&paths));
}

fn gather(root: &Path, folder: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder {
            let is_ours = !NOT_OURS.contains(&name.as_str());
            if !is_ours || entry.path().join(BUILD_MARK).exists() {
                continue;
            }
            gather(root, &path, paths);
        }
        paths.push(path);
    }
}

fn unsafe_paths(paths: &[String]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut spelled: BTreeMap<String, &String> = BTreeMap::new();
    for path in paths {
        let twin = spelled.insert(path.to_lowercase(), path);
        let twin = twin.map(|twin| format!("`{twin}` differs from it in case alone"));
        let name = path.rsplit('/').next().unwrap_or(path);
        if let Some(what) = twin.or_else(|| unsafe_name(name)).or_else(|| too_long(path)) {
            let sentence = format!("{what}, so Windows cannot check it out; rename it.");
            complaints.push(Complaint::new(Rule::FileNames, path.clone(), 1, sentence));
        }
    }
    complaints
}

fn unsafe_name(name: &str) -> Option<String> {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    if RESERVED.contains(&stem.as_str()) {
        return Some(format!("`{stem}` is the name of a device"));
    }
    if let Some(c) = name.chars().find(|c| "<>:\"\\|?*".contains(*c) || c.is_control()) {
        return Some(format!("the name holds {c:?}"));
    }
    name.ends_with([' ', '.']).then(|| "the name ends in a space or a full stop".to_owned())
}

fn too_long(path: &str) -> Option<String> {
    let length = path.chars().count();
    (length > LONGEST).then(|| format!("the path has {length} characters, more than {LONGEST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(paths: &[&str], said: &str) {
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        let found = unsafe_paths(&paths);
        let found: Vec<_> = found.iter().map(|c| format!("{}: {}", c.file, c.sentence)).collect();
        assert!(found.join("\n").starts_with(said), "{found:?}");
        assert_eq!(found.is_empty(), said.is_empty());
    }

    #[test]
    fn usual_names_are_safe() {
        check(&["crates", "crates/console.rs", ".cargo", "a/b.tar.gz", "com10.txt"], "");
    }

    #[test]
    fn reserved_names_are_not() {
        check(&["src/aux.rs"], "src/aux.rs: `aux` is the name of a device, so Windows");
        check(&["NUL"], "NUL: `nul` is the name of a device");
        check(&["com1.tar.gz"], "com1.tar.gz: `com1` is the name of a device");
    }

    #[test]
    fn forbidden_characters_are_not() {
        check(&["a:b"], "a:b: The name holds ':'");
        check(&["what?"], "what?: The name holds '?'");
        check(&["a."], "a.: The name ends in a space or a full stop");
    }

    #[test]
    fn case_alone_tells_nothing_apart() {
        check(&["Readme.md", "readme.md"], "readme.md: `Readme.md` differs from it in case alone");
    }

    #[test]
    fn long_paths_are_not() {
        let long = "a/".repeat(81);
        check(&[&long], &format!("{long}: The path has 162 characters"));
    }
}
