//! A copy of this repository that really builds, and builds quickly.
//!
//! Cargo knows a workspace's own packages by their place below its root, so two copies that share
//! a target folder are given each other's builds. The copy therefore has one of its own, which
//! stays for the next time. What comes from the registry has no such trouble: it is linked in from
//! the target folder that this test was built into, and candle is not built again.
#![allow(clippy::unwrap_used, reason = "these are helpers of tests")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What a build needs; the rest of the repository stays out of the copy.
const COPIED: [&str; 10] = [
    ".cargo",
    ".clippy.toml",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "crates",
    "exercises",
    "solutions",
    "xtask",
];

/// What cargo takes from a target folder in place of building it.
const LINKED: [&str; 5] = ["rlib", "rmeta", "so", "dylib", "dll"];

/// A copy in a folder of its own.
pub(crate) struct Clone {
    root: PathBuf,
    target: PathBuf,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Clone {
    /// Makes or renews the copy, without the suites of our own exercises, which take long to
    /// build and have nothing to do with a new one.
    pub(crate) fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scaffold");
        let clone = Self { root: folder.join("clone"), target: folder.join("target") };
        let copied = COPIED.iter().flat_map(|name| files(&original().join(name)));
        let copied: BTreeSet<PathBuf> =
            copied.map(|file| file.strip_prefix(original()).unwrap().to_owned()).collect();
        for file in &copied {
            clone.renew(file, &fs::read(original().join(file)).unwrap());
        }
        for file in files(&clone.root) {
            if !copied.contains(file.strip_prefix(&clone.root).unwrap()) {
                fs::remove_file(file).unwrap();
            }
        }
        remove_empty_folders(&clone.root);
        let lib = clone.read("crates/checks/src/lib.rs");
        let lib = emptied(&lib, "// exercises:begin", "// exercises:end");
        let lib = emptied(&lib, "// suites:begin", "// suites:end");
        clone.renew(Path::new("crates/checks/src/lib.rs"), lib.as_bytes());
        // Ours are built anew with every exercise and run for a moment: not worth optimising here.
        let manifest = clone.read("Cargo.toml").replace("opt-level = 1", "opt-level = 0");
        clone.renew(Path::new("Cargo.toml"), manifest.as_bytes());
        clone.warm();
        clone
    }

    /// Writes a file only if it says something else now: cargo goes by the time of the last write.
    fn renew(&self, file: &Path, bytes: &[u8]) {
        let to = self.root.join(file);
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            return;
        }
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }

    /// Links in what comes from the registry, once it is built where we were built.
    fn warm(&self) {
        let (target, profile) = built_into();
        let mut cargo = Command::new(cargo());
        cargo.current_dir(original()).args(["build", "--quiet", "-p", "judge", "-p", "tensors"]);
        cargo.args(["--profile", if profile == "debug" { "dev" } else { &profile }]);
        let built = cargo.arg("--target-dir").arg(&target).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let (from, to) = (target.join(&profile), self.target.join(&profile));
        let ours = members();
        let is_ours = |name: &str| ours.contains(&package_of(name));
        for folder in [".fingerprint", "build"] {
            for inner in names(&from.join(folder)).into_iter().filter(|name| !is_ours(name)) {
                let place = Path::new(folder).join(inner);
                for file in files(&from.join(&place)) {
                    link(&file, &to.join(file.strip_prefix(&from).unwrap()));
                }
            }
        }
        for name in names(&from.join("deps")) {
            let ending = Path::new(&name).extension().and_then(|ending| ending.to_str());
            if ending.is_some_and(|ending| LINKED.contains(&ending)) && !is_ours(&name) {
                link(&from.join("deps").join(&name), &to.join("deps").join(&name));
            }
        }
    }

    pub(crate) fn xtask(&self, arguments: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_xtask").as_ref(), arguments)
    }

    pub(crate) fn cargo(&self, arguments: &[&str]) -> Ran {
        self.run(&cargo(), arguments)
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ran { code: status.code(), text: text.concat() }
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.root.join(file), text).unwrap();
    }

    /// Every file with what it says, but for what `check` remembers.
    pub(crate) fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = files(&self.root);
        files.retain(|file| !file.starts_with(self.root.join(".wick")));
        files.sort();
        files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    }
}

fn original() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The target folder that this test was built into, and the folder of its profile.
fn built_into() -> (PathBuf, String) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
    let test = env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).and_then(Path::file_name).unwrap();
    (target, profile.to_str().unwrap().to_owned())
}

/// The cargo that runs this test, else the one that built it.
fn cargo() -> PathBuf {
    env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()).into()
}

/// Our own packages, as file names spell them.
fn members() -> BTreeSet<String> {
    let lock: toml::Table =
        fs::read_to_string(original().join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    let ours = packages.filter(|package| package.get("source").is_none());
    ours.map(|package| package["name"].as_str().unwrap().replace('-', "_")).collect()
}

/// `candle_core` of `libcandle_core-0123456789abcdef.rlib` or `candle-core-0123456789abcdef`.
fn package_of(name: &str) -> String {
    let name = name.split_once('.').map_or(name, |(stem, _)| stem);
    let name = name.rsplit_once('-').map_or(name, |(package, _)| package);
    name.strip_prefix("lib").unwrap_or(name).replace('-', "_")
}

/// Names in a folder; none if it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// A file, or every file in a folder, but for what cargo builds.
fn files(place: &Path) -> Vec<PathBuf> {
    if !place.is_dir() {
        return if place.is_file() { vec![place.to_owned()] } else { Vec::new() };
    }
    let inner = names(place).into_iter().map(|name| place.join(name));
    inner.filter(|inner| !inner.join("CACHEDIR.TAG").exists()).flat_map(|i| files(&i)).collect()
}

fn remove_empty_folders(folder: &Path) {
    for name in names(folder) {
        let inner = folder.join(name);
        if inner.is_dir() {
            remove_empty_folders(&inner);
            // Fails if there is something in it, which is as it should be.
            let _ = fs::remove_dir(inner);
        }
    }
}

fn link(from: &Path, to: &Path) {
    if !to.exists() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if fs::hard_link(from, to).is_err() {
            fs::copy(from, to).unwrap();
        }
    }
}

/// A text without the lines between two marks.
fn emptied(text: &str, begin: &str, end: &str) -> String {
    let (head, rest) = text.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let indent = " ".repeat(head.len() - head.trim_end_matches(' ').len());
    format!("{head}{begin}\n{indent}{end}{tail}")
}
