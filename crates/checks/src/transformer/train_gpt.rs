//! `train_gpt`: batches, schedule, clipping, accumulation, decay.

use answer::{Weights, answer};
use candle_core::Tensor;
use datasets::Split;
use protocol::{DType, Value};

use super::{
    drawing::{self, Sizes, Widths},
    oracle,
    train::{
        SETTINGS, Settings, Task,
        answers::{Batches, Clip, Config, Decay, Given, RIGHT, Slips, Starts},
        but_for_key_biases,
    },
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial,
    data::not_judged,
    named::{Named, from_value},
};

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),* $(,)?) => {
        answer!(|tokens: &Tensor, weights: &Weights, noise: &Tensor, config: Config| {
            Slips { $($field: $value,)* ..RIGHT }.train(&Given { tokens, noise, config }, weights)
        })
    };
}

pub(super) const TRAIN_GPT: Part = Part {
    name: "train_gpt",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "decay_stands_apart",
            promise: "Decay takes the same share of every matrix, whatever its gradient, and \
                      nothing of biases and norms.",
            kind: Kind::Property,
            run: decay_stands_apart,
        },
        Check {
            name: "batches_add_up",
            promise: "Two batches of two windows make the step of one batch of four.",
            kind: Kind::Property,
            run: batches_add_up,
        },
        Check {
            name: "steps_are_those_of_the_contract",
            promise: "Losses and weights are those of the contract, step by step, with clipping \
                      and without.",
            kind: Kind::Reference,
            run: steps_are_those_of_the_contract,
        },
        Check {
            name: "bad_settings_are_refused",
            promise: "An accumulation or a batch of 0, or noise of another shape, give an error.",
            kind: Kind::Errors,
            run: bad_settings_are_refused,
        },
        Check {
            name: "shakespeare_is_learned",
            promise: "It reads a play that it never saw with a loss of at most 2.4 nats a \
                      character, less than counting pairs of characters comes to.",
            kind: Kind::Training { cpu_seconds: 60 },
            run: shakespeare_is_learned,
        },
    ],
    impostors: &[
        Impostor {
            name: "bias_not_corrected",
            diagnosis: "Adam's two means start at 0 and nothing corrects for it, so the first \
                        steps are of the wrong length",
            caught_by: "documented_example",
            answer: slip!(corrects: false),
        },
        Impostor {
            name: "loss_after_the_step",
            diagnosis: "the loss is taken after the weights have moved",
            caught_by: "documented_example",
            answer: slip!(loss_after: true),
        },
        Impostor {
            name: "rate_of_the_next_step",
            diagnosis: "steps are counted from 1, so each has the learning rate of the next",
            caught_by: "documented_example",
            answer: slip!(rate_of: |step, _| step + 1),
        },
        Impostor {
            name: "everything_decays",
            diagnosis: "biases and what norms have learned decay as well",
            caught_by: "decay_stands_apart",
            answer: slip!(decay: Decay::All),
        },
        Impostor {
            name: "embeddings_spared",
            diagnosis: "`wte.weight` and `wpe.weight` do not decay; they have two axes as well",
            caught_by: "decay_stands_apart",
            answer: slip!(decay: Decay::NoEmbeddings),
        },
        Impostor {
            name: "nothing_decays",
            diagnosis: "no weight decays",
            caught_by: "decay_stands_apart",
            answer: slip!(decay: Decay::Nothing),
        },
        Impostor {
            name: "decay_through_adam",
            diagnosis: "the decay is added to the gradient, as L2, and Adam divides it by the \
                        gradient's size",
            caught_by: "decay_stands_apart",
            answer: slip!(decay: Decay::ThroughAdam),
        },
        Impostor {
            name: "decay_without_rate",
            diagnosis: "the decay is not multiplied by the learning rate",
            caught_by: "decay_stands_apart",
            answer: slip!(decay: Decay::WithoutRate),
        },
        Impostor {
            name: "last_batch_counts",
            diagnosis: "each batch's gradients replace those before it, so only the last of a step \
                        counts",
            caught_by: "batches_add_up",
            answer: slip!(batches: Batches::LastOnly),
        },
        Impostor {
            name: "first_batch_again",
            diagnosis: "every batch of a step has the windows of its first",
            caught_by: "batches_add_up",
            answer: slip!(batches: Batches::FirstAgain),
        },
        Impostor {
            name: "gradients_summed",
            diagnosis: "the gradients of a step's batches are added up and not divided by their \
                        number, so clipping sees them too long",
            caught_by: "batches_add_up",
            answer: slip!(batches: Batches::Summed),
        },
        Impostor {
            name: "clipped_batch_by_batch",
            diagnosis: "each batch's gradients are clipped by themselves; the step's are, together",
            caught_by: "batches_add_up",
            answer: slip!(clip: Clip::EachBatch),
        },
        Impostor {
            name: "clipped_tensor_by_tensor",
            diagnosis: "each tensor's gradient is clipped by itself, which turns the whole",
            caught_by: "steps_are_those_of_the_contract",
            answer: slip!(clip: Clip::EachTensor),
        },
        Impostor {
            name: "never_clipped",
            diagnosis: "the gradients are not clipped",
            caught_by: "steps_are_those_of_the_contract",
            answer: slip!(clip: Clip::Never),
        },
        Impostor {
            name: "rate_never_changes",
            diagnosis: "every step has the peak of the learning rate",
            caught_by: "steps_are_those_of_the_contract",
            answer: slip!(rate_of: |_, config| config.warmup),
        },
        Impostor {
            name: "forgets_each_step",
            diagnosis: "the optimiser's memory starts anew with every step",
            caught_by: "steps_are_those_of_the_contract",
            answer: slip!(remembers: false),
        },
        Impostor {
            name: "usual_betas",
            diagnosis: "the second beta is 0.999, as Adam's authors had it, and not 0.95",
            caught_by: "steps_are_those_of_the_contract",
            answer: slip!(betas: (0.9, 0.999)),
        },
        Impostor {
            name: "settings_believed",
            diagnosis: "an `accumulation` or `batch` of 0, or noise of another shape, is not \
                        refused",
            caught_by: "bad_settings_are_refused",
            answer: slip!(looks: false),
        },
        Impostor {
            name: "starts_in_bytes",
            diagnosis: "the starts of windows are `u8`, so nothing beyond the first 256 tokens of \
                        the text is ever read",
            caught_by: "shakespeare_is_learned",
            answer: slip!(starts: Starts::InBytes),
        },
    ],
    alternatives: &[Alternative {
        name: "one_large_batch",
        answer: slip!(batches: Batches::Together),
    }],
};

