//! The stub is the one that the solution gives.

use std::fs;

use report::Rule;

use super::{Complaint, Fix, Scene};
use crate::{
    course::Exercise,
    derive::{self, Source},
};

pub(super) fn look(scene: &Scene, complaints: &mut Vec<Complaint>) {
    for exercise in scene.asked() {
        differences(scene, exercise, complaints);
    }
}

fn differences(scene: &Scene, exercise: &Exercise, complaints: &mut Vec<Complaint>) {
    let rule = Rule::StubDerived;
    let source = |path: String| {
        let text = fs::read_to_string(scene.root.join(&path)).ok()?;
        Some(Source { path, text })
    };
    // A file that is not there is said by another rule.
    let sources: Option<Vec<Source>> = exercise.solution_files().into_iter().map(source).collect();
    let Some(sources) = sources else { return };
    let stubs = match derive::derive(&sources) {
        Ok(stubs) => stubs,
        Err(fault) => {
            complaints.push(Complaint::new(rule, fault.path, fault.line, fault.message));
            return;
        }
    };
    for (file, stub) in exercise.files().into_iter().zip(stubs) {
        let Ok(there) = fs::read_to_string(scene.root.join(&file)) else { continue };
        if there == stub {
            continue;
        }
        let line = stub.lines().zip(there.lines()).take_while(|(a, b)| a == b).count() + 1;
        let name = &exercise.name;
        let sentence = format!(
            "This is not the stub that the solution gives; run `cargo xtask stub {name}`, which \
             keeps a snapshot."
        );
        let fix = Fix::Stub { exercise: name.clone() };
        complaints.push(Complaint::new(rule, file, line, sentence).with_fix(fix));
    }
}
