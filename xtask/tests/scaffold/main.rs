//! `new` and the guide's steps from beginning to end, with the real cargo and the real judge.
//!
//! One test and not many: the steps build on each other, and so do their builds.

mod clone;

use clone::Clone;

/// A broken version of the part of the template `function`.
const BUG: &str = r"
/// One mean, taken over all rows.
fn one_mean_for_all_rows(x: &Tensor) -> Result<Tensor> {
    let mean = x.mean_all()?;
    x.broadcast_sub(&mean)
}
";

#[track_caller]
fn ends(clone: &Clone, arguments: &[&str], code: i32, says: &str) {
    let ran = clone.xtask(arguments);
    assert!(ran.text.contains(says), "{arguments:?} said:\n{}", ran.text);
    assert_eq!(ran.code, Some(code), "{arguments:?} said:\n{}", ran.text);
}

/// A refusal leaves every byte as it was.
#[track_caller]
fn refuses(clone: &Clone, arguments: &[&str], code: i32, says: &str) {
    let before = clone.everything();
    ends(clone, arguments, code, says);
    assert!(before == clone.everything(), "{arguments:?} left something behind");
}

#[test]
fn every_template_leads_to_a_judged_exercise() {
    let clone = Clone::new();
    refuses(&clone, &["new", "LayerNorm"], 2, "say `layer_norm`.");
    refuses(&clone, &["new", "attention"], 2, "There is an exercise `attention` already");
    refuses(&clone, &["new", "rand"], 2, "`rand` is a package that Wick is built from");
    refuses(&clone, &["new", "array"], 2, "crates/checks/src/array.rs is there already");
    refuses(&clone, &["new", "a_b", "--part", "a_b"], 2, "give the part another one");
    what_goes_wrong_midway_leaves_nothing(&clone);
    for template in ["function", "module", "training"] {
        let name = format!("made_of_{template}");
        ends(&clone, &["new", &name, "--template", template], 0, "passes 6 of 6 checks");
        ends(&clone, &["stub", &name, "--check"], 0, "is the derived stub");
        ends(&clone, &["check", &name], 6, "not started");
        ends(&clone, &["check", &name, "--solution"], 0, "1 of 1 passed");
        // How fast it is depends on what else the machine does.
        let quiet = ["--skip", "edit-to-verdict", "--skip", "judge-budget"];
        ends(&clone, &[&["verify", &name][..], &quiet].concat(), 0, "What was looked at holds");
    }
    refuses(&clone, &["new", "made_of_module"], 2, "There is an exercise `made_of_module`");
    the_checks_are_strong(&clone);
    a_bug_is_shown_and_fails_as_it_must(&clone);
}

fn what_goes_wrong_midway_leaves_nothing(clone: &Clone) {
    let file = "xtask/templates/function/solution.rs";
    let right = clone.read(file);
    clone.write(file, &right.replace("mean_keepdim", "mean_keepdims"));
    refuses(clone, &["new", "torn"], 3, "Nothing of torn is kept.");
    clone.write(file, &right.replace("broadcast_sub", "broadcast_add"));
    refuses(clone, &["new", "torn"], 70, "the new solution does not pass");
    clone.write(file, &right);
}

fn the_checks_are_strong(clone: &Clone) {
    let tests = ["--test", "strength", "--test", "manifests"];
    let packages = ["test", "-p", "checks", "-p", "judge"];
    let ran = clone.cargo(&[&packages[..], &tests].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let ran = clone.cargo(&["fmt", "--all", "--check"]);
    assert_eq!(ran.code, Some(0), "{}", ran.text);
}

fn a_bug_is_shown_and_fails_as_it_must(clone: &Clone) {
    let (solution, stub) =
        ("solutions/made_of_function/src/lib.rs", "exercises/made_of_function/src/lib.rs");
    let text = clone.read(solution);
    let plan = "#[part(plan = \"mean of each row, subtract\")]";
    let bug = "#[part(bug = \"one_mean_for_all_rows\")]";
    assert!(text.contains(plan), "{text}");
    clone.write(solution, &(text.replace(plan, bug) + BUG));
    ends(clone, &["stub", "made_of_function"], 0, "is written");
    let shown = clone.read(stub);
    assert!(shown.contains("mean_all") && !shown.contains("one_mean"), "{shown}");
    let ran = clone.xtask(&["check", "made_of_function", "--solution"]);
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    // A warning that it is never used would name it.
    assert!(!ran.text.contains("one_mean_for_all_rows"), "{}", ran.text);
    ends(clone, &["check", "made_of_function"], 1, "rows_sum_to_zero");
    ends(clone, &["check", "made_of_function"], 1, "recognised as One mean is taken over all rows");
}
