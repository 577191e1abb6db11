//! The rules that the judge decides about programs and recognition are seen to fail.

use answer::answer;
use candle_core::Tensor;
use checks::{Alternative, Array, Check, Impostor, Kind, Part, Suite, Tolerance, args};
use judge::Prove;
use protocol::DeviceKind;
use report::{Fault, ProgramsProof, Proof, Rule};

use crate::{
    programs::{program, root},
    runs::alone,
};

fn prove(prove: &Prove) -> Vec<Proof> {
    let _alone = alone();
    let mut proofs = Vec::new();
    let mut listen = |proof: &Proof| {
        proofs.push(proof.clone());
        Ok(())
    };
    prove.prove(&mut listen).unwrap();
    assert_eq!(proofs.last(), Some(&Proof::Proved));
    proofs
}

/// What is proved of the programs of two packages, taken for solution and stub of `attention`.
fn programs(solution: &str, stub: &str) -> ProgramsProof {
    let suite = checks::find("attention").unwrap();
    // Only the first part, since nothing is asked of the others here.
    let suite = Box::leak(Box::new(Suite { exercise: suite.exercise, parts: &suite.parts[..1] }));
    let proofs = prove(&Prove {
        suite,
        solution: Some(program(solution).to_owned()),
        source: Some(root().join("solutions/attention")),
        stub: Some(program(stub).to_owned()),
        device: DeviceKind::Cpu,
    });
    let found = proofs.into_iter().find_map(|proof| match proof {
        Proof::Programs(programs) => Some(programs),
        Proof::Part(_) | Proof::Proved => None,
    });
    found.unwrap()
}

#[track_caller]
fn check(faults: &[Fault], rule: Rule, n: usize, says: &str) {
    let found: Vec<_> = faults.iter().filter(|fault| fault.rule == rule).collect();
    assert_eq!(found.len(), n, "{faults:#?}");
    assert!(found.iter().all(|fault| fault.sentence.contains(says)), "{found:#?}");
}

#[test]
fn the_right_programs_have_no_fault() {
    let proof = programs("attention-solution", "attention");
    assert_eq!(proof.faults, []);
    assert_eq!((proof.seeds.len(), proof.millis.len()), (3, 1));
    assert!(proof.run_millis.is_finite() && proof.millis[0].1 > 0.0);
}

#[test]
fn a_solution_that_does_not_pass_is_named_for_each_seed() {
    let proof = programs("attention", "attention");
    let says = "The solution of `causal_mask` does not pass";
    check(&proof.faults, Rule::SolutionPasses, 3, says);
}

#[test]
fn a_stub_that_answers_is_named() {
    let proof = programs("attention-solution", "attention-solution");
    let says = "The stub of `causal_mask` is not reported as not started";
    check(&proof.faults, Rule::StubNotStarted, 1, says);
}

const DOUBLED: Check = Check {
    name: "doubled",
    promise: "The numbers are doubled.",
    kind: Kind::Property,
    run: |trial| {
        let x = Array::vector(&[1.0, -2.0]);
        let result = trial.array(args![x: &x])?;
        trial.close("result", &result, &x.map(|x| 2.0 * x), Tolerance::EXACT)
    },
};

const HALVED: Impostor = Impostor {
    name: "halved",
    diagnosis: "it halves",
    caught_by: "doubled",
    answer: answer!(|x: &Tensor| x * 0.5),
};

static TWINS: Suite = Suite {
    exercise: "twins",
    parts: &[&Part {
        name: "double",
        rule: None,
        checks: &[DOUBLED],
        impostors: &[HALVED, Impostor { name: "divided_by_two", ..HALVED }],
        alternatives: &[Alternative { name: "added", answer: answer!(|x: &Tensor| x + x) }],
    }],
};

#[test]
fn impostors_that_cannot_be_told_apart_are_named() {
    let device = DeviceKind::Cpu;
    let checks_alone = Prove { suite: &TWINS, solution: None, source: None, stub: None, device };
    let proofs = prove(&checks_alone);
    let Some(Proof::Part(part)) = proofs.first() else { panic!("{proofs:?}") };
    let says = "The impostor `divided_by_two` cannot be told from `halved`";
    check(&part.faults, Rule::ImpostorRecognised, 1, says);
}
