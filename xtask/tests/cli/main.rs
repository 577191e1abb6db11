//! The runner as a person meets it, on a small clone with a cargo and a judge that only pretend.
#![cfg(unix)]

mod broken;
mod clone;
mod devices;
mod recipes;
mod sound;

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use clone::{Clone, STUB, finished, part};

#[track_caller]
fn ends(clone: &Clone, arguments: &[&str], code: i32, says: &str) {
    let ran = clone.run(arguments);
    let text = format!("{}{}", ran.stdout, ran.stderr);
    assert!(text.contains(says), "{arguments:?} said:\n{text}");
    assert_eq!(ran.code, Some(code), "{arguments:?} said:\n{text}");
}

#[test]
fn an_unknown_name_gets_a_suggestion() {
    let clone = Clone::new();
    ends(&clone, &["check", "frist"], 2, "There is no exercise `frist`. Did you mean `first`?");
    ends(
        &clone,
        &["hint", "first::onne"],
        2,
        "first has no part `onne`. Did you mean `first::one`?",
    );
    ends(&clone, &["check", "one"], 2, "a part of that name: say `first::one`");
    ends(&clone, &["chekc"], 2, "check");
}

#[test]
fn a_pass_is_zero_and_is_remembered() {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "passed", 4, 4), part("two", "passed", 5, 5), finished(9)]);
    ends(&clone, &["check", "first"], 0, "2 of 2 passed");
    ends(&clone, &["list"], 0, "done");
    ends(&clone, &["next"], 0, "second");
}

#[test]
fn a_wrong_answer_is_one() {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "wrong", 2, 4), part("two", "passed", 5, 5), finished(7)]);
    ends(&clone, &["check", "first"], 1, "1 of 2 passed");
}

#[test]
fn a_crash_is_four() {
    let clone = Clone::new();
    for verdict in ["runtime_error", "memory", "time_cpu", "time_wall", "output_limit"] {
        clone.judge_says(&[part("one", verdict, 1, 4), part("two", "passed", 5, 5), finished(6)]);
        ends(&clone, &["check", "first"], 4, "1 crashed");
    }
}

#[test]
fn not_started_is_six() {
    let clone = Clone::new();
    let lines = [part("one", "passed", 4, 4), part("two", "not_started", 0, 5), finished(4)];
    clone.judge_says(&lines);
    ends(&clone, &["check", "first"], 6, "not started: two");
}

#[test]
fn a_compile_error_is_three_and_rustc_has_the_word() {
    let clone = Clone::new();
    clone.write(
        "does-not-compile",
        "error[E0308]: mismatched types\nerror: could not compile `first` (lib)\n",
    );
    ends(&clone, &["check", "first"], 3, "error[E0308]: mismatched types");
}

#[test]
fn a_judge_that_breaks_off_or_checks_nothing_is_ours() {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "passed", 4, 4)]);
    ends(&clone, &["check", "first"], 70, "the judge broke off");
    clone.judge_says(&[finished(0)]);
    ends(&clone, &["check", "first"], 70, "0 of 0 checks run");
    clone.judge_says(&["not json".to_owned()]);
    ends(&clone, &["check", "first"], 70, "something else than its lines");
}

#[test]
fn a_part_that_was_not_judged_is_never_a_pass() {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "passed", 4, 4), finished(4)]);
    ends(&clone, &["check", "first"], 70, "The judge did not judge two");
    ends(&clone, &["check", "first::one"], 0, "1 of 1 passed");
}

#[test]
fn only_the_answers_own_errors_are_compile_errors() {
    let clone = Clone::new();
    clone.write("does-not-compile", "error: could not compile `judge` (bin)\n");
    ends(&clone, &["check", "first"], 70, "cargo could not build first and judge");
    clone.write("does-not-compile", "error: failed to download `candle-core v0.11.1`\n");
    ends(&clone, &["check", "first"], 75, "could not get or keep what it needs");
    clone.write("does-not-compile", "error: No space left on device (os error 28)\n");
    ends(&clone, &["check", "first"], 75, "No space left on device");
}

