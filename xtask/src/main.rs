//! `cargo xtask`: the runner that a learner and an instructor talk to.
//!
//! One file a subcommand, under `commands/`; `exit.rs` says what each exit code means.
//!
//! **Invariant:** no tensor library is below this crate, so it builds in seconds, and no answer
//! runs in this process.

#[macro_use]
mod say;

mod cargo;
mod cli;
mod commands;
mod course;
mod cuda;
mod curve;
mod derive;
mod device;
mod exhibits;
mod exit;
mod judge;
mod live;
mod manifest;
mod outcome;
mod place;
mod recipe;
mod render;
mod scaffold;
mod shared;
mod state;
mod store;
mod text;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, exit::Exit};

fn main() -> ExitCode {
    // Everything is saved in one step, so there is nothing to tidy up but half a new exercise.
    let _ = ctrlc::set_handler(|| {
        if scaffold::interrupt() {
            anstream::eprintln!("\nInterrupted; nothing of the new exercise is kept.");
        }
        std::process::exit(Exit::Interrupted as i32)
    });
    let exit = commands::run(Cli::parse()).unwrap_or_else(|error| {
        let exit = exit::of(&error);
        anstream::eprintln!("{}", exit::sentence(&error, exit));
        exit
    });
    ExitCode::from(exit as u8)
}
