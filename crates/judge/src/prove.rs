//! Proving an exercise: its checks on answers of ours, its solution and stub behind the border.
//!
//! **Invariant:** a proof that says nothing of a rule has looked at it; what could not be looked
//! at is a fault.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use checks::{Part, Suite, strength};
use protocol::DeviceKind;
use report::{Event, Fault, PartReport, ProgramsProof, Proof, Rule, Verdict};

use crate::{Budget, Own, Process, Run, Sources, Who};

/// What to prove, and with which programs.
#[derive(Debug)]
pub struct Prove {
    /// The exercise's checks.
    pub suite: &'static Suite,
    /// The program of the solution; without it and the stub, only the checks are proved.
    pub solution: Option<PathBuf>,
    /// Folder of the solution's sources.
    pub source: Option<PathBuf>,
    /// The program of the stub.
    pub stub: Option<PathBuf>,
    /// Where solution and stub compute.
    pub device: DeviceKind,
}

impl Prove {
    /// Proves everything, and hands each proof to the listener.
    ///
    /// # Errors
    ///
    /// Fails if the jail cannot start a program, or the listener does not take a proof.
    pub fn prove(&self, listener: &mut dyn FnMut(&Proof) -> io::Result<()>) -> anyhow::Result<()> {
        for part in self.suite.parts {
            let mut proof = strength::prove(self.suite, part);
            for impostor in part.impostors {
                proof.faults.extend(self.unrecognised(part, impostor)?);
            }
            listener(&Proof::Part(proof))?;
        }
        if let Some(solution) = &self.solution {
            listener(&Proof::Programs(self.programs(solution)?))?;
        }
        listener(&Proof::Proved)?;
        Ok(())
    }

    /// What is wrong if a learner who makes an impostor's mistake is not told so.
    fn unrecognised(
        &self,
        part: &'static Part,
        impostor: &checks::Impostor,
    ) -> anyhow::Result<Option<Fault>> {
        let own = vec![Own::impostor(part, impostor)];
        let reports = parts(&self.judge(Who::Own(own), strength::SEEDS[0])?);
        let finding = reports.first().and_then(|report| report.finding.as_ref());
        // What fails elsewhere, or not at all, is another rule's fault.
        let Some(finding) = finding.filter(|finding| finding.check == impostor.caught_by) else {
            return Ok(None);
        };
        let (name, check) = (impostor.name, impostor.caught_by);
        let sentence = match &finding.recognised {
            Some(recognised) if recognised.impostor == name => return Ok(None),
            Some(other) => format!(
                "The impostor `{name}` cannot be told from `{}` by what `{check}` asks; drop one, \
                 or let an earlier question part them.",
                other.impostor
            ),
            None => format!(
                "The impostor `{name}` is not recognised in `{check}`; does it give other answers \
                 each time?"
            ),
        };
        let part = part.name.to_owned();
        Ok(Some(Fault { rule: Rule::ImpostorRecognised, part, about: name.to_owned(), sentence }))
    }

    fn programs(&self, solution: &Path) -> anyhow::Result<ProgramsProof> {
        let mut proof = ProgramsProof {
            device: format!("{:?}", self.device).to_lowercase(),
            seeds: strength::SEEDS.to_vec(),
            noise: 0.0,
            millis: Vec::new(),
            run_millis: f64::INFINITY,
            faults: Vec::new(),
        };
        let mut least: BTreeMap<String, f64> = BTreeMap::new();
        for seed in strength::SEEDS {
            let runs = [(); 2].map(|()| self.judge(Who::Program(solution.to_owned()), seed));
            let [first, second] = runs;
            let (first, second) = (first?, second?);
            for report in parts(&first).into_iter().chain(parts(&second)) {
                let millis = least.entry(report.part).or_insert(f64::INFINITY);
                *millis = millis.min(report.millis);
            }
            for event in first.iter().chain(&second) {
                if let Event::Finished(finished) = event {
                    proof.run_millis = proof.run_millis.min(finished.millis);
                }
            }
            proof.faults.extend(self.not_passed(&first, seed));
            proof.faults.extend(self.not_repeated(first, second, seed));
        }
        for part in self.suite.parts {
            proof.millis.extend(least.get(part.name).map(|&least| (part.name.to_owned(), least)));
        }
        self.measure(solution, &mut proof)?;
        proof.faults.extend(self.started()?);
        Ok(proof)
    }

