//! `fetch`: brings a published model to this machine, by a program of its own.
//!
//! That program has a network client; nothing else is ever built with one.

use std::process::Command;

use anyhow::Context as _;

use crate::{
    cargo::{Built, build},
    cli,
    course::Course,
    cuda, device,
    exit::{Exit, problem},
};

pub(crate) fn run(course: &Course, flags: &cli::Fetch) -> anyhow::Result<Exit> {
    run_program(course, "fetch", &["fetch"], std::slice::from_ref(&flags.name))
}

/// Trains the models that are shipped, or some other program's work that takes its time.
pub(crate) fn train_assets(course: &Course, flags: &cli::TrainAssets) -> anyhow::Result<Exit> {
    let choice = device::choose(flags.device, "trained")?;
    let steps = flags.steps.map(|steps| format!("--steps={steps}"));
    let arguments: Vec<String> = flags.name.clone().into_iter().chain(steps).collect();
    let Some(found) = &choice.cuda else {
        // Beside the judge, so that candle is the one that is built already.
        return run_program(course, "train-assets", &["train-assets", "judge"], &arguments);
    };
    let beside = std::env::current_exe()?;
    let Some(program) = cuda::build(&course.root, "train-assets", found, &beside)? else {
        return Ok(Exit::DoesNotCompile);
    };
    let mut command = Command::new(program);
    command.args(arguments).arg("--device=cuda").env("LD_LIBRARY_PATH", cuda::libraries(found));
    wait(command.current_dir(&course.root), "train-assets")
}

/// Builds one of our own programs, and lets it speak for itself.
fn run_program(
    course: &Course,
    name: &str,
    packages: &[&str],
    arguments: &[String],
) -> anyhow::Result<Exit> {
    let Built::Programs(programs) = build(&course.root, packages)? else {
        return Ok(Exit::DoesNotCompile);
    };
    let program = programs.get(name).with_context(|| format!("cargo built no {name}"))?;
    wait(Command::new(program).args(arguments).current_dir(&course.root), name)
}

/// Runs a program until it ends.
fn wait(command: &mut Command, name: &str) -> anyhow::Result<Exit> {
    let status = command.status().with_context(|| format!("{name} could not be started"))?;
    match status.code() {
        Some(0) => Ok(Exit::Passed),
        Some(2) => Ok(Exit::Usage),
        Some(75) => Ok(Exit::Temporary),
        Some(_) => Ok(Exit::Failed),
        None => Err(problem(Exit::Interrupted, format!("{name} was interrupted; run it again."))),
    }
}