/// Some dozen passes through a model and five steps of Adam, on weights of about 1.
const TOLERANCE: Tolerance = Tolerance::roundings(4096.0).at_scale(1.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let task = Task::documented();
    let (weights, losses) = ask(trial, &task)?;
    let expected = Array::vector(&[2f64.ln()]).to(DType::F32);
    trial.close("losses", &losses, &expected, Tolerance::relative(1e-6))?;
    let digits = Tolerance::relative(1e-6).at_scale(0.1);
    close(trial, &weights, &task.documented_weights(), digits)
}

fn decay_stands_apart(trial: &mut Trial) -> Outcome {
    let settings = Settings { steps: 1, accumulation: 1, warmup: 0, ..SETTINGS };
    let decaying = Task::random(trial, settings);
    let mut still = decaying.clone();
    still.settings.weight_decay = 0.0;
    let (with, _) = ask(trial, &decaying)?;
    let (without, _) = ask(trial, &still)?;
    let share = settings.peak * settings.weight_decay;
    for (name, weight) in &decaying.weights {
        let taken = if weight.rank() == 2 { share } else { 0.0 };
        let lost = |set: &Named| set.get(name).cloned();
        let (Some(with), Some(without)) = (lost(&with), lost(&without)) else {
            return Err(trial.wrong(format!("There is no `{name}` among what it returned.")));
        };
        trial.has_shape(name, &with, weight.shape())?;
        trial.has_shape(name, &without, weight.shape())?;
        let lost = without.zip_map(&with, |without, with| without - with);
        if name.ends_with("attn.c_attn.bias") {
            // Adam makes steps of the rounding in its middle.
            continue;
        }
        let label = format!("what decay takes of {name}");
        let expected = weight.map(|x| taken * x).to(DType::F64);
        trial.close(&label, &lost.to(DType::F64), &expected, TOLERANCE)?;
    }
    Ok(())
}