    /// Asks the solution once more, for how much of each tolerance it uses.
    fn measure(&self, solution: &Path, proof: &mut ProgramsProof) -> anyhow::Result<()> {
        let process = Process::start(solution, self.device, Budget::default(), false);
        // What does not even open has not passed, which is said already.
        let Ok(mut process) = process.context("the solution cannot be judged")? else {
            return Ok(());
        };
        for part in self.suite.parts {
            let tried = strength::attempt(self.suite, part, &mut process, strength::SEEDS[0]);
            proof.noise = proof.noise.max(tried.noise());
            proof.faults.extend(strength::too_noisy(part, "solution", &tried));
        }
        Ok(())
    }

    fn not_passed(&self, events: &[Event], seed: u64) -> Vec<Fault> {
        let reports = parts(events);
        let of = |part: &&Part| {
            let report = reports.iter().find(|report| report.part == part.name);
            let Some(report) = report else {
                return Some(format!("The solution of `{}` was not judged.", part.name));
            };
            let finding = report.finding.clone().unwrap_or_default();
            (report.verdict != Verdict::Passed).then(|| {
                format!(
                    "The solution of `{}` does not pass `{}` (seed {seed}, on {:?}): {} Mend the \
                     solution, or the check.",
                    part.name,
                    finding.check,
                    self.device,
                    finding.what.join(" ")
                )
            })
        };
        let failed = self.suite.parts.iter().filter_map(|part| Some((part, of(part)?)));
        failed.map(|(part, sentence)| whole(Rule::SolutionPasses, part.name, sentence)).collect()
    }

    fn not_repeated(&self, first: Vec<Event>, second: Vec<Event>, seed: u64) -> Option<Fault> {
        let (first, second) = (timeless(first), timeless(second));
        if first == second {
            return None;
        }
        let (first, second) = (parts(&first), parts(&second));
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        let part = differs.map_or("", |(first, _)| first.part.as_str());
        let sentence = format!(
            "The solution of `{part}` is judged in two ways with one seed ({seed}, on {:?}); let \
             it draw no numbers of its own and leave no order to chance.",
            self.device
        );
        Some(whole(Rule::SolutionRepeats, part, sentence))
    }

    /// What is wrong with the stub: every part must say `todo!`, or show its broken version.
    fn started(&self) -> anyhow::Result<Vec<Fault>> {
        let Some(stub) = &self.stub else { return Ok(Vec::new()) };
        let events = self.judge(Who::Program(stub.clone()), strength::SEEDS[0])?;
        let reports = parts(&events);
        let solution = match &self.source {
            Some(folder) => Sources::read(folder).context("the solution's sources are gone")?,
            None => Sources::default(),
        };
        let wrong = |part: &&Part| {
            let report = reports.iter().find(|report| report.part == part.name);
            let sentence = match solution.bug(part.name) {
                Some(bug) => not_as_its_bug(part, bug, report)?,
                None => not_unstarted(part, report)?,
            };
            Some(whole(Rule::StubNotStarted, part.name, sentence))
        };
        Ok(self.suite.parts.iter().filter_map(wrong).collect())
    }

    fn judge(&self, who: Who, seed: u64) -> anyhow::Result<Vec<Event>> {
        let run = Run {
            suite: self.suite,
            source: self.source.clone().filter(|_| matches!(who, Who::Program(_))),
            who,
            parts: Vec::new(),
            seed,
            device: self.device,
            strict: false,
        };
        let mut events = Vec::new();
        run.judge(&mut |event| {
            events.push(event.clone());
            Ok(())
        })?;
        Ok(events)
    }
}

