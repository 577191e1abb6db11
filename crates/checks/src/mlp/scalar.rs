//! `scalar`: numbers that remember how they were computed.

use answer::{Program, Step, answer};
use candle_core::{Result, Tensor, bail};

use super::dual::{self, Rule};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};
use protocol::Value;

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        answer!(|f: &Program, point: &Tensor, times: usize| {
            Tape { $($field: $value,)* ..RIGHT }.answer(f, point, times)
        })
    };
}

pub(super) const SCALAR: Part = Part {
    name: "scalar",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "each_operation_is_right",
            promise: "Value and slope of every single operation are exact.",
            kind: Kind::Reference,
            run: each_operation_is_right,
        },
        Check {
            name: "kink_has_slope_zero",
            promise: "The slope of a ReLU at 0 is 0.",
            kind: Kind::Property,
            run: kink_has_slope_zero,
        },
        Check {
            name: "diamonds_add_up",
            promise: "A number that is used more than once gets the sum over all ways to it.",
            kind: Kind::Property,
            run: diamonds_add_up,
        },
        Check {
            name: "backward_can_be_repeated",
            promise: "Calling `backward` again gives the same gradients, not more.",
            kind: Kind::Property,
            run: backward_can_be_repeated,
        },
        Check {
            name: "long_chains_fit",
            promise: "A chain of 10,000 operations works on a stack of 256 KiB.",
            kind: Kind::Property,
            run: long_chains_fit,
        },
    ],
    impostors: &[
        Impostor {
            name: "overwritten",
            diagnosis: "a gradient is overwritten by the next use of its number; uses add up",
            caught_by: "documented_example",
            answer: slip!(accumulates: false),
        },
        Impostor {
            name: "first_term_only",
            diagnosis: "only the first of two terms gets the gradient",
            caught_by: "documented_example",
            answer: slip!(rule: Rule::SumOfFirst),
        },
        Impostor {
            name: "own_factor",
            diagnosis: "each factor gets itself for a slope; the slope along one is the other",
            caught_by: "documented_example",
            answer: slip!(rule: Rule::ProductOfOwn),
        },
        Impostor {
            name: "power_not_reduced",
            diagnosis: "the slope of xᵖ is taken for p·xᵖ; it is p·xᵖ⁻¹",
            caught_by: "each_operation_is_right",
            answer: slip!(rule: Rule::PowerNotReduced),
        },
        Impostor {
            name: "power_without_factor",
            diagnosis: "the slope of xᵖ lacks the factor p",
            caught_by: "each_operation_is_right",
            answer: slip!(rule: Rule::PowerWithoutFactor),
        },
        Impostor {
            name: "exp_passes_through",
            diagnosis: "`exp` passes the gradient on as it came; its slope is its own value",
            caught_by: "each_operation_is_right",
            answer: slip!(rule: Rule::ExpIsOne),
        },
        Impostor {
            name: "tanh_not_squared",
            diagnosis: "the slope of tanh is taken for 1 − tanh; it is 1 − tanh²",
            caught_by: "each_operation_is_right",
            answer: slip!(rule: Rule::TanhNotSquared),
        },
        Impostor {
            name: "relu_always_open",
            diagnosis: "ReLU passes the gradient on although its input is negative",
            caught_by: "each_operation_is_right",
            answer: slip!(rule: Rule::ReluAlwaysOne),
        },
        Impostor {
            name: "open_at_zero",
            diagnosis: "the slope of ReLU at 0 is 1; ask for greater than 0, not at least",
            caught_by: "kink_has_slope_zero",
            answer: slip!(rule: Rule::ReluOneAtZero),
        },
        Impostor {
            name: "passed_on_too_early",
            diagnosis: "a gradient is passed on at each visit, before all uses have added to it, \
                        and then again with what was passed on already",
            caught_by: "diamonds_add_up",
            answer: slip!(early: true),
        },
        Impostor {
            name: "never_cleared",
            diagnosis: "the gradients of the last call are still there and count again",
            caught_by: "backward_can_be_repeated",
            answer: slip!(clears: false),
        },
        Impostor {
            name: "gives_up_in_the_deep",
            diagnosis: "it calls itself once a number and gives up at a depth of 1,000; walk the \
                        topological order instead",
            caught_by: "long_chains_fit",
            answer: slip!(longest: 1_000),
        },
    ],
    alternatives: &[
        Alternative { name: "by_a_tape", answer: slip!() },
        Alternative {
            name: "forward_by_dual_numbers",
            answer: answer!(|f: &Program, point: &Tensor, times: usize| {
                let device = point.device();
                let point = point.to_vec1::<f64>()?;
                // In the deep once for each input would be too slow for many; here there are few.
                let (value, gradients) = dual::gradient(f, &point, Rule::Right);
                let gradients = if times == 0 { vec![0.0; point.len()] } else { gradients };
                Ok::<_, candle_core::Error>((value, Tensor::new(gradients, device)?))
            }),
        },
    ],
};

