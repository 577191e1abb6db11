//! `bench train`: steps of a GPT, plain, fused and, where there is one, by PyTorch.
//!
//! Every way is a process of its own that waits for its turn, so that one after another they meet
//! the same machine; ratios are medians of the ratios of neighbours, not ratios of medians.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{cli::Device, course::Course, device, exit::Exit, state::Lock};

use super::bench_card;

/// The same steps in PyTorch.
pub(super) const PEER: &str = "crates/wick/benches/peers/train.py";

/// A size that would take minutes a step on a processor.
const FOR_CARDS: &str = "gpt2";

/// What is measured against what.
const OURS: [&str; 3] = ["plain", "operations", "blocks"];
pub(super) const PEERS: [&str; 2] = ["eager", "compiled"];

pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) threads: Vec<usize>,
    /// None for all that are for the device.
    pub(crate) sizes: Vec<String>,
    pub(crate) device: Device,
    pub(crate) peer: Option<PathBuf>,
    pub(crate) without_plain: bool,
}

pub(crate) fn run(course: &Course, options: &Options) -> anyhow::Result<Exit> {
    // Before anything else: where there is no device, nothing is measured.
    let choice = device::choose(options.device, "measured")?;
    let _lock = Lock::take(&course.root, "bench train")?;
    if let Some(cuda) = &choice.cuda {
        return bench_card::run(course, options, cuda);
    }
    let program = build(&course.root)?;
    let mut sizes = Vec::new();
    for line in say_once(&program, "sizes", 1)? {
        sizes.push(line);
    }
    for &threads in &options.threads {
        let rate = matmul_rate(&program, threads)?;
        say!("\n{threads} thread(s); matrices of 1024 × 1024 multiply at {rate:.0} GFLOP/s.\n");
        say!("| size | way | forward | backward | optimiser | step | tokens/s | rate | memory |");
        say!("|---|---|---|---|---|---|---|---|---|");
        let mut ratios = Vec::new();
        for size in &sizes {
            let name = size["name"].as_str().unwrap_or_default();
            if options.wants(name, name != FOR_CARDS) {
                let bench = Bench { course, program: &program, options, size, threads, rate };
                ratios.extend(bench.size(name)?);
            }
        }
        print_ratios(&ratios);
    }
    Ok(Exit::Passed)
}

impl Options {
    /// Whether a size is to be measured: if it was named, or if none was and it is for the device.
    pub(super) fn wants(&self, size: &str, is_usual: bool) -> bool {
        let is_named = self.sizes.iter().any(|wanted| wanted == size);
        is_named || is_usual && self.sizes.is_empty()
    }
}

/// Builds the program that does the steps, and says where it is.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    built(Command::new(cargo).arg("bench").current_dir(root))
}

