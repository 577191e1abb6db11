//! Exact gradients of programs, forward by dual numbers: another route than any backward pass.

use answer::{Program, Step};

use crate::Generator;

/// Rules of differentiation, of which one may be wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule {
    Right,
    SumOfFirst,
    ProductOfOne,
    ProductOfOwn,
    PowerNotReduced,
    PowerWithoutFactor,
    ExpIsOne,
    TanhNotSquared,
    ReluAlwaysOne,
    ReluOneAtZero,
    SignFlipped,
}

/// Eight ways to derive a wrong gradient.
pub(super) const WRONG: [Rule; 8] = [
    Rule::SumOfFirst,
    Rule::ProductOfOne,
    Rule::ProductOfOwn,
    Rule::PowerNotReduced,
    Rule::PowerWithoutFactor,
    Rule::ExpIsOne,
    Rule::TanhNotSquared,
    Rule::SignFlipped,
];

/// Value and gradient of a program at a point; the slope of a `ReLU` at its kink is 0.
pub(super) fn gradient(program: &Program, point: &[f64], rule: Rule) -> (f64, Vec<f64>) {
    let along = |n: usize| tangent(program, point, n, rule);
    let value = along(0).0;
    (value, (0..point.len()).map(|n| along(n).1).collect())
}

/// Value and slope along input `n`.
fn tangent(program: &Program, point: &[f64], n: usize, rule: Rule) -> (f64, f64) {
    let mut done: Vec<(f64, f64)> = Vec::new();
    for step in program.steps() {
        done.push(match *step {
            Step::Input(input) => (point[input], f64::from(u8::from(input == n))),
            Step::Constant(number) => (number, 0.0),
            Step::Add(a, b) => add(done[a], done[b], rule),
            Step::Mul(a, b) => mul(done[a], done[b], rule),
            Step::Pow(a, power) => pow(done[a], power, rule),
            Step::Exp(a) => {
                let exp = done[a].0.exp();
                (exp, if rule == Rule::ExpIsOne { done[a].1 } else { exp * done[a].1 })
            }
            Step::Relu(a) => {
                let (x, slope) = done[a];
                let passes = x > 0.0
                    || rule == Rule::ReluAlwaysOne
                    || (rule == Rule::ReluOneAtZero && x >= 0.0);
                (x.max(0.0), if passes { slope } else { 0.0 })
            }
            Step::Tanh(a) => {
                let tanh = done[a].0.tanh();
                let squared = if rule == Rule::TanhNotSquared { tanh } else { tanh * tanh };
                (tanh, (1.0 - squared) * done[a].1)
            }
        });
    }
    let (value, slope) = done[done.len() - 1];
    (value, if rule == Rule::SignFlipped { -slope } else { slope })
}

fn add(a: (f64, f64), b: (f64, f64), rule: Rule) -> (f64, f64) {
    let second = if rule == Rule::SumOfFirst { 0.0 } else { b.1 };
    (a.0 + b.0, a.1 + second)
}

fn mul(a: (f64, f64), b: (f64, f64), rule: Rule) -> (f64, f64) {
    let slope = match rule {
        Rule::ProductOfOne => a.1 * b.0,
        Rule::ProductOfOwn => a.1 * a.0 + b.1 * b.0,
        _ => a.1 * b.0 + b.1 * a.0,
    };
    (a.0 * b.0, slope)
}

fn pow(a: (f64, f64), power: f64, rule: Rule) -> (f64, f64) {
    let slope = match rule {
        Rule::PowerNotReduced => power * a.0.powf(power),
        Rule::PowerWithoutFactor => a.0.powf(power - 1.0),
        _ => power * a.0.powf(power - 1.0),
    };
    (a.0.powf(power), slope * a.1)
}

/// A random program that uses every operation, on inputs between 0.6 and 1.6.
///
/// It is smooth there: what goes into a `ReLU` stays away from 0.
pub(super) fn program(rng: &mut Generator, n_inputs: usize) -> Program {
    let mut steps: Vec<Step> = (0..n_inputs).map(Step::Input).collect();
    let first = |rng: &mut Generator| rng.below(n_inputs);
    let push = |steps: &mut Vec<Step>, step| {
        steps.push(step);
        steps.len() - 1
    };
    let power = [2.0, 3.0, -1.0, 0.5][rng.below(4)];
    let a = push(&mut steps, Step::Mul(first(rng), first(rng)));
    let b = push(&mut steps, Step::Pow(first(rng), power));
    let c = push(&mut steps, Step::Constant(-0.25 - rng.uniform()));
    let d = push(&mut steps, Step::Mul(first(rng), c));
    let e = push(&mut steps, Step::Exp(d));
    let f = push(&mut steps, Step::Tanh(a));
    let g = push(&mut steps, Step::Add(b, e));
    let h = push(&mut steps, Step::Relu(g));
    let i = push(&mut steps, Step::Mul(h, f));
    let j = push(&mut steps, Step::Add(i, first(rng)));
    // A negative number, whose ReLU is flat.
    let k = push(&mut steps, Step::Mul(c, a));
    let l = push(&mut steps, Step::Relu(k));
    let m = push(&mut steps, Step::Add(l, j));
    push(&mut steps, Step::Mul(m, m));
    Program::new(steps).expect("invariant: every step refers to earlier ones")
}

/// Inputs for [`program`].
pub(super) fn point(rng: &mut Generator, n_inputs: usize) -> Vec<f64> {
    (0..n_inputs).map(|_| 0.6 + rng.uniform()).collect()
}
