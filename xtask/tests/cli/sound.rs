//! A small course that breaks no rule, to break one at a time.
#![allow(clippy::unwrap_used, reason = "these are helpers of tests")]

use std::process::Command;

use serde_json::json;

use crate::clone::Clone;

const README: &str = "# Small\n\n<!-- exercises:begin -->\n<!-- exercises:end -->\n\n\
    <!-- strength:begin -->\n<!-- strength:end -->\n";

const STRENGTH: &str = "# Strength\n\n<!-- strength:begin -->\n<!-- strength:end -->\n\n\
    <!-- strength-of-parts:begin -->\n<!-- strength-of-parts:end -->\n";

const EXERCISE: &str = "# Small\n\n## Idea\n\nAdd.\n\n![Two marks become three.](figure.svg)\n\n\
    ## Build\n\n## Check\n\n## Go further\n";

/// What the checks' sources would say, for the lines of complaints.
const CHECKS: &str = "//! Checks.\n\nconst ONE: Part = Part {\n    name: \"one\",\n    checks: &[\n\
    \x20       Check { name: \"holds\" },\n        Check { name: \"adds\" },\n    ],\n\
    \x20   impostors: &[\n        Impostor { name: \"twice\" },\n    ],\n};\n\n\
    const TWO: Part = Part {\n    name: \"two\",\n};\n";

/// Makes the course, with everything published that it would measure.
pub(crate) fn sound() -> Clone {
    let clone = Clone::new();
    clone.write("README.md", README);
    clone.write("crates/checks/STRENGTH.md", STRENGTH);
    for name in ["first", "second"] {
        clone.exercise(name, "Small", &["one", "two"]);
        clone.write(&format!("exercises/{name}/README.md"), EXERCISE);
        clone.write(&format!("exercises/{name}/figure.svg"), "<svg/>");
        for (room, package) in
            [("exercises", name.to_owned()), ("solutions", format!("{name}-solution"))]
        {
            let manifest = format!("[package]\nname = \"{package}\"\n");
            clone.write(&format!("{room}/{name}/Cargo.toml"), &manifest);
            clone.write(&format!("{room}/{name}/src/main.rs"), "//! Serves.\n");
        }
        clone.write(&format!("crates/checks/src/{name}.rs"), CHECKS);
        clone.write(&format!("proofs-{name}"), &proofs());
    }
    // What is written now is what the last commit has.
    for arguments in [&["init", "--quiet"][..], &["add", "exercises"], &["commit", "-qm", "all"]] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Wick", "-c", "user.email=wick@example.org"]).args(arguments);
        assert!(git.current_dir(clone.path("")).status().unwrap().success());
    }
    let ran = clone.run(&["verify", "--fix"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    clone
}

/// What the judge proves of either exercise.
fn proofs() -> String {
    let part = |name: &str| {
        json!({
            "proof": "part", "part": name, "checks": ["holds", "adds"],
            "impostors": [
                {"name": "twice", "first": "holds", "fails": [true, true]},
                {"name": "late", "first": "adds", "fails": [false, true]},
            ],
            "killed": 2, "right_answers": 1, "false_alarms": 0, "lazy_answers": 6,
            "lazy_passed": 0, "noise": 0.04, "nearest": 26.0, "faults": [],
        })
    };
    let programs = json!({
        "proof": "programs", "device": "cpu", "seeds": [1, 2, 3], "noise": 0.1,
        "millis": [["one", 4.0], ["two", 6.0]], "run_millis": 12.0, "faults": [],
    });
    let lines = [part("one"), part("two"), programs, json!({"proof": "proved"})];
    lines.map(|line| format!("{line}\n")).concat()
}
