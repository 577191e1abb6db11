//! A part's judgement depends on its seed and nothing else: not on the parts judged before it.

use checks::SUITES;
use judge::Own;

use crate::{
    programs::solution,
    runs::{SEEDS, judge_own, judge_program, none, part_reports},
};

#[test]
fn a_program_is_judged_alike_part_by_part() {
    let mut complaints = Vec::new();
    for suite in SUITES {
        for package in [suite.exercise.to_owned(), solution(suite.exercise)] {
            for report in part_reports(&judge_program(suite.exercise, &package, &[], 4)) {
                let alone = judge_program(suite.exercise, &package, &[&report.part], 4);
                if part_reports(&alone) != [report.clone()] {
                    complaints
                        .push(format!("{package}::{}: {alone:?}, not {report:?}", report.part));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn a_wrong_answer_gives_the_same_finding_part_by_part() {
    let mut complaints = Vec::new();
    for suite in SUITES {
        // The last impostor of each part, since it fails latest.
        let wrong = |part: &&'static checks::Part| {
            part.impostors.last().map(|impostor| Own::impostor(part, impostor))
        };
        let answers: Vec<Own> = suite.parts.iter().filter_map(wrong).collect();
        for seed in SEEDS {
            for report in judge_own(suite, answers.clone(), Vec::new(), seed) {
                let part = vec![report.part.clone()];
                let alone = judge_own(suite, answers.clone(), part, seed);
                if alone != [report.clone()] {
                    complaints.push(format!(
                        "{}::{} (seed {seed}): {alone:?}, not {report:?}",
                        suite.exercise, report.part
                    ));
                }
            }
        }
    }
    none(&complaints);
}
