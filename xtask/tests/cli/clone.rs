//! A small clone: two exercises, and a cargo and a judge that only pretend.
#![allow(clippy::unwrap_used, reason = "these are helpers of tests")]

use std::{
    fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command, time::SystemTime,
};

use serde_json::json;
use tempfile::TempDir;

const SOLUTION: &str = "//! First.\n\nuse wick::part;\n\n/// Adds one.\n\
#[part(plan = \"add one\")]\n\
    pub(crate) fn one(x: usize) -> usize {\n    x + 1\n}\n\n/// Adds two.\n\
#[part(plan = \"add two\")]\n\
    pub(crate) fn two(x: usize) -> usize {\n    x + 2\n}\n";

/// What a learner starts from.
pub(crate) const STUB: &str = "//! First.\n\nuse wick::part;\n\n/// Adds one.\n#[part]\n\
    pub(crate) fn one(x: usize) -> usize {\n    todo!(\"add one\")\n}\n\n/// Adds two.\n#[part]\n\
    pub(crate) fn two(x: usize) -> usize {\n    todo!(\"add two\")\n}\n";

const CARGO: &str = r#"#!/bin/sh
[ "$1" = xtask ] && [ -f "slow-$3" ] && sleep 1.1
[ "$1" = build ] || exit 0
if [ -f does-not-compile ]; then cat does-not-compile >&2; exit 101; fi
if [ -f rustc-says ]; then cat rustc-says; fi
for program in judge first second first-solution second-solution; do
  printf '{"reason":"compiler-artifact","package_id":"%s","target":{"name":"%s"},' $program $program
  printf '"executable":"%s","fresh":true}\n' "$PWD/pretend-judge"
done
"#;

const JUDGE: &str = r#"#!/bin/sh
if [ -f judge-waits ]; then
  touch judge-is-waiting
  while [ -f judge-waits ]; do sleep 0.02; done
fi
case "$*" in
  *--prove*) [ -f "proofs-$1" ] || { echo "$1 has no checks" >&2; exit 70; }; cat "proofs-$1" ;;
  *) echo "$*" >> judge-words; cat judge-lines ;;
esac
"#;

/// A clone in a folder of its own.
pub(crate) struct Clone {
    folder: TempDir,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Clone {
    pub(crate) fn new() -> Self {
        let clone = Self { folder: tempfile::tempdir().unwrap() };
        clone.write(
            "exercises/course.toml",
            "[[exercise]]\nname = \"first\"\n\n[[exercise]]\nname = \"second\"\n",
        );
        clone.exercise("first", "First", &["one", "two"]);
        clone.exercise("second", "Second", &["three"]);
        for (program, text) in [("pretend-cargo", CARGO), ("pretend-judge", JUDGE)] {
            clone.write(program, text);
            fs::set_permissions(clone.path(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        clone.judge_says(&[finished(0)]);
        clone
    }

    pub(crate) fn exercise(&self, name: &str, title: &str, parts: &[&str]) {
        let id = format!("{:0<8}-0000-4000-8000-000000000000", name.len());
        let mut manifest = format!(
            "id = \"{id}\"\ntitle = \"{title}\"\nsummary = \"s\"\ndifficulty = 1\nminutes = 30\n\
             prerequisites = []\nedit = [\"src/lib.rs\"]\n"
        );
        for part in parts {
            manifest += &format!(
                "\n[[part]]\nname = \"{part}\"\nfile = \"src/lib.rs\"\npoints = 1\n\
                 difficulty = 1\nminutes = 5\n\
                 hints = [\"Think.\", \"Think harder.\", \"Nearly there.\"]\n"
            );
        }
        self.write(&format!("exercises/{name}/exercise.toml"), &manifest);
        self.write(&format!("exercises/{name}/src/lib.rs"), STUB);
        self.write(&format!("solutions/{name}/src/lib.rs"), SOLUTION);
    }

    /// What the judge will print, after its first line.
    pub(crate) fn judge_says(&self, lines: &[String]) {
        self.judge_says_on("cpu", lines);
    }

    /// The same of a run on a device.
    pub(crate) fn judge_says_on(&self, device: &str, lines: &[String]) {
        let started = json!({
            "event": "started", "version": 1, "exercise": "first", "seed": 7, "device": device,
            "isolation": {"full": true, "layers": [], "weakness": ""}, "parts": [],
        });
        self.write("judge-lines", &format!("{started}\n{}\n", lines.join("\n")));
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), text).unwrap();
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(crate) fn modified(&self, file: &str) -> SystemTime {
        fs::metadata(self.path(file)).unwrap().modified().unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("CARGO", self.path("pretend-cargo"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_in("", arguments)
    }

    pub(crate) fn run_in(&self, folder: &str, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).current_dir(self.path(folder)))
    }

    /// Variables by which this machine seems to have a card and the kit; the driver is the pretend
    /// one, on which nothing is computed.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub(crate) fn with_card(&self) -> Vec<(&'static str, PathBuf)> {
        for file in ["kit/whole", "kit/cuda/bin/nvcc-lite", "bin/g++"] {
            self.write(file, "");
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/pretend-cuda/build.sh");
        let built = Command::new(script).arg(self.path("pretend-cuda")).status().unwrap();
        assert!(built.success(), "the pretend driver could not be built");
        let theirs = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&theirs).chain([self.path("bin")]);
        vec![
            ("WICK_CUDA_KIT", self.path("kit")),
            ("LD_LIBRARY_PATH", self.path("pretend-cuda")),
            ("PATH", std::env::join_paths(path).unwrap().into()),
        ]
    }

    /// Runs with variables that name paths.
    pub(crate) fn run_with(&self, variables: &[(&str, PathBuf)], arguments: &[&str]) -> Ran {
        ran(self.command(arguments).envs(variables.iter().map(|(name, path)| (name, path))))
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A line about one part.
pub(crate) fn part(name: &str, verdict: &str, run: usize, declared: usize) -> String {
    let finding = json!({
        "check": "holds", "promise": "It holds.", "place": "`out` at [0]", "what": ["Got 1."],
        "triage": [], "recognised": null, "location": null, "inputs": [],
    });
    let finding = if verdict == "passed" { serde_json::Value::Null } else { finding };
    json!({
        "event": "part", "part": name, "verdict": verdict, "checks_run": run,
        "checks_declared": declared, "finding": finding, "millis": 1.0,
        "prints": {"stdout": "", "stderr": "", "cut": false},
    })
    .to_string()
}

/// The last line.
pub(crate) fn finished(checks_run: usize) -> String {
    json!({
        "event": "finished", "tally": {}, "checks_run": checks_run, "checks_declared": checks_run,
        "millis": 1.0, "start_millis": 1.0,
    })
    .to_string()
}
