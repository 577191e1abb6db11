//! `adamw`: Adam, and beside it weights that shrink.

use answer::{Weights, answer};
use candle_core::{Result, Tensor};
use protocol::{DType, Value};

use super::{
    adam::{self, Remembered, adam_step},
    descent::{self, Optimiser, Run, set},
    memory::{self, Given, Memory, each, in_single},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Named, Outcome, Part, Trial, args};

/// An answer by what it does with one weight, and, if not `each`, by how it goes through them.
macro_rules! adamw {
    ($step:expr) => {
        adamw!(each, $step)
    };
    ($through:path, $step:expr) => {
        answer!(|weights: &Weights,
                 gradients: &Weights,
                 state: &Weights,
                 lr: f64,
                 betas: (f64, f64),
                 eps: f64,
                 weight_decay: f64| {
            let step: Step = $step;
            let settings = Settings { adam: adam::Settings { lr, betas, eps }, weight_decay };
            $through(Given { weights, gradients, state }, |weight, gradient, memory| {
                step(settings, weight, gradient, memory)
            })
        })
    };
}

/// What is done with one weight.
type Step = fn(Settings, &Tensor, &Tensor, &mut Memory) -> Result<Tensor>;

pub(super) const ADAMW: Part = Part {
    name: "adamw",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "axes_decide_what_decays",
            promise: "With gradients of 0, all that has two axes or more shrinks, and nothing else \
                      moves.",
            kind: Kind::Property,
            run: axes_decide_what_decays,
        },
        Check {
            name: "runs_match_the_definition",
            promise: "Two hundred steps are those of the definition, also where eps counts.",
            kind: Kind::Reference,
            run: |trial| descent::run_matches(trial, || LARGE_EPS, 200),
        },
        Check {
            name: "late_weights_count_their_own_steps",
            promise: "A weight whose first gradient comes late starts as any other, and does not \
                      decay before.",
            kind: Kind::Property,
            run: |trial| descent::late_weights_count_their_own_steps(trial, USUAL),
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
            name: "decay_in_the_gradient",
            diagnosis: "the decay is added to the gradient (L2), where Adam divides it away; it \
                        stands beside Adam's step",
            caught_by: "documented_example",
            answer: adamw!(|s, weight, gradient, memory| {
                let gradient = (gradient + (weight * s.decay_of(weight.rank()))?)?;
                weight - (adam_step(s.adam, &gradient, memory)? * s.adam.lr)?
            }),
        },
        Impostor {
            name: "biases_decay",
            diagnosis: "biases and gains decay too; only what has two axes or more does",
            caught_by: "documented_example",
            answer: adamw!(|s, weight, gradient, memory| {
                shrink_and_step(s, s.weight_decay, weight, gradient, memory)
            }),
        },
        Impostor {
            name: "nothing_decays",
            diagnosis: "nothing decays: this is Adam",
            caught_by: "documented_example",
            answer: adamw!(|s, weight, gradient, memory| {
                shrink_and_step(s, 0.0, weight, gradient, memory)
            }),
        },
        Impostor {
            name: "decay_without_the_rate",
            diagnosis: "the decay is not multiplied by `lr`, so it is far too strong and no \
                        schedule reaches it",
            caught_by: "documented_example",
            answer: adamw!(|s, weight, gradient, memory| {
                let decay = s.decay_of(weight.rank()) / s.adam.lr;
                shrink_and_step(s, decay, weight, gradient, memory)
            }),
        },
        Impostor {
            name: "decay_after_the_step",
            diagnosis: "the decay takes the weight from after Adam's step; both take it from \
                        before",
            caught_by: "documented_example",
            answer: adamw!(|s, weight, gradient, memory| {
                let kept = 1.0 - s.adam.lr * s.decay_of(weight.rank());
                (weight - (adam_step(s.adam, gradient, memory)? * s.adam.lr)?)? * kept
            }),
        },
        Impostor {
            name: "decay_grows_weights",
            diagnosis: "the decay is added, so weights grow; it is subtracted",
            caught_by: "documented_example",
            answer: adamw!(|s, weight, gradient, memory| {
                shrink_and_step(s, -s.decay_of(weight.rank()), weight, gradient, memory)
            }),
        },
        Impostor {
            name: "decay_of_a_constant",
            diagnosis: "every weight loses the same amount (the sign is decayed, as in L1); decay \
                        is in proportion to the weight",
            caught_by: "documented_example",
            answer: adamw!(|s, weight, gradient, memory| {
                let decay = (weight.sign()? * (s.adam.lr * s.decay_of(weight.rank())))?;
                (weight - decay)? - (adam_step(s.adam, gradient, memory)? * s.adam.lr)?
            }),
        },
        Impostor {
            name: "only_two_axes_decay",
            diagnosis: "only matrices decay; the kernel of a convolution, with more axes, does too",
            caught_by: "axes_decide_what_decays",
            answer: adamw!(|s, weight, gradient, memory| {
                let decay = if weight.rank() == 2 { s.weight_decay } else { 0.0 };
                shrink_and_step(s, decay, weight, gradient, memory)
            }),
        },
        Impostor {
            name: "names_decide",
            diagnosis: "whatever is not called a bias decays, so the gains of a norm do; axes \
                        decide, not names",
            caught_by: "axes_decide_what_decays",
            answer: adamw!(|s, weight, gradient, memory| {
                let decay = if memory.name().ends_with("bias") { 0.0 } else { s.weight_decay };
                shrink_and_step(s, decay, weight, gradient, memory)
            }),
        },
        Impostor {
            name: "still_weights_do_not_decay",
            diagnosis: "a weight whose gradient is 0 is passed over; it decays all the same",
            caught_by: "axes_decide_what_decays",
            answer: adamw!(|s, weight, gradient, memory| {
                let step = adam_step(s.adam, gradient, memory)?;
                let moved = (gradient.abs()?.sum_all()?).to_dtype(candle_core::DType::F64)?;
                if moved.to_scalar::<f64>()? == 0.0 {
                    return Ok(weight.clone());
                }
                let kept = 1.0 - s.adam.lr * s.decay_of(weight.rank());
                (weight * kept)? - (step * s.adam.lr)?
            }),
        },
        Impostor {
            name: "counted_together",
            diagnosis: "a weight that comes late is corrected as if it had been there from the \
                        start: one count serves all weights, or goes on without a gradient",
            caught_by: "late_weights_count_their_own_steps",
            answer: adamw!(memory::counted_together, right),
        },
        Impostor {
            name: "frozen_weights_decay",
            diagnosis: "a weight without a gradient decays; it is frozen, and stays as it is",
            caught_by: "late_weights_count_their_own_steps",
            answer: answer!(|weights: &Weights,
                             gradients: &Weights,
                             state: &Weights,
                             lr: f64,
                             betas: (f64, f64),
                             eps: f64,
                             weight_decay: f64| {
                let s = Settings { adam: adam::Settings { lr, betas, eps }, weight_decay };
                let given = Given { weights, gradients, state };
                let (mut next, state) =
                    each(given, |weight, gradient, memory| right(s, weight, gradient, memory))?;
                for (name, weight) in weights.iter().filter(|(n, _)| gradients.find(n).is_none()) {
                    next.insert(name, (weight * (1.0 - lr * s.decay_of(weight.rank())))?);
                }
                Ok::<_, candle_core::Error>((next, state))
            }),
        },
        Impostor {
            name: "others_forgotten",
            diagnosis: "the returned state holds this call's weights only, so another group's \
                        averages are lost",
            caught_by: "groups_share_a_state",
            answer: adamw!(memory::others_forgotten, right),
        },
        Impostor {
            name: "epsilon_inside_the_root",
            diagnosis: "eps is inside the root, √(v̂ + eps), where 1e-8 weighs as much as 1e-4 \
                        outside of it",
            caught_by: "runs_match_the_definition",
            answer: adamw!(|s, weight, gradient, memory| {
                let (beta1, beta2) = s.adam.betas;
                let [m, v] = adam::averages(s.adam, gradient, memory)?;
                let count = memory.count()?;
                let m = (m / (1.0 - beta1.powf(count)))?;
                let root = ((v / (1.0 - beta2.powf(count)))? + s.adam.eps)?.sqrt()?;
                let kept = 1.0 - s.adam.lr * s.decay_of(weight.rank());
                (weight * kept)? - (m.div(&root)? * s.adam.lr)?
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the step is computed in `f32` whatever the weights are",
            caught_by: "runs_match_the_definition",
            answer: adamw!(|s, weight, gradient, memory| {
                in_single(weight, gradient, |weight, gradient| right(s, weight, gradient, memory))
            }),
        },
        Impostor {
            name: "strangers_ignored",
            diagnosis: "it goes through the weights and looks their gradients up, so a misspelt \
                        gradient is left out without an error",
            caught_by: "strange_gradients_are_refused",
            answer: adamw!(memory::strangers_ignored, right),
        },
        Impostor {
            name: "shapes_stretched",
            diagnosis: "a gradient of another shape is broadcast to its weight without an error",
            caught_by: "strange_gradients_are_refused",
            answer: adamw!(memory::shapes_stretched, right),
        },
    ],
    alternatives: &[Alternative {
        name: "two_subtractions",
        answer: adamw!(|s, weight, gradient, memory| {
            let step = (adam_step(s.adam, gradient, memory)? * s.adam.lr)?;
            let decay = weight.affine(s.adam.lr * s.decay_of(weight.rank()), 0.0)?;
            (weight - step)? - decay
        }),
    }],
};

