//! `doctor`: what this machine has to compute with, and how to mend what is missing.

use std::process::{Command, Stdio};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use devices::{KitError, Lack, System};

use crate::{
    cli::{Device, Doctor, Format},
    commands::dress,
    course::Course,
    cuda,
    device::{Found, look, name},
    exit::{Exit, problem},
    text::wrap,
};

/// What `auto` shows, the best first.
const ALL: [Device; 3] = [Device::Cuda, Device::Metal, Device::Cpu];

pub(crate) fn run(flags: &Doctor) -> anyhow::Result<Exit> {
    if flags.fix {
        fix(flags.device)?;
    }
    if flags.trial {
        return trial(flags.device);
    }
    let system = System::this();
    let asked = if flags.device == Device::Auto { &ALL[..] } else { &[flags.device] };
    let mut is_usable = false;
    for &device in asked {
        let found = look(device, &system);
        is_usable |= found.lacking().is_empty();
        match flags.output.format {
            Format::Json => json(device, &found)?,
            _ if flags.device == Device::Auto => short(device, &found),
            format => whole(device, &found, format == Format::Plain),
        }
    }
    let exit = if is_usable { Exit::Passed } else { Exit::NoDevice };
    if flags.output.format == Format::Json {
        let device = name(flags.device);
        let outcome = serde_json::json!({
            "event": "outcome", "device": device, "usable": is_usable, "exit_code": exit as u8,
        });
        say!("{outcome}");
    }
    Ok(exit)
}

/// Brings the kit, and the libraries if a driver is there to say which.
fn fix(device: Device) -> anyhow::Result<()> {
    if device != Device::Cuda {
        let sentence = "Only CUDA's needs can be fetched: cargo xtask doctor --device cuda --fix";
        return Err(problem(Exit::Usage, sentence));
    }
    let found = devices::cuda(&System::this());
    if found.needs.iter().any(|need| need.name == "system") {
        return Ok(());
    }
    let Some(kit) = &found.kit else { return Ok(()) };
    let libraries = found.missing_libraries();
    if found.needs.iter().any(|need| need.name == "C++ compiler" && !need.is_met()) {
        let sentence = "The kit needs a C++ compiler: sudo apt install g++ (Debian, Ubuntu) or \
                        sudo dnf install gcc-c++ (Fedora), then run this again.";
        return Err(problem(Exit::NoDevice, sentence));
    }
    for what in kit.to_fetch(libraries) {
        anstream::eprintln!("This fetches {what} into {}.", kit.folder().display());
    }
    kit.set_up(libraries).map_err(|error| {
        let exit = match error {
            KitError::NoPython => Exit::NoDevice,
            KitError::Failed | KitError::Io(..) => Exit::Temporary,
        };
        problem(exit, crate::text::sentence(&error.to_string()))
    })
}

/// Builds a solution for CUDA and sees that it starts where there is none; then tries our own
/// answers on the card, or has the test say that there is none.
fn trial(device: Device) -> anyhow::Result<Exit> {
    let found = devices::cuda(&System::this());
    if device != Device::Cuda {
        let sentence = "Only CUDA has a trial: cargo xtask doctor --device cuda --trial";
        return Err(problem(Exit::Usage, sentence));
    }
    let needed = ["system", "C++ compiler", "kit"];
    let lacks = |need: &&devices::Need| needed.contains(&need.name) && !need.is_met();
    if let Some(Err(Lack { what, mend })) = found.needs.iter().find(lacks).map(|need| &need.found) {
        let sentence = format!("Nothing can be built for CUDA here: {what}; mend: {mend}");
        return Err(problem(Exit::NoDevice, sentence));
    }
    let course = Course::find()?;
    let first = course.exercises.first().context("the course has no exercise")?;
    let package = format!("{}-solution", first.name);
    let beside = std::env::current_exe()?;
    let Some(program) = cuda::build(&course.root, &package, &found, &beside)? else {
        return Ok(Exit::DoesNotCompile);
    };
    // Without a judge it says whom to ask, and ends with 2.
    let started = Command::new(&program).stdin(Stdio::null()).output()?;
    if started.status.code() != Some(2) {
        let said = String::from_utf8_lossy(&started.stderr);
        anyhow::bail!("{} does not start: {}", program.display(), said.trim());
    }
    say!("{package} is built for CUDA and starts: {}", program.display());
    let mut tests = cuda::cargo("test", &course.root, &found, &beside)?;
    tests.args(["--package", "judge", "--features", "cuda", "--test", "device"]);
    let tests = tests.env("LD_LIBRARY_PATH", cuda::libraries(&found)).stdin(Stdio::null());
    Ok(if tests.status()?.success() { Exit::Passed } else { Exit::Failed })
}

/// Everything about a device, a line a need.
fn whole(device: Device, found: &Found, is_plain: bool) {
    let dress = dress(is_plain);
    let lacks = found.lacking();
    let verdict = if lacks.is_empty() { "can be used here" } else { "cannot be used here" };
    say!("{} {verdict}", name(device));
    let width = found.needs.iter().map(|need| need.name.len()).max().unwrap_or(0);
    for need in &found.needs {
        let (word, colour, text) = match &need.found {
            Ok(found) => ("has", AnsiColor::Green, vec![found.clone()]),
            Err(Lack { what, mend }) => {
                ("lacks", AnsiColor::Red, vec![what.clone(), format!("mend: {mend}")])
            }
        };
        let style = if dress.is_plain { Style::new() } else { colour.on_default() };
        let indent = " ".repeat(11 + width);
        let wrapped =
            text.iter().map(|line| wrap(line, dress.width.saturating_sub(indent.len()), ""));
        let lines = wrapped.collect::<Vec<_>>().join("\n").replace('\n', &format!("\n{indent}"));
        say!("  {style}{word:<5}{style:#}  {:width$}  {lines}", need.name);
    }
    if let Some(places) = found.places() {
        say!("  {}", wrap(&format!("looked in: {places}"), dress.width.saturating_sub(2), "    "));
    }
}

/// A device in a line.
fn short(device: Device, found: &Found) {
    let lacks = found.lacking();
    let name = name(device);
    if lacks.is_empty() {
        let first = found.needs.iter().find_map(|need| need.found.as_ref().ok());
        say!("{name}: can be used ({})", first.map_or("", String::as_str));
    } else {
        let lacks = lacks.join(", ");
        say!("{name}: lacks {lacks} (more: cargo xtask doctor --device {name})");
    }
}

fn json(device: Device, found: &Found) -> anyhow::Result<()> {
    for need in &found.needs {
        let lack = need.found.as_ref().err();
        let line = serde_json::json!({
            "event": "need",
            "device": name(device),
            "need": need.name,
            "met": need.is_met(),
            "found": need.found.as_ref().ok(),
            "what": lack.map(|lack| &lack.what),
            "mend": lack.map(|lack| &lack.mend),
        });
        say!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}
