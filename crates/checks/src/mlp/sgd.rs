//! `sgd`: steps with a velocity.

use answer::{Weights, answer};
use candle_core::{Result, Tensor};
use protocol::{DType, Value};

use super::{
    descent::{self, Optimiser, Run, TOLERANCE, draw_gradients, draw_weights, set},
    memory::{self, Given, Memory, each, in_single},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Trial, args};

/// An answer by what it does with one weight, and, if not `each`, by how it goes through them.
macro_rules! sgd {
    ($step:expr) => {
        sgd!(each, $step)
    };
    ($through:path, $step:expr) => {
        answer!(|weights: &Weights,
                 gradients: &Weights,
                 state: &Weights,
                 lr: f64,
                 momentum: f64,
                 nesterov: bool| {
            let step: Step = $step;
            let settings = Settings { lr, momentum, nesterov };
            $through(Given { weights, gradients, state }, |weight, gradient, memory| {
                step(settings, weight, gradient, memory)
            })
        })
    };
}

/// What is done with one weight.
type Step = fn(Settings, &Tensor, &Tensor, &mut Memory) -> Result<Tensor>;

pub(super) const SGD: Part = Part {
    name: "sgd",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says, over two steps.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "a_new_rate_acts_at_once",
            promise: "Where `lr` changes between steps, the whole next step takes the new one.",
            kind: Kind::Property,
            run: a_new_rate_acts_at_once,
        },
        Check {
            name: "runs_match_the_definition",
            promise: "Two hundred steps with nesterov, and twenty without, follow the definition.",
            kind: Kind::Reference,
            run: runs_match_the_definition,
        },
        Check {
            name: "frozen_weights_wait",
            promise: "A weight without a gradient stays, and so does its velocity.",
            kind: Kind::Property,
            run: |trial| descent::frozen_weights_wait(trial, FAST),
        },
        Check {
            name: "groups_share_a_state",
            promise: "Two groups with settings of their own take turns on one state.",
            kind: Kind::Property,
            run: |trial| descent::groups_share_a_state(trial, || FAST, || SLOW),
        },
        Check {
            name: "strange_gradients_are_refused",
            promise: "A gradient without its weight, or of another shape, gives an error.",
            kind: Kind::Errors,
            run: |trial| descent::strange_gradients_are_refused(trial, &FAST),
        },
    ],
    impostors: &[
        Impostor {
            name: "uphill",
            diagnosis: "the step is added; the gradient points uphill, so it is subtracted",
            caught_by: "documented_example",
            answer: sgd!(|s, weight, gradient, memory| weight + step(s, gradient, memory)?),
        },
        Impostor {
            name: "state_as_it_came",
            diagnosis: "every step is the gradient alone: the velocity is not used, or does not \
                        get into the state that is returned",
            caught_by: "documented_example",
            answer: answer!(|weights: &Weights,
                             gradients: &Weights,
                             state: &Weights,
                             lr: f64,
                             momentum: f64,
                             nesterov: bool| {
                let s = Settings { lr, momentum, nesterov };
                let given = Given { weights, gradients, state };
                let (weights, _) =
                    each(given, |weight, gradient, memory| weight - step(s, gradient, memory)?)?;
                Ok::<_, candle_core::Error>((weights, state.clone()))
            }),
        },
        Impostor {
            name: "averaged",
            diagnosis: "the gradient enters the velocity times 1 − momentum, as in Adam; here it \
                        enters whole",
            caught_by: "documented_example",
            answer: sgd!(|s, weight, gradient, memory| {
                weight - step(s, &(gradient * (1.0 - s.momentum))?, memory)?
            }),
        },
        Impostor {
            name: "momentum_on_the_wrong_term",
            diagnosis: "momentum multiplies the gradient; it multiplies the old velocity, which \
                        otherwise never fades",
            caught_by: "documented_example",
            answer: sgd!(|s, weight, gradient, memory| {
                let velocity = memory.add("velocity", 1.0, &(gradient * s.momentum)?)?;
                weight - (velocity * s.lr)?
            }),
        },
        Impostor {
            name: "old_velocity",
            diagnosis: "the step is taken with the velocity from before the gradient came in, so \
                        the first one goes nowhere",
            caught_by: "documented_example",
            answer: sgd!(|s, weight, gradient, memory| {
                let before = memory.recall("velocity", gradient)?;
                memory.add("velocity", s.momentum, gradient)?;
                weight - (before * s.lr)?
            }),
        },
        Impostor {
            name: "rate_inside_the_velocity",
            diagnosis: "`lr` is multiplied into the velocity, where the old rate lives on after it \
                        has changed",
            caught_by: "a_new_rate_acts_at_once",
            answer: sgd!(|s, weight, gradient, memory| {
                let inside = (gradient * s.lr)?;
                weight - step(Settings { lr: 1.0, ..s }, &inside, memory)?
            }),
        },
        Impostor {
            name: "frozen_weights_roll_on",
            diagnosis: "a weight without a gradient is moved by its old velocity, as if the \
                        gradient were 0; it stays",
            caught_by: "frozen_weights_wait",
            answer: sgd!(memory::missing_as_zeros, right),
        },
        Impostor {
            name: "state_begun_anew",
            diagnosis: "the returned state is begun anew, so a weight that waits a step loses its \
                        velocity",
            caught_by: "frozen_weights_wait",
            answer: sgd!(memory::state_begun_anew, right),
        },
        Impostor {
            name: "others_forgotten",
            diagnosis: "the returned state holds this call's weights only, so another group's \
                        velocities are lost",
            caught_by: "groups_share_a_state",
            answer: sgd!(memory::others_forgotten, right),
        },
        Impostor {
            name: "nesterov_ignored",
            diagnosis: "the step is that of plain momentum: `nesterov` is ignored, or looks ahead \
                        with the velocity from before this gradient",
            caught_by: "runs_match_the_definition",
            answer: sgd!(|s, weight, gradient, memory| {
                weight - step(Settings { nesterov: false, ..s }, gradient, memory)?
            }),
        },
        Impostor {
            name: "nesterov_without_the_gradient",
            diagnosis: "nesterov's step is momentum · velocity alone; the gradient is added to it",
            caught_by: "runs_match_the_definition",
            answer: sgd!(|s, weight, gradient, memory| {
                let velocity = memory.add("velocity", s.momentum, gradient)?;
                let factor = if s.nesterov { s.momentum } else { 1.0 };
                weight - (velocity * (s.lr * factor))?
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the step is computed in `f32` whatever the weights are",
            caught_by: "runs_match_the_definition",
            answer: sgd!(|s, weight, gradient, memory| {
                in_single(weight, gradient, |weight, gradient| right(s, weight, gradient, memory))
            }),
        },
        Impostor {
            name: "strangers_ignored",
            diagnosis: "it goes through the weights and looks their gradients up, so a misspelt \
                        gradient is left out without an error",
            caught_by: "strange_gradients_are_refused",
            answer: sgd!(memory::strangers_ignored, right),
        },
        Impostor {
            name: "shapes_stretched",
            diagnosis: "a gradient of another shape is broadcast to its weight without an error",
            caught_by: "strange_gradients_are_refused",
            answer: sgd!(memory::shapes_stretched, right),
        },
    ],
    alternatives: &[Alternative {
        name: "pushed_downhill",
        answer: sgd!(|s, weight, gradient, memory| {
            // Remembers where it is pushed to, which is minus the velocity.
            let push = memory.add("push", s.momentum, &gradient.neg()?)?;
            let step = if s.nesterov { ((push * s.momentum)? - gradient)? } else { push };
            weight + step.affine(s.lr, 0.0)?
        }),
    }],
};

#[derive(Clone, Copy)]
struct Settings {
    lr: f64,
    momentum: f64,
    nesterov: bool,
}

const FAST: Settings = Settings { lr: 0.1, momentum: 0.9, nesterov: false };
const SLOW: Settings = Settings { lr: 0.02, momentum: 0.5, nesterov: false };

impl Optimiser for Settings {
    type Memory = f64;

    fn step(&self, value: f64, gradient: f64, velocity: &mut f64, _rank: usize) -> f64 {
        *velocity = self.momentum * *velocity + gradient;
        let ahead = gradient + self.momentum * *velocity;
        value - self.lr * if self.nesterov { ahead } else { *velocity }
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        args![lr: self.lr, momentum: self.momentum, nesterov: self.nesterov]
    }
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let settings = Settings { lr: 0.1, momentum: 0.75, nesterov: false };
    let one = |value: f64| set([("weight", Array::vector(&[value]).to(DType::F32))]);
    let (weights, state) = descent::ask(trial, &settings, &one(1.0), &one(2.0), descent::empty())?;
    let close = |trial: &mut Trial, label: &str, weights, value: f64| {
        let expected = one(value).remove("weight").unwrap_or_else(|| Array::vector(&[value]));
        trial.close_each(label, weights, &[("weight", expected, TOLERANCE.at_scale(1.0))])
    };
    close(trial, "after step 1,", &weights, 0.8)?;
    let (weights, _) = descent::ask(trial, &settings, &weights, &one(2.0), state)?;
    close(trial, "after step 2,", &weights, 0.45)
}

fn a_new_rate_acts_at_once(trial: &mut Trial) -> Outcome {
    let weights = draw_weights(trial, DType::F32);
    let mut run = Run::new(FAST, &weights);
    for lr in [0.1, 0.1, 0.0, 0.5] {
        run.optimiser.lr = lr;
        let gradients = draw_gradients(trial, &weights);
        run.step(trial, &gradients)?;
    }
    Ok(())
}

fn runs_match_the_definition(trial: &mut Trial) -> Outcome {
    descent::run_matches(trial, || Settings { nesterov: true, ..FAST }, 200)?;
    descent::run_matches(trial, || SLOW, 20)
}

/// `lr` times the step of the definition.
fn step(s: Settings, gradient: &Tensor, memory: &mut Memory) -> Result<Tensor> {
    let velocity = memory.add("velocity", s.momentum, gradient)?;
    let step = if s.nesterov { (gradient + (velocity * s.momentum)?)? } else { velocity };
    step * s.lr
}

fn right(s: Settings, weight: &Tensor, gradient: &Tensor, memory: &mut Memory) -> Result<Tensor> {
    weight - step(s, gradient, memory)?
}
