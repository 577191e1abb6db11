//! `new`: an exercise from a template, entered everywhere, built and judged at once.

use std::collections::BTreeMap;

use anyhow::Context as _;
use report::Event;

use crate::{
    cargo::{self, Built},
    cli::New,
    course::Course,
    exit::{self, Exit, problem},
    judge::{self, Hearing},
    outcome::Outcome,
    scaffold::{self, Names, NewExercise},
    state::Lock,
    text,
};

pub(crate) fn run(course: &Course, flags: &New) -> anyhow::Result<Exit> {
    let part = flags.part.as_deref().unwrap_or(flags.template.part());
    let names = Names::new(course, &flags.name, part)?;
    let _lock = Lock::take(&course.root, &format!("new {}", flags.name))?;
    let new = NewExercise::fill(&course.root, flags.template, names)?;
    match write(course, &new).and_then(|()| prove(course, &new.names)) {
        Ok(proof) => {
            scaffold::settle();
            tell(&new.names, &proof);
            Ok(Exit::Passed)
        }
        Err(error) => Err(without_trace(&error, &new.names)),
    }
}

/// Takes everything back, and says so.
fn without_trace(error: &anyhow::Error, names: &Names) -> anyhow::Error {
    scaffold::yield_to_interrupt();
    let left = scaffold::undo();
    let exit = exit::of(error);
    let sentence = error.to_string();
    let sentence = sentence.trim_end_matches('.');
    let rest = if left.is_empty() {
        format!("Nothing of {} is kept", names.exercise)
    } else {
        format!("These could not be put back, see `git status`: {}", left.join(", "))
    };
    // A bug of ours gets its full stop with what is said of all of them.
    let end = if exit == Exit::Bug { "" } else { "." };
    problem(exit, format!("{sentence}. {rest}{end}"))
}

fn write(course: &Course, new: &NewExercise) -> anyhow::Result<()> {
    // Everything that can be refused is refused here, before the first write.
    let entries = scaffold::entries(&course.root, new)?;
    for (file, text) in &new.files {
        scaffold::create(&course.root.join(file), text)?;
    }
    for entry in &entries {
        scaffold::enter(&course.root, entry)?;
    }
    // Cargo will enter two packages there.
    scaffold::keep(&course.root.join("Cargo.lock"))
}

/// What was seen of a new exercise.
struct Proof {
    /// `6 of 6`, of the solution.
    checks: String,
}

/// Builds it; its solution must pass and its stub not be started.
fn prove(course: &Course, names: &Names) -> anyhow::Result<Proof> {
    let (stub, solution) = (&names.exercise, format!("{}-solution", names.exercise));
    say!("Building {stub} and its solution …");
    let Built::Programs(programs) = cargo::build_for(&course.root, stub, &[&solution, stub])?
    else {
        let sentence = format!("{solution} does not compile; rustc says why above");
        return Err(problem(Exit::DoesNotCompile, sentence));
    };
    let program =
        |name: &str| programs.get(name).with_context(|| format!("cargo built no program `{name}`"));
    let judge = |package: &str, folder: &str| {
        let mut outcome = Outcome { expected: vec![names.part.clone()], ..Outcome::default() };
        let hearing = Hearing {
            judge: program("judge")?,
            subject: program(package)?,
            exercise: stub,
            source: &format!("{folder}/{stub}"),
            part: None,
            seed: None,
            impostor: None,
            device: "cpu",
            libraries: None,
            shared: None,
        };
        judge::hear(&course.root, &hearing, &mut |_, event| {
            match event {
                Event::Started(started) => outcome.started = Some(started),
                Event::Part(part) => outcome.parts.push(part),
                Event::Finished(finished) => outcome.finished = Some(finished),
                Event::Progress(_) => {}
            }
            Ok(())
        })?;
        anyhow::Ok(outcome)
    };
    let passed = judge(&solution, "solutions")?;
    expect(&passed, Exit::Passed, "the new solution does not pass")?;
    expect(&judge(stub, "exercises")?, Exit::NotStarted, "the new stub is not merely unstarted")?;
    Ok(Proof { checks: format!("{} of {}", passed.checks_run(), passed.checks_declared()) })
}

fn expect(outcome: &Outcome, exit: Exit, otherwise: &str) -> anyhow::Result<()> {
    anyhow::ensure!(outcome.exit() == exit, "{otherwise}: {}", outcome.summary());
    Ok(())
}

fn tell(names: &Names, proof: &Proof) {
    let Names { exercise, part } = names;
    let places = BTreeMap::from([
        (1, (format!("solutions/{exercise}/src/lib.rs"), "the answer, and its documentation")),
        (
            2,
            (
                format!("crates/checks/src/{exercise}/{part}.rs"),
                "checks, impostors, an alternative",
            ),
        ),
        (3, (format!("exercises/{exercise}/exercise.toml"), "title, minutes, hints")),
        (4, (format!("exercises/{exercise}/README.md"), "idea, figure, where to go further")),
    ]);
    say!("{exercise} is there, with the part `{part}`, and entered in the course.");
    say!("Its solution passes {} checks, and its stub is not started.\n", proof.checks);
    say!("It does something small already. Make it yours, in this order:");
    let width = places.values().map(|(place, _)| place.len()).max().unwrap_or(0);
    for (n, (place, what)) in &places {
        say!("  {n}. {place:width$}  {what}");
    }
    say!("\nAfter each change:");
    for (command, what) in [
        (
            format!("cargo xtask stub {exercise}"),
            "derives exercises/…/src/lib.rs from the solution",
        ),
        (format!("cargo xtask check {exercise} --solution"), "judges the solution"),
        (format!("cargo xtask verify {exercise}"), "proves that the checks are strong"),
    ] {
        say!("  {command:width$}     {what}");
    }
    let guide = "The guide, step by step: crates/ADDING_AN_EXERCISE.md.";
    say!("\n{}", text::wrap(guide, 100, ""));
}
