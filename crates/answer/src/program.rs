//! Functions of real numbers that can cross the border: a list of steps, as text.
//!
//! A judge sends a function that a part evaluates, differentiates, or plays on its own types:
//!
//! ```text
//! input 0 │ input 1 │ mul 0 1 │ constant 3 │ add 2 3 │ relu 4        relu(x₀ · x₁ + 3)
//! ```
//!
//! **Invariant:** a step refers to earlier steps only, so a program always ends.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use protocol::Value;

/// A function of real numbers: steps, of which the last is the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    steps: Vec<Step>,
}

/// One step; a `usize` is the place of an earlier step, or of an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The input at that place.
    Input(usize),
    /// A number.
    Constant(f64),
    /// The sum of two steps.
    Add(usize, usize),
    /// The product of two steps.
    Mul(usize, usize),
    /// A step, raised to a fixed power.
    Pow(usize, f64),
    /// e to the power of a step.
    Exp(usize),
    /// A step, or 0 if it is negative.
    Relu(usize),
    /// The hyperbolic tangent of a step.
    Tanh(usize),
}

impl Program {
    /// Makes a program.
    ///
    /// # Errors
    ///
    /// Fails if there is no step, or one refers to itself or a later one.
    pub fn new(steps: Vec<Step>) -> anyhow::Result<Self> {
        ensure!(!steps.is_empty(), "a program has at least one step");
        for (n, step) in steps.iter().enumerate() {
            let later = step.operands().into_iter().flatten().find(|&operand| operand >= n);
            if let Some(later) = later {
                bail!("step {n} refers to step {later}, which does not come before it");
            }
        }
        Ok(Self { steps })
    }

    /// Reads a program, one step a line.
    ///
    /// # Errors
    ///
    /// Fails if a line is no step, or the steps are no program.
    pub fn parse(lines: &[String]) -> anyhow::Result<Self> {
        let steps = lines.iter().map(|line| Step::parse(line));
        Self::new(steps.collect::<anyhow::Result<_>>()?)
    }

    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many inputs it reads: one more than the last that it names.
    #[must_use]
    pub fn n_inputs(&self) -> usize {
        let last = |step: &Step| if let Step::Input(n) = step { n + 1 } else { 0 };
        self.steps.iter().map(last).max().unwrap_or(0)
    }

    /// Computes the result.
    ///
    /// # Errors
    ///
    /// Fails if there are fewer inputs than it reads.
    pub fn at(&self, inputs: &[f64]) -> anyhow::Result<f64> {
        let wanted = self.n_inputs();
        ensure!(inputs.len() >= wanted, "the program reads {wanted} inputs, not {}", inputs.len());
        let mut values = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            values.push(match *step {
                Step::Input(n) => inputs[n],
                Step::Constant(number) => number,
                Step::Add(a, b) => values[a] + values[b],
                Step::Mul(a, b) => values[a] * values[b],
                Step::Pow(a, power) => f64::powf(values[a], power),
                Step::Exp(a) => f64::exp(values[a]),
                // Unlike `max`, keeps a NaN.
                Step::Relu(a) => {
                    if values[a] < 0.0 {
                        0.0
                    } else {
                        values[a]
                    }
                }
                Step::Tanh(a) => f64::tanh(values[a]),
            });
        }
        values.pop().context("a program has at least one step")
    }
}

impl Step {
    /// The earlier steps that it reads.
    fn operands(self) -> [Option<usize>; 2] {
        match self {
            Self::Input(_) | Self::Constant(_) => [None, None],
            Self::Add(a, b) | Self::Mul(a, b) => [Some(a), Some(b)],
            Self::Pow(a, _) | Self::Exp(a) | Self::Relu(a) | Self::Tanh(a) => [Some(a), None],
        }
    }

    fn parse(line: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let place = |word: &str| word.parse::<usize>();
        Ok(match words.as_slice() {
            ["input", n] => Self::Input(place(n)?),
            ["constant", number] => Self::Constant(number.parse()?),
            ["add", a, b] => Self::Add(place(a)?, place(b)?),
            ["mul", a, b] => Self::Mul(place(a)?, place(b)?),
            ["pow", a, power] => Self::Pow(place(a)?, power.parse()?),
            ["exp", a] => Self::Exp(place(a)?),
            ["relu", a] => Self::Relu(place(a)?),
            ["tanh", a] => Self::Tanh(place(a)?),
            _ => bail!("`{line}` is no step of a program"),
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(n) => write!(f, "input {n}"),
            Self::Constant(number) => write!(f, "constant {number}"),
            Self::Add(a, b) => write!(f, "add {a} {b}"),
            Self::Mul(a, b) => write!(f, "mul {a} {b}"),
            Self::Pow(a, power) => write!(f, "pow {a} {power}"),
            Self::Exp(a) => write!(f, "exp {a}"),
            Self::Relu(a) => write!(f, "relu {a}"),
            Self::Tanh(a) => write!(f, "tanh {a}"),
        }
    }
}

impl From<&Program> for Value {
    fn from(program: &Program) -> Self {
        Self::Texts(program.steps.iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Vec<Step> {
        use Step::{Add, Constant, Exp, Input, Mul, Pow, Relu, Tanh};
        let number = 0.1 + 0.2;
        vec![
            Input(1),
            Constant(number),
            Add(0, 1),
            Mul(2, 0),
            Pow(3, -1.5),
            Exp(4),
            Relu(5),
            Tanh(6),
        ]
    }

    #[test]
    fn every_step_survives_the_border() {
        let program = Program::new(steps()).unwrap();
        let Value::Texts(lines) = Value::from(&program) else { panic!("it crosses as text") };
        assert_eq!(Program::parse(&lines).unwrap(), program);
    }

    #[test]
    fn the_last_step_is_the_result() {
        let lines = ["input 0", "input 1", "mul 0 1", "constant 3", "add 2 3", "relu 4"];
        let program = Program::parse(&lines.map(str::to_owned)).unwrap();
        assert_eq!(program.n_inputs(), 2);
        let results = [[2.0, 5.0], [2.0, -5.0]].map(|x: [f64; 2]| program.at(&x).unwrap());
        assert_eq!(results.map(f64::to_bits), [13.0_f64, 0.0].map(f64::to_bits));
        assert!(program.at(&[2.0]).is_err());
    }

    #[track_caller]
    fn check_refused(lines: &[&str], said: &str) {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let error = Program::parse(&lines).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        check_refused(&[], "at least one step");
        check_refused(&["input 0", "add 0 1"], "step 1 refers to step 1");
        check_refused(&["exp 7"], "step 0 refers to step 7");
        check_refused(&["sine 0"], "`sine 0` is no step");
        check_refused(&["input -1"], "invalid digit");
    }
}
