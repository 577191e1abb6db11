//! What the rules say about what was tried: one fault for each thing to mend.

use std::collections::BTreeSet;

use report::{Fault, Rule};

use super::{Alone, Attempt, FAR, Lazy, ROOM, SEEDS};
use crate::{Alternative, Homebound, Impostor, Kind, Part, Stop};

/// How many checks a part has at least, and how many of them are about properties.
const CHECKS: usize = 4;
const PROPERTIES: usize = 2;

fn fault(rule: Rule, part: &Part, about: &str, sentence: String) -> Fault {
    Fault { rule, part: part.name.to_owned(), about: about.to_owned(), sentence }
}

/// What can be seen without trying anything.
pub(super) fn of_declarations(part: &Part) -> Vec<Fault> {
    let mut faults = Vec::new();
    let (n, name) = (part.checks.len(), part.name);
    if n < CHECKS {
        let sentence = format!("`{name}` has {n} checks; promise {CHECKS} or more.");
        faults.push(fault(Rule::ChecksEnough, part, "", sentence));
    }
    let properties = part.checks.iter().filter(|check| check.kind == Kind::Property).count();
    if properties < PROPERTIES {
        let sentence = format!(
            "`{name}` has {properties} checks of kind `Property`; find {PROPERTIES} that every \
             right answer has."
        );
        faults.push(fault(Rule::ChecksEnough, part, "", sentence));
    }
    if part.alternatives.is_empty() {
        let sentence =
            format!("`{name}` has no alternative; write a second right answer in another way.");
        faults.push(fault(Rule::AlternativePasses, part, "", sentence));
    }
    let caught: BTreeSet<_> = part.impostors.iter().map(|i| i.caught_by).collect();
    for check in part.checks.iter().filter(|check| !caught.contains(check.name)) {
        let sentence = format!(
            "No impostor of `{name}` fails first at `{}`; add one that does, or drop the check.",
            check.name
        );
        faults.push(fault(Rule::CheckCatches, part, check.name, sentence));
    }
    faults.extend(of_names(part));
    faults
}

fn of_names(part: &Part) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |about: &str, sentence| {
        faults.push(fault(Rule::NamesClear, part, about, sentence));
    };
    let mut seen = BTreeSet::new();
    let checks = part.checks.iter().map(|check| check.name);
    for name in checks.chain(part.impostors.iter().map(|i| i.name)).filter(|n| !seen.insert(*n)) {
        add(name, format!("`{}` has `{name}` twice; give one another name.", part.name));
    }
    for impostor in part.impostors.iter().filter(|i| i.diagnosis.ends_with('.')) {
        let name = impostor.name;
        add(name, format!("The diagnosis of `{name}` ends in a full stop; make it a clause."));
    }
    for check in part.checks.iter().filter(|check| !check.promise.ends_with('.')) {
        let name = check.name;
        add(name, format!("The promise of `{name}` has no full stop; make it a sentence."));
    }
    faults
}

/// What is wrong if an answer whose only fault is its device fails on the processor.
pub(super) fn of_homebound(part: &Part, homebound: &Homebound, tried: &[Attempt]) -> Option<Fault> {
    let failed = tried.iter().find(|tried| !tried.passed())?;
    let check = failed.failed.as_ref().map(|(check, _)| *check).or(failed.broke);
    let check = check.map_or("", |check| check.name);
    let sentence = format!(
        "The homebound answer to `{}` ({}) fails `{check}` on the processor (seed {}), where its \
         device is no fault; mend what else it does wrong.",
        part.name, homebound.diagnosis, failed.seed
    );
    Some(fault(Rule::ImpostorFailsFirst, part, check, sentence))
}

