//! The workspace as cargo sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::root;

/// One line of a manifest's dependencies.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The package that depends.
    pub from: String,
    /// Its folder, seen from the root: `crates/judge`.
    pub folder: String,
    /// The package that it depends on.
    pub to: String,
    /// The folder of that one, if it is ours.
    pub to_folder: Option<String>,
    /// Whether only tests need it.
    pub is_dev: bool,
}

/// Packages, each with every set of features that it is built with.
pub type Variants = BTreeMap<String, BTreeSet<String>>;

/// Every dependency that a member of the workspace declares.
///
/// # Panics
///
/// Panics if cargo does not answer.
#[must_use]
pub fn edges() -> Vec<Edge> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo writes JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut edges = Vec::new();
    for package in list(&metadata["packages"]) {
        for dependency in list(&package["dependencies"]) {
            let manifest = text(&package["manifest_path"]);
            edges.push(Edge {
                from: text(&package["name"]),
                folder: inside(Path::new(&manifest).parent().unwrap_or(root())),
                to: text(&dependency["name"]),
                to_folder: dependency["path"].as_str().map(|folder| inside(Path::new(folder))),
                is_dev: dependency["kind"] == "dev",
            });
        }
    }
    edges
}

/// Names of all packages that a member reaches, tests' included.
#[must_use]
pub fn packages_below(member: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "-p", member, "-e", "all", "--prefix", "none", "-f", "{p}"]);
    tree.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// What a cargo call with these arguments builds below `package`, itself included.
///
/// # Panics
///
/// Panics if cargo does not answer.
#[must_use]
pub fn variants_below(package: &str, selection: &[&str]) -> Variants {
    let shape = ["tree", "--prefix", "depth", "-f", "|{p}|{f}"];
    let tree = cargo(&[&shape, selection].concat());
    let children = children(&tree);
    let is_root = |node: &&String| node.split(' ').next() == Some(package);
    let mut waiting: Vec<&String> = children.keys().filter(is_root).collect();
    let mut seen = BTreeSet::new();
    let mut variants = Variants::new();
    while let Some(node) = waiting.pop() {
        if seen.insert(node) {
            let (name, features) = node.split_once('|').unwrap_or((node, ""));
            variants.entry(name.to_owned()).or_default().insert(features.to_owned());
            waiting.extend(children.get(node).into_iter().flatten());
        }
    }
    variants
}

/// Who is below whom; cargo writes what is below a node only where it first comes.
fn children(tree: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut children: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut path: Vec<String> = Vec::new();
    for line in tree.lines() {
        let Some((depth, node)) = line.split_once('|') else { continue };
        let Ok(depth) = depth.parse::<usize>() else { continue };
        let node = node.trim_end_matches(" (*)").to_owned();
        path.truncate(depth);
        if let Some(parent) = path.last() {
            children.entry(parent.clone()).or_default().insert(node.clone());
        }
        children.entry(node.clone()).or_default();
        path.push(node);
    }
    children
}

fn inside(folder: &Path) -> String {
    let folders = folder.strip_prefix(root()).unwrap_or(folder);
    folders.iter().map(|name| name.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Runs the cargo that runs this test, else the one that built it.
fn cargo(arguments: &[&str]) -> String {
    let program = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let said = Command::new(program).current_dir(root()).args(arguments).output();
    let said = said.expect("cargo can be started");
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "cargo {}: {complaint}", arguments.join(" "));
    String::from_utf8(said.stdout).expect("cargo writes text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_node_keeps_what_stood_below_it_first() {
        let children = children("0|a v1|\n1|b v1|x\n2|c v1|\n1|d v1|\n2|b v1|x (*)\n");
        let below = |node: &str| children[node].iter().cloned().collect::<Vec<_>>();
        assert_eq!(below("a v1|"), ["b v1|x", "d v1|"]);
        assert_eq!(below("d v1|"), ["b v1|x"]);
        assert_eq!(below("b v1|x"), ["c v1|"]);
    }
}
