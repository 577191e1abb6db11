//! `dose_response`: a logit that follows the dose of a direction, beside directions drawn by lot.

use answer::answer;
use anyhow::{Result, ensure};
use candle_core::{DType as CandleDType, Tensor};
use models::{
    Gpt,
    hook::{Hook, Place},
};
use protocol::DType;

use super::{
    border::{array, tensor},
    dose_oracle::{Asked, Quantile, RIGHT, Slips},
    siblings::{SEQ, Sibling, one_trained_sibling, repeated_tokens, siblings},
};
use crate::{
    Alternative, Array, Check, Generator, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial,
};

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        answer!(|model: &Gpt, tokens: &Tensor, layer: usize, direction: &Tensor, random: &Tensor,
                 doses: &Tensor, target: usize| {
            let asked = Asked {
                tokens: array(tokens)?,
                layer,
                direction: array(direction)?,
                random: array(random)?,
                doses: array(doses)?,
                target,
            };
            let [effects, control] = Slips { $($field: $value,)* ..RIGHT }.respond(model, &asked)?;
            anyhow::Ok((tensor(&effects)?, tensor(&control)?))
        })
    };
}

pub(super) const DOSE_RESPONSE: Part = Part {
    name: "dose_response",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "length_is_no_dose",
            promise: "Directions of another length have the same effect, and no dose has none.",
            kind: Kind::Property,
            run: length_is_no_dose,
        },
        Check {
            name: "hidden_model_is_steered",
            promise: "On a hidden model, a direction that it uses has effects far beyond those of \
                      chance, and one drawn by lot has not.",
            kind: Kind::Property,
            run: hidden_model_is_steered,
        },
        Check {
            name: "matches_definition",
            promise: "Effects and controls are those of the contract, in every layer.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "bad_requests_are_refused",
            promise: "A layer or token that is not there, or no random direction, give an error.",
            kind: Kind::Errors,
            run: bad_requests_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "largest_for_quantile",
            diagnosis: "the control is the largest effect of a random direction, which grows with \
                        their number; take the 95 % quantile",
            caught_by: "documented_example",
            answer: slip!(quantile: Quantile::Largest),
        },
        Impostor {
            name: "mean_for_quantile",
            diagnosis: "the control is the mean size of random effects, which half of them exceed",
            caught_by: "documented_example",
            answer: slip!(quantile: Quantile::Mean),
        },
        Impostor {
            name: "signed_control",
            diagnosis: "the quantile is taken of effects with their sign, so large negative ones \
                        do not count; take their sizes",
            caught_by: "documented_example",
            answer: slip!(signed: true),
        },
        Impostor {
            name: "direction_not_unit",
            diagnosis: "the directions are taken as long as they are, so the control has other \
                        doses",
            caught_by: "documented_example",
            answer: slip!(is_unit: false),
        },
        Impostor {
            name: "logit_for_effect",
            diagnosis: "the logit itself is given; an effect is what the dose changes",
            caught_by: "length_is_no_dose",
            answer: slip!(subtracts: false),
        },
        Impostor {
            name: "every_position",
            diagnosis: "every position is steered, not only the last",
            caught_by: "matches_definition",
            answer: slip!(everywhere: true),
        },
        Impostor {
            name: "stream_before_block",
            diagnosis: "the stream is steered before the block; it must be after it \
                        (`hook_resid_post`)",
            caught_by: "hidden_model_is_steered",
            answer: slip!(place: Place::ResidPre),
        },
        Impostor {
            name: "first_sequence_alone",
            diagnosis: "only the first sequence's logit is read; the effect is the mean over the \
                        batch",
            caught_by: "matches_definition",
            answer: slip!(first_only: true),
        },
        Impostor {
            name: "control_at_another_dose",
            diagnosis: "the random directions get a dose of 1 each; the control needs the same \
                        dose",
            caught_by: "documented_example",
            answer: slip!(control_dose: Some(1.0)),
        },
        Impostor {
            name: "unused_directions_first",
            diagnosis: "only the first random direction is tried, which may be an odd one",
            caught_by: "documented_example",
            answer: slip!(first_random: true),
        },
        Impostor {
            name: "anything_goes",
            diagnosis: "a layer that the model does not have is not refused: nothing is steered, \
                        and the effects are 0",
            caught_by: "bad_requests_are_refused",
            answer: slip!(checks: false),
        },
    ],
    alternatives: &[Alternative {
        name: "in_one_batch",
        answer: answer!(|model: &Gpt,
                         tokens: &Tensor,
                         layer: usize,
                         direction: &Tensor,
                         random: &Tensor,
                         doses: &Tensor,
                         target: usize| {
            in_one_batch(model, tokens, layer, direction, random, doses, target)
        }),
    }],
};

/// Logits of some dozens, of which two are subtracted.
const TOLERANCE: Tolerance = Tolerance::roundings(4096.0).in_double(1e-8);

