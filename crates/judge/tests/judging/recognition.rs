//! Each impostor, judged as a subject, is recognised as itself.
//!
//! Where two impostors of a part give the same answers to the check that catches both, no learner
//! can be told which mistake it was; one of them has to go, or the check has to ask more.

use judge::Own;
use report::{PartReport, Verdict};

use crate::runs::{SEEDS, every_part, judge_own, none};

#[test]
fn every_impostor_is_recognised_as_itself() {
    let mut complaints = Vec::new();
    for (suite, part) in every_part() {
        for impostor in part.impostors {
            let place = format!("{}::{}::{}", suite.exercise, part.name, impostor.name);
            for seed in SEEDS {
                let own = vec![Own::impostor(part, impostor)];
                let reports = judge_own(suite, own, Vec::new(), seed);
                let wrong = complaint(&reports, impostor.name, impostor.caught_by);
                complaints.extend(wrong.map(|wrong| format!("{place} {wrong} (seed {seed})")));
            }
        }
    }
    none(&complaints);
}

/// Says what is wrong with the judgement of an impostor.
fn complaint(reports: &[PartReport], name: &str, caught_by: &str) -> Option<String> {
    let [report] = reports else { return Some(format!("was judged as {} parts", reports.len())) };
    let (Verdict::Wrong, Some(finding)) = (report.verdict, &report.finding) else {
        return Some(format!("is {:?}, not wrong", report.verdict));
    };
    if finding.check != caught_by {
        return Some(format!("fails {} first, not {caught_by}", finding.check));
    }
    match &finding.recognised {
        None => Some(format!("is not recognised in {caught_by}")),
        Some(recognised) if recognised.impostor == name => None,
        Some(recognised) => Some(format!(
            "cannot be told from {} by what {caught_by} asks: drop one, or let an earlier \
             question of the check part them",
            recognised.impostor
        )),
    }
}

#[test]
fn every_alternative_passes() {
    let mut complaints = Vec::new();
    for (suite, part) in every_part() {
        for alternative in part.alternatives {
            for seed in SEEDS {
                let own = vec![Own::alternative(part, alternative)];
                for report in judge_own(suite, own, Vec::new(), seed) {
                    if report.verdict != Verdict::Passed {
                        complaints.push(format!(
                            "{}::{}::{} (seed {seed}): {:?}",
                            suite.exercise, part.name, alternative.name, report.finding
                        ));
                    }
                }
            }
        }
    }
    none(&complaints);
}
