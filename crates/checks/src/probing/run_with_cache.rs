//! `run_with_cache`: everything that a model passes, under its name.

use answer::{Weights, answer};
use candle_core::{D, DType as CandleType, Result as CandleResult, Tensor, bail};
use models::{Gpt, hook::Hook};
use protocol::{DType, Value};

use super::model::{BARE, Model, WHOLE, plus, tokens};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
    named::{Named, from_value},
};

pub(super) const RUN_WITH_CACHE: Part = Part {
    name: "run_with_cache",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "the_stream_adds_up",
            promise: "In each block the cached stream is what stood before it, and what attention \
                      and MLP added.",
            kind: Kind::Property,
            run: the_stream_adds_up,
        },
        Check {
            name: "chosen_names_alone_are_kept",
            promise: "With `only`, the cache has those names and no others, with the values that \
                      it has without.",
            kind: Kind::Property,
            run: chosen_names_alone_are_kept,
        },
        Check {
            name: "matches_definition",
            promise: "Every hook has the shape and value that the definition gives it, with norms, \
                      MLPs and biases and without.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "unknown_names_are_refused",
            promise: "A name at which the model never stops is refused, and named.",
            kind: Kind::Errors,
            run: unknown_names_are_refused,
        },
    ],
    impostors: IMPOSTORS,
    alternatives: &[Alternative {
        name: "everything_first",
        answer: answer!(|model: &Gpt, tokens: &Tensor, only: Option<&[String]>| {
            everything_first(model, tokens, only)
        }),
    }],
};

/// The steps of an honest answer, for impostors to spoil one of.
#[derive(Clone, Copy)]
struct Steps {
    name: fn(Hook) -> String,
    wanted: fn(&[String], &str) -> bool,
    keep: fn(&str, &Tensor) -> CandleResult<Tensor>,
    go_on: fn(Tensor) -> CandleResult<Tensor>,
    refuses: bool,
    finish: fn(Tensor) -> CandleResult<Tensor>,
}

const HONEST: Steps = Steps {
    name: |hook| hook.to_string(),
    wanted: |only, name| only.iter().any(|one| one == name),
    keep: |_, value| Ok(value.clone()),
    go_on: Ok,
    refuses: true,
    finish: Ok,
};

impl Steps {
    fn run(
        &self,
        model: &Gpt,
        tokens: &Tensor,
        only: Option<&[String]>,
    ) -> CandleResult<(Tensor, Weights)> {
        let mut cache = Weights::new();
        let logits = model.forward(tokens, &mut |hook: Hook, value: Tensor| {
            let name = (self.name)(hook);
            if only.is_none_or(|only| (self.wanted)(only, &name)) {
                cache.insert(&name, (self.keep)(&name, &value)?);
            }
            (self.go_on)(value)
        })?;
        if let Some(only) = only.filter(|_| self.refuses)
            && let Some(name) = only.iter().find(|name| cache.find(name).is_none())
        {
            bail!("there is no `{name}`");
        }
        Ok(((self.finish)(logits)?, cache))
    }
}

macro_rules! cached {
    ($($slip:tt)*) => {
        answer!(|model: &Gpt, tokens: &Tensor, only: Option<&[String]>| {
            const STEPS: Steps = Steps { $($slip)*, ..HONEST };
            STEPS.run(model, tokens, only)
        })
    };
}

