//! The rules that the judge decides about programs and recognition are seen to fail.

use std::process::Command;

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
    // Only the judge's own program can start a jail.
    let mut judge = Command::new(env!("CARGO_BIN_EXE_judge"));
    judge.args(["attention", "--prove", "--subject"]).arg(program(solution));
    judge.arg("--stub").arg(program(stub));
    judge.arg("--source").arg(root().join("solutions/attention"));
    let said = judge.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let lines = String::from_utf8(said.stdout).unwrap();
    let mut proofs = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    let found = proofs.find_map(|proof| match proof {
        Proof::Programs(programs) => Some(programs),
        Proof::Part(_) | Proof::Proved => None,
    });
    assert_eq!(proofs.next(), Some(Proof::Proved));
    found.unwrap()
}

#[track_caller]
fn check(faults: &[Fault], rule: Rule, n: usize, says: &str) {
    let found: Vec<_> = faults.iter().filter(|fault| fault.rule == rule).collect();
    assert_eq!(found.len(), n, "{faults:#?}");
    assert!(found.iter().all(|fault| fault.sentence.contains(says)), "{found:#?}");
}

#[test]
fn a_stub_for_a_solution_and_a_solution_for_a_stub_are_named() {
    let proof = programs("attention", "attention-solution");
    let n_parts = checks::find("attention").unwrap().parts.len();
    check(&proof.faults, Rule::SolutionPasses, 3 * n_parts, "` does not pass");
    check(&proof.faults, Rule::StubNotStarted, n_parts, "` is not reported as not started");
    assert_eq!((proof.seeds.len(), proof.millis.len()), (3, n_parts));
    assert!(proof.run_millis.is_finite() && proof.millis[0].1 > 0.0);
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
    homebound: &[],
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
