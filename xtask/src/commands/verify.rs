//! `verify`: proves that the course is sound and its checks are strong.

use std::{path::Path, time::Instant};

use report::{Rule, Stage};

use crate::{
    cli::{Format, Verify},
    commands::{dress, stub},
    course::{self, Course, Exercise},
    exit::{Exit, problem},
    render::Dress,
    state::{Lock, State},
    store,
    verify::{
        self, Complaint, Fix, builds, numbers,
        numbers::Wait,
        page,
        proofs::{self, Proved},
        strength,
    },
};

pub(crate) fn run(flags: &Verify) -> anyhow::Result<Exit> {
    let root = course::root()?;
    let mut run = Run {
        root: &root,
        flags,
        dress: dress(flags.output.format == Format::Plain),
        begun: Instant::now(),
        complaints: Vec::new(),
        untried: flags.skip.iter().map(|rule| format!("{rule}, as you asked")).collect(),
    };
    run.known_name()?;
    run.files()?;
    let n_exercises = run.rest()?;
    Ok(run.end(n_exercises))
}

struct Run<'a> {
    root: &'a Path,
    flags: &'a Verify,
    dress: Dress,
    begun: Instant,
    complaints: Vec<Complaint>,
    /// Rules that were not looked at, with the reason.
    untried: Vec<String>,
}

