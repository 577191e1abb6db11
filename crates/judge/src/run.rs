//! A run: an exercise judged part by part.
//!
//! **Invariant:** a part passes only if every declared check ran and held; after a death the next
//! part gets a fresh subject.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use checks::{Death, Kind, Part, Stop, Suite, Trial};
use protocol::{DeviceKind, Progress};
use report::{
    Declared, Event, Exhibit, Finding, Finished, Isolation, Parity, PartReport, Prints, Started,
    VERSION, Verdict,
};

use crate::{
    Sources, Who,
    cell::Cell,
    ear::Ear,
    prints::{neutralise_exhibit, neutralise_finding},
    recognise::{Recorder, recognise},
};

/// Takes the events of a run, in order.
pub(crate) type Listener<'a> = &'a mut dyn FnMut(&Event) -> io::Result<()>;

/// Beyond this, starting subjects costs more than judging in parallel saves.
const MAX_WORKERS: usize = 4;
const PARTS_A_WORKER: usize = 4;

/// What to judge, and how.
#[derive(Debug)]
pub struct Run {
    /// The exercise's checks.
    pub suite: &'static Suite,
    /// Whose answer is judged.
    pub who: Who,
    /// Folder of the answer's sources, for rules about what it may call.
    pub source: Option<PathBuf>,
    /// Names of the parts to judge; empty for all.
    pub parts: Vec<String>,
    /// Repeats a run exactly.
    pub seed: u64,
    /// Where the subject computes.
    pub device: DeviceKind,
    /// Whether to refuse to run a subject that cannot be fully confined.
    pub strict: bool,
}

impl Run {
    /// Judges every part that was asked for.
    ///
    /// # Errors
    ///
    /// Fails if a part's name is unknown, the jail cannot start the subject, or the listener does
    /// not take an event.
    pub fn judge(&self, listener: Listener<'_>) -> anyhow::Result<()> {
        let begun = Instant::now();
        let parts = self.asked_parts()?;
        // The sources are read while the subject starts.
        let (sources, cell) = thread::scope(|scope| {
            let cell = scope.spawn(|| Cell::open(self));
            let sources = self.source.as_deref().map(Sources::read).transpose();
            (sources, cell.join())
        });
        let sources = sources.context("the answer's sources cannot be read")?.unwrap_or_default();
        let cell = cell.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        listener(&Event::Started(self.started(&parts, cell.isolation())))?;
        let mut finished = Finished {
            tally: BTreeMap::new(),
            checks_run: 0,
            checks_declared: 0,
            millis: 0.0,
            start_millis: millis(cell.start_time()),
        };
        let brief = |part| Brief { part, refusal: refused(part, &sources) };
        let briefs: Vec<_> = parts.into_iter().map(brief).collect();
        self.judge_parts(&briefs, cell, &mut |event| {
            if let Event::Part(report) = event {
                finished.checks_run += report.checks_run;
                finished.checks_declared += report.checks_declared;
                *finished.tally.entry(verdict_name(report.verdict)?).or_default() += 1;
            }
            Ok(listener(event)?)
        })?;
        finished.millis = millis(begun.elapsed());
        listener(&Event::Finished(finished))?;
        Ok(())
    }