/// A handful of operations, each good to a rounding.
const TOLERANCE: Tolerance = Tolerance::relative(1e-12);

/// Every step in one list, its gradients beside it.
#[derive(Clone, Copy)]
struct Tape {
    rule: Rule,
    accumulates: bool,
    clears: bool,
    early: bool,
    longest: usize,
}

const RIGHT: Tape =
    Tape { rule: Rule::Right, accumulates: true, clears: true, early: false, longest: usize::MAX };

impl Tape {
    fn answer(&self, f: &Program, point: &Tensor, times: usize) -> Result<(f64, Tensor)> {
        let steps = f.steps();
        if steps.len() > self.longest {
            bail!("too deep");
        }
        let (device, point) = (point.device(), point.to_vec1::<f64>()?);
        let parents = self.parents(steps, &point);
        let last = steps.len() - 1;
        let mut gradients = vec![0.0; steps.len()];
        for _ in 0..times {
            if self.clears {
                gradients.fill(0.0);
            }
            gradients[last] = 1.0;
            if self.early {
                Self::pass_on(last, &parents, &mut gradients);
                continue;
            }
            for n in (0..=last).rev() {
                for &(parent, slope) in &parents[n] {
                    let kept = if self.accumulates { gradients[parent] } else { 0.0 };
                    gradients[parent] = kept + slope * gradients[n];
                }
            }
        }
        let mut inputs = vec![0.0; point.len()];
        for (step, gradient) in steps.iter().zip(&gradients) {
            if let Step::Input(n) = step {
                inputs[*n] += gradient;
            }
        }
        let value = f.at(&point).map_err(candle_core::Error::msg)?;
        Ok((value, Tensor::new(inputs, device)?))
    }

    /// Passes everything so far on to the parents, and lets each do the same at once.
    fn pass_on(n: usize, parents: &[Vec<(usize, f64)>], gradients: &mut [f64]) {
        for &(parent, slope) in &parents[n] {
            gradients[parent] += slope * gradients[n];
            Self::pass_on(parent, parents, gradients);
        }
    }

    /// What each step was computed from, with the slope along it: that of the step alone.
    fn parents(&self, steps: &[Step], point: &[f64]) -> Vec<Vec<(usize, f64)>> {
        let mut values: Vec<f64> = Vec::new();
        let mut parents = Vec::new();
        for step in steps {
            let operands: Vec<usize> = match *step {
                Step::Input(_) | Step::Constant(_) => vec![],
                Step::Add(a, b) | Step::Mul(a, b) => vec![a, b],
                Step::Pow(a, _) | Step::Exp(a) | Step::Relu(a) | Step::Tanh(a) => vec![a],
            };
            // The step as a program of its own, on inputs of its own.
            let own = match *step {
                Step::Input(_) | Step::Constant(_) => *step,
                Step::Add(..) => Step::Add(0, 1),
                Step::Mul(..) => Step::Mul(0, 1),
                Step::Pow(_, power) => Step::Pow(0, power),
                Step::Exp(_) => Step::Exp(0),
                Step::Relu(_) => Step::Relu(0),
                Step::Tanh(_) => Step::Tanh(0),
            };
            let inputs: Vec<f64> = operands.iter().map(|&operand| values[operand]).collect();
            let (value, slopes) = match own {
                Step::Input(n) => (point[n], vec![]),
                Step::Constant(number) => (number, vec![]),
                own => {
                    let steps = (0..inputs.len()).map(Step::Input).chain([own]).collect();
                    let alone = Program::new(steps).expect("invariant: it is one step");
                    dual::gradient(&alone, &inputs, self.rule)
                }
            };
            values.push(value);
            parents.push(operands.into_iter().zip(slopes).collect());
        }
        parents
    }
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let f = program(vec![Step::Input(0), Step::Input(1), Step::Mul(0, 1), Step::Add(0, 2)]);
    is_exact(trial, &f, &[2.0, -3.0], 1)
}

