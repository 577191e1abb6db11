//! The programs that serve exercises and solutions, built by one cargo call.
//!
//! Cargo builds a test's own programs only, so the first test that needs another's asks for all of
//! them. It is the call that `cargo xtask check` makes, so candle is not built again, and cargo
//! holds no lock while tests run.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use checks::SUITES;
use serde_json::Value;

static PROGRAMS: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(build);

/// Name of the package that holds an exercise's solution.
pub(crate) fn solution(exercise: &str) -> String {
    format!("{exercise}-solution")
}

/// The program of a package.
#[track_caller]
pub(crate) fn program(package: &str) -> &'static Path {
    PROGRAMS.get(package).unwrap_or_else(|| panic!("cargo built no program `{package}`"))
}

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn build() -> BTreeMap<String, PathBuf> {
    // Where cargo put this test, it finds everything else already built.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(cargo());
    cargo.current_dir(root()).args(["build", "--message-format=json", "-p", "judge"]);
    cargo.args(["--profile", &profile()]).arg("--target-dir").arg(target);
    for suite in SUITES {
        cargo.args(["-p", suite.exercise, "-p", &solution(suite.exercise)]);
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    String::from_utf8(built.stdout).unwrap().lines().filter_map(executable).collect()
}

/// The cargo that runs this test, else the one that built it.
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into())
}

/// The profile that this test was built with, as its folder tells.
fn profile() -> String {
    let test = env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).and_then(Path::file_name).unwrap();
    match folder.to_str().unwrap() {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    }
}

/// Name and place of a program, if cargo's message is about one.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let place = message["executable"].as_str()?;
    Some((message["target"]["name"].as_str()?.to_owned(), place.into()))
}
