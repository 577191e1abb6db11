//! `adam`: steps of about the same length everywhere.

use answer::{Weights, answer};
use candle_core::{Result, Tensor};
use protocol::{DType, Value};

use super::{
    descent::{self, Optimiser, draw_gradients, draw_weights, set},
    memory::{self, Given, Memory, each, in_single},
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Named, Outcome, Part, Tolerance, Trial, args,
};

/// An answer by what it does with one weight, and, if not `each`, by how it goes through them.
macro_rules! adam {
    ($step:expr) => {
        adam!(each, $step)
    };
    ($through:path, $step:expr) => {
        answer!(|weights: &Weights,
                 gradients: &Weights,
                 state: &Weights,
                 lr: f64,
                 betas: (f64, f64),
                 eps: f64| {
            let step: Step = $step;
            let settings = Settings { lr, betas, eps };
            $through(Given { weights, gradients, state }, |weight, gradient, memory| {
                step(settings, weight, gradient, memory)
            })
        })
    };
}

/// What is done with one weight.
type Step = fn(Settings, &Tensor, &Tensor, &mut Memory) -> Result<Tensor>;

pub(super) const ADAM: Part = Part {
    name: "adam",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "size_of_gradients_cancels",
            promise: "Gradients that are all a hundred thousand times smaller give the same steps, \
                      as long as eps is smaller still.",
            kind: Kind::Property,
            run: size_of_gradients_cancels,
        },
        Check {
            name: "runs_match_the_definition",
            promise: "Two hundred steps are those of the definition, also where eps counts.",
            kind: Kind::Reference,
            run: |trial| descent::run_matches(trial, || LARGE_EPS, 200),
        },
        Check {
            name: "late_weights_count_their_own_steps",
            promise: "A weight whose first gradient comes late starts as any other.",
            kind: Kind::Property,
            run: |trial| descent::late_weights_count_their_own_steps(trial, USUAL),
        },
        Check {
            name: "frozen_weights_wait",
            promise: "A weight without a gradient stays, and so do its averages and its count.",
            kind: Kind::Property,
            run: |trial| descent::frozen_weights_wait(trial, USUAL),
        },
        Check {
            name: "groups_share_a_state",
            promise: "Two groups with settings of their own take turns on one state.",
            kind: Kind::Property,
            run: |trial| descent::groups_share_a_state(trial, || USUAL, || SLOW),
        },
        Check {
            name: "strange_gradients_are_refused",
            promise: "A gradient without its weight, or of another shape, gives an error.",
            kind: Kind::Errors,
            run: |trial| descent::strange_gradients_are_refused(trial, &USUAL),
        },
    ],
    impostors: &[
        Impostor {
            name: "no_bias_correction",
            diagnosis: "the averages are not divided by 1 − βᵗ, so they start near 0, `v` much \
                        nearer than `m`, and the first steps are too long",
            caught_by: "documented_example",
            answer: adam!(|s, weight, gradient, memory| {
                let [m, v] = averages(s, gradient, memory)?;
                weight - (step(&m, &v, s.eps)? * s.lr)?
            }),
        },
        Impostor {
            name: "only_the_mean_corrected",
            diagnosis: "only `m` is divided by 1 − beta1ᵗ; `v` starts at 0 as well, and needs \
                        1 − beta2ᵗ",
            caught_by: "documented_example",
            answer: adam!(|s, weight, gradient, memory| {
                let [m, v] = averages(s, gradient, memory)?;
                let [m, _] = corrected(s, &m, &v, memory.count()?)?;
                weight - (step(&m, &v, s.eps)? * s.lr)?
            }),
        },
        Impostor {
            name: "uphill",
            diagnosis: "the step is added; the gradient points uphill, so it is subtracted",
            caught_by: "documented_example",
            answer: adam!(|s, weight, gradient, memory| {
                weight + (adam_step(s, gradient, memory)? * s.lr)?
            }),
        },
        Impostor {
            name: "root_forgotten",
            diagnosis: "the step is divided by v̂ instead of by its root",
            caught_by: "documented_example",
            answer: adam!(|s, weight, gradient, memory| {
                let [m, v] = averages(s, gradient, memory)?;
                let [m, v] = corrected(s, &m, &v, memory.count()?)?;
                weight - (m.div(&(v + s.eps)?)? * s.lr)?
            }),
        },
        Impostor {
            name: "counted_from_zero",
            diagnosis: "the first step is counted as 0, and 1 − β⁰ is 0: a division by zero",
            caught_by: "documented_example",
            answer: adam!(|s, weight, gradient, memory| {
                let [m, v] = averages(s, gradient, memory)?;
                let [m, v] = corrected(s, &m, &v, memory.count()? - 1.0)?;
                weight - (step(&m, &v, s.eps)? * s.lr)?
            }),
        },
        Impostor {
            name: "epsilon_inside_the_root",
            diagnosis: "eps is inside the root, √(v̂ + eps), where 1e-8 weighs as much as 1e-4 \
                        outside of it",
            caught_by: "size_of_gradients_cancels",
            answer: adam!(|s, weight, gradient, memory| {
                let [m, v] = averages(s, gradient, memory)?;
                let [m, v] = corrected(s, &m, &v, memory.count()?)?;
                weight - (m.div(&(v + s.eps)?.sqrt()?)? * s.lr)?
            }),
        },
        Impostor {
            name: "gradients_clipped",
            diagnosis: "the gradients are made shorter before they are averaged; the division by \
                        √v̂ takes care of their size",
            caught_by: "size_of_gradients_cancels",
            answer: adam!(|s, weight, gradient, memory| {
                let clipped = gradient.clamp(-1.0, 1.0)?;
                weight - (adam_step(s, &clipped, memory)? * s.lr)?
            }),
        },
        Impostor {
            name: "counted_together",
            diagnosis: "a weight that comes late is corrected as if it had been there from the \
                        start: one count serves all weights, or goes on without a gradient",
            caught_by: "late_weights_count_their_own_steps",
            answer: adam!(memory::counted_together, right),
        },
        Impostor {
            name: "state_begun_anew",
            diagnosis: "the returned state is begun anew, so a weight that waits a step loses its \
                        averages",
            caught_by: "frozen_weights_wait",
            answer: adam!(memory::state_begun_anew, right),
        },
        Impostor {
            name: "others_forgotten",
            diagnosis: "the returned state holds this call's weights only, so another group's \
                        averages are lost",
            caught_by: "groups_share_a_state",
            answer: adam!(memory::others_forgotten, right),
        },
        Impostor {
            name: "count_not_kept",
            diagnosis: "the count never gets beyond 1, so the averages are corrected as at a first \
                        step for ever",
            caught_by: "runs_match_the_definition",
            answer: adam!(|s, weight, gradient, memory| {
                let [m, v] = averages(s, gradient, memory)?;
                let [m, v] = corrected(s, &m, &v, 1.0)?;
                weight - (step(&m, &v, s.eps)? * s.lr)?
            }),
        },
        Impostor {
            name: "betas_swapped",
            diagnosis: "the two betas are swapped: the first is for the mean, the second for the \
                        square",
            caught_by: "runs_match_the_definition",
            answer: adam!(|s, weight, gradient, memory| {
                right(Settings { betas: (s.betas.1, s.betas.0), ..s }, weight, gradient, memory)
            }),
        },
        Impostor {
            name: "corrected_in_the_average",
            diagnosis: "the corrected averages are kept for the next step; the state holds `m` and \
                        `v` as they are",
            caught_by: "runs_match_the_definition",
            answer: adam!(|s, weight, gradient, memory| {
                let [m, v] = averages(s, gradient, memory)?;
                let [m, v] = corrected(s, &m, &v, memory.count()?)?;
                memory.keep("mean", &m);
                memory.keep("square", &v);
                weight - (step(&m, &v, s.eps)? * s.lr)?
            }),
        },
        Impostor {
            name: "epsilon_before_the_correction",
            diagnosis: "eps is added to the root before it is corrected, so it weighs up to thirty \
                        times as much in the first steps",
            caught_by: "runs_match_the_definition",
            answer: adam!(|s, weight, gradient, memory| short_form(
                s, 1.0, weight, gradient, memory
            )),
        },
        Impostor {
            name: "epsilon_forgotten",
            diagnosis: "eps is not added",
            caught_by: "documented_example",
            answer: adam!(|s, weight, gradient, memory| {
                right(Settings { eps: 0.0, ..s }, weight, gradient, memory)
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the step is computed in `f32` whatever the weights are",
            caught_by: "runs_match_the_definition",
            answer: adam!(|s, weight, gradient, memory| {
                in_single(weight, gradient, |weight, gradient| right(s, weight, gradient, memory))
            }),
        },
        Impostor {
            name: "strangers_ignored",
            diagnosis: "it goes through the weights and looks their gradients up, so a misspelt \
                        gradient is left out without an error",
            caught_by: "strange_gradients_are_refused",
            answer: adam!(memory::strangers_ignored, right),
        },
        Impostor {
            name: "shapes_stretched",
            diagnosis: "a gradient of another shape is broadcast to its weight without an error",
            caught_by: "strange_gradients_are_refused",
            answer: adam!(memory::shapes_stretched, right),
        },
    ],
    alternatives: &[Alternative {
        name: "corrected_in_the_rate",
        answer: adam!(|s, weight, gradient, memory| {
            let root = |count: f64| (1.0 - s.betas.1.powf(count)).sqrt();
            let count = memory.recall("count", &Tensor::new(0f64, weight.device())?)?;
            let eps_scale = root(count.to_scalar::<f64>()? + 1.0);
            short_form(s, eps_scale, weight, gradient, memory)
        }),
    }],
};

#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) lr: f64,
    pub(super) betas: (f64, f64),
    pub(super) eps: f64,
}