/// The same by a cargo that is told already where and how to build.
pub(super) fn built(cargo: &mut Command) -> anyhow::Result<PathBuf> {
    let output = cargo
        .args(["-p", "wick", "--bench", "train", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    ensure!(output.status.success(), "the program that does the steps could not be built");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let built = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = built.filter(|line| line["target"]["name"] == "train");
    let program = programs.find_map(|line| line["executable"].as_str().map(PathBuf::from));
    program.context("cargo did not say where the program is")
}

/// Starts the program with one argument, and gives the lines that it writes.
fn say_once(program: &Path, what: &str, threads: usize) -> anyhow::Result<Vec<Value>> {
    let output = with_threads(Command::new(program).arg(what), threads)
        .output()
        .context("the program that does the steps could not be started")?;
    ensure!(output.status.success(), "`{what}` failed");
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// How fast this machine multiplies matrices just now, in GFLOP/s.
fn matmul_rate(program: &Path, threads: usize) -> anyhow::Result<f64> {
    let lines = say_once(program, "matmul", threads)?;
    lines.first().and_then(|line| line["gflops"].as_f64()).context("no rate of multiplication")
}

fn with_threads(command: &mut Command, threads: usize) -> &mut Command {
    command
        .env("RAYON_NUM_THREADS", threads.to_string())
        .env("OMP_NUM_THREADS", threads.to_string())
        // Threads that wait for work must not take turns from others.
        .env("OMP_WAIT_POLICY", "PASSIVE")
}

struct Bench<'a> {
    course: &'a Course,
    program: &'a Path,
    options: &'a Options,
    size: &'a Value,
    threads: usize,
    /// Of products of matrices at the beginning, in GFLOP/s.
    rate: f64,
}

/// A pair of ways, and in how many times the time of the first the second does a step.
struct Ratio {
    what: String,
    sorted: Vec<f64>,
}

impl Bench<'_> {
    fn size(&self, name: &str) -> anyhow::Result<Vec<Ratio>> {
        let mut ways = Vec::new();
        for way in OURS.iter().filter(|way| **way != "plain" || !self.options.without_plain) {
            let mut command = Command::new(self.program);
            ways.push(Way::start(way, with_threads(command.args([way, name]), self.threads))?);
        }
        for way in PEERS {
            let Some(python) = &self.options.peer else { continue };
            let mut command = Command::new(python);
            command.arg(self.course.root.join(PEER)).arg(way).arg(self.size.to_string());
            command.arg(self.threads.to_string());
            ways.push(Way::start(way, with_threads(&mut command, self.threads))?);
        }
        for way in &mut ways {
            way.steps(3).with_context(|| format!("{} did not warm up", way.name))?;
        }
        let mut rates = Vec::new();
        for _ in 0..self.options.rounds {
            rates.push(matmul_rate(self.program, self.threads)?);
            for way in &mut ways {
                let laps = way.steps(self.steps_a_turn())?;
                way.laps.push(laps);
            }
        }
        let ratios = Self::ratios(name, &ways);
        for way in ways {
            self.print(name, way, median(rates.iter().copied()))?;
        }
        Ok(ratios)
    }

    /// So many that a turn takes about a third of a second at half the machine's rate.
    fn steps_a_turn(&self) -> usize {
        let seconds = self.gflop() / self.rate * 2.0;
        (0.3 / seconds).ceil().clamp(1.0, 20.0) as usize
    }

    fn gflop(&self) -> f64 {
        self.size["gflop"].as_f64().unwrap_or(f64::NAN)
    }

    fn print(&self, size: &str, way: Way, rate: f64) -> anyhow::Result<()> {
        let middle = |of: &dyn Fn(&Lap) -> f64| median(way.laps.iter().flatten().map(of));
        let (forward, backward) = (middle(&|lap| lap.forward), middle(&|lap| lap.backward));
        let (optimiser, all) = (middle(&|lap| lap.optimiser), middle(&Lap::all));
        let tokens = self.size["batch"].as_f64().zip(self.size["seq"].as_f64());
        let tokens = tokens.map_or(f64::NAN, |(batch, seq)| batch * seq);
        let share = self.gflop() / (all / 1e3) / rate;
        let (name, peak) = (way.name.clone(), way.end()?);
        say!(
            "| {size} | {name} | {forward:.2} ms | {backward:.2} ms | {optimiser:.2} ms \
             | {all:.2} ms | {:.0} | {:.0} % | {peak} MiB |",
            tokens / (all / 1e3),
            share * 100.0,
        );
        Ok(())
    }

    /// Of each turn, the time of one way over that of the blocks, which had theirs beside it.
    fn ratios(size: &str, ways: &[Way]) -> Vec<Ratio> {
        let Some(ours) = ways.iter().find(|way| way.name == "blocks") else { return Vec::new() };
        let ratio = |way: &Way| {
            let turns = way.laps.iter().zip(&ours.laps);
            let middle = |laps: &[Lap]| median(laps.iter().map(Lap::all));
            let mut sorted: Vec<f64> =
                turns.map(|(theirs, ours)| middle(theirs) / middle(ours)).collect();
            sorted.sort_by(f64::total_cmp);
            Ratio { what: format!("{size}: {} / blocks", way.name), sorted }
        };
        ways.iter().filter(|way| way.name != "blocks").map(ratio).collect()
    }
}

fn print_ratios(ratios: &[Ratio]) {
    say!("\n| time of one way over that of the blocks, turn by turn | median | least | most |");
    say!("|---|---|---|---|");
    for Ratio { what, sorted } in ratios {
        let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        say!("| {what} | {:.2} | {:.2} | {:.2} |", at(last / 2), at(0), at(last));
    }
}

pub(super) fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// One step, in milliseconds.
pub(super) struct Lap {
    pub(super) forward: f64,
    pub(super) backward: f64,
    pub(super) optimiser: f64,
}

impl Lap {
    pub(super) fn all(&self) -> f64 {
        self.forward + self.backward + self.optimiser
    }
}

/// A process that does steps when told to.
pub(super) struct Way {
    name: String,
    child: Child,
    tell: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// Of each turn, its steps.
    laps: Vec<Vec<Lap>>,
}

impl Way {
    pub(super) fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{name}` could not be started"))?;
        let tell = child.stdin.take();
        let out = child.stdout.take().context("invariant: the output is a pipe")?;
        let lines = BufReader::new(out).lines();
        Ok(Self { name: name.to_owned(), child, tell, lines, laps: Vec::new() })
    }

    pub(super) fn steps(&mut self, n: usize) -> anyhow::Result<Vec<Lap>> {
        let tell = self.tell.as_mut().context("invariant: it is told nothing after its end")?;
        writeln!(tell, "{n}")?;
        tell.flush()?;
        (0..n).map(|_| self.lap()).collect()
    }

    fn lap(&mut self) -> anyhow::Result<Lap> {
        let line = self.line()?;
        let millis = |name: &str| line[name].as_f64().with_context(|| format!("no {name}"));
        Ok(Lap {
            forward: millis("forward")?,
            backward: millis("backward")?,
            optimiser: millis("optimiser")?,
        })
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        let line = self.lines.next();
        let line = line.with_context(|| format!("`{}` ended too early", self.name))??;
        Ok(serde_json::from_str(&line)?)
    }

    /// Lets it end; gives the most memory it had, in MiB.
    pub(super) fn end(mut self) -> anyhow::Result<u64> {
        drop(self.tell.take());
        let line = self.line()?;
        self.child.wait()?;
        line["peak_mib"].as_u64().context("no peak of memory")
    }
}
