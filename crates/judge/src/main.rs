//! `judge EXERCISE --subject PROGRAM`: judges a program, or proves its exercise, in JSON lines.
//!
//! People run `cargo xtask check` and `cargo xtask verify`, which run this.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io::{self, StdoutLock, Write as _, stdin, stdout},
    path::PathBuf,
    process::{self, ExitCode},
    thread,
};

use anyhow::Context as _;
use clap::Parser;
use judge::{Prove, Run, Who};
use protocol::DeviceKind;
use serde::Serialize;

/// The exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Judges one exercise and prints what it found, one JSON object a line.
#[derive(Parser)]
struct Arguments {
    /// The exercise to judge.
    exercise: String,
    /// The program that serves the answer, or a shared library for `host` to serve.
    #[arg(long, required_unless_present_any = ["impostor", "prove"])]
    subject: Option<PathBuf>,
    /// The folder with the answer's sources, for rules about what it may call.
    #[arg(long)]
    source: Option<PathBuf>,
    /// Judge only this part; may be repeated.
    #[arg(long)]
    part: Vec<String>,
    /// Repeats a run exactly.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the answer computes.
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: DeviceKind,
    /// Judge a known wrong answer instead, `part::impostor`, as if a learner had written it.
    #[arg(long)]
    impostor: Option<String>,
    /// End as soon as standard input closes, as it does when whoever asked is gone.
    #[arg(long)]
    attended: bool,
    /// Prove the exercise instead, for `cargo xtask verify`; the subject is then the solution.
    #[arg(long, conflicts_with_all = ["impostor", "part", "seed"])]
    prove: bool,
    /// The program that serves the stub, to prove that it is not started.
    #[arg(long, requires = "prove")]
    stub: Option<PathBuf>,
    /// Refuse to run the answer if it cannot be fully confined.
    #[arg(long)]
    strict: bool,
}

fn main() -> ExitCode {
    jail::enter_if_asked();
    match judge(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(70)
        }
    }
}

fn judge(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.attended {
        thread::spawn(|| {
            let _however_it_ended = io::copy(&mut stdin(), &mut io::sink());
            // The jail ends every subject with its judge.
            process::exit(INTERRUPTED)
        });
    }
    let exercise = arguments.exercise;
    let suite = checks::find(&exercise).with_context(|| format!("{exercise} has no checks"))?;
    if arguments.prove {
        let Arguments { subject: solution, source, stub, device, .. } = arguments;
        return prove(&Prove { suite, solution, source, stub, device });
    }
    let who = match (&arguments.impostor, arguments.subject) {
        (Some(impostor), _) => Who::impostor(suite, impostor)?,
        (None, Some(program)) => Who::Program(program),
        (None, None) => unreachable!("invariant: clap asks for one of the two"),
    };
    let run = Run {
        suite,
        who,
        source: arguments.source,
        parts: arguments.part,
        seed: arguments.seed.unwrap_or_else(fresh_seed),
        device: arguments.device,
        strict: arguments.strict,
    };
    let mut stdout = stdout().lock();
    run.judge(&mut |event| print(&mut stdout, event))
}

fn prove(prove: &Prove) -> anyhow::Result<()> {
    // Impostors panic by design; what that says is in the proof.
    std::panic::set_hook(Box::new(|_| {}));
    let mut stdout = stdout().lock();
    prove.prove(&mut |proof| print(&mut stdout, proof))
}

fn print(stdout: &mut StdoutLock, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *stdout, line)?;
    writeln!(stdout)?;
    stdout.flush()
}

/// A seed that differs from run to run and is short enough to type.
fn fresh_seed() -> u64 {
    RandomState::new().hash_one("seed") % 1_000_000
}

fn device(name: &str) -> Result<DeviceKind, String> {
    match name {
        "cpu" => Ok(DeviceKind::Cpu),
        "cuda" => Ok(DeviceKind::Cuda),
        "metal" => Ok(DeviceKind::Metal),
        _ => Err("expected cpu, cuda or metal".to_owned()),
    }
}
