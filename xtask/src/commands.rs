//! The subcommands, one file each.
mod bench;
mod bench_card;
mod bench_train;
mod check;
mod diff;
mod doctor;
mod fetch;
mod hint;
mod history;
mod list;
mod new;
mod next;
mod reset;
mod solution;
mod stub;
mod verify;

use std::io::{IsTerminal as _, stdout};

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Command, What},
    course::Course,
    exit::Exit,
    render::Dress,
};

/// Runs what was asked for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Exit> {
    if let Command::Completions { shell } = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "cargo-xtask", &mut stdout());
        return Ok(Exit::Passed);
    }
    if let Command::Doctor(flags) = &cli.command {
        return doctor::run(flags);
    }
    if let Command::Verify(flags) = &cli.command {
        // A course that cannot be read is what it is there to say.
        return verify::run(flags);
    }
    let course = Course::find()?;
    match cli.command {
        Command::List(output) => list::run(&course, output.format),
        Command::Check(flags) => check::run(&course, &flags),
        Command::Next => next::run(&course),
        Command::Hint(flags) => hint::run(&course, flags.name.as_deref()),
        Command::Reset(flags) => reset::run(&course, &flags),
        Command::History(flags) => history::run(&course, flags.name.as_deref()),
        Command::Restore(flags) => history::restore(&course, &flags),
        Command::Diff(flags) => diff::run(&course, &flags),
        Command::Fetch(flags) => fetch::run(&course, &flags),
        Command::TrainAssets(flags) => fetch::train_assets(&course, &flags),
        Command::Solution(flags) => solution::run(&course, &flags),
        Command::New(flags) => new::run(&course, &flags),
        Command::Stub(flags) => stub::run(&course, &flags),
        Command::Bench(bench) => match bench.what {
            What::Loop { runs, cold } => bench::run(&course, runs, cold),
            What::Train { rounds, threads, sizes, device, peer, without_plain } => {
                let options =
                    bench_train::Options { rounds, threads, sizes, device, peer, without_plain };
                bench_train::run(&course, &options)
            }
        },
        Command::Completions { .. } | Command::Doctor(_) | Command::Verify(_) => {
            unreachable!("invariant: handled above")
        }
    }
}

/// How to dress a page for where it goes.
fn dress(is_plain: bool) -> Dress {
    let is_terminal = stdout().is_terminal();
    let width = if is_terminal { textwrap::termwidth().min(110) } else { 100 };
    Dress { is_plain: is_plain || !is_terminal, width }
}