#[test]
fn json_has_an_outcome_however_it_ends() {
    let clone = Clone::new();
    clone.write("does-not-compile", "error: could not compile `first` (lib)\n");
    ends(&clone, &["check", "first", "--format", "json"], 3, "\"exit_code\":3");
    ends(&clone, &["check", "frist", "--format", "json"], 2, "\"exit_code\":2");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let clone = Clone::new();
    let mut run = clone.command(&["list"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(run.stdout.take());
    assert_eq!(run.wait().unwrap().code(), Some(0));
}

#[test]
fn deriving_a_stub_keeps_what_was_there() {
    let clone = Clone::new();
    clone.write("exercises/first/src/lib.rs", "mine");
    ends(&clone, &["stub", "first"], 0, "is written");
    ends(&clone, &["restore", "first", "1"], 0, "");
    assert_eq!(clone.read("exercises/first/src/lib.rs"), "mine");
}

#[test]
fn without_a_name_it_is_where_you_are() {
    let clone = Clone::new();
    clone.judge_says(&[part("three", "not_started", 0, 5), finished(0)]);
    let ran = clone.run_in("exercises/second/src", &["check"]);
    assert!(ran.stdout.starts_with("second: Second, where you are"), "{}", ran.stdout);
}

#[test]
fn json_ends_with_the_outcome() {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "passed", 4, 4), part("two", "wrong", 1, 5), finished(5)]);
    let ran = clone.run(&["check", "first", "--format", "json"]);
    let last = ran.stdout.lines().last().unwrap();
    let outcome: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!((&outcome["event"], &outcome["exit_code"]), (&"outcome".into(), &1.into()));
    assert_eq!(ran.stdout.lines().count(), 5);
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "passed", 4, 4), part("two", "wrong", 1, 5), finished(5)]);
    for arguments in [&["check", "first"][..], &["list"], &["diff", "first"]] {
        let ran = clone.run(arguments);
        assert!(!ran.stdout.contains('\x1b') && !ran.stderr.contains('\x1b'), "{}", ran.stdout);
    }
}

#[test]
fn hints_come_one_by_one() {
    let clone = Clone::new();
    ends(&clone, &["hint", "first::one"], 0, "1. Think.\n2 hints more: ask again.");
    ends(&clone, &["hint", "first::one"], 0, "2. Think harder.\n1 hint more: ask again.");
    ends(&clone, &["hint", "first::one"], 0, "3. Nearly there.\nThat was the last hint.");
    ends(&clone, &["hint", "first::one"], 0, "That is every hint");
}

#[test]
fn reset_and_undo_keep_every_byte() {
    let clone = Clone::new();
    let mine = "// mine, with an unfinished line\nfn";
    clone.write("exercises/first/src/lib.rs", mine);
    ends(&clone, &["reset", "first"], 0, "Your text is kept as snapshot 1");
    assert_eq!(clone.read("exercises/first/src/lib.rs"), STUB);
    ends(&clone, &["reset", "first", "--undo"], 0, "as it was before its last reset");
    assert_eq!(clone.read("exercises/first/src/lib.rs"), mine);
    ends(&clone, &["restore", "first", "2"], 0, "as it was in snapshot 2");
    assert_eq!(clone.read("exercises/first/src/lib.rs"), STUB);
    ends(&clone, &["restore", "first", "99"], 2, "no snapshot 99");
}

#[test]
fn a_restored_file_is_newer_than_what_was_built() {
    let clone = Clone::new();
    ends(&clone, &["reset", "first"], 0, "");
    let reset = clone.modified("exercises/first/src/lib.rs");
    thread::sleep(Duration::from_millis(20));
    ends(&clone, &["reset", "first", "--undo"], 0, "");
    assert!(clone.modified("exercises/first/src/lib.rs") > reset);
}

#[test]
fn a_check_keeps_the_text_first() {
    let clone = Clone::new();
    clone.write("does-not-compile", "error: could not compile `first` (lib)\n");
    clone.write("exercises/first/src/lib.rs", "broken but mine");
    ends(&clone, &["check", "first"], 3, "");
    clone.write("exercises/first/src/lib.rs", "");
    ends(&clone, &["restore", "first", "1"], 0, "");
    assert_eq!(clone.read("exercises/first/src/lib.rs"), "broken but mine");
}

#[test]
fn diff_shows_what_changed() {
    let clone = Clone::new();
    ends(&clone, &["diff", "first"], 0, "first is the same as the stub.");
    clone.write("exercises/first/src/lib.rs", &STUB.replace("todo!(\"add one\")", "x + 2"));
    ends(&clone, &["diff", "first"], 0, "-    todo!(\"add one\")\n+    x + 2\n");
    ends(&clone, &["diff", "first", "--solution"], 2, "would give the solution away");
    ends(&clone, &["diff", "first", "--passed"], 2, "No version of first has passed yet.");
}

#[test]
fn the_solution_waits_for_a_pass() {
    let clone = Clone::new();
    ends(&clone, &["solution", "first"], 2, "not passed yet");
    ends(&clone, &["solution", "first::one", "--i-give-up"], 0, "    x + 1\n");
    clone.judge_says(&[part("one", "passed", 4, 4), part("two", "passed", 5, 5), finished(9)]);
    ends(&clone, &["check", "first"], 0, "");
    ends(&clone, &["solution", "first"], 0, "    x + 1\n");
    ends(&clone, &["diff", "first", "--solution"], 0, "");
}

#[test]
fn the_stub_is_derived_and_checked() {
    let clone = Clone::new();
    ends(&clone, &["stub", "first", "--check"], 0, "is the derived stub");
    clone.write("exercises/first/src/lib.rs", "other");
    ends(&clone, &["stub", "first", "--check"], 1, "src/lib.rs:1: this is not the stub");
    ends(&clone, &["stub", "first"], 0, "is written");
    assert_eq!(clone.read("exercises/first/src/lib.rs"), STUB);
}

