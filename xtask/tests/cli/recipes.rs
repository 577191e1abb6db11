//! What is built without asking cargo, and when cargo has to be asked.
#![allow(clippy::unwrap_used, reason = "these are helpers of tests")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    thread,
    time::Duration,
};

use crate::clone::{Clone, Ran, finished, part};

/// Builds by telling rustc, and says so as cargo does: in colours, unless it is told not to.
const CARGO: &str = r#"#!/bin/sh
[ "$1" = build ] || exit 0
echo build >> cargo-calls
[ ! -f meanwhile ] || . ./meanwhile
case "$*" in
  *--color=never*) running=Running ;;
  *) running=$(printf '\033[32mRunning\033[0m') ;;
esac
for kind in lib bin; do
  call="$PWD/pretend-rustc --crate-name first exercises/first/src/lib.rs --crate-type $kind"
  call="$call --out-dir $PWD/target -C extra-filename=-$kind"
  call="$call --emit=metadata --extern wick=$PWD/target/libwick.r$kind"
  call="$call --extern first=$PWD/target/libfirst-lib.rlib"
  echo "     $running \`$call\`" >&2
  $call 2> rustc-said || { echo 'error: could not compile `first` (lib)' >&2; exit 101; }
done
[ ! -f hosts ] || programs=host
for program in judge first $programs; do
  printf '{"reason":"compiler-artifact","package_id":"%s","target":{"name":"%s"},' $program $program
  [ $program = host ] || program=judge
  printf '"executable":"%s","fresh":true}\n' "$PWD/pretend-$program"
done
"#;

/// Writes down what it is told, and what it was told to read.
const RUSTC: &str = r#"#!/bin/sh
words="$*"
while [ $# -gt 0 ]; do
  case "$1" in
    --crate-type) kind="$2" ;;
    --out-dir) folder="$2" ;;
    extra-filename=*) name="first${1#*=}" ;;
    --extern) library="$2" ;;
  esac
  shift
done
echo "$kind in ${folder##*/} with ${library#"first=$PWD/"}" >> rustc-calls
echo "$words" > rustc-words
[ ! -f rustc-fails ] || { cat rustc-fails >&2; exit 1; }
mkdir -p "$folder"
touch "$folder/$name" "$folder/lib$name.so"
{ echo 'exercises/first/src/lib.rs:'; cat reads 2> /dev/null; } > "$folder/$name.d"
[ $kind = bin ] || cat warning >&2
"#;

const WARNING: &str = "{\"$message_type\":\"diagnostic\",\"level\":\"warning\",\"message\":\"x\",\
                       \"spans\":[],\"rendered\":\"warning: unused import\\n\"}\n";