#[derive(Clone, Copy)]
struct Settings {
    adam: adam::Settings,
    weight_decay: f64,
}

const USUAL: Settings = Settings {
    adam: adam::Settings { lr: 0.1, betas: (0.9, 0.999), eps: 1e-8 },
    weight_decay: 0.5,
};
const SLOW: Settings = Settings {
    adam: adam::Settings { lr: 0.02, betas: (0.8, 0.99), eps: 1e-8 },
    weight_decay: 0.1,
};
const LARGE_EPS: Settings =
    Settings { adam: adam::Settings { lr: 0.05, betas: (0.9, 0.99), eps: 0.1 }, weight_decay: 0.2 };

impl Settings {
    fn decay_of(&self, rank: usize) -> f64 {
        if rank >= 2 { self.weight_decay } else { 0.0 }
    }
}

impl Optimiser for Settings {
    type Memory = Remembered;

    fn step(&self, value: f64, gradient: f64, memory: &mut Remembered, rank: usize) -> f64 {
        let decay = self.decay_of(rank) * value;
        value - self.adam.lr * (decay + self.adam.direction(gradient, memory))
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        let mut arguments = self.adam.arguments();
        arguments.extend(args![weight_decay: self.weight_decay]);
        arguments
    }
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let pair = |weight: f64, bias: f64| {
        set([
            ("weight", Array::matrix(&[[weight]]).to(DType::F32)),
            ("bias", Array::vector(&[bias]).to(DType::F32)),
        ])
    };
    let (weights, _) =
        descent::ask(trial, &USUAL, &pair(10., 10.), &pair(-4., -4.), descent::empty())?;
    let expected = pair(9.6, 10.1);
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, array)| (name.as_str(), array.clone(), descent::TOLERANCE))
        .collect();
    trial.close_each("after step 1,", &weights, &expected)
}

fn axes_decide_what_decays(trial: &mut Trial) -> Outcome {
    let mut normal = |shape: &[usize]| trial.rng.normal_array(shape);
    let weights = set([
        ("conv.weight", normal(&[2, 1, 3, 1])),
        ("conv.bias", normal(&[2])),
        ("embed.weight", normal(&[4, 3])),
        ("norm.weight", normal(&[3])),
    ]);
    let still: Named =
        weights.iter().map(|(name, weight)| (name.clone(), weight.map(|_| 0.0))).collect();
    let mut run = Run::new(USUAL, &weights);
    for _ in 0..2 {
        run.step(trial, &still)?;
    }
    Ok(())
}

/// Decays by this much, and steps.
fn shrink_and_step(
    s: Settings,
    decay: f64,
    weight: &Tensor,
    gradient: &Tensor,
    memory: &mut Memory,
) -> Result<Tensor> {
    let step = (adam_step(s.adam, gradient, memory)? * s.adam.lr)?;
    (weight * (1.0 - s.adam.lr * decay))? - step
}

fn right(s: Settings, weight: &Tensor, gradient: &Tensor, memory: &mut Memory) -> Result<Tensor> {
    shrink_and_step(s, s.decay_of(weight.rank()), weight, gradient, memory)
}