fn batches_add_up(trial: &mut Trial) -> Outcome {
    let mut apart = Task::random(trial, SETTINGS);
    // So that what is twice as long is clipped, and each half of it is not.
    apart.settings.max_norm = 1.2 * apart.first_norm();
    let mut together = apart.clone();
    let Settings { steps, accumulation, batch, .. } = SETTINGS;
    (together.settings.accumulation, together.settings.batch) = (1, accumulation * batch);
    together.noise = apart.noise.reshape(&[steps, 1, accumulation * batch]);
    let (expected, expected_losses) = ask(trial, &together)?;
    let (weights, losses) = ask(trial, &apart)?;
    let label = "losses of two batches of two, against one of four";
    trial.has_shape("losses", &expected_losses, &[steps])?;
    trial.close(label, &losses, &expected_losses, TOLERANCE)?;
    for (name, weight) in &apart.weights {
        let Some(expected) = expected.get(name) else {
            return Err(trial.wrong(format!("There is no `{name}` among what it returned.")));
        };
        trial.has_shape(name, expected, weight.shape())?;
    }
    close(trial, &weights, &expected, TOLERANCE)
}

fn steps_are_those_of_the_contract(trial: &mut Trial) -> Outcome {
    let task = Task::random(trial, SETTINGS);
    let norm = task.first_norm();
    for max_norm in [1e9, 0.5 * norm] {
        let task = Task { settings: Settings { max_norm, ..SETTINGS }, ..task.clone() };
        let (expected, expected_losses) = task.solve(SETTINGS.steps);
        let (weights, losses) = ask(trial, &task)?;
        let expected_losses = Array::vector(&expected_losses).to(DType::F64);
        trial.close("losses", &losses, &expected_losses, TOLERANCE)?;
        close(trial, &weights, &expected, TOLERANCE)?;
    }
    Ok(())
}

fn bad_settings_are_refused(trial: &mut Trial) -> Outcome {
    let task = Task::random(trial, SETTINGS);
    let Settings { steps, accumulation, batch, .. } = SETTINGS;
    let cases = [
        ("`accumulation` is 0", [steps, 0, batch], Settings { accumulation: 0, ..SETTINGS }),
        ("`batch` is 0", [steps, accumulation, 0], Settings { batch: 0, ..SETTINGS }),
        ("`noise` has three batches for two", [steps, 3, batch], SETTINGS),
        ("`noise` has a window too many", [steps, accumulation, 3], SETTINGS),
    ];
    for (case, shape, settings) in cases {
        let noise = Array::full(&shape, 0.5).to(DType::F64);
        trial.refuses(case, Task { noise, settings, ..task.clone() }.args())?;
    }
    Ok(())
}

/// The most nats a character of the held-out text that pass.
const ENOUGH: f64 = 2.4;

fn shakespeare_is_learned(trial: &mut Trial) -> Outcome {
    let text = datasets::shakespeare_part(Split::Train).map_err(|error| not_judged(&error))?;
    let held_out = datasets::shakespeare_part(Split::Test).map_err(|error| not_judged(&error))?;
    let settings = Settings {
        n_heads: 4,
        steps: 500,
        accumulation: 1,
        batch: 8,
        seq: 32,
        warmup: 25,
        peak: 1e-2,
        floor: 1e-3,
        weight_decay: 0.1,
        max_norm: 1.0,
    };
    let alphabet = alphabet(&text);
    let widths = Widths { d_model: 48, d_mlp: 192 };
    let sizes = Sizes { d_vocab: alphabet.len(), n_ctx: settings.seq, n_layers: 2, widths };
    let weights = start(trial, sizes);
    let shape = [settings.steps, settings.accumulation, settings.batch];
    let noise = trial.rng.uniform_array(&shape, 0.0, 1.0).to(DType::F64);
    let tokens = tokens(&text, &alphabet);
    let task = Task { tokens: Array::vector(&tokens).to(DType::U32), weights, noise, settings };
    let (weights, losses) = ask(trial, &task)?;
    has_weights(trial, &weights, &task.weights)?;
    let loss = surprise(&weights, &self::tokens(&held_out, &alphabet), settings);
    let sample = sample(trial, &weights, &alphabet, settings);
    trial.show_text(&format!("what your model writes, at {loss:.2} nats a character"), sample);
    trial.ensure(loss <= ENOUGH, || {
        format!(
            "A play that it never saw surprises it by {loss:.3} nats a character; expected at most \
             {ENOUGH}. Counting pairs of characters comes to 2.47, and its last loss on the text \
             that it was given is {:.3}.",
            losses.values().last().copied().unwrap_or(f64::NAN),
        )
    })
}