const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "value_not_given_back",
        diagnosis: "the hook keeps the value and gives the model zeros to go on with",
        caught_by: "documented_example",
        answer: cached!(go_on: |value| value.zeros_like()),
    },
    Impostor {
        name: "softmax_taken",
        diagnosis: "a softmax is taken; the first result is the logits as the model gives them",
        caught_by: "documented_example",
        answer: cached!(finish: |logits| candle_nn::ops::softmax(&logits, D::Minus1)),
    },
    Impostor {
        name: "block_left_out_of_the_name",
        diagnosis: "the number of the block is not in the name, so each block overwrites the one \
                    before",
        caught_by: "the_stream_adds_up",
        answer: cached!(name: |hook| {
            let name = hook.to_string();
            let block = hook.layer.map(|layer| format!("blocks.{layer}.")).unwrap_or_default();
            name.replacen(&block, "", 1)
        }),
    },
    Impostor {
        name: "first_sequence_alone",
        diagnosis: "only the first sequence of the batch is kept",
        caught_by: "the_stream_adds_up",
        answer: cached!(keep: |_, value| value.narrow(0, 0, 1)),
    },
    Impostor {
        name: "last_position_alone",
        diagnosis: "only the last position is kept, which is enough for an answer and not for a \
                    look",
        caught_by: "documented_example",
        answer: cached!(keep: |_, value| value.narrow(1, value.dim(1)? - 1, 1)),
    },
    Impostor {
        name: "everything_kept",
        diagnosis: "`only` is ignored, and everything kept",
        caught_by: "chosen_names_alone_are_kept",
        answer: cached!(wanted: |_, _| true, refuses: false),
    },
    Impostor {
        name: "every_block_kept",
        diagnosis: "a name in `only` keeps that place of every block, not of its own alone",
        caught_by: "chosen_names_alone_are_kept",
        answer: cached!(wanted: |only, name| {
            let place = |name: &str| name.rsplit('.').next().map(str::to_owned);
            only.iter().any(|one| place(one) == place(name))
        }),
    },
    Impostor {
        name: "heads_moved_forward",
        diagnosis: "q, k, v and z are kept as `(batch, n_heads, seq, d_head)`; at hooks the heads \
                    stand behind the positions",
        caught_by: "matches_definition",
        answer: cached!(keep: |name, value| {
            let by_position = ["hook_q", "hook_k", "hook_v", "hook_z"];
            if by_position.iter().any(|end| name.ends_with(end)) {
                value.transpose(1, 2)
            } else {
                Ok(value.clone())
            }
        }),
    },
    Impostor {
        name: "kept_in_f32",
        diagnosis: "values are kept in `f32` whatever the model computes in",
        caught_by: "matches_definition",
        answer: cached!(keep: |_, value| {
            value.to_dtype(CandleType::F32)?.to_dtype(value.dtype())
        }),
    },
    Impostor {
        name: "nothing_said_of_unknown_names",
        diagnosis: "a name at which the model never stops is passed over, so a typing mistake \
                    shows only where the value is missing",
        caught_by: "unknown_names_are_refused",
        answer: cached!(refuses: false),
    },
];

/// Keeps everything, and chooses afterwards.
fn everything_first(
    model: &Gpt,
    tokens: &Tensor,
    only: Option<&[String]>,
) -> CandleResult<(Tensor, Weights)> {
    let mut all = Vec::new();
    let logits = model.forward(tokens, &mut |hook: Hook, value: Tensor| {
        all.push((hook.to_string(), value.contiguous()?));
        Ok(value)
    })?;
    let all: Weights = all.into_iter().collect();
    let Some(only) = only else { return Ok((logits, all)) };
    let chosen = only.iter().map(|name| Ok((name.clone(), all.get(name)?.clone())));
    Ok((logits, chosen.collect::<CandleResult<_>>()?))
}

/// Roundings of an honest `f32` answer: some 64 for each step of two or three blocks, on numbers of
/// about 16.
pub(super) const TOLERANCE: Tolerance = Tolerance::roundings(512.0).at_scale(16.0).in_double(1e-11);

fn documented_example(trial: &mut Trial) -> Outcome {
    let model = blockless();
    let tokens = Array::matrix(&[[2., 0.]]).to(DType::U32);
    let (logits, cache) = ask(trial, &model, &tokens, None, DType::F32)?;
    let expected = Array::new(&[1, 2, 3], vec![2., 2., 8., 1., 0., 2.]).to(DType::F32);
    trial.close("logits", &logits, &expected, TOLERANCE)?;
    let embed = Array::new(&[1, 2, 2], vec![2., 2., 1., 0.]).to(DType::F32);
    trial.close_each("activation", &cache, &[("hook_embed", embed, TOLERANCE)])
}

/// A model of three tokens and no blocks.
pub(super) fn blockless() -> Model {
    let wte = Array::matrix(&[[1., 0.], [0., 1.], [2., 2.]]);
    Model { weights: Named::from([("wte.weight".to_owned(), wte)]), n_heads: 1 }
}