fn documented_example(trial: &mut Trial) -> Outcome {
    // One block that adds nothing: its attention has only zeros.
    let zeros = |shape: &[usize]| tensor(&Array::full(shape, 0.0).to(DType::F32));
    let identity = Array::matrix(&[[1., 0.], [0., 1.]]).to(DType::F32);
    let model = || -> Result<Gpt> {
        let weights = [
            ("wte.weight", tensor(&identity)?),
            ("h.0.attn.c_attn.weight", zeros(&[2, 6])?),
            ("h.0.attn.c_proj.weight", zeros(&[2, 2])?),
        ];
        let named = weights.map(|(name, tensor)| (name.to_owned(), tensor));
        Ok(Gpt::new(named.into_iter().collect(), 1)?)
    };
    let model = model().expect("invariant: the example's model is whole");
    let asked = Asked {
        tokens: Array::matrix(&[[0., 1.]]).to(DType::U32),
        layer: 0,
        direction: Array::vector(&[2., 0.]).to(DType::F32),
        random: Array::matrix(&[[0., 1.], [1., 0.]]).to(DType::F32),
        doses: Array::vector(&[-1., 0., 3.]).to(DType::F32),
        target: 0,
    };
    let [effects, control] = trial.arrays(asked.args(&model))?;
    let expected = Array::vector(&[-1., 0., 3.]).to(DType::F32);
    trial.close("effects", &effects, &expected, TOLERANCE)?;
    let expected = Array::vector(&[0.95, 0., 2.85]).to(DType::F32);
    trial.close("control", &control, &expected, TOLERANCE)
}

fn length_is_no_dose(trial: &mut Trial) -> Outcome {
    let (model, asked) = draw(trial, 1);
    let doses = Array::vector(&[-2.0, 0.0, 1.5]);
    let asked = Asked { doses, ..asked };
    let [effects, control]: [Array; 2] = trial.arrays(asked.args(&model.gpt))?;
    trial.has_shape("effects", &effects, &[3])?;
    trial.has_shape("control", &control, &[3])?;
    let idle = effects.values()[1].abs().max(control.values()[1].abs());
    trial.ensure(idle < 1e-9, || {
        format!("A dose of 0 has an effect or a control of {idle:.4}; it changes nothing.")
    })?;
    let longer = Asked {
        direction: asked.direction.map(|x| 7.0 * x),
        random: asked.random.map(|x| 0.3 * x),
        ..asked
    };
    let [again, other]: [Array; 2] = trial.arrays(longer.args(&model.gpt))?;
    trial.close("effects of a longer direction", &again, &effects, TOLERANCE)?;
    trial.close("control of shorter directions", &other, &control, TOLERANCE)
}

fn hidden_model_is_steered(trial: &mut Trial) -> Outcome {
    let (compiled, asked) = draw(trial, 19);
    let of_compiled = steered(trial, "compiled", "lm_head.weight", &compiled, asked)?;
    let (trained, tokens) = one_trained_sibling(&mut trial.rng)?;
    let mut asked = request(&mut trial.rng, &trained, tokens, 19);
    // What the model expects next has a logit so large that more of it is normed away.
    let expected = asked.tokens.at(&[0, 0]) as usize;
    while asked.target == expected {
        asked.target = trial.rng.below(trained.d_vocab);
    }
    let of_trained = steered(trial, "trained", "wte.weight", &trained, asked)?;
    trial.show_text("dose and response, on hidden models", format!("{of_compiled}{of_trained}"));
    Ok(())
}

/// Steers a hidden model along what a logit reads, in the last block; tells what came of it.
fn steered(
    trial: &mut Trial,
    make: &str,
    unembed: &str,
    hidden: &Sibling,
    asked: Asked,
) -> Result<String, Stop> {
    let unembed = hidden.gpt.weights().get(unembed).map_err(anyhow::Error::from).and_then(array);
    let unembed = unembed.expect("invariant: our models have this matrix");
    let direction = unembed.select(0, &[asked.target]).reshape(&[unembed.dim(1)]);
    let (layer, doses) = (hidden.gpt.n_layers() - 1, Array::vector(&[2.0, 8.0]));
    let asked = Asked { layer, direction, doses, ..asked };
    let [effects, control]: [Array; 2] = trial.arrays(asked.args(&hidden.gpt))?;
    let [exact, exact_control] = right(&hidden.gpt, &asked);
    trial.has_shape("effects", &effects, &[2])?;
    trial.has_shape("control", &control, &[2])?;
    for at in 0..2 {
        let (effect, chance) = (effects.at(&[at]), control.at(&[at]));
        let fair = (exact.at(&[at]), exact_control.at(&[at]));
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
        trial.ensure(effect > chance && near(effect, fair.0) && near(chance, fair.1), || {
            format!(
                "On a hidden {make} model, the direction that the logit reads moves it by {:.3} at \
                 dose {}, and 95 % of random directions by less than {:.3}. You found \
                 {effect:.3} and {chance:.3}.",
                fair.0,
                asked.doses.at(&[at]),
                fair.1
            )
        })?;
    }
    let rows = (0..2).map(|at| {
        let [dose, effect, chance] = [&asked.doses, &effects, &control].map(|a| a.at(&[at]));
        format!(
            "{make:<8} dose {dose:>4}   effect {effect:>8.3}   95 % of random directions: \
             {chance:.3}\n"
        )
    });
    Ok(rows.collect())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (n_random, dtype) in [(4, DType::F64), (2, DType::F32), (1, DType::F64)] {
        let (model, asked) = draw(trial, n_random);
        for layer in 0..model.gpt.n_layers() {
            let asked = Asked { layer, ..asked.clone() }.to(dtype);
            let model = model.to(dtype).gpt;
            let [effects, control] = trial.arrays(asked.args(&model))?;
            let [exact, exact_control] = right(&model, &asked);
            let tolerance = TOLERANCE.at_scale(20.0);
            trial.close(&format!("effects in layer {layer}"), &effects, &exact, tolerance)?;
            let name = format!("control in layer {layer}");
            trial.close(&name, &control, &exact_control, tolerance)?;
        }
    }
    Ok(())
}

