//! What the optimisers share: how a step is asked, runs of many steps, and promises about state.
//!
//! **Invariant:** the state that a subject returns is handed back unread; what is in it is its own.

use std::collections::BTreeMap;

use protocol::{DType, Value};

use crate::{Array, Named, Outcome, Stop, Tolerance, Trial, args, named};

/// An optimiser with its settings, as its definition has it: one number at a time.
pub(super) trait Optimiser {
    /// What a single number remembers.
    type Memory: Default + Clone;

    /// The next value of a number; `rank` is that of the tensor that it stands in.
    fn step(&self, value: f64, gradient: f64, memory: &mut Self::Memory, rank: usize) -> f64;

    /// The settings as the part's arguments, behind weights, gradients and state.
    fn settings(&self) -> Vec<(&'static str, Value)>;
}

/// Roundings of an honest `f32` answer: a few operations in each of a few steps.
pub(super) const TOLERANCE: Tolerance = Tolerance::roundings(64.0).in_double(1e-11);

/// A run of the subject, and beside it that of the definition.
pub(super) struct Run<O: Optimiser> {
    /// How the next step moves; may change between steps.
    pub(super) optimiser: O,
    weights: Named,
    state: Value,
    right: Named,
    memories: BTreeMap<String, Vec<O::Memory>>,
    steps: usize,
}

impl<O: Optimiser> Run<O> {
    /// Starts with these weights and an empty state.
    pub(super) fn new(optimiser: O, weights: &Named) -> Self {
        let state = empty();
        let (weights, right) = (weights.clone(), weights.clone());
        Self { optimiser, weights, state, right, memories: BTreeMap::new(), steps: 0 }
    }

    /// Takes a step on all weights, and proves that the right weights come of it.
    pub(super) fn step(&mut self, trial: &mut Trial, gradients: &Named) -> Outcome {
        let names: Vec<String> = self.weights.keys().cloned().collect();
        self.step_of(trial, &names, gradients)
    }

    /// Takes a step on a group of the weights, and proves that the right weights come of it.
    pub(super) fn step_of(
        &mut self,
        trial: &mut Trial,
        group: &[String],
        gradients: &Named,
    ) -> Outcome {
        self.steps += 1;
        let ours: Named =
            group.iter().map(|name| (name.clone(), self.weights[name].clone())).collect();
        let (weights, state) = ask(trial, &self.optimiser, &ours, gradients, self.state.clone())?;
        self.state = state;
        for (name, gradient) in gradients {
            self.step_right(name, gradient);
        }
        let label = format!("after step {},", self.steps);
        let expected: Vec<_> = group
            .iter()
            .map(|name| {
                let right = &self.right[name];
                (name.as_str(), right.clone(), TOLERANCE.at_scale(right.max_abs().max(1.0)))
            })
            .collect();
        trial.close_each(&label, &weights, &expected)?;
        self.weights.extend(weights.into_iter().filter(|(name, _)| ours.contains_key(name)));
        Ok(())
    }

