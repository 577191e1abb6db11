//! `bench train --device cuda`: the same steps on a card, in `f32` and in `bf16`.
//!
//! A card has no neighbours that disturb it, and not room for several models at once, so the ways
//! have it one after another.
//!
//! **Invariant:** the share of the card's peak is of what this card multiplied just before, never
//! of what a table says of it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use devices::Cuda;
use serde_json::Value;

use super::bench_train::{Lap, Options, PEER, PEERS, Way, built, median};
use crate::{course::Course, cuda, exit::Exit};

const DTYPES: [&str; 2] = ["f32", "bf16"];

/// Steps of one way before any is timed: the driver compiles kernels, PyTorch its graph.
const WARM_UP: usize = 3;

pub(super) fn run(course: &Course, options: &Options, found: &Cuda) -> anyhow::Result<Exit> {
    let beside = std::env::current_exe()?;
    let program =
        built(cuda::cargo("bench", &course.root, found, &beside)?.args(["--features", "cuda"]))?;
    let card = Card { course, options, program, libraries: cuda::libraries(found) };
    let name = found.card.as_ref().map_or("a card", |card| card.name.as_str());
    say!("Measured on {name} by `cargo xtask bench train --device cuda`.");
    let sizes = card.say_once(&["sizes"])?;
    for dtype in DTYPES {
        let rate = card.say_once(&["matmul", "cuda", dtype])?;
        let rate = rate.first().and_then(|line| line["gflops"].as_f64());
        let rate = rate.context("no rate of multiplication")?;
        let teraflops = rate / 1e3;
        say!("\nIn {dtype}, matrices of 8192 × 8192 multiply at {teraflops:.1} TFLOP/s.\n");
        say!("| size | way | forward | backward | optimiser | step | tokens/s | share of that |");
        say!("|---|---|---|---|---|---|---|---|");
        for size in &sizes {
            if options.wants(size["name"].as_str().unwrap_or_default(), true) {
                card.size(size, dtype, rate);
            }
        }
    }
    Ok(Exit::Passed)
}

struct Card<'a> {
    course: &'a Course,
    options: &'a Options,
    program: PathBuf,
    /// Folders of CUDA's libraries.
    libraries: OsString,
}

impl Card<'_> {
    fn ours(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    fn theirs(&self, python: &Path, way: &str, size: &Value, dtype: &str) -> Command {
        let mut command = Command::new(python);
        command.arg(self.course.root.join(PEER)).arg(way).arg(size.to_string());
        command.args(["1", "cuda", dtype]);
        command
    }

    /// The lines that the program writes about a question.
    fn say_once(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let output = self.ours(arguments).output().context("the program could not be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?} failed: {}", said.trim());
        let lines = String::from_utf8(output.stdout)?;
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// A row for each way; one that fails, such as for want of memory, says so.
    fn size(&self, size: &Value, dtype: &str, rate: f64) {
        let name = size["name"].as_str().unwrap_or_default();
        let mut ways = Vec::new();
        if !self.options.without_plain {
            ways.push(("plain", self.ours(&["plain", name, "cuda", dtype])));
        }
        for way in PEERS {
            let python = self.options.peer.iter();
            ways.extend(python.map(|python| (way, self.theirs(python, way, size, dtype))));
        }
        for (way, mut command) in ways {
            match self.laps(way, &mut command) {
                Ok(laps) => say!("{}", row(size, way, &laps, rate)),
                Err(error) => say!("| {name} | {way} | did not run: {error:#} | | | | | |"),
            }
        }
    }

    fn laps(&self, way: &str, command: &mut Command) -> anyhow::Result<Vec<Lap>> {
        let mut way = Way::start(way, command)?;
        way.steps(WARM_UP)?;
        let laps = way.steps(self.options.rounds)?;
        // So that the next one has the card to itself.
        way.end()?;
        Ok(laps)
    }
}

fn row(size: &Value, way: &str, laps: &[Lap], rate: f64) -> String {
    let number = |name: &str| size[name].as_f64().unwrap_or(f64::NAN);
    let middle = |of: &dyn Fn(&Lap) -> f64| median(laps.iter().map(of));
    let (forward, backward) = (middle(&|lap| lap.forward), middle(&|lap| lap.backward));
    let (optimiser, all) = (middle(&|lap| lap.optimiser), middle(&Lap::all));
    let seconds = all / 1e3;
    let tokens = number("batch") * number("seq") / seconds;
    let share = number("gflop") / seconds / rate * 100.0;
    let name = size["name"].as_str().unwrap_or_default();
    format!(
        "| {name} | {way} | {forward:.2} ms | {backward:.2} ms | {optimiser:.2} ms | {all:.2} ms \
         | {tokens:.0} | {share:.0} % |"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_what_a_step_achieves() {
        let size = serde_json::json!({"name": "small", "batch": 2, "seq": 8, "gflop": 3.0});
        let laps = [Lap { forward: 2.0, backward: 6.0, optimiser: 2.0 }];
        let said = row(&size, "plain", &laps, 1_000.0);
        let expected = "| small | plain | 2.00 ms | 6.00 ms | 2.00 ms | 10.00 ms | 1600 | 30 % |";
        assert_eq!(said, expected);
    }
}