/// What is wrong if an impostor does not fail first where it says.
pub(super) fn of_impostor(part: &Part, impostor: &Impostor, tried: &[Attempt]) -> Option<Fault> {
    let (name, claimed) = (impostor.name, impostor.caught_by);
    tried.iter().find_map(|tried| {
        let seed = tried.seed;
        if let Some(check) = tried.broke {
            return Some(broken(part, check.name, &format!("the impostor `{name}`"), seed));
        }
        let sentence = match &tried.failed {
            Some((check, _)) if check.name == claimed => return None,
            Some((check, _)) => format!(
                "The impostor `{name}` fails `{}` first, not `{claimed}` (seed {seed}); mend its \
                 `caught_by` or the order of the checks.",
                check.name
            ),
            None => format!(
                "The impostor `{name}` passes every check (seed {seed}); let `{claimed}` ask for \
                 what it does wrong."
            ),
        };
        Some(fault(Rule::ImpostorFailsFirst, part, name, sentence))
    })
}

/// What is wrong if a right answer fails.
pub(super) fn of_alternative(
    part: &Part,
    alternative: &Alternative,
    tried: &[Attempt],
) -> Option<Fault> {
    let name = alternative.name;
    tried.iter().find_map(|tried| {
        let seed = tried.seed;
        if let Some(check) = tried.broke {
            return Some(broken(part, check.name, &format!("the alternative `{name}`"), seed));
        }
        let (check, stop) = tried.failed.as_ref()?;
        let sentence = format!(
            "The right answer `{name}` fails `{}` (seed {seed}): {} Mend the check, or the answer.",
            check.name,
            said(stop)
        );
        Some(fault(Rule::AlternativePasses, part, name, sentence))
    })
}

/// What is wrong if a lazy answer passes.
pub(super) fn of_lazy(part: &Part, lazy: Lazy, tried: &Attempt) -> Option<Fault> {
    let (gives, seed) = (lazy.gives(), tried.seed);
    if let Some(check) = tried.broke {
        return Some(broken(part, check.name, &format!("an answer that gives {gives}"), seed));
    }
    tried.passed().then(|| {
        let sentence = format!(
            "`{}` passes with an answer that gives {gives} (seed {seed}); ask something that has \
             another answer.",
            part.name
        );
        fault(Rule::LazyFails, part, "", sentence)
    })
}

/// What is wrong if a check, put to an answer alone, panics.
pub(super) fn of_row(part: &Part, by: &str, row: &[Alone]) -> Option<Fault> {
    let broke = row.iter().position(|alone| *alone == Alone::Breaks)?;
    Some(broken(part, part.checks.get(broke)?.name, by, SEEDS[0]))
}

fn broken(part: &Part, check: &str, by: &str, seed: u64) -> Fault {
    let sentence = format!(
        "The check `{check}` panics at {by} (seed {seed}); compare shapes and counts before it \
         takes a result apart."
    );
    fault(Rule::CheckStands, part, check, sentence)
}

/// What is wrong if a wrong answer is nearly right.
#[must_use]
pub fn too_near(part: &Part, name: &str, tried: &Attempt) -> Option<Fault> {
    let (Some((check, _)), Some(excess)) = (&tried.failed, tried.excess) else { return None };
    (excess < FAR).then(|| {
        let sentence = format!(
            "The impostor `{name}` is off by only {excess:.1} tolerances in `{}` (seed {}); make \
             it {FAR} with inputs that tell more, or a closer tolerance.",
            check.name, tried.seed
        );
        fault(Rule::ToleranceGap, part, name, sentence)
    })
}

/// What is wrong if a right answer is nearly wrong.
#[must_use]
pub fn too_noisy(part: &Part, name: &str, tried: &Attempt) -> Option<Fault> {
    let noisy = tried.margins.iter().find(|(_, margin)| margin.used > ROOM);
    noisy.map(|(check, margin)| {
        let sentence = format!(
            "The right answer `{name}` uses {:.2} of the tolerance of `{}` ({}) in `{}` (seed \
             {}); derive one of which it uses less than {ROOM}.",
            margin.used,
            margin.name,
            margin.dtype.name(),
            check.name,
            tried.seed
        );
        fault(Rule::ToleranceNoise, part, check.name, sentence)
    })
}

/// What a stop says, in a sentence.
fn said(stop: &Stop) -> String {
    match stop {
        Stop::Wrong(finding) => finding.what.join(" "),
        Stop::NotStarted(plan) => format!("it says `todo!({plan:?})`."),
        Stop::Died(death) => death.what.join(" "),
    }
}