/// A clone in which the first exercise has been built by cargo, once.
fn built_once() -> Clone {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "passed", 4, 4), part("two", "passed", 5, 5), finished(9)]);
    for (program, text) in [("pretend-cargo", CARGO), ("pretend-rustc", RUSTC)] {
        clone.write(program, text);
        fs::set_permissions(clone.path(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for file in ["Cargo.toml", "Cargo.lock", "crates/wick/src/lib.rs"] {
        clone.write(file, "");
    }
    clone.write("warning", WARNING);
    passes(&clone);
    assert_eq!(calls(&clone), (1, 2));
    clone
}

#[track_caller]
fn passes(clone: &Clone) -> Ran {
    let ran = clone.run(&["check", "first"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

/// How often cargo and rustc were called.
fn calls(clone: &Clone) -> (usize, usize) {
    let lines = |file| clone.read(file).lines().count();
    (lines("cargo-calls"), lines("rustc-calls"))
}

fn edit(clone: &Clone, text: &str) {
    clone.write("exercises/first/src/lib.rs", text);
}

/// Cargo is asked after something was done.
#[track_caller]
fn asks(after: impl FnOnce(&Clone)) {
    let clone = built_once();
    // Times of files are no finer than this everywhere.
    thread::sleep(Duration::from_millis(20));
    after(&clone);
    passes(&clone);
    assert_eq!(calls(&clone).0, 2);
}

#[test]
fn after_an_edit_rustc_is_told_the_same_in_another_folder() {
    let clone = built_once();
    edit(&clone, "// edited");
    passes(&clone);
    assert_eq!(
        clone.read("rustc-calls"),
        "lib in target with target/libfirst-lib.rlib\nbin in target with target/libfirst-lib.rlib\n\
         lib in first with wick/first/libfirst-lib.rlib\n\
         bin in first with wick/first/libfirst-lib.rlib\n"
    );
    assert_eq!(calls(&clone), (1, 4));
}

/// A clone in which cargo has also built what loads an answer.
fn built_once_with_host(mode: u32) -> Clone {
    let clone = built_once();
    fs::set_permissions(clone.path("."), fs::Permissions::from_mode(mode)).unwrap();
    clone.write("hosts", "");
    clone.write("pretend-host", "");
    clone.write("Cargo.lock", "changed");
    passes(&clone);
    assert_eq!(calls(&clone), (2, 4));
    clone
}

#[test]
fn where_a_host_is_ready_rustc_is_told_once_to_build_what_it_loads() {
    let clone = built_once_with_host(0o755);
    edit(&clone, "// edited");
    passes(&clone);
    assert_eq!(calls(&clone), (2, 5));
    let words = clone.read("rustc-words");
    // Metadata is enough to compile with, and not to link.
    for expected in ["--crate-type cdylib ", "--emit=dep-info,link ", "target/libwick.rbin "] {
        assert!(words.contains(expected), "{words}");
    }
    assert!(clone.read("judge-words").contains("/wick/first/libfirst-lib.so "));
    // A library is nothing without its host.
    clone.write("pretend-host", "another");
    passes(&clone);
    assert_eq!(calls(&clone).0, 3);
}

#[test]
fn a_library_that_its_user_cannot_reach_is_not_judged() {
    let clone = built_once_with_host(0o700);
    edit(&clone, "// edited");
    let said = passes(&clone).stderr;
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    assert_eq!(calls(&clone).0, if is_root { 3 } else { 2 });
    // Cargo will say it, if it is cargo's answer that is judged.
    assert_eq!(said.contains("unused import"), !is_root);
}

#[test]
fn what_is_built_is_not_built_again_and_still_warned_about() {
    let clone = built_once();
    edit(&clone, "// edited");
    for _ in 0..2 {
        assert!(passes(&clone).stderr.contains("warning: unused import"));
        assert_eq!(calls(&clone), (1, 4));
    }
}

#[test]
fn a_module_of_any_name_is_part_of_an_answer() {
    let clone = built_once();
    edit(&clone, "// edited");
    passes(&clone);
    for (n, module) in ["tests/mod.rs", "target/mod.rs"].into_iter().enumerate() {
        clone.write(&format!("exercises/first/src/{module}"), "");
        passes(&clone);
        assert_eq!(calls(&clone), (1, 6 + 2 * n));
    }
}

#[test]
fn an_older_text_is_built_again() {
    let clone = built_once();
    let old = clone.modified("exercises/first/src/lib.rs");
    edit(&clone, "// edited");
    passes(&clone);
    edit(&clone, "// as before");
    let file = fs::File::options().write(true).open(clone.path("exercises/first/src/lib.rs"));
    file.unwrap().set_modified(old).unwrap();
    passes(&clone);
    assert_eq!(calls(&clone), (1, 6));
}

#[test]
fn what_was_built_by_another_recipe_is_built_again() {
    let clone = built_once();
    passes(&clone);
    assert_eq!(calls(&clone), (1, 4));
    clone.write("crates/wick/src/lib.rs", "// changed");
    passes(&clone);
    assert_eq!(calls(&clone), (2, 6));
    passes(&clone);
    assert_eq!(calls(&clone), (2, 8));
}

#[test]
fn cargo_is_asked_when_anything_else_has_changed() {
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
        "rust-toolchain.toml",
        "crates/wick/src/lib.rs",
        "crates/wick/src/new.rs",
        "exercises/first/Cargo.toml",
        "exercises/first/build.rs",
        "pretend-judge",
        "pretend-rustc",
    ] {
        asks(|clone| {
            let text = fs::read_to_string(clone.path(file)).unwrap_or_default();
            clone.write(file, &text);
        });
    }
}

#[test]
fn cargo_is_asked_again_when_something_changed_while_it_built() {
    let clone = built_once();
    clone.write("Cargo.lock", "changed");
    clone.write("meanwhile", "echo >> crates/wick/src/lib.rs; rm meanwhile");
    passes(&clone);
    passes(&clone);
    assert_eq!(calls(&clone).0, 3);
}

#[test]
fn cargo_is_asked_when_its_variables_are_others() {
    let clone = built_once();
    let command = &mut clone.command(&["check", "first"]);
    assert!(command.env("RUSTFLAGS", "-C opt-level=1").output().unwrap().status.success());
    assert_eq!(calls(&clone).0, 2);
}

#[test]
fn cargo_is_asked_when_its_recipe_is_damaged() {
    asks(|clone| clone.write(".wick/recipes/first.json", "{"));
}

#[test]
fn what_rustc_refuses_in_the_answer_is_said_at_once() {
    let clone = built_once();
    edit(&clone, "broken");
    clone.write("rustc-fails", &error("E0308", "exercises/first/src/lib.rs"));
    let ran = clone.run(&["check", "first"]);
    assert_eq!((ran.code, calls(&clone).0), (Some(3), 1), "{}", ran.stderr);
    assert_eq!(ran.stderr, "error: E0308\n\nfirst does not compile; nothing was checked.\n");
}

#[test]
fn what_else_rustc_refuses_is_said_by_cargo() {
    refused_elsewhere("");
    refused_elsewhere(&error("E0308", "crates/wick/src/lib.rs"));
    refused_elsewhere(&error("E0460", "exercises/first/src/lib.rs"));
}

fn error(code: &str, file: &str) -> String {
    let span = serde_json::json!({"file_name": file, "line_start": 1, "is_primary": true});
    let error = serde_json::json!({
        "$message_type": "diagnostic", "level": "error", "message": "x", "spans": [span],
        "code": {"code": code}, "rendered": format!("error: {code}\n"),
    });
    format!("{error}\n")
}

#[track_caller]
fn refused_elsewhere(says: &str) {
    let clone = built_once();
    edit(&clone, "broken");
    clone.write("rustc-fails", says);
    let ran = clone.run(&["check", "first"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("error: could not compile `first`"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("Running"), "{}", ran.stderr);
    // What failed is no product.
    fs::remove_file(clone.path("rustc-fails")).unwrap();
    let before = calls(&clone).1;
    passes(&clone);
    assert!(calls(&clone).1 > before);
}

#[test]
fn an_answer_that_reads_other_files_is_always_built_by_cargo() {
    for read in ["exercises/second/notes.txt:\n", "# env-dep:CARGO_PKG_NAME=first\n"] {
        let clone = built_once();
        clone.write("reads", read);
        edit(&clone, "// edited");
        passes(&clone);
        assert_eq!(calls(&clone).0, 2);
        edit(&clone, "// edited again");
        passes(&clone);
        assert_eq!(calls(&clone).0, 3);
    }
}