fn bad_requests_are_refused(trial: &mut Trial) -> Outcome {
    let (model, asked) = draw(trial, 2);
    let n_layers = model.gpt.n_layers();
    let none = Array::new(&[0, asked.direction.dim(0)], Vec::new());
    let cases = [
        ("there is no such layer", Asked { layer: n_layers, ..asked.clone() }),
        ("there is no such token", Asked { target: model.d_vocab + 1, ..asked.clone() }),
        ("there is no random direction", Asked { random: none, ..asked }),
    ];
    for (case, asked) in cases {
        trial.refuses(case, asked.args(&model.gpt))?;
    }
    Ok(())
}

fn draw(trial: &mut Trial, n_random: usize) -> (Sibling, Asked) {
    let rng = &mut trial.rng;
    let [model, _] = siblings(rng);
    let tokens = repeated_tokens(rng, 2, model.d_vocab).narrow(1, 0, SEQ - 1);
    let asked = request(rng, &model, tokens, n_random);
    (model, asked)
}

fn request(rng: &mut Generator, model: &Sibling, tokens: Array, n_random: usize) -> Asked {
    let d_model = model.gpt.d_model();
    Asked {
        tokens,
        layer: 0,
        direction: rng.normal_array(&[d_model]).to(DType::F64),
        random: rng.normal_array(&[n_random, d_model]).to(DType::F64),
        doses: Array::vector(&[3.0, -5.0]),
        target: rng.below(model.d_vocab),
    }
}

fn right(model: &Gpt, asked: &Asked) -> [Array; 2] {
    RIGHT.respond(model, asked).expect("invariant: drawn requests are good")
}

/// A right answer that runs every direction and dose as one large batch.
fn in_one_batch(
    model: &Gpt,
    tokens: &Tensor,
    layer: usize,
    direction: &Tensor,
    random: &Tensor,
    doses: &Tensor,
    target: usize,
) -> Result<(Tensor, Tensor)> {
    let (n_random, (batch, seq)) = (random.dim(0)?, tokens.dims2()?);
    ensure!(n_random > 0 && layer < model.n_layers() && target < model.d_vocab(), "not there");
    let all = Tensor::cat(&[&direction.unsqueeze(0)?, &random.contiguous()?], 0)?;
    let units = all.broadcast_div(&all.sqr()?.sum_keepdim(1)?.sqrt()?)?;
    let n_doses = doses.dim(0)?;
    let (runs, d_model) = ((n_random + 1) * n_doses, units.dim(1)?);
    let edits = units.unsqueeze(1)?.broadcast_mul(&doses.reshape((1, n_doses, 1))?)?;
    let edits = edits.reshape((runs, 1, d_model))?;
    // Row 0 of the batch is left alone.
    let edits = edits.pad_with_zeros(0, 1, 0)?.repeat((1, batch, 1))?;
    let edits = edits.reshape(((runs + 1) * batch, 1, d_model))?.pad_with_zeros(1, seq - 1, 0)?;
    let mut hooks = |hook: Hook, value: Tensor| {
        if hook == Hook::in_block(Place::ResidPost, layer) { value + &edits } else { Ok(value) }
    };
    let logits = model.forward(&tokens.repeat((runs + 1, 1))?, &mut hooks)?;
    let logits = logits.narrow(1, seq - 1, 1)?.narrow(2, target, 1)?;
    let means = logits.reshape((runs + 1, batch))?.mean(1)?.to_dtype(CandleDType::F64)?;
    let means = means.to_vec1::<f64>()?;
    let effect = |run: usize, dose: usize| means[1 + run * n_doses + dose] - means[0];
    let effects: Vec<f64> = (0..n_doses).map(|dose| effect(0, dose)).collect();
    let control = (0..n_doses).map(|dose| {
        let sizes = (1..=n_random).map(|run| effect(run, dose).abs()).collect();
        Quantile::Interpolated.of(sizes)
    });
    let control: Vec<f64> = control.collect();
    let tensor = |values: Vec<f64>| Tensor::new(values, tokens.device())?.to_dtype(doses.dtype());
    Ok((tensor(effects)?, tensor(control)?))
}