fn each_operation_is_right(trial: &mut Trial) -> Outcome {
    let two = || vec![Step::Input(0), Step::Input(1)];
    let steps = [
        Step::Add(0, 1),
        Step::Mul(0, 1),
        Step::Pow(0, 3.0),
        Step::Pow(1, -1.0),
        Step::Exp(0),
        Step::Tanh(1),
        Step::Relu(0),
        Step::Relu(1),
    ];
    for step in steps {
        let f = program(two().into_iter().chain([step]).collect());
        let point = [-0.4 - trial.rng.uniform(), 0.4 + trial.rng.uniform()];
        is_exact(trial, &f, &point, 1)?;
    }
    let constant = program(vec![Step::Constant(2.5), Step::Input(0), Step::Mul(0, 1)]);
    is_exact(trial, &constant, &[3.0, 1.0], 1)
}

fn kink_has_slope_zero(trial: &mut Trial) -> Outcome {
    let f = program(vec![Step::Input(0), Step::Relu(0), Step::Input(1), Step::Add(1, 2)]);
    is_exact(trial, &f, &[0.0, 1.0], 1)
}

fn diamonds_add_up(trial: &mut Trial) -> Outcome {
    // x twice, then its double twice: each way counts once.
    let small = vec![Step::Input(0), Step::Mul(0, 0), Step::Add(1, 1), Step::Mul(2, 1)];
    is_exact(trial, &program(small), &[1.3], 1)?;
    for n_inputs in [1, 3] {
        let f = dual::program(&mut trial.rng, n_inputs);
        let point = dual::point(&mut trial.rng, n_inputs);
        is_exact(trial, &f, &point, 1)?;
    }
    // 2⁶⁰ ways to the input: whoever walks each one is never done.
    let doubled = (0..60).map(|n| Step::Add(n, n));
    let f = program([Step::Input(0)].into_iter().chain(doubled).collect());
    is_exact(trial, &f, &[1.0], 1)
}

fn backward_can_be_repeated(trial: &mut Trial) -> Outcome {
    let f = dual::program(&mut trial.rng, 2);
    let point = dual::point(&mut trial.rng, 2);
    is_exact(trial, &f, &point, 2)
}

fn long_chains_fit(trial: &mut Trial) -> Outcome {
    let half = 5_000;
    let mut steps = vec![Step::Input(0), Step::Constant(1.0 - 1e-4)];
    for n in 0..half {
        // Scaled, then moved by a constant: neither grows without end.
        let last = if n == 0 { 0 } else { 2 * n + 1 };
        steps.extend([Step::Mul(last, 1), Step::Add(2 * n + 2, 1)]);
    }
    is_exact(trial, &program(steps), &[0.5], 1)
}

fn program(steps: Vec<Step>) -> Program {
    Program::new(steps).expect("invariant: every step refers to earlier ones")
}

/// Asks for value and gradient, and compares them with those of dual numbers.
fn is_exact(trial: &mut Trial, f: &Program, point: &[f64], times: usize) -> Outcome {
    let point = Array::vector(point);
    let values = trial.values(args![f: f, point: &point, times: times])?;
    let [Value::Float(value), Value::Tensor(gradients)] = values.as_slice() else {
        return Err(not_given(trial));
    };
    let Ok(gradients) = Array::from_raw(gradients) else { return Err(not_given(trial)) };
    let (exact, slopes) = dual::gradient(f, point.values(), Rule::Right);
    let exact = Array::vector(&[exact]);
    let scale = exact.max_abs().max(1.0);
    trial.close("value", &Array::vector(&[*value]), &exact, TOLERANCE.at_scale(scale))?;
    let slopes = Array::vector(&slopes);
    let scale = slopes.max_abs().max(1.0);
    trial.close("gradient", &gradients, &slopes, TOLERANCE.at_scale(scale))
}

/// What to say if the given code was changed.
fn not_given(trial: &Trial) -> Stop {
    trial.wrong("`scalar` did not return a value and gradients; restore the given code.".to_owned())
}