    fn asked_parts(&self) -> anyhow::Result<Vec<&'static Part>> {
        if let Some(unknown) = self.parts.iter().find(|name| self.suite.part(name).is_none()) {
            bail!("{} has no part {unknown}", self.suite.exercise);
        }
        let asked = |part: &&Part| {
            self.who.answers(part)
                && (self.parts.is_empty() || self.parts.iter().any(|name| name == part.name))
        };
        Ok(self.suite.parts.iter().copied().filter(asked).collect())
    }

    fn started(&self, parts: &[&Part], isolation: Isolation) -> Started {
        let declared =
            |part: &&Part| Declared { part: part.name.to_owned(), checks: part.checks.len() };
        Started {
            version: VERSION,
            exercise: self.suite.exercise.to_owned(),
            seed: self.seed,
            device: format!("{:?}", self.device).to_lowercase(),
            isolation,
            parts: parts.iter().map(declared).collect(),
        }
    }

    /// Judges parts, several at a time; hands on their progress at once, their reports in order.
    ///
    /// Each worker has a subject of its own and always the same parts, so that what one part
    /// leaves behind in its process meets the same other parts in every run.
    fn judge_parts(
        &self,
        briefs: &[Brief],
        cell: Cell,
        take: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let n_workers = self.n_workers(briefs.len());
        let work = |worker: usize, cell: Option<Cell>, to_us: &Sender<_>| {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            let mut cell = cell.map_or_else(|| Cell::open(self), Ok)?;
            for n in (worker..briefs.len()).step_by(n_workers) {
                let mut tell = |event: &Event| to_us.send(Ok((n, event.clone()))).map_err(gone);
                let report = self.judge_part(&briefs[n], &mut cell, &mut tell)?;
                tell(&Event::Part(report))?;
            }
            anyhow::Ok(())
        };
        let (to_us, told) = channel();
        let mut cell = Some(cell);
        thread::scope(|scope| {
            for worker in 0..n_workers {
                let (work, to_us, cell) = (&work, to_us.clone(), cell.take());
                scope.spawn(move || {
                    if let Err(error) = work(worker, cell, &to_us) {
                        let _nobody_listens = to_us.send(Err(error));
                    }
                });
            }
            drop(to_us);
            in_order(told, take)
        })
    }

    /// How many parts are judged at a time: more pay only if each worker has a few.
    fn n_workers(&self, n_parts: usize) -> usize {
        let n_cores = thread::available_parallelism().map_or(1, usize::from);
        match self.who {
            Who::Program(_) => n_cores.min(MAX_WORKERS).min(n_parts / PARTS_A_WORKER).max(1),
            Who::Own(_) => 1,
        }
    }

    fn judge_part(
        &self,
        brief: &Brief,
        cell: &mut Cell,
        listener: Listener<'_>,
    ) -> anyhow::Result<PartReport> {
        let begun = Instant::now();
        let Brief { part, refusal } = brief;
        let mut gathered = Gathered::default();
        let (checks_run, outcome, prints) = if let Some(finding) = refusal {
            (0, Some((Verdict::Refused, finding.clone())), Prints::default())
        } else {
            cell.revive(self)?;
            let mark = cell.mark();
            let mut ear = Ear::new(part.name, listener);
            let (checks_run, outcome) = self.run_checks(part, cell, &mut ear, &mut gathered);
            ear.heard?;
            (checks_run, outcome, cell.prints_since(mark))
        };
        let (verdict, finding) = match outcome {
            Some((verdict, finding)) => (verdict, Some(neutralise_finding(finding))),
            None if checks_run == part.checks.len() && checks_run > 0 => (Verdict::Passed, None),
            None => (Verdict::JudgeFault, None),
        };
        let Gathered { exhibits, parity } = gathered;
        Ok(PartReport {
            part: part.name.to_owned(),
            verdict,
            checks_run,
            checks_declared: part.checks.len(),
            finding,
            prints,
            exhibits,
            parity: (self.device != DeviceKind::Cpu).then_some(parity),
            millis: millis(begun.elapsed()),
        })
    }

    /// Runs a part's checks until one does not hold; says how many ran, and why it stopped.
    fn run_checks(
        &self,
        part: &Part,
        cell: &mut Cell,
        ear: &mut Ear<'_>,
        gathered: &mut Gathered,
    ) -> (usize, Option<(Verdict, Finding)>) {
        let subject = match cell.subject(part) {
            Ok(subject) => subject,
            Err(stopped) => return (0, Some(*stopped)),
        };
        for (n, check) in part.checks.iter().enumerate() {
            subject.allow(check.kind.cpu());
            let mut live = |question: usize, told: &Progress| ear.hear(check.name, question, told);
            let mut recorder = Recorder::new(subject, &mut live);
            let exercise = self.suite.exercise;
            let mut trial = Trial::new(&mut recorder, exercise, part.name, check.name, self.seed);
            let outcome = (check.run)(&mut trial);
            gathered.exhibits.extend(trial.take_exhibits().into_iter().map(neutralise_exhibit));
            for margin in trial.margins() {
                gathered.parity = gathered.parity.with(margin.difference, margin.used);
            }
            let replies = recorder.into_replies();
            let Err(stop) = outcome else { continue };
            let finding = |finding: Finding| Finding {
                check: check.name.to_owned(),
                promise: check.promise.to_owned(),
                ..finding
            };
            let stopped = match stop {
                Stop::NotStarted(plan) => {
                    let what = vec![format!("The plan: {plan}.")];
                    (Verdict::NotStarted, Finding { what, ..Finding::default() })
                }
                Stop::Died(Death { verdict, what }) => {
                    cell.bury();
                    (verdict, finding(Finding { what, ..Finding::default() }))
                }
                Stop::Wrong(wrong) => {
                    // What else it sent is not to be the next part's fault.
                    let _wrong_already = cell.settle();
                    let recognised = recognise(self.suite, part, check, self.seed, &replies);
                    (Verdict::Wrong, finding(Finding { recognised, ..*wrong }))
                }
            };
            // What says `todo!` was not judged.
            let checks_run = if stopped.0 == Verdict::NotStarted { n } else { n + 1 };
            return (checks_run, Some(stopped));
        }
        let stopped = cell
            .settle()
            .map(|Death { verdict, what }| (verdict, Finding { what, ..Finding::default() }));
        (part.checks.len(), stopped)
    }
}