const USUAL: Settings = Settings { lr: 0.1, betas: (0.9, 0.999), eps: 1e-8 };
const SLOW: Settings = Settings { lr: 0.02, betas: (0.8, 0.99), eps: 1e-8 };
const LARGE_EPS: Settings = Settings { lr: 0.05, betas: (0.9, 0.99), eps: 0.1 };

/// What Adam remembers of one number: `m`, `v`, and `t`.
#[derive(Clone, Copy, Default)]
pub(super) struct Remembered {
    m: f64,
    v: f64,
    t: i32,
}

impl Settings {
    /// `m̂ / (√v̂ + eps)`.
    pub(super) fn direction(&self, gradient: f64, memory: &mut Remembered) -> f64 {
        let (beta1, beta2) = self.betas;
        memory.t += 1;
        memory.m = beta1 * memory.m + (1.0 - beta1) * gradient;
        memory.v = beta2 * memory.v + (1.0 - beta2) * gradient * gradient;
        let m_hat = memory.m / (1.0 - beta1.powi(memory.t));
        let v_hat = memory.v / (1.0 - beta2.powi(memory.t));
        m_hat / (v_hat.sqrt() + self.eps)
    }

    /// The settings as arguments.
    pub(super) fn arguments(&self) -> Vec<(&'static str, Value)> {
        let betas = Array::vector(&[self.betas.0, self.betas.1]);
        args![lr: self.lr, betas: &betas, eps: self.eps]
    }
}

