//! How strong a part's checks are: what they do to impostors, right answers and lazy ones.
//!
//! `tests/strength.rs` proves it for every suite; `judge --prove` says it for one exercise.
//!
//! **Invariant:** what is measured depends on the suite and the seeds alone.

mod attempt;
mod faults;
mod lazy;

use report::{Fault, ImpostorProof, PartProof, Rule};

use crate::{Check, Kind, Local, Part, Subject, Suite};

use attempt::Alone;
pub use attempt::{Attempt, attempt};
pub use faults::{too_near, too_noisy};
pub use lazy::{Idler, Lazy};

/// The seeds that everything is proved with.
pub const SEEDS: [u64; 3] = [1, 2, 3];

/// How many tolerances a wrong answer must be off by, at least.
pub const FAR: f64 = 10.0;

/// How much of a tolerance a right answer may use, at most.
pub const ROOM: f64 = 0.25;

/// Proves one part: everything that can be said without a solution.
#[must_use]
pub fn prove(suite: &Suite, part: &'static Part) -> PartProof {
    let mut faults = faults::of_declarations(part);
    let impostors: Vec<_> = part
        .impostors
        .iter()
        .map(|impostor| {
            let tried = SEEDS.map(|s| attempt(suite, part, &mut Local::new(impostor.answer), s));
            (impostor, tried)
        })
        .collect();
    let mut killed = 0;
    let mut nearest = f64::INFINITY;
    for (impostor, tried) in &impostors {
        let found = faults::of_impostor(part, impostor, tried);
        killed += usize::from(found.is_none());
        faults.extend(found);
        faults.extend(tried.iter().find_map(|tried| too_near(part, impostor.name, tried)));
        nearest = tried.iter().filter_map(|tried| tried.excess).fold(nearest, f64::min);
    }
    let (mut noise, mut false_alarms) = (0.0, 0);
    for alternative in part.alternatives {
        let tried = SEEDS.map(|s| attempt(suite, part, &mut Local::new(alternative.answer), s));
        let failed = faults::of_alternative(part, alternative, &tried);
        false_alarms += usize::from(failed.is_some());
        faults.extend(failed);
        faults.extend(tried.iter().find_map(|tried| too_noisy(part, alternative.name, tried)));
        noise = tried.iter().map(Attempt::noise).fold(noise, f64::max);
    }
    for homebound in suite.homebound.iter().filter(|homebound| homebound.part == part.name) {
        let tried = SEEDS.map(|s| attempt(suite, part, &mut Local::new(homebound.answer), s));
        faults.extend(faults::of_homebound(part, homebound, &tried));
    }
    let lazy = prove_lazy(suite, part);
    let mut matrix = Vec::new();
    for (impostor, tried) in &impostors {
        let (name, answer) = (impostor.name, impostor.answer);
        // Whatever fails before a training need not be trained.
        let skips = |check: &Check| {
            matches!(check.kind, Kind::Training { .. }) && check.name != impostor.caught_by
        };
        let row = attempt::row(suite, part, SEEDS[0], skips, || Box::new(Local::new(answer)));
        faults.extend(faults::of_row(part, &format!("the impostor `{name}`"), &row));
        matrix.push(ImpostorProof {
            name: name.to_owned(),
            first: tried[0].failed.as_ref().map(|(check, _)| check.name.to_owned()),
            fails: row.iter().map(|alone| alone.fails()).collect(),
        });
    }
    faults.extend(lazy.iter().flatten().cloned());
    PartProof {
        part: part.name.to_owned(),
        checks: part.checks.iter().map(|check| check.name.to_owned()).collect(),
        impostors: matrix,
        killed,
        right_answers: part.alternatives.len(),
        false_alarms,
        lazy_answers: lazy.len(),
        lazy_passed: lazy.iter().flatten().filter(|f| f.rule == Rule::LazyFails).count(),
        noise,
        nearest: nearest.is_finite().then_some(nearest),
        faults,
    }
}

/// One entry for each lazy answer: what is wrong about it, if something is.
fn prove_lazy(suite: &Suite, part: &'static Part) -> Vec<Option<Fault>> {
    let Some(right) = part.alternatives.first() else { return Vec::new() };
    let one = |lazy: Lazy| {
        let passes = SEEDS.iter().find_map(|&seed| {
            let mut idler = Idler::new(lazy, right.answer);
            faults::of_lazy(part, lazy, &attempt(suite, part, &mut idler, seed))
        });
        passes.or_else(|| {
            let idler = || -> Box<dyn Subject> { Box::new(Idler::new(lazy, right.answer)) };
            let row = attempt::row(suite, part, SEEDS[0], |_| false, idler);
            faults::of_row(part, &format!("an answer that gives {}", lazy.gives()), &row)
        })
    };
    Lazy::ALL.map(one).into()
}
