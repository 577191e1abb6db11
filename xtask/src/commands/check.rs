//! `check`: judge an answer and say what to do next.

use std::{fs, time::Instant};

use report::{Event, Verdict};

use crate::{
    cargo,
    cli::{Check, Device, Format},
    commands::dress,
    course::{Course, Exercise},
    device::{self, Choice},
    exhibits,
    exit::{self, Exit},
    judge::{self, Hearing},
    live::Live,
    outcome::{Class, Outcome},
    place::Place,
    render,
    shared::Shared,
    state::{Lock, State},
    store,
};

pub(crate) fn run(course: &Course, flags: &Check) -> anyhow::Result<Exit> {
    let ended = judge_answer(course, flags);
    // Whoever reads JSON gets an outcome however it ended.
    let trouble = match &ended {
        Err(error) => Some((exit::of(error), format!("{error:#}"))),
        Ok(Exit::DoesNotCompile) => {
            Some((Exit::DoesNotCompile, "the answer does not compile".to_owned()))
        }
        Ok(_) => None,
    };
    if let Some((exit, error)) = trouble.filter(|_| flags.output.format == Format::Json) {
        let code = exit as u8;
        say!("{}", serde_json::json!({"event": "outcome", "exit_code": code, "error": error}));
    }
    ended
}

fn judge_answer(course: &Course, flags: &Check) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    if flags.impostor.is_some() && flags.device != Device::Cpu {
        let sentence = "A known wrong answer is judged on the processor: leave `--device` out.";
        return Err(exit::problem(Exit::Usage, sentence));
    }
    // Before anything else: where there is no device, nothing is judged and nothing is kept.
    let choice = device::choose(flags.device, "judged")?;
    let lock = Lock::take(&course.root, &format!("check {}", flags.name.as_deref().unwrap_or("")))?;
    let mut state = State::read(&course.root)?;
    let place = Place::find(course, &state, flags.name.as_deref())?;
    let exercise = place.exercise;
    let is_own = !flags.solution && flags.impostor.is_none();
    // Before anything can go wrong, so that no text is ever lost.
    let snapshot = is_own.then(|| state.snapshot(&lock, exercise, "check")).transpose()?;

    let (package, source) = if flags.solution {
        (format!("{}-solution", exercise.name), format!("solutions/{}", exercise.name))
    } else {
        (exercise.name.clone(), exercise.folder())
    };
    let building = Instant::now();
    let shared = Shared::find().filter(|_| choice.cuda.is_none());
    let answer = (package.as_str(), source.as_str());
    let built = cargo::build_answer(&course.root, &exercise.name, answer, shared.as_ref())?;
    let programs = match (judge::programs(built, &package)?, &choice.cuda) {
        // The judge stays on the processor; the answer is built once more, for the card.
        (Some((judge, _)), Some(cuda)) => {
            crate::cuda::build(&course.root, &package, cuda, &judge)?.map(|it| (judge, it))
        }
        (programs, _) => programs,
    };
    let build_seconds = building.elapsed().as_secs_f64();
    let Some((judge, subject)) = programs else {
        anstream::eprintln!("\n{} does not compile; nothing was checked.", exercise.name);
        return Ok(Exit::DoesNotCompile);
    };
    let hearing = Hearing {
        judge: &judge,
        subject: &subject,
        exercise: &exercise.name,
        source: &source,
        part: place.part.as_deref(),
        seed: flags.seed,
        impostor: flags.impostor.as_deref(),
        device: choice.name,
        shared: shared.and_then(|shared| shared.libraries(&judge)),
        libraries: choice.cuda.as_ref().map(crate::cuda::libraries),
    };
    let mut outcome = listen(course, &hearing, flags.output.format)?;
    outcome.expected = expected(&place, flags);

    let files = hashes(course, exercise, flags.solution);
    if let Some(snapshot) = snapshot.filter(|_| !outcome.has_no_device()) {
        remember(&mut state, &lock, exercise, snapshot, &outcome, (&files, choice.name))?;
    }
    let (place, outcome, files) = (&place, &outcome, &files);
    let report = Report { course, flags, place, choice: &choice, outcome, files, build_seconds };
    report.print(&state, begun.elapsed().as_secs_f64())?;
    Ok(outcome.exit())
}

/// The parts that the judge has to judge, so that none is passed over in silence.
fn expected(place: &Place, flags: &Check) -> Vec<String> {
    let asked = flags.impostor.as_deref().and_then(|impostor| impostor.split("::").next());
    match asked.or(place.part.as_deref()) {
        Some(part) => vec![part.to_owned()],
        None => place.exercise.manifest.part.iter().map(|part| part.name.clone()).collect(),
    }
}

/// Runs the judge and keeps what it says; as JSON its lines are passed on at once.
fn listen(course: &Course, hearing: &Hearing, format: Format) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut live = Live::new(format == Format::Human);
    judge::hear(&course.root, hearing, &mut |line, event| {
        if format == Format::Json {
            say!("{line}");
        }
        match event {
            Event::Started(started) => outcome.started = Some(started),
            Event::Progress(progress) => live.take(&progress),
            Event::Part(part) => {
                live.end(&part.part);
                outcome.pictures.extend(exhibits::keep(&course.root, hearing.exercise, &part)?);
                outcome.parts.push(part);
            }
            Event::Finished(finished) => outcome.finished = Some(finished),
        }
        Ok(())
    })?;
    outcome.curves = live.save(&course.root, hearing.exercise)?;
    Ok(outcome)
}