impl Optimiser for Settings {
    type Memory = Remembered;

    fn step(&self, value: f64, gradient: f64, memory: &mut Remembered, _rank: usize) -> f64 {
        value - self.lr * self.direction(gradient, memory)
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        self.arguments()
    }
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = set([("weight", Array::vector(&[1., 1., 1.]).to(DType::F32))]);
    let gradients = set([("weight", Array::vector(&[4., -0.5, 0.]).to(DType::F32))]);
    let (weights, _) = descent::ask(trial, &USUAL, &weights, &gradients, descent::empty())?;
    let expected = Array::vector(&[0.9, 1.1, 1.]).to(DType::F32);
    trial.close_each("after step 1,", &weights, &[("weight", expected, descent::TOLERANCE)])
}

fn size_of_gradients_cancels(trial: &mut Trial) -> Outcome {
    let weights = draw_weights(trial, DType::F64);
    let gradients: Vec<Named> = (0..4).map(|_| draw_gradients(trial, &weights)).collect();
    let settings = Settings { eps: 1e-14, ..USUAL };
    let mut ends = Vec::new();
    for size in [1.0, 1e-5] {
        let (mut at, mut state) = (weights.clone(), descent::empty());
        for gradients in &gradients {
            let scaled = |(name, g): (&String, &Array)| (name.clone(), g.map(|g| size * g));
            let scaled: Named = gradients.iter().map(scaled).collect();
            (at, state) = descent::ask(trial, &settings, &at, &scaled, state)?;
        }
        ends.push(at);
    }
    let expected: Vec<_> = weights
        .keys()
        .filter_map(|name| {
            Some((name.as_str(), ends[0].get(name)?.clone(), Tolerance::relative(1e-5)))
        })
        .collect();
    trial.close_each(
        "after 4 steps with gradients a hundred thousand times smaller,",
        &ends[1],
        &expected,
    )
}

/// `m` and `v`, kept.
pub(super) fn averages(s: Settings, gradient: &Tensor, memory: &mut Memory) -> Result<[Tensor; 2]> {
    let (beta1, beta2) = s.betas;
    let m = memory.add("mean", beta1, &(gradient * (1.0 - beta1))?)?;
    let v = memory.add("square", beta2, &(gradient.sqr()? * (1.0 - beta2))?)?;
    Ok([m, v])
}

fn corrected(s: Settings, m: &Tensor, v: &Tensor, count: f64) -> Result<[Tensor; 2]> {
    let (beta1, beta2) = s.betas;
    Ok([(m / (1.0 - beta1.powf(count)))?, (v / (1.0 - beta2.powf(count)))?])
}

fn step(m: &Tensor, v: &Tensor, eps: f64) -> Result<Tensor> {
    m.div(&(v.sqrt()? + eps)?)
}

/// `m̂ / (√v̂ + eps)`.
pub(super) fn adam_step(s: Settings, gradient: &Tensor, memory: &mut Memory) -> Result<Tensor> {
    let [m, v] = averages(s, gradient, memory)?;
    let [m, v] = corrected(s, &m, &v, memory.count()?)?;
    step(&m, &v, s.eps)
}

fn right(s: Settings, weight: &Tensor, gradient: &Tensor, memory: &mut Memory) -> Result<Tensor> {
    weight - (adam_step(s, gradient, memory)? * s.lr)?
}

/// The form of Kingma and Ba's §2, with both corrections in the rate; exact if eps is scaled too.
fn short_form(
    s: Settings,
    eps_scale: f64,
    weight: &Tensor,
    gradient: &Tensor,
    memory: &mut Memory,
) -> Result<Tensor> {
    let [m, v] = averages(s, gradient, memory)?;
    let count = memory.count()?;
    let (beta1, beta2) = s.betas;
    let rate = s.lr * (1.0 - beta2.powf(count)).sqrt() / (1.0 - beta1.powf(count));
    weight - (step(&m, &v, s.eps * eps_scale)? * rate)?
}