/// A text by the trained model, at temperature 0.8, from a line's end on.
fn sample(trial: &mut Trial, weights: &Named, alphabet: &[char], settings: Settings) -> String {
    const LENGTH: usize = 160;
    let Settings { seq, n_heads, .. } = settings;
    let mut written = tokens("\n", alphabet);
    for _ in 0..LENGTH {
        let window = &written[written.len().saturating_sub(seq)..];
        let x = Array::new(&[1, window.len()], window.to_vec());
        let logits = oracle::gpt(&|name| &weights[name], 2, &x, n_heads);
        let last = &logits.values()[logits.values().len() - alphabet.len()..];
        let largest = last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let odds = last.iter().map(|logit| ((logit - largest) / 0.8).exp());
        let mut left = trial.rng.uniform() * odds.clone().sum::<f64>();
        let drawn = odds.take_while(|odds| {
            left -= odds;
            left > 0.0
        });
        written.push(drawn.count().min(alphabet.len() - 1) as f64);
    }
    written.iter().skip(1).map(|token| alphabet[*token as usize]).collect()
}

/// Mean surprise at windows spread over a held-out text.
fn surprise(weights: &Named, held_out: &[f64], settings: Settings) -> f64 {
    const WINDOWS: usize = 48;
    let Settings { seq, n_heads, .. } = settings;
    let stride = (held_out.len() - seq - 1) / WINDOWS;
    let cut = |later: usize| {
        let token = |at: &[usize]| held_out[at[0] * stride + at[1] + later];
        Array::from_fn(&[WINDOWS, seq], token)
    };
    let (x, y) = (cut(0), cut(1));
    let logits = oracle::gpt(&|name| &weights[name], 2, &x, n_heads);
    let rows = logits.values().chunks(logits.dim(2)).zip(y.values());
    let surprises = rows.map(|(logits, next)| {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        largest + total.ln() - logits[*next as usize]
    });
    surprises.sum::<f64>() / y.values().len() as f64
}

/// Weights to start from: small, and norms that change nothing.
fn start(trial: &mut Trial, sizes: Sizes) -> Named {
    let drawn = drawing::gpt(trial, sizes);
    let small = |(name, weight): (String, Array)| {
        let is_gain = name.contains("ln_") && name.ends_with("weight");
        let factor = if weight.rank() == 2 { 0.4 } else { 0.0 };
        let weight = weight.map(|x| if is_gain { 1.0 } else { factor * x });
        (name, weight.to(DType::F32))
    };
    drawn.into_iter().map(small).collect()
}

/// Every character of a text, in order.
fn alphabet(text: &str) -> Vec<char> {
    text.chars().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Characters as numbers; one that the alphabet lacks is the space's neighbour.
fn tokens(text: &str, alphabet: &[char]) -> Vec<f64> {
    let place = |c| alphabet.binary_search(&c).unwrap_or_default() as f64;
    text.chars().map(place).collect()
}

fn ask(trial: &mut Trial, task: &Task) -> Result<(Named, Array), Stop> {
    let values = trial.values(task.args())?;
    let [weights, Value::Tensor(losses)] = values.as_slice() else {
        return Err(trial.wrong("It did not return weights and losses.".to_owned()));
    };
    let (Some(weights), Ok(losses)) = (from_value(weights), Array::from_raw(losses)) else {
        return Err(trial.wrong("It did not return weights and losses.".to_owned()));
    };
    Ok((weights, losses))
}

fn close(trial: &mut Trial, got: &Named, expected: &Named, tolerance: Tolerance) -> Outcome {
    let expected = but_for_key_biases(got, expected);
    let each: Vec<_> =
        expected.iter().map(|(name, array)| (name.as_str(), array.clone(), tolerance)).collect();
    trial.close_each("weight", got, &each)
}

/// Proves that every weight is there in its shape, before a model is made of them.
fn has_weights(trial: &mut Trial, got: &Named, expected: &Named) -> Outcome {
    for (name, expected) in expected {
        let Some(weight) = got.get(name) else {
            return Err(trial.wrong(format!("There is no `{name}` among what it returned.")));
        };
        trial.has_shape(name, weight, expected.shape())?;
    }
    Ok(())
}
