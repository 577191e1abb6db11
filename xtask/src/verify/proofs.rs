//! What the judge proves of an exercise, and where each fault is.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use report::{Fault, PartProof, ProgramsProof, Proof, Rule};

use super::{Complaint, lines::line_of, load::Load};
use crate::{course::Exercise, manifest::Device};

/// Everything that was proved of one exercise.
#[derive(Debug)]
pub(crate) struct Proved {
    pub(crate) exercise: String,
    pub(crate) parts: Vec<PartProof>,
    pub(crate) programs: Option<ProgramsProof>,
    /// Whether others were at work on the machine, so that times mean little.
    pub(crate) was_disturbed: bool,
}

/// Proves an exercise; every line of the judge's goes to `listener`.
///
/// # Errors
///
/// Fails if the judge breaks before its last line.
pub(crate) fn prove(
    root: &Path,
    programs: &BTreeMap<String, PathBuf>,
    exercise: &Exercise,
    listener: &mut dyn FnMut(&str),
) -> anyhow::Result<(Proved, Vec<Complaint>)> {
    let name = &exercise.name;
    let (load, begun) = (Load::now(), Instant::now());
    let lines = listen(root, programs, exercise)?;
    let mut proved = Proved {
        exercise: name.clone(),
        parts: Vec::new(),
        programs: None,
        was_disturbed: load.is_some_and(|load| load.was_disturbed(begun.elapsed())),
    };
    let Some(lines) = lines else {
        let sentence = format!(
            "There are no checks for `{name}`; write them in `crates/checks/src/{name}.rs`, and \
             name them in `SUITES`."
        );
        let complaint = Complaint::new(Rule::SuiteAgrees, "crates/checks/src/lib.rs", 1, sentence);
        return Ok((proved, vec![complaint]));
    };
    for line in lines {
        listener(&line);
        let proof: Proof = serde_json::from_str(&line)
            .with_context(|| format!("the judge said something else than a proof: {line}"))?;
        match proof {
            Proof::Part(part) => proved.parts.push(part),
            Proof::Programs(programs) => proved.programs = Some(programs),
            Proof::Proved => {}
        }
    }
    let places = Places::read(root, name);
    let mut complaints = Vec::new();
    complaints.extend(other_parts(exercise, &proved));
    let of_parts = proved.parts.iter().flat_map(|part| &part.faults);
    let of_programs = proved.programs.iter().flat_map(|programs| &programs.faults);
    complaints.extend(of_parts.chain(of_programs).map(|fault| places.complaint(exercise, fault)));
    Ok((proved, complaints))
}

/// The devices that were declared and cannot be tried here.
pub(crate) fn untried(exercise: &Exercise) -> Vec<String> {
    let others = exercise.manifest.devices.iter().filter(|device| **device != Device::Cpu);
    let sentence = |device: &Device| {
        let (rule, name) = (Rule::SolutionPasses, &exercise.name);
        format!("{rule} of {name} on {}: this Wick judges on the CPU only", device.name())
    };
    others.map(sentence).collect()
}

/// The judge's lines; nothing if it knows no such exercise.
fn listen(
    root: &Path,
    programs: &BTreeMap<String, PathBuf>,
    exercise: &Exercise,
) -> anyhow::Result<Option<Vec<String>>> {
    let name = &exercise.name;
    let judge = programs.get("judge").context("cargo built no judge")?;
    let mut command = Command::new(judge);
    command.current_dir(root).arg(name).arg("--prove");
    if let Some(solution) = programs.get(&format!("{name}-solution")) {
        command.arg("--subject").arg(solution).args(["--source", &format!("solutions/{name}")]);
    }
    if let Some(stub) = programs.get(name) {
        command.arg("--stub").arg(stub);
    }
    command.env("RAYON_NUM_THREADS", "1").env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("the judge could not be started")?;
    let stderr = child.stderr.take();
    let said = thread::spawn(move || {
        stderr.map(std::io::read_to_string).transpose().ok().flatten().unwrap_or_default()
    });
    let stdout = child.stdout.take().context("invariant: the judge's output is piped")?;
    let lines: Vec<String> =
        BufReader::new(stdout).lines().collect::<Result<_, _>>().context("the judge's output")?;
    child.wait().context("the judge was lost")?;
    let said = said.join().unwrap_or_default();
    if lines.is_empty() && said.contains("has no checks") {
        return Ok(None);
    }
    let last = lines.last().and_then(|line| serde_json::from_str::<Proof>(line).ok());
    ensure!(last == Some(Proof::Proved), "the judge broke off at {name}: {}", said.trim());
    Ok(Some(lines))
}

fn other_parts(exercise: &Exercise, proved: &Proved) -> Option<Complaint> {
    let promised: Vec<_> = exercise.manifest.part.iter().map(|part| part.name.as_str()).collect();
    let checked: Vec<_> = proved.parts.iter().map(|part| part.part.as_str()).collect();
    let at = (0..promised.len().max(checked.len())).find(|&at| promised.get(at) != checked.get(at));
    let name = &exercise.name;
    let said = |names: &[&str], at: usize| match names.get(at) {
        Some(name) => format!("`{name}`"),
        None => "nothing".to_owned(),
    };
    at.map(|at| {
        let sentence = format!(
            "Part {} is {} in the checks, and {} in the manifest; name the same parts in the same \
             order.",
            at + 1,
            said(&checked, at),
            said(&promised, at)
        );
        Complaint::new(Rule::SuiteAgrees, format!("crates/checks/src/{name}.rs"), 1, sentence)
    })
}

/// The sources of an exercise's checks, to find a name in.
struct Places {
    files: Vec<(String, String)>,
}

impl Places {
    fn read(root: &Path, exercise: &str) -> Self {
        let mut files = Vec::new();
        let mut waiting = vec![format!("crates/checks/src/{exercise}")];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(root.join(&folder)).into_iter().flatten().flatten() {
                let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if entry.path().is_dir() {
                    waiting.push(path);
                } else if let Ok(text) = fs::read_to_string(root.join(&path)) {
                    files.push((path, text));
                }
            }
        }
        let top = format!("crates/checks/src/{exercise}.rs");
        files.sort();
        files.insert(0, (top.clone(), fs::read_to_string(root.join(top)).unwrap_or_default()));
        Self { files }
    }

    fn complaint(&self, exercise: &Exercise, fault: &Fault) -> Complaint {
        let (file, line) = self.place(exercise, fault);
        Complaint::new(fault.rule, file, line, &fault.sentence)
    }

    fn place(&self, exercise: &Exercise, fault: &Fault) -> (String, usize) {
        let is_of_program = matches!(
            fault.rule,
            Rule::SolutionPasses | Rule::SolutionRepeats | Rule::StubNotStarted
        );
        if is_of_program {
            let file = exercise.part(&fault.part).map_or("src/lib.rs", |part| &part.file);
            let room = if fault.rule == Rule::StubNotStarted { "exercises" } else { "solutions" };
            return (format!("{room}/{}/{file}", exercise.name), 1);
        }
        let part = format!("name: \"{}\"", fault.part);
        let found =
            self.files.iter().find_map(|(file, text)| Some((file, text, text.find(&part)?)));
        let Some((file, text, start)) = found else {
            return (self.files[0].0.clone(), line_of(&self.files[0].1, &fault.part));
        };
        let before = text[..start].matches('\n').count();
        let about = format!("\"{}\"", fault.about);
        let line = if fault.about.is_empty() { 1 } else { line_of(&text[start..], &about) };
        (file.clone(), before + line)
    }
}
