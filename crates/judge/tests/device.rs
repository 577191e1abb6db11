//! What only a device can tell: answers that hard-code the processor are right there, and caught
//! anywhere else.
//!
//! `cargo xtask doctor --device cuda --trial` builds this with CUDA and runs it; where there is no
//! card, what needs one says that it did not run.
//!
//! **Invariant:** nothing that did not run counts as a test that passed.

use candle_core::{Device, Tensor};
use checks::{DEVICES_MIXED, OnDevice, SUITES, Stop, strength};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    // Answers panic by design.
    std::panic::set_hook(Box::new(|_| {}));
    let mut tests = vec![
        Trial::test("every_exercise_has_a_homebound_answer", every_exercise_has_one),
        Trial::test("homebound_answers_pass_on_the_processor", pass_at_home),
    ];
    match Device::new_cuda_with_stream(0) {
        Ok(device) if computes(&device) => {
            let right = device.clone();
            tests.push(Trial::test("homebound_answers_are_caught", move || caught(&device)));
            tests.push(Trial::test("right_answers_pass_there", move || pass(&right)));
        }
        Ok(device) => {
            println!("NOT RUN: right answers on a device: this one only pretends to compute");
            let right = device.clone();
            tests.push(Trial::test("homebound_answers_are_caught", move || caught(&device)));
            tests.push(Trial::test("right_answers_stay_there", move || stay(&right)));
        }
        Err(error) => println!("NOT RUN: answers on a device: {}", first_line(&error.to_string())),
    }
    libtest_mimic::run(&arguments, tests).exit();
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Whether kernels do what they say; those of the pretend driver do nothing.
fn computes(device: &Device) -> bool {
    let sum = || (Tensor::new(&[1f32, 2.], device)? + 1.0)?.to_vec1::<f32>();
    sum().is_ok_and(|sum| sum == [2.0, 3.0])
}

fn every_exercise_has_one() -> Result<(), Failed> {
    for suite in SUITES {
        let parts: Vec<_> = suite.homebound.iter().map(|homebound| homebound.part).collect();
        if parts.is_empty() || parts.iter().any(|part| suite.part(part).is_none()) {
            return Err(format!("{}: homebound are {parts:?}", suite.exercise).into());
        }
    }
    Ok(())
}

fn pass_at_home() -> Result<(), Failed> {
    homebound(&Device::Cpu, str::is_empty)
}

fn caught(device: &Device) -> Result<(), Failed> {
    homebound(device, |said| said.contains(DEVICES_MIXED))
}

fn homebound(device: &Device, fits: impl Fn(&str) -> bool) -> Result<(), Failed> {
    for suite in SUITES {
        for homebound in suite.homebound {
            let part = suite.part(homebound.part).ok_or("there is no such part")?;
            let mut answer = OnDevice::new(homebound.answer, device.clone());
            let tried = strength::attempt(suite, part, &mut answer, strength::SEEDS[0]);
            let said = said(tried.failed.map(|(_, stop)| stop));
            if !fits(&said) {
                let place = format!("{}::{}", suite.exercise, homebound.part);
                return Err(format!("the homebound answer to {place} got: {said}").into());
            }
        }
    }
    Ok(())
}

/// Right answers pass on the device as on the processor.
fn pass(device: &Device) -> Result<(), Failed> {
    right_answers(device, str::is_empty)
}

/// Where nothing is computed no value is right; but no right answer leaves the device either.
fn stay(device: &Device) -> Result<(), Failed> {
    right_answers(device, |said| !said.contains(DEVICES_MIXED))
}

fn right_answers(device: &Device, fits: impl Fn(&str) -> bool) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for suite in SUITES {
        for &part in suite.parts {
            for right in part.alternatives {
                let mut answer = OnDevice::new(right.answer, device.clone());
                let tried = strength::attempt(suite, part, &mut answer, strength::SEEDS[0]);
                let said = said(tried.failed.map(|(_, stop)| stop));
                if !fits(&said) {
                    wrong.push(format!("{}::{} {}: {said}", suite.exercise, part.name, right.name));
                }
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn said(stop: Option<Stop>) -> String {
    match stop {
        None => String::new(),
        Some(Stop::Wrong(finding)) => finding.what.join(" "),
        Some(stop) => format!("{stop:?}"),
    }
}
