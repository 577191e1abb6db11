//! Calls of cargo: building an answer and the judge, or all that is verified.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead as _, BufReader, IsTerminal as _, stderr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use crate::{
    exit::{Exit, problem},
    recipe::{Order, Scribe},
    shared::{self, Shared},
};

/// A build that takes longer than this shows a bar.
const PATIENCE: Duration = Duration::from_millis(600);

/// What a build came to.
pub(crate) enum Built {
    /// Programs by package.
    Programs(BTreeMap<String, PathBuf>),
    /// The answer does not compile; rustc has said why.
    DoesNotCompile,
}

/// A line of cargo's own JSON, as far as we read it.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        target: Target,
        executable: Option<PathBuf>,
        fresh: bool,
    },
    #[serde(rename = "compiler-message")]
    Said { message: Diagnostic },
    #[serde(other)]
    Other,
}

/// What rustc says about a place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Diagnostic {
    /// `warning` or `error`, among others.
    pub(crate) level: String,
    pub(crate) message: String,
    pub(crate) spans: Vec<Span>,
    /// Its name, such as `E0308`, or a lint's.
    pub(crate) code: Option<Code>,
    /// The same for a person to read.
    rendered: Option<String>,
}

impl Diagnostic {
    /// What to show; nothing of what only counts the others.
    pub(crate) fn to_show(&self) -> Option<&str> {
        let counts = |text: &str| text.starts_with("aborting due to") || text.ends_with(" emitted");
        self.rendered.as_deref().filter(|_| !(self.spans.is_empty() && counts(&self.message)))
    }
}

/// What rustc explains under `--explain`, or the name of a lint.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Code {
    pub(crate) code: String,
}

/// A place in a source, its file seen from the root.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Span {
    pub(crate) file_name: String,
    pub(crate) line_start: usize,
    pub(crate) is_primary: bool,
}