#[test]
fn a_damaged_manifest_is_told_with_its_line() {
    let clone = Clone::new();
    let manifest = clone.read("exercises/first/exercise.toml");
    clone.write("exercises/first/exercise.toml", &manifest.replace("minutes = 30", "minutes = -"));
    ends(&clone, &["list"], 2, "exercises/first/exercise.toml:5: ");
    fs::remove_file(clone.path("exercises/first/exercise.toml")).unwrap();
    ends(&clone, &["list"], 2, "git restore exercises/first/exercise.toml");
}

#[test]
fn damaged_progress_is_told_and_left_alone() {
    let clone = Clone::new();
    clone.write(".wick/progress.json", "{\n  \"version\": 1,\n  oops");
    for arguments in [&["list"][..], &["check", "first"], &["hint", "first"], &["reset", "first"]] {
        ends(&clone, arguments, 2, ".wick/progress.json:3: ");
    }
    assert_eq!(clone.read(".wick/progress.json"), "{\n  \"version\": 1,\n  oops");
}

#[test]
fn two_runs_at_once_say_so() {
    let clone = Clone::new();
    clone.write("judge-waits", "");
    let mut first = clone.command(&["check", "first"]).stdout(Stdio::null()).spawn().unwrap();
    while !clone.path("judge-is-waiting").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    ends(&clone, &["hint", "first"], 75, "`cargo xtask check first` (process ");
    ends(&clone, &["list"], 0, "first");
    fs::remove_file(clone.path("judge-waits")).unwrap();
    first.wait().unwrap();
    ends(&clone, &["hint", "first"], 0, "1. ");
}

#[test]
fn a_run_killed_at_any_moment_loses_nothing() {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "passed", 4, 4), part("two", "passed", 5, 5), finished(9)]);
    // Kills are spread over the time that a run takes here and now.
    let begun = Instant::now();
    ends(&clone, &["reset", "first"], 0, "");
    let whole_run = begun.elapsed();
    for round in 0..40 {
        let text = format!("// round {round}\n");
        clone.write("exercises/first/src/lib.rs", &text);
        let mut run = clone.command(&["reset", "first"]).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(whole_run * round / 40);
        run.kill().unwrap();
        run.wait().unwrap();
        // Whatever was reached: the text is in place, or in the newest snapshot.
        let now = clone.read("exercises/first/src/lib.rs");
        assert!(now == text || now == STUB, "half a file: {now:?}");
        if now == STUB {
            ends(&clone, &["reset", "first", "--undo"], 0, "");
            assert_eq!(clone.read("exercises/first/src/lib.rs"), text);
        }
    }
    ends(&clone, &["history", "first"], 0, "before reset");
}

#[test]
fn a_damaged_manifest_stands_in_its_own_way_only() {
    let clone = Clone::new();
    clone.judge_says(&[part("three", "passed", 4, 4), finished(4)]);
    clone.write("exercises/first/exercise.toml", "id = 1\n");
    let says = "exercises/first/exercise.toml:1: invalid type: integer `1`, expected a string";
    ends(&clone, &["check", "first"], 2, says);
    ends(&clone, &["check", "second"], 0, "1 of 1 passed");
    ends(&clone, &["list"], 2, says);
    ends(&clone, &["list"], 2, " 1  first     damaged");
    ends(&clone, &["list"], 2, " 2  second    done");
    ends(&clone, &["list", "--format", "json"], 2, "\"state\":\"damaged\"");
    ends(&clone, &["stub", "--all", "--check"], 2, says);
}

#[test]
fn verify_refuses_what_it_does_not_know() {
    let clone = Clone::new();
    ends(
        &clone,
        &["verify", "thrid"],
        2,
        "There is no exercise `thrid`. There are: first, second.",
    );
    ends(&clone, &["verify", "--skip", "taste"], 2, "crates/VERIFY.md lists the rules");
}

#[test]
fn what_cannot_be_tried_here_is_no_pass() {
    let clone = sound::sound();
    let manifest = clone.read("exercises/first/exercise.toml");
    let declared = "prerequisites = []\ndevices = [\"cpu\", \"cuda\"]";
    let manifest = manifest.replace("prerequisites = []", declared);
    clone.write("exercises/first/exercise.toml", &manifest);
    let says = "Not looked at: solution-passes of first on cuda: this Wick judges on the CPU only.";
    ends(&clone, &["verify"], 5, says);
}

#[test]
fn a_sound_course_is_said_to_be_so() {
    let clone = sound::sound();
    ends(&clone, &["verify"], 0, "Everything holds: 2 exercises");
    ends(&clone, &["verify", "first"], 0, "Not looked at: report-current");
    ends(&clone, &["verify", "--matrix"], 0, "  twice   F  x\n  late    .  F\n  1 holds   2 adds");
}
