//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use report::Rule;

use crate::scaffold::Template;

/// Graded machine-learning exercises: edit, check, understand.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows the course: order, state, points, minutes, difficulty.
    List(Output),
    /// Judges an exercise, or one part of it.
    Check(Check),
    /// Says what this machine has to compute with, and how to mend what is missing.
    Doctor(Doctor),
    /// Says what to do next.
    Next,
    /// Gives one more hint.
    Hint(Name),
    /// Puts an exercise back to its start; the text is kept.
    Reset(Reset),
    /// Shows the snapshots of an exercise, taken at each check.
    History(Name),
    /// Brings a snapshot back; the present text is kept.
    Restore(Restore),
    /// Shows what you changed.
    Diff(Diff),
    /// Shows the reference solution.
    Solution(Solution),
    /// Makes a new exercise from a template (for instructors).
    New(New),
    /// Brings a published model to this machine (548 MB for gpt2); no check needs one.
    Fetch(Fetch),
    /// Trains the small models that are shipped, or goes on where it was stopped (for instructors).
    TrainAssets(TrainAssets),
    /// Derives the stubs from the solutions (for instructors).
    Stub(Stub),
    /// Proves that exercises are sound and their checks strong (for instructors).
    Verify(Verify),
    /// Measures (for those who work on Wick).
    Bench(Bench),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
pub(crate) struct Output {
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, with colour on a terminal.
    Human,
    /// For people, without colour, symbols or bars.
    Plain,
    /// One JSON object a line.
    Json,
}

#[derive(Args)]
pub(crate) struct Check {
    /// `attention`, or `attention::causal_mask`; by default the exercise you are in.
    pub(crate) name: Option<String>,
    /// Judge the reference solution instead.
    #[arg(long)]
    pub(crate) solution: bool,
    /// Repeat a run exactly.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "cpu")]
    pub(crate) device: Device,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Judge a known wrong answer, `part::impostor`, and see what a learner would read.
    #[arg(long, hide = true)]
    pub(crate) impostor: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// An NVIDIA card if it can be used, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The first NVIDIA card.
    Cuda,
    /// Apple's.
    Metal,
}

#[derive(Args)]
pub(crate) struct Doctor {
    /// What you want to compute on; `auto` shows all in short.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) device: Device,
    /// Fetch what CUDA needs and can be fetched without root; says what and how much.
    #[arg(long)]
    pub(crate) fix: bool,
    /// Build a solution and our own tests with CUDA, which needs the kit and no card, and run them
    /// (minutes, once); without a card the tests say what did not run.
    #[arg(long, conflicts_with = "fix")]
    pub(crate) trial: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Name {
    /// `attention`, or `attention::causal_mask`; by default the exercise you are in.
    pub(crate) name: Option<String>,
}

#[derive(Args)]
pub(crate) struct Reset {
    /// The exercise.
    pub(crate) name: String,
    /// Bring back the text from before the last reset.
    #[arg(long)]
    pub(crate) undo: bool,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// The exercise.
    pub(crate) name: String,
    /// Number of the snapshot, as `history` shows it.
    pub(crate) snapshot: u64,
}

#[derive(Args)]
pub(crate) struct Diff {
    /// The exercise.
    pub(crate) name: Option<String>,
    /// Against the last version of which every part passed.
    #[arg(long, conflicts_with = "solution")]
    pub(crate) passed: bool,
    /// Against the solution, once passed.
    #[arg(long)]
    pub(crate) solution: bool,
}

#[derive(Args)]
pub(crate) struct Solution {
    /// `attention`, or `attention::causal_mask`.
    pub(crate) name: String,
    /// Show it although it is not passed.
    #[arg(long)]
    pub(crate) i_give_up: bool,
}

#[derive(Args)]
pub(crate) struct New {
    /// What to call it, in snake case: `layer_norm_by_hand`.
    pub(crate) name: String,
    /// What to start from.
    #[arg(long, value_enum, default_value = "function")]
    pub(crate) template: Template,
    /// What to call its part, the function that learners write.
    #[arg(long)]
    pub(crate) part: Option<String>,
}

#[derive(Args)]
pub(crate) struct Fetch {
    /// The model: `gpt2`.
    pub(crate) name: String,
}

#[derive(Args)]
pub(crate) struct TrainAssets {
    /// Which model, such as `char_gpt` or `othello`; by default all.
    pub(crate) name: Option<String>,
    /// Train for so many steps.
    #[arg(long)]
    pub(crate) steps: Option<usize>,
    /// Where losses and gradients are computed.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub(crate) device: Device,
}

#[derive(Args)]
pub(crate) struct Stub {
    /// The exercise.
    #[arg(required_unless_present = "all")]
    pub(crate) name: Option<String>,
    /// Every exercise.
    #[arg(long)]
    pub(crate) all: bool,
    /// Write nothing; fail if a stub is not the derived one.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Verify {
    /// Look at one exercise only; rules about the course as a whole are looked at all the same.
    pub(crate) name: Option<String>,
    /// Show what each check does to each impostor.
    #[arg(long)]
    pub(crate) matrix: bool,
    /// Mend what can be mended without loss.
    #[arg(long)]
    pub(crate) fix: bool,
    /// Write what was measured into the published report.
    #[arg(long, conflicts_with_all = ["name", "files"])]
    pub(crate) report: bool,
    /// Look at files alone: no build, done at once.
    #[arg(long)]
    pub(crate) files: bool,
    /// Let times count even while others are at work on the machine.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Leave a rule out; that it was is said at the end.
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub(crate) skip: Vec<Rule>,
    #[command(flatten)]
    pub(crate) output: Output,
}

fn rule(id: &str) -> Result<Rule, String> {
    let found = Rule::ALL.iter().copied().find(|rule| rule.id() == id);
    found.ok_or_else(|| "crates/VERIFY.md lists the rules".to_owned())
}

#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Subcommand)]
pub(crate) enum What {
    /// From a real edit to the printed verdict, in a scratch copy.
    Loop {
        /// Edits to time.
        #[arg(long, default_value_t = 11)]
        runs: usize,
        /// Also time the first check with an empty target folder (minutes).
        #[arg(long)]
        cold: bool,
    },
    /// Steps of a GPT: plain, fused and, beside a Python with torch, PyTorch's.
    Train {
        /// Turns that each way has.
        #[arg(long, default_value_t = 11)]
        rounds: usize,
        /// Threads to compute with.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
        threads: Vec<usize>,
        /// `small`, `medium`, `large` or `gpt2`; by default the first three, on a card all.
        #[arg(long = "size", value_delimiter = ',')]
        sizes: Vec<String>,
        /// Where to compute; on a card also with GPT-2's 124M weights, in f32 and in bf16.
        #[arg(long, value_enum, default_value = "cpu")]
        device: Device,
        /// A Python that can import torch.
        #[arg(long, value_name = "PYTHON")]
        peer: Option<PathBuf>,
        /// Leave candle's plain operations out, which take most of the time.
        #[arg(long)]
        without_plain: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