/// What a build made, and all that was said about it.
#[derive(Default)]
pub(crate) struct Survey {
    /// Programs by package.
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// What rustc said, now or when it last built what is still fresh.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What cargo said.
    complaints: Vec<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

enum Heard {
    Message(Message),
    Complaint(String),
}

/// Builds an answer and a judge that knows this exercise alone, without cargo where that can be;
/// compile errors go to standard error as rustc writes them.
pub(crate) fn build_answer(
    root: &Path,
    exercise: &str,
    (package, folder): (&str, &str),
    shared: Option<&Shared>,
) -> anyhow::Result<Built> {
    let features = [format!("checks/{exercise}")];
    let features = features.into_iter().chain(shared.map(|_| shared::FEATURE.to_owned()));
    let order = Order { root, package, folder, features: features.collect() };
    if let Some(built) = order.follow() {
        return Ok(built);
    }
    let scribe = Scribe::begin(&order);
    let packages: Vec<_> =
        [package, "judge"].into_iter().chain(shared.map(|_| shared::HOSTS_PACKAGE)).collect();
    let survey = compiled(for_judging(root, &order.features), root, &packages)?;
    let Some(survey) = survey else { return Ok(Built::DoesNotCompile) };
    if let Some(judge) = survey.programs.get("judge") {
        let host = survey.programs.get(shared::HOST).map(PathBuf::as_path);
        scribe.end(&survey.complaints, judge, host);
    }
    Ok(Built::Programs(survey.programs))
}

/// Builds answers and a judge that knows this exercise alone.
pub(crate) fn build_for(root: &Path, exercise: &str, answers: &[&str]) -> anyhow::Result<Built> {
    let command = for_judging(root, &[format!("checks/{exercise}")]);
    build_with(command, root, &[answers, &["judge"]].concat())
}

/// Builds packages; compile errors go to standard error as rustc writes them.
pub(crate) fn build(root: &Path, packages: &[&str]) -> anyhow::Result<Built> {
    let mut command = cargo(root);
    command.arg("build");
    build_with(command, root, packages)
}

/// Builds packages by a call that has all but their names; compile errors go to standard error as
/// rustc writes them.
pub(crate) fn build_with(
    command: Command,
    root: &Path,
    packages: &[&str],
) -> anyhow::Result<Built> {
    let survey = compiled(command, root, packages)?;
    Ok(survey.map_or(Built::DoesNotCompile, |survey| Built::Programs(survey.programs)))
}

fn for_judging(root: &Path, features: &[String]) -> Command {
    let mut command = cargo(root);
    command.args(["build", "--no-default-features", "--features", &features.join(",")]);
    command
}

/// Builds packages; none if the first of them, the answer, does not compile.
fn compiled(
    mut command: Command,
    root: &Path,
    packages: &[&str],
) -> anyhow::Result<Option<Survey>> {
    // With what rustc is told; all of that is heard, and only what matters shown. What rustc says
    // has its colours all the same.
    command.args(["--verbose", "--color=never", "--message-format=json-diagnostic-rendered-ansi"]);
    let (is_built, survey) = run(command, root, packages, true)?;
    if is_built {
        return Ok(Some(survey));
    }
    show_complaints(&survey.complaints);
    failed(packages, &survey.complaints).map(|()| None)
}

/// Builds as many of the packages as can be built, and keeps what rustc says.
pub(crate) fn survey(root: &Path, packages: &[&str]) -> anyhow::Result<Survey> {
    let mut command = cargo(root);
    command.args(["build", "--quiet", "--keep-going", "--message-format=json"]);
    let (is_built, survey) = run(command, root, packages, false)?;
    if !is_built && survey.diagnostics.iter().all(|said| said.level != "error") {
        show_complaints(&survey.complaints);
        failed(packages, &survey.complaints)?;
    }
    Ok(survey)
}

/// Runs a build until it is done; what rustc says is shown at once if it `shows`.
fn run(
    mut command: Command,
    root: &Path,
    packages: &[&str],
    shows: bool,
) -> anyhow::Result<(bool, Survey)> {
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo could not be started")?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (to_us, heard) = channel();
    let complaints = to_us.clone();
    thread::spawn(move || {
        for line in stdout.into_iter().flat_map(|s| BufReader::new(s).lines()).map_while(Result::ok)
        {
            if let Ok(message) = serde_json::from_str(&line) {
                let _ = to_us.send(Heard::Message(message));
            }
        }
    });
    thread::spawn(move || {
        for line in stderr.into_iter().flat_map(|s| BufReader::new(s).lines()).map_while(Result::ok)
        {
            let _ = complaints.send(Heard::Complaint(line));
        }
    });
    let survey = follow(&heard, root, packages, shows);
    let status = child.wait().context("cargo was lost")?;
    Ok((status.success(), survey))
}

/// Shows what rustc said, in colours where they are wanted.
pub(crate) fn show(rendered: &str) {
    anstream::eprint!("{rendered}");
}

/// Shows what cargo said, except what it is doing and how it calls rustc.
fn show_complaints(complaints: &[String]) {
    let is_status = |line: &str| {
        // As in `   Compiling attention v0.1.0`: one word, that ends at the twelfth column.
        let word = line.get(..12).map_or("", str::trim_start);
        !word.is_empty() && word.chars().all(char::is_alphabetic) && line[12..].starts_with(' ')
    };
    let is_call = |line: &str| line.starts_with("  process didn't exit successfully: `");
    let causes = |n: usize| complaints.get(n).is_some_and(|line| is_call(line));
    for (n, line) in complaints.iter().enumerate() {
        let heads_call = line == "Caused by:" && causes(n + 1);
        let is_gap = line.is_empty() && causes(n + 2);
        if !(is_status(line) || is_call(line) || heads_call || is_gap) {
            eprintln!("{line}");
        }
    }
}

/// Whose fault it is that nothing was built: the answer's, or else it is an error.
fn failed(packages: &[&str], complaints: &[String]) -> anyhow::Result<()> {
    let says = |text: &str| complaints.iter().any(|line| line.contains(text));
    // The first package is the answer; the others are ours.
    if packages.first().is_some_and(|answer| says(&format!("could not compile `{answer}`"))) {
        return Ok(());
    }
    if let Some(sign) = NO_NETWORK.iter().chain(NO_ROOM).find(|sign| says(sign)) {
        let sentence = format!(
            "Cargo could not get or keep what it needs ({sign}); its own words are above. Mend \
             that and try again; nothing is lost."
        );
        return Err(problem(Exit::Temporary, sentence));
    }
    // A manifest or a source that does not even parse, say: cargo has named it.
    if complaints.iter().any(|line| line.contains("failed to parse manifest")) {
        return Err(problem(Exit::Usage, "Cargo cannot read a Cargo.toml; see above."));
    }
    bail!("cargo could not build {}; see above", packages.join(" and "))
}

/// What cargo says when the registry cannot be reached.
const NO_NETWORK: &[&str] = &[
    "failed to download",
    "download of",
    "Could not resolve host",
    "failed to get",
    "network failure",
    "--offline was specified",
];

/// What cargo and rustc say when the disk is full.
const NO_ROOM: &[&str] = &["No space left on device", "Disk quota exceeded"];

/// Shows what cargo does until it is done, and collects the programs.
fn follow(heard: &Receiver<Heard>, root: &Path, packages: &[&str], shows: bool) -> Survey {
    let begun = Instant::now();
    let mut survey = Survey::default();
    let mut done = BTreeSet::new();
    let mut bar: Option<ProgressBar> = None;
    loop {
        match heard.recv_timeout(Duration::from_millis(100)) {
            Ok(Heard::Message(Message::CompilerArtifact {
                package_id,
                target,
                executable,
                fresh,
            })) => {
                if let Some(executable) = executable {
                    survey.programs.insert(target.name.clone(), executable);
                }
                done.insert(package_id);
                if let Some(bar) = bar.as_ref().filter(|_| !fresh) {
                    bar.set_message(target.name);
                }
            }
            Ok(Heard::Message(Message::Said { message })) => {
                if let Some(rendered) = message.to_show().filter(|_| shows) {
                    match &bar {
                        Some(bar) => bar.suspend(|| show(rendered)),
                        None => show(rendered),
                    }
                }
                survey.diagnostics.push(message);
            }
            Ok(Heard::Message(Message::Other)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Heard::Complaint(line)) => survey.complaints.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if bar.is_none() && begun.elapsed() > PATIENCE && stderr().is_terminal() {
            bar = Some(start_bar(n_packages(root, packages)));
        }
        if let Some(bar) = &bar {
            bar.set_position(done.len() as u64);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    survey
}

fn start_bar(total: usize) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    let template = "  building  {bar:32} {pos}/{len} crates  {elapsed}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// How many packages the build is made of, as far as cargo knows offline.
fn n_packages(root: &Path, packages: &[&str]) -> usize {
    let mut command = cargo(root);
    command.args(["tree", "--quiet", "--offline", "--prefix", "none", "--format", "{p}"]);
    command.args(["--edges", "normal,build", "--no-dedupe"]);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    let listed = command.stderr(Stdio::null()).output().map(|output| output.stdout);
    let listed = String::from_utf8(listed.unwrap_or_default()).unwrap_or_default();
    let names: BTreeSet<&str> = listed.lines().filter(|line| !line.is_empty()).collect();
    names.len()
}

/// The cargo that runs us, in the root.
pub(crate) fn cargo(root: &Path) -> Command {
    // Cargo sets CARGO to itself, so the learner's toolchain is the one we use.
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env("RUST_BACKTRACE", "0");
    command
}