impl Run<'_> {
    fn is_json(&self) -> bool {
        self.flags.output.format == Format::Json
    }

    fn only(&self) -> Option<&str> {
        self.flags.name.as_deref()
    }

    fn known_name(&self) -> anyhow::Result<()> {
        let Some(name) = self.only() else { return Ok(()) };
        // A list that cannot be read is a complaint of its own.
        match course::names(self.root) {
            Ok(names) if !names.iter().any(|listed| listed == name) => {
                let there = names.join(", ");
                let sentence = format!("There is no exercise `{name}`. There are: {there}.");
                Err(problem(Exit::Usage, sentence))
            }
            _ => Ok(()),
        }
    }

    /// The rules about files; with `--fix` what can be mended is, and they are looked at again.
    fn files(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut found = verify::files(self.root, self.only());
        if self.flags.fix && found.iter().any(|complaint| complaint.fix.is_some()) {
            let mut mended = Vec::new();
            for complaint in &found {
                // Two mends of one file would undo each other; the next look finds the second.
                if complaint.fix.is_some() && !mended.contains(&complaint.file) {
                    self.mend(complaint)?;
                    mended.push(complaint.file.clone());
                }
            }
            found = verify::files(self.root, self.only());
        }
        self.done(Stage::Files, found, begun);
        Ok(())
    }

    fn mend(&self, complaint: &Complaint) -> anyhow::Result<()> {
        match &complaint.fix {
            Some(Fix::Write { file, text }) => store::save(&self.root.join(file), text.as_bytes())?,
            Some(Fix::Stub { exercise }) => {
                let course = Course::read(self.root)?;
                if let Some(exercise) = course.named(exercise) {
                    let lock = Lock::take(self.root, "verify --fix")?;
                    stub::write(&course, &mut State::read(self.root)?, &lock, exercise?)?;
                }
            }
            Some(Fix::Report) | None => return Ok(()),
        }
        if !self.is_json() {
            say!("Mended: {} ({}).", complaint.file, complaint.rule);
        }
        Ok(())
    }

    /// The rules that need cargo and the judge; gives the number of exercises.
    fn rest(&mut self) -> anyhow::Result<usize> {
        let Ok(course) = Course::read(self.root) else { return Ok(0) };
        let asked: Vec<&Exercise> =
            course.exercises.iter().filter(|e| self.only().is_none_or(|n| n == e.name)).collect();
        if self.flags.files {
            self.untried.push("all rules that build or judge, as you asked".to_owned());
            return Ok(asked.len());
        }
        let sound: Vec<&Exercise> =
            asked.iter().copied().filter(|e| verify::can_be_built(self.root, e)).collect();
        for exercise in &asked {
            if !sound.iter().any(|sound| sound.name == exercise.name) {
                let name = &exercise.name;
                self.untried.push(format!("rules that build or judge {name}; mend its files"));
            }
        }
        let is_whole = sound.len() == course.exercises.len()
            && course.damaged.is_empty()
            && self.only().is_none();
        if !sound.is_empty() {
            self.prove(&sound, is_whole)?;
        }
        Ok(asked.len())
    }

    fn prove(&mut self, exercises: &[&Exercise], is_whole: bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut found = Vec::new();
        let programs = builds::build(self.root, exercises, &mut found)?;
        self.done(Stage::Builds, found, begun);

        let begun = Instant::now();
        let (mut proved, mut found) = (Vec::new(), Vec::new());
        for exercise in exercises {
            let is_json = self.is_json();
            let mut pass_on = |line: &str| {
                if is_json {
                    say!("{line}");
                }
            };
            let (proof, complaints) = proofs::prove(self.root, &programs, exercise, &mut pass_on)?;
            proved.push(proof);
            found.extend(complaints);
            self.untried.extend(proofs::untried(exercise));
        }
        let (of_tolerances, found): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|complaint| complaint.rule.stage() == Stage::Numbers);
        let is_proved = found.is_empty();
        self.done(Stage::Proofs, found, begun);

        let begun = Instant::now();
        let mut found = of_tolerances;
        let mut waits = Vec::new();
        for (exercise, proof) in exercises.iter().zip(&proved) {
            let slow = numbers::judge(exercise, proof);
            if proof.was_disturbed && !self.flags.strict && !slow.is_empty() {
                self.untried.push(busy(Rule::JudgeBudget, exercise));
            } else {
                found.extend(slow);
            }
            let can_wait = is_proved && !self.flags.skip.contains(&Rule::EditToVerdict);
            let wait = can_wait.then(|| self.wait(exercise, proof)).transpose()?;
            waits.push(match wait {
                None => None,
                Some(Wait::Short(millis)) => Some(millis),
                Some(Wait::Long(millis, complaint)) => {
                    found.push(complaint);
                    Some(millis)
                }
                Some(Wait::Unknown) => {
                    self.untried.push(busy(Rule::EditToVerdict, exercise));
                    None
                }
            });
        }
        found.extend(self.published(&proved, is_whole && is_proved)?);
        self.done(Stage::Numbers, found, begun);
        self.print(&proved, &waits);
        Ok(())
    }

    fn wait(&self, exercise: &Exercise, proved: &Proved) -> anyhow::Result<Wait> {
        numbers::wait(self.root, exercise, proved, self.flags.strict)
    }

    /// Publishes what was measured if asked to, and looks at what is published.
    fn published(&mut self, proved: &[Proved], is_whole: bool) -> anyhow::Result<Vec<Complaint>> {
        if !is_whole {
            let why = "it is about the whole course, once proved";
            self.untried.push(format!("{}: {why}", Rule::ReportCurrent));
            return Ok(Vec::new());
        }
        if self.flags.report || self.flags.fix {
            for file in strength::publish(self.root, proved)? {
                if !self.is_json() {
                    say!("Written: {file}.");
                }
            }
        }
        Ok(strength::look(self.root, proved))
    }

    fn done(&mut self, stage: Stage, found: Vec<Complaint>, begun: Instant) {
        let skipped = |complaint: &Complaint| self.flags.skip.contains(&complaint.rule);
        let found: Vec<_> = found.into_iter().filter(|complaint| !skipped(complaint)).collect();
        let seconds = begun.elapsed().as_secs_f64();
        if self.is_json() {
            for complaint in &found {
                say!("{}", complaint.json());
            }
        } else {
            say!("{}", page::stage(stage, found.len(), seconds, self.dress));
        }
        self.complaints.extend(found);
    }

    fn print(&self, proved: &[Proved], waits: &[Option<f64>]) {
        if self.is_json() {
            return;
        }
        if self.flags.matrix {
            say!("\n{}", page::key(self.dress));
            for proof in proved {
                for part in &proof.parts {
                    say!("\n{}", page::matrix(&proof.exercise, part, self.dress));
                }
            }
        }
        say!("\n{}", page::table(proved, waits, self.dress).trim_end());
    }

    fn end(&self, n_exercises: usize) -> Exit {
        let is_whole = !self.untried.iter().any(|what| what.contains(" on "));
        let exit = match (self.complaints.is_empty(), is_whole) {
            (false, _) => Exit::Failed,
            (true, false) => Exit::NoDevice,
            (true, true) => Exit::Passed,
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        if self.is_json() {
            let line = serde_json::json!({
                "event": "verified",
                "exit_code": exit as u8,
                "exercises": n_exercises,
                "complaints": self.complaints.len(),
                "not_run": self.untried,
                "seconds": seconds,
            });
            say!("{line}");
            return exit;
        }
        say!("");
        for complaint in &self.complaints {
            say!("{}", page::complaint(complaint, self.dress));
        }
        let end = page::end(&self.complaints, n_exercises, &self.untried, seconds, self.dress);
        say!("{end}");
        exit
    }
}

/// Why a time could not be measured.
fn busy(rule: Rule, exercise: &Exercise) -> String {
    format!("{rule} of {}: the machine is busy with other work", exercise.name)
}
