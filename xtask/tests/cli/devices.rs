//! Devices that are not there; what needs an NVIDIA card is looked at where there is one.

use crate::clone::{Clone, Ran, finished, part};

/// Runs on a machine whose kit is gone, so that CUDA cannot be used, whatever else it has.
fn without_cuda(clone: &Clone, arguments: &[&str]) -> Ran {
    clone.run_with(&[("WICK_CUDA_KIT", clone.path("no-kit"))], arguments)
}

#[track_caller]
fn ends(clone: &Clone, arguments: &[&str], code: i32, says: &str) {
    let Ran { code: found, stdout, stderr } = without_cuda(clone, arguments);
    assert!(format!("{stdout}{stderr}").contains(says), "{arguments:?} said:\n{stdout}{stderr}");
    assert_eq!(found, Some(code), "{arguments:?} said:\n{stdout}{stderr}");
}

fn passing() -> Clone {
    let clone = Clone::new();
    clone.judge_says(&[part("one", "passed", 4, 4), part("two", "passed", 5, 5), finished(9)]);
    clone
}

#[test]
fn a_device_that_is_not_there_is_five_and_judges_nothing() {
    let clone = passing();
    for device in ["cuda", "metal"] {
        ends(&clone, &["check", "first", "--device", device], 5, "so nothing was judged");
    }
    assert!(!clone.path(".wick").exists(), "progress was touched");
    ends(&clone, &["check", "first", "--device", "cuda", "--format", "json"], 5, "\"exit_code\":5");
}

#[test]
fn nothing_is_measured_where_there_is_no_device() {
    let clone = passing();
    let bench = ["bench", "train", "--device", "cuda"];
    ends(&clone, &bench, 5, "cuda cannot be used here, so nothing was measured:");
    assert!(!clone.path(".wick").exists(), "a lock was taken");
}

#[test]
fn auto_says_why_it_is_the_processor() {
    let clone = passing();
    ends(&clone, &["check", "first", "--device", "auto"], 0, "on cpu: cuda lacks ");
    ends(&clone, &["check", "first", "--device", "cpu"], 0, "on cpu\n");
    let json = ["check", "first", "--device", "auto", "--format", "json"];
    ends(&clone, &json, 0, "\"device_reason\":\"cuda lacks ");
}

#[test]
fn the_doctor_names_the_mend() {
    let clone = passing();
    let mend = "mend: cargo xtask doctor --device cuda --fix";
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        ends(&clone, &["doctor", "--device", "cuda"], 5, mend);
    }
    ends(&clone, &["doctor", "--device", "cpu"], 0, "cpu can be used here");
    ends(&clone, &["doctor"], 0, "cuda: lacks ");
    ends(&clone, &["doctor", "--device", "cuda", "--format", "json"], 5, "\"usable\":false");
    ends(&clone, &["doctor", "--fix"], 2, "cargo xtask doctor --device cuda --fix");
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn without_python_the_fix_is_a_sentence() {
    let clone = passing();
    // A machine with compilers and nothing else.
    for program in ["cc", "g++"] {
        clone.write(&format!("bin/{program}"), "");
    }
    let variables = [("PATH", clone.path("bin")), ("WICK_CUDA_KIT", clone.path("kit"))];
    let Ran { code, stderr, .. } =
        clone.run_with(&variables, &["doctor", "--device", "cuda", "--fix"]);
    assert!(stderr.contains("there is no python3 with pip"), "{stderr}");
    assert!(stderr.contains("270 MB"), "{stderr}");
    assert_eq!(code, Some(5));
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_card_is_named_with_its_parity_and_remembered() {
    let clone = passing();
    let variables = clone.with_card();
    let with_parity = |line: String| {
        let parity = r#""parity":{"difference":3.14e-7,"used":0.042,"compared":9},"part":"#;
        line.replacen(r#""part":"#, parity, 1)
    };
    let lines = [with_parity(part("one", "passed", 4, 4)), part("two", "wrong", 5, 5), finished(9)];
    clone.judge_says_on("cuda", &lines);
    let check = ["check", "first", "--device", "cuda"];
    let Ran { code, stdout, stderr } = clone.run_with(&variables, &check);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("on cuda: pretend card"), "{stdout}");
    let parity = "largest difference from the CPU 3.1e-7 in 9 tensors, 4 % of what is allowed";
    assert!(stdout.contains(parity), "{stdout}");
    let progress: serde_json::Value =
        serde_json::from_str(&clone.read(".wick/progress.json")).unwrap();
    let record = &progress["exercises"]["first"];
    assert_eq!(record["devices"], serde_json::json!({"one": "cuda"}));
    let Ran { stdout, .. } = clone.run(&["history", "first"]);
    assert!(stdout.contains("1 of 2 passed · 1 wrong on cuda"), "{stdout}");
    // What passes on the processor later passed there.
    clone.judge_says(&[part("one", "passed", 4, 4), part("two", "passed", 5, 5), finished(9)]);
    assert_eq!(clone.run(&["check", "first"]).code, Some(0));
    assert!(!clone.read(".wick/progress.json").contains("cuda\","), "the device stayed");
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_card_that_does_not_open_is_five_and_nothing_passes() {
    let clone = passing();
    let variables = clone.with_card();
    let lines = [part("one", "no_device", 0, 4), part("two", "no_device", 0, 5), finished(0)];
    clone.judge_says_on("cuda", &lines);
    let check = ["check", "first", "--device", "auto"];
    let Ran { code, stdout, .. } = clone.run_with(&variables, &check);
    assert!(stdout.contains("nothing was judged and nothing counts"), "{stdout}");
    assert_eq!(code, Some(5), "{stdout}");
    assert!(!clone.read(".wick/progress.json").contains("\"one\""), "a part counts");
}