fn not_unstarted(part: &Part, report: Option<&PartReport>) -> Option<String> {
    let verdict = report.map(|report| report.verdict);
    (verdict != Some(Verdict::NotStarted)).then(|| {
        format!(
            "The stub of `{}` is not reported as not started ({verdict:?}); derive it afresh with \
             `cargo xtask stub`.",
            part.name
        )
    })
}

/// Says what is wrong if a broken version fails elsewhere than the impostor of its name.
fn not_as_its_bug(part: &Part, bug: &str, report: Option<&PartReport>) -> Option<String> {
    let Some(impostor) = part.impostors.iter().find(|impostor| impostor.name == bug) else {
        return Some(format!(
            "The stub of `{}` shows a bug `{bug}`, and no impostor is called so; call it as the \
             impostor that makes the same mistake.",
            part.name
        ));
    };
    let finding = report.and_then(|report| report.finding.as_ref());
    let failed = finding.map(|finding| finding.check.as_str());
    let recognised = finding.and_then(|finding| finding.recognised.as_ref());
    let recognised = recognised.map(|known| known.impostor.as_str());
    ((failed, recognised) != (Some(impostor.caught_by), Some(bug))).then(|| {
        format!(
            "The broken version `{bug}` of `{}` fails {failed:?} and is taken for {recognised:?}; \
             it must fail `{}` and be recognised as the impostor of its name.",
            part.name, impostor.caught_by
        )
    })
}

fn whole(rule: Rule, part: &str, sentence: String) -> Fault {
    Fault { rule, part: part.to_owned(), about: String::new(), sentence }
}

fn parts(events: &[Event]) -> Vec<PartReport> {
    let part = |event: &Event| match event {
        Event::Part(report) => Some(report.clone()),
        Event::Started(_) | Event::Progress(_) | Event::Finished(_) => None,
    };
    events.iter().filter_map(part).collect()
}

/// Without what may differ from run to run.
fn timeless(mut events: Vec<Event>) -> Vec<Event> {
    // How often a part tells of its progress depends on the time that it takes.
    events.retain(|event| !matches!(event, Event::Progress(_)));
    for event in &mut events {
        match event {
            Event::Started(_) | Event::Progress(_) => {}
            Event::Part(report) => report.millis = 0.0,
            Event::Finished(finished) => (finished.millis, finished.start_millis) = (0.0, 0.0),
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use report::Prints;

    use super::*;

    #[track_caller]
    fn check(second: &PartReport, differs: bool) {
        let Some(suite) = checks::find("attention") else { panic!("there is attention") };
        let device = DeviceKind::Cpu;
        let prove = Prove { suite, solution: None, source: None, stub: None, device };
        let events = |report: &PartReport| vec![Event::Part(report.clone())];
        let fault = prove.not_repeated(events(&report()), events(second), 7);
        assert_eq!(fault.is_some(), differs, "{fault:?}");
        if let Some(fault) = fault {
            assert_eq!((fault.rule, fault.part.as_str()), (Rule::SolutionRepeats, "rotary"));
        }
    }

    fn report() -> PartReport {
        PartReport {
            part: "rotary".to_owned(),
            verdict: Verdict::Passed,
            checks_run: 6,
            checks_declared: 6,
            finding: None,
            prints: Prints::default(),
            exhibits: vec![],
            parity: None,
            millis: 1.0,
        }
    }

    #[test]
    fn a_report_that_differs_in_time_alone_is_repeated() {
        check(&PartReport { millis: 2.0, ..report() }, false);
    }

    #[test]
    fn a_report_that_differs_in_anything_else_is_not() {
        check(&PartReport { verdict: Verdict::Wrong, ..report() }, true);
        let prints = Prints { stdout: "0.3".to_owned(), ..Prints::default() };
        check(&PartReport { prints, ..report() }, true);
    }
}
