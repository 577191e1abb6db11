//! Running the judge and reading its lines.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::Context as _;
use report::Event;

use crate::{cargo::Built, exit::Exit, exit::problem};

/// What to ask of the judge.
pub(crate) struct Hearing<'a> {
    pub(crate) judge: &'a Path,
    pub(crate) subject: &'a Path,
    pub(crate) exercise: &'a str,
    /// Folder of the sources, relative to the root.
    pub(crate) source: &'a str,
    pub(crate) part: Option<&'a str>,
    pub(crate) seed: Option<u64>,
    pub(crate) impostor: Option<&'a str>,
    /// As the judge spells it.
    pub(crate) device: &'a str,
    /// Folders of the device's libraries.
    pub(crate) libraries: Option<OsString>,
    /// Libraries that the subject is linked with, as paths.
    pub(crate) shared: Option<OsString>,
}

/// Finds the two programs that a build made.
pub(crate) fn programs(built: Built, package: &str) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    let Built::Programs(programs) = built else { return Ok(None) };
    let find = |name: &str| {
        let missing = || {
            let sentence = format!(
                "The package `{name}` builds no program of that name; its src/main.rs must be \
                 there. Bring it back with `git restore`."
            );
            problem(Exit::Usage, sentence)
        };
        programs.get(name).cloned().ok_or_else(missing)
    };
    Ok(Some((find("judge")?, find(package)?)))
}

/// Runs the judge; every line goes to `listener`, with its event.
///
/// # Errors
///
/// Fails if the judge breaks before its last line.
pub(crate) fn hear(
    root: &Path,
    hearing: &Hearing,
    listener: &mut dyn FnMut(&str, Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut child = command(root, hearing).spawn().context("the judge could not be started")?;
    let stderr = child.stderr.take();
    let complaints = thread::spawn(move || {
        stderr.map(std::io::read_to_string).transpose().ok().flatten().unwrap_or_default()
    });
    let mut is_finished = false;
    let stdout = child.stdout.take().context("invariant: the judge's output is piped")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("the judge's output broke")?;
        let event: Event = serde_json::from_str(&line)
            .with_context(|| format!("the judge said something else than its lines: {line}"))?;
        is_finished |= matches!(event, Event::Finished(_));
        listener(&line, event)?;
    }
    child.wait().context("the judge was lost")?;
    let complaints = complaints.join().unwrap_or_default();
    anyhow::ensure!(is_finished, "the judge broke off: {}", complaints.trim());
    Ok(())
}

fn command(root: &Path, hearing: &Hearing) -> Command {
    let mut command = Command::new(hearing.judge);
    command.current_dir(root).arg(hearing.exercise);
    command.arg("--subject").arg(hearing.subject).args(["--source", hearing.source]);
    if let Some(part) = hearing.part {
        command.args(["--part", part]);
    }
    if let Some(seed) = hearing.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(impostor) = hearing.impostor {
        command.args(["--impostor", impostor]);
    }
    if hearing.device != "cpu" {
        command.args(["--device", hearing.device]);
    }
    if let Some(libraries) = &hearing.libraries {
        command.env("WICK_CUDA_LIBRARIES", libraries);
    }
    if let Some(shared) = &hearing.shared {
        command.env("WICK_SHARED_LIBRARIES", shared);
    }
    // Impostors run in the judge; at their sizes one thread is fastest.
    command.env("RAYON_NUM_THREADS", "1").env("RUST_BACKTRACE", "0");
    // If we are ended, however that is, the judge's input closes and it ends as well.
    command.arg("--attended").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
