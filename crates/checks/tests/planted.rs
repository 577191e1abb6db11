//! Each rule about checks is seen to fail: suites with one fault planted in each.

use answer::answer;
use candle_core::Tensor;
use checks::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Suite, Tolerance, Trial, args,
    strength,
};
use report::{PartProof, Rule};

/// Doubles what it gets; nothing is wrong with its checks.
const SOUND: Part = Part {
    name: "double",
    rule: None,
    checks: &[EXAMPLE, MATCHES, ADDS, ZERO],
    impostors: &[SQUARED, ROUNDED, OFFSET, SMALL],
    alternatives: &[ADDED],
};

const ADDED: Alternative = Alternative { name: "added", answer: answer!(|x: &Tensor| x + x) };

const EXAMPLE: Check = Check {
    name: "documented_example",
    promise: "The example comes out as it says.",
    kind: Kind::Example,
    run: |trial| doubles(trial, &Array::vector(&[2.0, -1.0])),
};

const MATCHES: Check = Check {
    name: "matches_definition",
    promise: "Random numbers are doubled.",
    kind: Kind::Reference,
    run: |trial| {
        let x = trial.rng.normal_array(&[3, 2]).map(|x| x + x.signum());
        doubles(trial, &x)
    },
};

const ADDS: Check = Check {
    name: "sums_go_through",
    promise: "Numbers far from zero are doubled like those near it.",
    kind: Kind::Property,
    run: |trial| doubles(trial, &Array::vector(&[1e6, 2e6])),
};

const ZERO: Check = Check {
    name: "tiny_numbers_count",
    promise: "Numbers near zero are doubled like those far from it.",
    kind: Kind::Property,
    run: |trial| doubles(trial, &Array::vector(&[1e-6, 0.0])),
};

fn doubles(trial: &mut Trial, x: &Array) -> Outcome {
    let result = trial.array(args![x: x])?;
    trial.close("result", &result, &x.map(|x| 2.0 * x), Tolerance::relative(1e-9))
}

const SQUARED: Impostor = Impostor {
    name: "squared",
    diagnosis: "it squares",
    caught_by: "documented_example",
    answer: answer!(|x: &Tensor| x.sqr()),
};

const ROUNDED: Impostor = Impostor {
    name: "rounded",
    diagnosis: "it rounds",
    caught_by: "matches_definition",
    answer: answer!(|x: &Tensor| (x * 2.0)?.round()),
};

const OFFSET: Impostor = Impostor {
    name: "clamped",
    diagnosis: "it stops at a thousand",
    caught_by: "sums_go_through",
    answer: answer!(|x: &Tensor| (x * 2.0)?.clamp(-1e3, 1e3)),
};

const SMALL: Impostor = Impostor {
    name: "flushed",
    diagnosis: "it loses small numbers",
    caught_by: "tiny_numbers_count",
    answer: answer!(|x: &Tensor| {
        let seen = x.abs()?.ge(1e-3)?.to_dtype(x.dtype())?;
        (x * 2.0)? * seen
    }),
};

fn prove(part: &'static Part) -> PartProof {
    strength::prove(&Suite { exercise: "planted", parts: &[], homebound: &[] }, part)
}

/// Proves that a planted fault is found, and nothing but it.
#[track_caller]
fn check(part: &'static Part, rule: Rule, says: &str) {
    let faults = prove(part).faults;
    assert!(!faults.is_empty(), "the fault is not found");
    for fault in &faults {
        assert_eq!(fault.rule, rule, "{}", fault.sentence);
    }
    let said: Vec<_> = faults.iter().map(|fault| fault.sentence.as_str()).collect();
    assert!(said.iter().any(|sentence| sentence.contains(says)), "{said:#?}");
}

#[test]
fn a_sound_part_has_no_fault() {
    let proof = prove(const { &SOUND });
    assert_eq!(proof.faults, []);
    assert_eq!((proof.killed, proof.false_alarms, proof.lazy_passed), (4, 0, 0));
    assert_eq!(proof.lazy_answers, 6);
}

#[test]
fn an_impostor_that_fails_elsewhere() {
    const PART: Part = Part {
        impostors: &[
            SQUARED,
            ROUNDED,
            OFFSET,
            SMALL,
            Impostor {
                name: "halved",
                caught_by: "sums_go_through",
                answer: answer!(|x: &Tensor| x * 0.5),
                ..SQUARED
            },
        ],
        ..SOUND
    };
    let says = "The impostor `halved` fails `documented_example` first, not `sums_go_through`";
    check(const { &PART }, Rule::ImpostorFailsFirst, says);
}

#[test]
fn an_impostor_that_passes() {
    const PART: Part = Part {
        impostors: &[
            SQUARED,
            ROUNDED,
            OFFSET,
            SMALL,
            Impostor { name: "right", answer: answer!(|x: &Tensor| x * 2.0), ..SQUARED },
        ],
        ..SOUND
    };
    check(const { &PART }, Rule::ImpostorFailsFirst, "The impostor `right` passes every check");
}