/// Each judged file with its hash, in the order of the manifest.
fn hashes(course: &Course, exercise: &Exercise, solution: bool) -> Vec<(String, String)> {
    let files = if solution { exercise.solution_files() } else { exercise.files() };
    let hash = |file: String| {
        let hash =
            fs::read(course.root.join(&file)).map_or_else(|_| String::new(), |b| store::hash(&b));
        (file, hash)
    };
    files.into_iter().map(hash).collect()
}

/// Saves what passed, and what came of the snapshot.
fn remember(
    state: &mut State,
    lock: &Lock,
    exercise: &Exercise,
    number: u64,
    outcome: &Outcome,
    (files, device): (&[(String, String)], &str),
) -> anyhow::Result<()> {
    let text =
        store::hash(files.iter().flat_map(|(_, hash)| hash.bytes()).collect::<Vec<_>>().as_slice());
    let is_whole = outcome.parts.len() == exercise.manifest.part.len();
    state.update(lock, &exercise.name, |record| {
        for part in &outcome.parts {
            if part.verdict == Verdict::Passed {
                record.pass(&part.part, &text, device);
            } else {
                record.fail(&part.part);
            }
        }
        if let Some(snapshot) = record.snapshots.iter_mut().find(|s| s.number == number) {
            snapshot.outcome = match device {
                "cpu" => outcome.summary(),
                _ => format!("{} on {device}", outcome.summary()),
            };
            snapshot.passed = is_whole && outcome.exit() == Exit::Passed;
        }
    })
}

/// What is printed at the end.
struct Report<'a> {
    course: &'a Course,
    flags: &'a Check,
    place: &'a Place<'a>,
    choice: &'a Choice,
    outcome: &'a Outcome,
    files: &'a [(String, String)],
    build_seconds: f64,
}

impl Report<'_> {
    fn print(&self, state: &State, seconds: f64) -> anyhow::Result<()> {
        let exercise = self.place.exercise;
        let next = self.next(state);
        if self.flags.output.format == Format::Json {
            let line = serde_json::json!({
                "event": "outcome",
                "exit_code": self.outcome.exit() as u8,
                "summary": self.outcome.summary(),
                "device": self.choice.name,
                "device_reason": self.choice.reason,
                "files": self.files.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
                "curves": self.outcome.curves,
                "pictures": self.outcome.pictures,
                "next": next,
                "build_seconds": self.build_seconds,
                "seconds": seconds,
            });
            say!("{}", serde_json::to_string(&line)?);
            return Ok(());
        }
        let whose = if self.flags.solution { " (the solution)" } else { "" };
        let implied = if self.place.is_implied { ", where you are" } else { "" };
        let short =
            |(file, hash): &(String, String)| (file.clone(), hash.chars().take(8).collect());
        let page = render::Page {
            title: format!("{}: {}{whose}{implied}", exercise.name, exercise.manifest.title),
            files: self.files.iter().map(short).collect(),
            outcome: self.outcome,
            device_reason: &self.choice.reason,
            place_of: &|part| exercise.place_of(&self.course.root, part),
            next,
            seconds,
        };
        let is_plain = self.flags.output.format == Format::Plain;
        say_as_is!("{}", render::page(&page, dress(is_plain)));
        Ok(())
    }

    /// What to do next, in a sentence.
    fn next(&self, state: &State) -> String {
        let exercise = self.place.exercise;
        let name = &exercise.name;
        let place = |part: &str| exercise.place_of(&self.course.root, part);
        let seed = self.outcome.started.as_ref().map_or(0, |started| started.seed);
        if self.flags.solution {
            return "The reference solution was judged, not your answer.".to_owned();
        }
        let missing = self.outcome.missing();
        if !missing.is_empty() {
            return format!(
                "The judge did not judge {}; this is a bug in Wick and never a pass. Please \
                 report it.",
                missing.join(", ")
            );
        }
        if self.outcome.has_no_device() {
            return "The device could not be used, so nothing was judged and nothing counts. \
                    `cargo xtask doctor --device cuda` says what this machine has."
                .to_owned();
        }
        if self.outcome.count(Class::Fault) > 0 {
            return "The judge could not do its work; this says nothing about your answer. \
                    Please report it."
                .to_owned();
        }
        if self.outcome.first_failure().is_some() {
            let part = self.place.part.as_ref().map_or(String::new(), |part| format!("::{part}"));
            let name = format!("{name}{part}");
            return format!("To repeat exactly this run: cargo xtask check {name} --seed {seed}");
        }
        if let Some(part) = self.outcome.first_not_started() {
            return format!("Next: write `{}` in {}.", part.part, place(&part.part));
        }
        let open = exercise.manifest.part.iter().find(|part| {
            let record = state.record(name);
            !record.passed.contains_key(&part.name)
        });
        if let Some(part) = open {
            return format!("Passed. Next: `{}` in {}.", part.name, place(&part.name));
        }
        match crate::place::first_open(self.course, state) {
            Some(open) => format!(
                "{name} is done. Next: cargo xtask check {} ({}).",
                open.name, open.manifest.title
            ),
            None => format!("{name} is done, and with it the whole course. Well done."),
        }
    }
}