fn the_stream_adds_up(trial: &mut Trial) -> Outcome {
    for sizes in [WHOLE, BARE] {
        let (model, tokens) = (Model::draw(trial, sizes), tokens(trial, [2, 3], sizes));
        let (_, cache) = ask(trial, &model, &tokens, None, DType::F32)?;
        for layer in 0..sizes.n_layers {
            let mut sum = Array::full(&[2, 3, sizes.d_model], 0.0).to(DType::F32);
            let mut added = vec!["hook_resid_pre", "hook_attn_out"];
            added.extend(sizes.d_mlp.map(|_| "hook_mlp_out"));
            for name in added {
                let value = find(trial, &cache, &format!("blocks.{layer}.{name}"))?;
                trial.has_shape(name, &value, sum.shape())?;
                sum = plus(&sum, &value);
            }
            let name = format!("blocks.{layer}.hook_resid_post");
            let resid_post = find(trial, &cache, &name)?;
            trial.close(&name, &resid_post, &sum, TOLERANCE)?;
        }
    }
    Ok(())
}

fn chosen_names_alone_are_kept(trial: &mut Trial) -> Outcome {
    let (model, tokens) = (Model::draw(trial, WHOLE), tokens(trial, [1, 4], WHOLE));
    let (all_logits, all) = ask(trial, &model, &tokens, None, DType::F32)?;
    for only in [&["blocks.1.attn.hook_pattern", "hook_embed"][..], &[]] {
        let (logits, cache) = ask(trial, &model, &tokens, Some(only), DType::F32)?;
        let surplus = cache.keys().find(|name| !only.contains(&name.as_str()));
        trial.ensure(surplus.is_none(), || {
            let surplus = surplus.map(|name| name.chars().take(40).collect::<String>());
            format!("With `only` = {only:?} the cache has {surplus:?} too.")
        })?;
        let mut list = Vec::new();
        for &name in only {
            list.push((name, find(trial, &all, name)?, TOLERANCE));
        }
        trial.close_each("activation", &cache, &list)?;
        trial.close("logits", &logits, &all_logits, TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (sizes, shape) in [(WHOLE, [2, 4]), (BARE, [1, 1]), (BARE, [3, 2])] {
        let (model, tokens) = (Model::draw(trial, sizes), tokens(trial, shape, sizes));
        let (logits, cache) = model.look(&tokens);
        for dtype in [DType::F64, DType::F32] {
            let laid_out = tokens.laid_out(&[1, 0]);
            let (got, found) = ask(trial, &model, &laid_out, None, dtype)?;
            // Infinite scores have no distance; the pattern shows whether they are.
            let list: Vec<_> = cache
                .iter()
                .filter(|(name, _)| !name.ends_with("hook_attn_scores"))
                .map(|(name, value)| (name.as_str(), value.to(dtype), TOLERANCE))
                .collect();
            trial.close_each("activation", &found, &list)?;
            trial.close("logits", &got, &logits.to(dtype), TOLERANCE)?;
        }
    }
    Ok(())
}

fn unknown_names_are_refused(trial: &mut Trial) -> Outcome {
    let (model, tokens) = (Model::draw(trial, BARE), tokens(trial, [1, 2], BARE));
    for name in ["blocks.3.hook_resid_pre", "blocks.0.hook_mlp_out", "resid_pre"] {
        let only = ["hook_embed", name];
        let case = format!("the model never stops at `{name}`");
        let said = trial.refuses(&case, asked(&model, &tokens, Some(&only), DType::F32))?;
        trial.ensure(said.contains(name), || format!("Its error does not name `{name}`."))?;
    }
    Ok(())
}

fn asked(
    model: &Model,
    tokens: &Array,
    only: Option<&[&str]>,
    dtype: DType,
) -> Vec<(&'static str, Value)> {
    let texts = |only: &[&str]| Value::Texts(only.iter().map(|&name| name.to_owned()).collect());
    let only = only.map_or(Value::None, texts);
    args![model: model.value(dtype), tokens: tokens, only: only]
}

fn ask(
    trial: &mut Trial,
    model: &Model,
    tokens: &Array,
    only: Option<&[&str]>,
    dtype: DType,
) -> Result<(Array, Named), Stop> {
    let values = trial.values(asked(model, tokens, only, dtype))?;
    let [Value::Tensor(logits), cache] = values.as_slice() else {
        return Err(trial.wrong("It did not return logits and named tensors.".to_owned()));
    };
    match (Array::from_raw(logits), from_value(cache)) {
        (Ok(logits), Some(cache)) => Ok((logits, cache)),
        _ => Err(trial.wrong("It did not return logits and named tensors.".to_owned())),
    }
}

fn find(trial: &mut Trial, cache: &Named, name: &str) -> Result<Array, Stop> {
    match cache.get(name) {
        Some(value) => Ok(value.clone()),
        None => Err(trial.wrong(format!("There is no `{name}` in the cache."))),
    }
}