/// Hands on what is told of numbered parts: reports from zero up, the rest at once.
fn in_order(
    told: Receiver<anyhow::Result<(usize, Event)>>,
    take: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut early, mut next) = (BTreeMap::new(), 0);
    for event in told {
        let (n, event) = event?;
        if !matches!(event, Event::Part(_)) {
            take(&event)?;
            continue;
        }
        early.insert(n, event);
        while let Some(report) = early.remove(&next) {
            take(&report)?;
            next += 1;
        }
    }
    Ok(())
}

/// What checks have to show or to tell beside their verdict.
#[derive(Default)]
struct Gathered {
    exhibits: Vec<Exhibit>,
    parity: Parity,
}

/// A part to judge, and why it is refused if it breaks the rule about its source.
struct Brief {
    part: &'static Part,
    refusal: Option<Finding>,
}

/// Why a part that does not train a model is not made of `wick::fused`.
const READY_MADE: &str =
    "`wick::fused` has it ready made, for training once you wrote it yourself.";

/// Says which rule about its source a part breaks.
fn refused(part: &Part, sources: &Sources) -> Option<Finding> {
    let by_rule = || {
        let rule = part.rule.as_ref()?;
        Some((sources.offence(part.name, rule)?, rule.reason))
    };
    let ready_made = || Some((sources.ready_made(part.name)?, READY_MADE));
    let trains = part.checks.iter().any(|check| matches!(check.kind, Kind::Training { .. }));
    let (offence, reason) = by_rule().or_else(|| if trains { None } else { ready_made() })?;
    let what = vec![format!("`{}` may not be called here. {reason}", offence.name)];
    let promise = "The source keeps to the rule of the exercise.".to_owned();
    Some(Finding { what, promise, location: Some(offence.location), ..Finding::default() })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The verdict as the JSON lines spell it.
fn verdict_name(verdict: Verdict) -> anyhow::Result<String> {
    match serde_json::to_value(verdict)? {
        serde_json::Value::String(name) => Ok(name),
        other => bail!("a verdict was written as {other}"),
    }
}
