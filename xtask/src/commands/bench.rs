//! `bench loop`: from a real edit to the printed verdict, in a scratch copy.
//!
//! The copy has a target folder of its own, which stays for the next time: cargo takes two places
//! of one workspace for the same, and would leave the learner with stale builds if they shared one.
//! The learner's own files are never touched.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{course::Course, exit::Exit, state::Lock};

/// What is edited, and where.
const EXERCISE: &str = "attention";
const EDITED: &str = "exercises/attention/src/lib.rs";
const FUNCTION: &str = "pub fn attention_pattern(";

pub(crate) fn run(course: &Course, runs: usize, cold: bool) -> anyhow::Result<Exit> {
    let _lock = Lock::take(&course.root, "bench loop")?;
    let copy = Copy::make(course)?;
    let cores = thread::available_parallelism().map_or(0, usize::from);
    say!("Measured on {cores} cores by `cargo xtask bench loop --runs {runs}`; medians.\n");
    if cold || !copy.target.exists() {
        let _ = fs::remove_dir_all(&copy.target);
        copy.first_check()?;
    }
    copy.fill_in(course)?;
    // Builds what the copy needs, first by cargo and then by its recipe, and proves that there is
    // something to measure.
    for _ in 0..2 {
        copy.edit(0)?;
        copy.check()?;
    }
    let mut laps = Vec::new();
    for n in 1..=runs {
        copy.edit(n)?;
        laps.push(copy.check()?);
    }
    print_laps(&laps);
    copy.list(runs)?;
    Ok(Exit::Passed)
}

/// One edit, in milliseconds.
struct Lap {
    /// From the saved file to the end of `cargo xtask check`.
    total: f64,
    /// Of that, building the answer.
    build: f64,
    /// Of that, the judge.
    judge: f64,
    /// Of that, from spawning the jailed subject to its first answer.
    start: f64,
    checks: u64,
}

fn print_laps(laps: &[Lap]) {
    let checks = laps.first().map_or(0, |lap| lap.checks);
    let row = |what: &str, of: &dyn Fn(&Lap) -> f64| {
        let mut millis: Vec<f64> = laps.iter().map(of).collect();
        millis.sort_by(f64::total_cmp);
        print_row(what, &millis);
    };
    say!("| from a real edit of `{EDITED}` | median | least | most |");
    say!("|---|---|---|---|");
    row(&format!("to the verdict on every part ({checks} checks)"), &|lap| lap.total);
    row("· building the answer: rustc and link", &|lap| lap.build);
    row("· the judge, the subject's work included", &|lap| lap.judge);
    row("· · of that, start of the jailed subject", &|lap| lap.start);
    row("· the rest: cargo starting xtask, snapshot, saving", &|lap| {
        lap.total - lap.build - lap.judge
    });
}

fn print_row(what: &str, sorted_millis: &[f64]) {
    let at = |n: usize| sorted_millis.get(n).copied().unwrap_or(f64::NAN);
    let last = sorted_millis.len().saturating_sub(1);
    say!("| {what} | {:.0} ms | {:.0} ms | {:.0} ms |", at(last / 2), at(0), at(last));
}

/// A scratch copy of the clone.
struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn make(course: &Course) -> anyhow::Result<Self> {
        let ours =
            std::env::var_os("CARGO_TARGET_DIR").map_or(course.root.join("target"), PathBuf::from);
        let (root, target) = (ours.join("bench-loop"), ours.join("bench-loop-target"));
        let _ = fs::remove_dir_all(&root);
        let listed = Command::new("git")
            .args(["ls-files", "-co", "--exclude-standard"])
            .current_dir(&course.root)
            .output()
            .context("git could not list the files of this clone")?;
        for file in String::from_utf8_lossy(&listed.stdout).lines() {
            let to = root.join(file);
            fs::create_dir_all(to.parent().context("invariant: a file is in a folder")?)?;
            // A file may be listed although it is deleted here.
            if course.root.join(file).is_file() {
                fs::copy(course.root.join(file), to)?;
            }
        }
        Ok(Self { root, target })
    }

    /// Puts the solution where the learner's answer would be.
    fn fill_in(&self, course: &Course) -> anyhow::Result<()> {
        let exercise = course.exercises.iter().find(|exercise| exercise.name == EXERCISE);
        let exercise = exercise.context("the course has no attention")?;
        for (file, solution) in exercise.files().into_iter().zip(exercise.solution_files()) {
            fs::copy(self.root.join(solution), self.root.join(file))?;
        }
        Ok(())
    }

    /// Changes the code of a function, so that rustc really has to compile.
    fn edit(&self, n: usize) -> anyhow::Result<()> {
        let path = self.root.join(EDITED);
        let text = fs::read_to_string(&path)?;
        let start = text.find(FUNCTION).context("the function to edit is not there")?;
        let body = start + text[start..].find("{\n").context("the function has no body")? + 2;
        let rest = text[body..].trim_start_matches(' ');
        let rest = match rest.strip_prefix("let _edit = ") {
            Some(edited) => edited.split_once('\n').map_or("", |(_, rest)| rest),
            None => &text[body..],
        };
        fs::write(&path, format!("{}    let _edit = {n};\n{rest}", &text[..body]))?;
        Ok(())
    }

    fn check(&self) -> anyhow::Result<Lap> {
        let begun = Instant::now();
        let output = self.xtask(&["check", EXERCISE, "--format", "json"])?;
        let total = begun.elapsed().as_secs_f64() * 1e3;
        let lines: Vec<Value> =
            output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let event = |name: &str| lines.iter().find(|line| line["event"] == name);
        let finished = event("finished").context("the check did not finish")?;
        let outcome = event("outcome").context("the check said no outcome")?;
        ensure!(outcome["exit_code"] == 0, "the check of the solution ended with {outcome}");
        let millis = |value: &Value| value.as_f64().context("a time is no number");
        Ok(Lap {
            total,
            build: millis(&outcome["build_seconds"])? * 1e3,
            judge: millis(&finished["millis"])?,
            start: millis(&finished["start_millis"])?,
            checks: finished["checks_run"].as_u64().unwrap_or(0),
        })
    }

    /// Times the list, when nothing has to be built.
    fn list(&self, runs: usize) -> anyhow::Result<()> {
        let mut millis = Vec::new();
        for _ in 0..runs {
            let begun = Instant::now();
            self.xtask(&["list"])?;
            millis.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        millis.sort_by(f64::total_cmp);
        print_row("`cargo xtask list`", &millis);
        Ok(())
    }

    /// Times the very first check: the target folder is empty, the registry is not.
    fn first_check(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.xtask(&["check", EXERCISE])?;
        let seconds = begun.elapsed().as_secs_f64();
        say!("The first `cargo xtask check {EXERCISE}`, with an empty target: {seconds:.0} s\n");
        Ok(())
    }

    fn xtask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .arg("xtask")
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .stdin(Stdio::null())
            .output()
            .context("cargo could not be started")?;
        String::from_utf8(output.stdout).context("xtask printed something else than text")
    }
}
