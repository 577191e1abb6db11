//! What is committed agrees with itself: every rule of `verify` holds, and its page lists them all.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use report::Rule;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the clone")
}

/// Where cargo put this test, it finds everything else already built.
fn target() -> PathBuf {
    let test = env::current_exe().expect("a test has a place");
    test.ancestors().nth(3).expect("tests lie in target/debug/deps").to_owned()
}

fn verify(arguments: &[&str]) -> Output {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.arg("verify").args(arguments).current_dir(root()).env("CARGO_TARGET_DIR", target());
    xtask.output().expect("xtask can be started")
}

#[track_caller]
fn holds(output: &Output) {
    let (said, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complaints}");
}

/// How long things take says something on a quiet machine only, so that is left to people.
#[test]
fn every_exercise_is_sound_and_its_checks_are_strong() {
    let output = verify(&["--skip", "edit-to-verdict", "--skip", "judge-budget"]);
    holds(&output);
    let said = String::from_utf8_lossy(&output.stdout);
    for stage in ["files", "builds", "proofs", "numbers"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("ok     {stage}"))), "{said}");
    }
}

#[test]
fn files_can_be_looked_at_alone() {
    let output = verify(&["--files", "--format", "json"]);
    holds(&output);
    let said = String::from_utf8_lossy(&output.stdout);
    let end: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(end["complaints"], 0);
}

#[test]
fn the_page_lists_every_rule() {
    let mut table = "| rule | what must hold | stage | `--fix` |\n|---|---|---|---|\n".to_owned();
    for rule in Rule::ALL {
        let fix = rule.fix().unwrap_or("–");
        table += &format!("| `{rule}` | {} | {} | {fix} |\n", rule.demand(), rule.stage().name());
    }
    let page = fs::read_to_string(root().join("crates/VERIFY.md")).unwrap();
    let (_, rest) = page.split_once("<!-- rules:begin -->\n").expect("the page marks its table");
    let (there, _) = rest.split_once("<!-- rules:end -->").expect("the page ends its table");
    assert!(there == table, "the table in crates/VERIFY.md must be:\n{table}");
}