    /// Takes the step by definition.
    fn step_right(&mut self, name: &str, gradient: &Array) {
        let right = &self.right[name];
        let (rank, dtype) = (right.rank(), right.dtype());
        let count = right.values().len();
        let memories = self.memories.entry(name.to_owned());
        let memories = memories.or_insert_with(|| vec![O::Memory::default(); count]);
        let numbers = right.values().iter().zip(gradient.values()).zip(memories);
        let next = numbers
            .map(|((&value, &slope), memory)| self.optimiser.step(value, slope, memory, rank));
        let next = Array::new(right.shape(), next.collect()).to(dtype);
        self.right.insert(name.to_owned(), next);
    }
}

/// Asks for one step, and returns the next weights and the next state, unread.
pub(super) fn ask<O: Optimiser>(
    trial: &mut Trial,
    optimiser: &O,
    weights: &Named,
    gradients: &Named,
    state: Value,
) -> Result<(Named, Value), Stop> {
    trial.leave_unread(1);
    let values = trial.values(arguments(optimiser, weights, gradients, state))?;
    let [weights, state @ Value::Named(_)] = values.as_slice() else {
        return Err(trial.wrong("It did not return two sets: weights and state.".to_owned()));
    };
    let Some(weights) = named::from_value(weights) else {
        return Err(trial.wrong("It did not return two sets: weights and state.".to_owned()));
    };
    Ok((weights, state.clone()))
}

fn arguments<O: Optimiser>(
    optimiser: &O,
    weights: &Named,
    gradients: &Named,
    state: Value,
) -> Vec<(&'static str, Value)> {
    let mut arguments = args![
        weights: named::to_value(weights),
        gradients: named::to_value(gradients),
        state: state,
    ];
    arguments.extend(optimiser.settings());
    arguments
}

/// The state before the first step.
pub(super) fn empty() -> Value {
    Value::Named(BTreeMap::new())
}

/// Makes a named set.
pub(super) fn set<const N: usize>(arrays: [(&str, Array); N]) -> Named {
    arrays.map(|(name, array)| (name.to_owned(), array)).into()
}

/// Weights of a small layer: a matrix, a bias, and the gain of a norm.
pub(super) fn draw_weights(trial: &mut Trial, dtype: DType) -> Named {
    let mut normal = |shape: &[usize]| trial.rng.normal_array(shape).to(dtype);
    set([
        ("hidden.weight", normal(&[3, 2])),
        ("hidden.bias", normal(&[3])),
        ("norm.weight", normal(&[4])),
    ])
}

/// Gradients for all weights, of very different sizes from weight to weight.
pub(super) fn draw_gradients(trial: &mut Trial, weights: &Named) -> Named {
    let mut size = 10.0;
    let mut draw = |(name, weight): (&String, &Array)| {
        size /= 10.0;
        let gradient = trial.rng.normal_array(weight.shape()).map(|g| size * g);
        (name.clone(), gradient.to(weight.dtype()))
    };
    weights.iter().map(&mut draw).collect()
}

/// Many steps in `f64`, and a few in `f32`, are those of the definition.
pub(super) fn run_matches<O: Optimiser>(
    trial: &mut Trial,
    optimiser: impl Fn() -> O,
    steps: usize,
) -> Outcome {
    for (dtype, steps) in [(DType::F64, steps), (DType::F32, 5)] {
        let weights = draw_weights(trial, dtype);
        let mut run = Run::new(optimiser(), &weights);
        for _ in 0..steps {
            let gradients = draw_gradients(trial, &weights);
            run.step(trial, &gradients)?;
        }
    }
    Ok(())
}

/// A weight without a gradient stays, and steps that come later find all memory as it was.
pub(super) fn frozen_weights_wait<O: Optimiser>(trial: &mut Trial, optimiser: O) -> Outcome {
    let weights = draw_weights(trial, DType::F64);
    let mut run = Run::new(optimiser, &weights);
    for step in 0..6 {
        let mut gradients = draw_gradients(trial, &weights);
        // The bias waits from the third step to the fourth, the matrix at the fifth.
        match step {
            2 | 3 => gradients.remove("hidden.bias"),
            4 => gradients.remove("hidden.weight"),
            _ => None,
        };
        run.step(trial, &gradients)?;
    }
    Ok(())
}

/// Weights whose gradients begin to come after some steps of the others start as any other.
pub(super) fn late_weights_count_their_own_steps<O: Optimiser>(
    trial: &mut Trial,
    optimiser: O,
) -> Outcome {
    let weights = draw_weights(trial, DType::F64);
    let mut run = Run::new(optimiser, &weights);
    for step in 0..5 {
        let mut gradients = draw_gradients(trial, &weights);
        if step < 3 {
            gradients.retain(|name, _| name == "hidden.bias");
        }
        run.step(trial, &gradients)?;
    }
    Ok(())
}

/// Two groups with settings of their own take turns on one state.
pub(super) fn groups_share_a_state<O: Optimiser>(
    trial: &mut Trial,
    fast: impl Fn() -> O,
    slow: impl Fn() -> O,
) -> Outcome {
    let weights = draw_weights(trial, DType::F64);
    let mut run = Run::new(fast(), &weights);
    let groups = [
        vec!["hidden.weight".to_owned()],
        vec!["hidden.bias".to_owned(), "norm.weight".to_owned()],
    ];
    for step in 0..6 {
        let group = &groups[step % 2];
        run.optimiser = if step % 2 == 0 { fast() } else { slow() };
        let mut gradients = draw_gradients(trial, &weights);
        gradients.retain(|name, _| group.contains(name));
        run.step_of(trial, group, &gradients)?;
    }
    Ok(())
}

/// Gradients that fit no weight are refused.
pub(super) fn strange_gradients_are_refused<O: Optimiser>(
    trial: &mut Trial,
    optimiser: &O,
) -> Outcome {
    let weights = draw_weights(trial, DType::F32);
    let gradient = |shape: &[usize], trial: &mut Trial| trial.rng.normal_array(shape);
    let misspelt = gradient(&[3], trial);
    let broadcasts = gradient(&[1], trial);
    let cases = [
        ("hiden.bias", misspelt, "there is a gradient `hiden.bias`, and no such weight"),
        ("hidden.bias", broadcasts, "the gradient of `hidden.bias` is (1) and the weight (3)"),
    ];
    for (name, gradient, case) in cases {
        let mut gradients = draw_gradients(trial, &weights);
        gradients.insert(name.to_owned(), gradient);
        trial.refuses(case, arguments(optimiser, &weights, &gradients, empty()))?;
    }
    Ok(())
}
