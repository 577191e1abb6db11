//! A judge whose asker is gone has nobody to judge for.

use std::process::{Command, Stdio};

use crate::programs::program;

#[track_caller]
fn check(stdin: Stdio, code: i32) {
    let mut judge = Command::new(env!("CARGO_BIN_EXE_judge"));
    judge.args(["attention", "--attended", "--subject"]).arg(program("attention-solution"));
    let mut child = judge.stdin(stdin).stdout(Stdio::null()).spawn().unwrap();
    // Taken, or `wait` would close it.
    let _kept_open = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(code));
}

#[test]
fn it_ends_with_whoever_asked() {
    check(Stdio::null(), 130);
}

#[test]
fn it_judges_while_somebody_is_there() {
    check(Stdio::piped(), 0);
}