#[test]
fn a_check_that_nothing_fails() {
    const PART: Part = Part { impostors: &[SQUARED, ROUNDED, OFFSET], ..SOUND };
    let says = "No impostor of `double` fails first at `tiny_numbers_count`; add one that does";
    check(const { &PART }, Rule::CheckCatches, says);
}

#[test]
fn a_right_answer_that_fails() {
    const PART: Part = Part {
        alternatives: &[
            ADDED,
            Alternative {
                name: "in_single",
                answer: answer!(|x: &Tensor| x.to_dtype(candle_core::DType::F32)),
            },
        ],
        ..SOUND
    };
    let says = "The right answer `in_single` fails `documented_example`";
    check(const { &PART }, Rule::AlternativePasses, says);
}

#[test]
fn no_other_right_answer() {
    const PART: Part = Part { alternatives: &[], ..SOUND };
    check(const { &PART }, Rule::AlternativePasses, "`double` has no alternative");
}

#[test]
fn a_lazy_answer_that_passes() {
    const LOOSE: Check = Check {
        run: |trial| {
            let x = Array::vector(&[1.0, 2.0]);
            let result = trial.array(args![x: &x])?;
            trial.has_shape("result", &result, &[2])
        },
        ..EXAMPLE
    };
    const SCALAR: Impostor =
        Impostor { name: "summed", answer: answer!(|x: &Tensor| x.sum_all()), ..SQUARED };
    const PART: Part = Part {
        checks: &[
            LOOSE,
            Check { name: "b", kind: Kind::Property, ..LOOSE },
            Check { name: "c", kind: Kind::Property, ..LOOSE },
            Check { name: "d", ..LOOSE },
        ],
        impostors: &[SCALAR],
        ..SOUND
    };
    let faults = prove(const { &PART }).faults;
    let lazy: Vec<_> = faults.iter().filter(|fault| fault.rule == Rule::LazyFails).collect();
    // All that have the right shape; empty ones and refusals do not.
    assert_eq!(lazy.len(), 4, "{faults:#?}");
    assert!(lazy[0].sentence.contains("passes with an answer that gives zeros"), "{lazy:?}");
}

#[test]
fn a_tolerance_below_the_noise() {
    const PART: Part = Part {
        alternatives: &[Alternative {
            name: "nearly",
            answer: answer!(|x: &Tensor| x * (2.0 + 1e-9)),
        }],
        ..SOUND
    };
    let says = "The right answer `nearly` uses 0.50 of the tolerance of `result` (f64) in";
    check(const { &PART }, Rule::ToleranceNoise, says);
}

#[test]
fn a_tolerance_that_is_nearly_met() {
    const PART: Part = Part {
        impostors: &[
            SQUARED,
            ROUNDED,
            OFFSET,
            SMALL,
            Impostor {
                name: "just_wrong",
                answer: answer!(|x: &Tensor| x * (2.0 + 6e-9)),
                ..SQUARED
            },
        ],
        ..SOUND
    };
    let says = "The impostor `just_wrong` is off by only 3.0 tolerances in `documented_example`";
    check(const { &PART }, Rule::ToleranceGap, says);
}

#[test]
fn a_check_that_panics() {
    const TAKES_APART: Check = Check {
        run: |trial| {
            let result = trial.array(args![x: &Array::vector(&[2.0, -1.0])])?;
            let (first, second) = (result.at(&[0]), result.at(&[1]));
            trial.ensure(first > 3.9 && second < -1.9, || "It does not double.".to_owned())
        },
        ..EXAMPLE
    };
    const PART: Part = Part { checks: &[TAKES_APART, MATCHES, ADDS, ZERO], ..SOUND };
    let says = "The check `documented_example` panics at an answer that gives empty results";
    check(const { &PART }, Rule::CheckStands, says);
}

#[test]
fn too_few_checks() {
    const PART: Part =
        Part { checks: &[EXAMPLE, MATCHES, ADDS], impostors: &[SQUARED, ROUNDED, OFFSET], ..SOUND };
    check(const { &PART }, Rule::ChecksEnough, "`double` has 3 checks; promise 4 or more");
    check(const { &PART }, Rule::ChecksEnough, "`double` has 1 checks of kind `Property`");
}

#[test]
fn names_and_sentences() {
    const PART: Part = Part {
        checks: &[Check { promise: "No stop", ..EXAMPLE }, MATCHES, ADDS, ZERO],
        impostors: &[
            Impostor { diagnosis: "It squares.", ..SQUARED },
            ROUNDED,
            OFFSET,
            SMALL,
            Impostor { name: "flushed", ..SMALL },
        ],
        ..SOUND
    };
    check(const { &PART }, Rule::NamesClear, "`double` has `flushed` twice");
    check(const { &PART }, Rule::NamesClear, "The diagnosis of `squared` ends in a full stop");
    check(const { &PART }, Rule::NamesClear, "The promise of `documented_example` has no full");
}
