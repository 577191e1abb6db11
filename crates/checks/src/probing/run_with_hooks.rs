//! `run_with_hooks`: what the model says if values are changed on the way.

use answer::{Weights, answer};
use candle_core::{DType as CandleType, Result, Tensor, bail};
use models::{Gpt, hook::Hook};
use protocol::{DType, Value};

use super::{
    model::{BARE, Model, WHOLE, tokens},
    run_with_cache::{TOLERANCE, blockless},
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Trial, args,
    named::{Named, to_value},
};

pub(super) const RUN_WITH_HOOKS: Part = Part {
    name: "run_with_hooks",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "edits_that_change_nothing_change_nothing",
            promise: "Without edits, and with edits that return what they get, the logits are the \
                      model's own.",
            kind: Kind::Property,
            run: edits_that_change_nothing_change_nothing,
        },
        Check {
            name: "values_of_another_text_bring_its_logits",
            promise: "With the stream of another text put into any one block, the logits are those \
                      of that text.",
            kind: Kind::Property,
            run: values_of_another_text_bring_its_logits,
        },
        Check {
            name: "matches_definition",
            promise: "What stands behind an edit is computed from what the edit left, for edits at \
                      several hooks and several edits at one.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "unknown_hooks_are_refused",
            promise: "An edit at a hook where the model never stops is refused, and named.",
            kind: Kind::Errors,
            run: unknown_hooks_are_refused,
        },
    ],
    impostors: IMPOSTORS,
    alternatives: &[Alternative {
        name: "by_name_and_bucket",
        answer: answer!(|m: &Gpt, t: &Tensor, n: &[String], f: &Tensor, s: &Weights| {
            by_bucket(m, t, &edits(n, f, s)?)
        }),
    }],
};

/// `x → factor · x + shift` at one hook.
struct Edit<'a> {
    hook: Hook,
    factor: f64,
    shift: Option<&'a Tensor>,
}

impl Edit<'_> {
    fn on(&self, value: &Tensor) -> Result<Tensor> {
        let scaled = value.affine(self.factor, 0.0)?;
        self.shift.map_or_else(|| Ok(scaled.clone()), |shift| scaled.broadcast_add(shift))
    }
}

fn edits<'a>(names: &[String], factors: &Tensor, shifts: &'a Weights) -> Result<Vec<Edit<'a>>> {
    let factors = factors.to_vec1::<f64>()?;
    let edit = |(n, (name, factor)): (usize, (&String, f64))| {
        Ok(Edit { hook: name.parse()?, factor, shift: shifts.find(&n.to_string()) })
    };
    names.iter().zip(factors).enumerate().map(edit).collect()
}

/// The steps of an honest answer, for impostors to spoil one of.
#[derive(Clone, Copy)]
struct Steps {
    fits: fn(&Edit, Hook) -> bool,
    /// All edits of a hook on its value.
    change: fn(&[&Edit], Tensor) -> Result<Tensor>,
    untouched: fn(Tensor) -> Result<Tensor>,
    refuses: bool,
}

const HONEST: Steps = Steps {
    fits: |edit, hook| edit.hook == hook,
    change: |edits, value| edits.iter().try_fold(value, |value, edit| edit.on(&value)),
    untouched: Ok,
    refuses: true,
};

impl Steps {
    fn run(&self, model: &Gpt, tokens: &Tensor, edits: &[Edit]) -> Result<Tensor> {
        let mut seen = Vec::new();
        let logits = model.forward(tokens, &mut |hook: Hook, value: Tensor| {
            seen.push(hook);
            let here: Vec<&Edit> = edits.iter().filter(|edit| (self.fits)(edit, hook)).collect();
            if here.is_empty() { (self.untouched)(value) } else { (self.change)(&here, value) }
        })?;
        match edits.iter().find(|edit| self.refuses && !seen.contains(&edit.hook)) {
            Some(edit) => bail!("there is no `{}`", edit.hook),
            None => Ok(logits),
        }
    }
}

macro_rules! edited {
    ($($slip:tt)*) => {
        answer!(|m: &Gpt, t: &Tensor, n: &[String], f: &Tensor, s: &Weights| {
            const STEPS: Steps = Steps { $($slip)*, ..HONEST };
            STEPS.run(m, t, &edits(n, f, s)?)
        })
    };
}

const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "last_edit_first",
        diagnosis: "the edits of a hook happen in the reverse order",
        caught_by: "documented_example",
        answer: edited!(change: |edits, value| {
            edits.iter().rev().try_fold(value, |value, edit| edit.on(&value))
        }),
    },
    Impostor {
        name: "last_edit_alone",
        diagnosis: "of several edits at one hook only the last counts, as in a map by name",
        caught_by: "documented_example",
        answer: edited!(change: |edits, value| edits[edits.len() - 1].on(&value)),
    },
    Impostor {
        name: "first_edit_alone",
        diagnosis: "the search ends at the first edit of a hook, and the others never happen",
        caught_by: "documented_example",
        answer: edited!(change: |edits, value| edits[0].on(&value)),
    },
    Impostor {
        name: "result_dropped",
        diagnosis: "the edits run, but the model goes on with the value that it had",
        caught_by: "documented_example",
        answer: edited!(change: |_, value| Ok(value)),
    },
    Impostor {
        name: "zeros_where_no_edit_is",
        diagnosis: "where there is no edit the model gets zeros; it must get its own value back",
        caught_by: "edits_that_change_nothing_change_nothing",
        answer: edited!(untouched: |value| value.zeros_like()),
    },
    Impostor {
        name: "every_block_edited",
        diagnosis: "an edit happens in every block; only the place is compared, not the layer",
        caught_by: "values_of_another_text_bring_its_logits",
        answer: edited!(fits: |edit, hook| edit.hook.place == hook.place),
    },
    Impostor {
        name: "edits_of_clean_values",
        diagnosis: "each edit gets the value of a run without edits, so edits further back do not \
                    reach it",
        caught_by: "matches_definition",
        answer: answer!(|m: &Gpt, t: &Tensor, n: &[String], f: &Tensor, s: &Weights| {
            of_clean_values(m, t, &edits(n, f, s)?)
        }),
    },
    Impostor {
        name: "edited_in_f32",
        diagnosis: "edited values come back in `f32` precision whatever the model computes in",
        caught_by: "matches_definition",
        answer: edited!(change: |edits, value| {
            let edited = (HONEST.change)(edits, value)?;
            edited.to_dtype(CandleType::F32)?.to_dtype(edited.dtype())
        }),
    },
    Impostor {
        name: "unknown_hooks_pass",
        diagnosis: "an edit whose hook never comes is passed over, and the result looks as if it \
                    had no effect",
        caught_by: "unknown_hooks_are_refused",
        answer: edited!(refuses: false),
    },
];

/// Edits what a run without edits had, at each hook.
fn of_clean_values(model: &Gpt, tokens: &Tensor, edits: &[Edit]) -> Result<Tensor> {
    let mut clean = Vec::new();
    model.forward(tokens, &mut |_: Hook, value: Tensor| {
        clean.push(value.clone());
        Ok(value)
    })?;
    let mut clean = clean.into_iter();
    let mut seen = Vec::new();
    let logits = model.forward(tokens, &mut |hook: Hook, value: Tensor| {
        seen.push(hook);
        let clean = clean.next().unwrap_or_else(|| value.clone());
        let here: Vec<&Edit> = edits.iter().filter(|edit| edit.hook == hook).collect();
        if here.is_empty() { Ok(value) } else { (HONEST.change)(&here, clean) }
    })?;
    match edits.iter().find(|edit| !seen.contains(&edit.hook)) {
        Some(edit) => bail!("there is no `{}`", edit.hook),
        None => Ok(logits),
    }
}

/// Sorts the edits by hook first, and takes each bucket out when its hook comes.
fn by_bucket(model: &Gpt, tokens: &Tensor, edits: &[Edit]) -> Result<Tensor> {
    let mut buckets = std::collections::BTreeMap::<String, Vec<&Edit>>::new();
    for edit in edits {
        buckets.entry(edit.hook.to_string()).or_default().push(edit);
    }
    let logits = model.forward(tokens, &mut |hook: Hook, mut value: Tensor| {
        for edit in buckets.remove(&hook.to_string()).unwrap_or_default() {
            value = (value * edit.factor)?;
            if let Some(shift) = edit.shift {
                value = value.broadcast_add(shift)?;
            }
        }
        Ok(value)
    })?;
    match buckets.keys().next() {
        Some(name) => bail!("`{name}` never came"),
        None => Ok(logits),
    }
}

/// An edit as it is asked for: hook, factor, and perhaps a shift.
type Asked<'a> = (&'a str, f64, Option<Array>);

fn documented_example(trial: &mut Trial) -> Outcome {
    let tokens = Array::matrix(&[[0.]]).to(DType::U32);
    let shift = Array::new(&[1, 1, 2], vec![0., 1.]);
    let edits = [("hook_embed", 2.0, None), ("hook_embed", 1.0, Some(shift))];
    let logits = trial.array(asked(&blockless(), &tokens, &edits, DType::F32))?;
    let expected = Array::new(&[1, 1, 3], vec![2., 1., 6.]).to(DType::F32);
    trial.close("logits", &logits, &expected, TOLERANCE)
}

fn edits_that_change_nothing_change_nothing(trial: &mut Trial) -> Outcome {
    let (model, tokens) = (Model::draw(trial, WHOLE), tokens(trial, [2, 3], WHOLE));
    let (own, cache) = model.look(&tokens);
    let all: Vec<Asked> = cache.keys().map(|name| (name.as_str(), 1.0, None)).collect();
    for edits in [&[][..], &all] {
        let logits = trial.array(asked(&model, &tokens, edits, DType::F32))?;
        let name = format!("logits with {} edits that change nothing", edits.len());
        trial.close(&name, &logits, &own.to(DType::F32), TOLERANCE)?;
    }
    Ok(())
}

fn values_of_another_text_bring_its_logits(trial: &mut Trial) -> Outcome {
    let model = Model::draw(trial, WHOLE);
    let [one, other] = [(); 2].map(|()| tokens(trial, [1, 3], WHOLE));
    let (logits_of_other, cache) = model.look(&other);
    for layer in 0..WHOLE.n_layers {
        let name = format!("blocks.{layer}.hook_resid_pre");
        let edits = [(name.as_str(), 0.0, Some(cache[&name].clone()))];
        let logits = trial.array(asked(&model, &one, &edits, DType::F32))?;
        let name = format!("logits with the stream of another text in block {layer}");
        trial.close(&name, &logits, &logits_of_other.to(DType::F32), TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let places: [&[(&str, f64)]; 3] = [
        &[("blocks.0.attn.hook_z", 0.5), ("blocks.1.attn.hook_pattern", 2.0)],
        &[("blocks.1.attn.hook_v", -1.0), ("hook_embed", 1.5), ("hook_embed", 0.5)],
        &[("blocks.0.hook_attn_out", 0.0)],
    ];
    for (sizes, places) in [WHOLE, BARE, WHOLE].into_iter().zip(places) {
        let (model, tokens) = (Model::draw(trial, sizes), tokens(trial, [2, 3], sizes));
        let (_, cache) = model.look(&tokens);
        let edits: Vec<Asked> = places
            .iter()
            .map(|&(name, factor)| {
                (name, factor, Some(trial.rng.normal_array(cache[name].shape())))
            })
            .collect();
        let expected = model.run(&tokens, &mut |hook, value| {
            let here = edits.iter().filter(|(name, ..)| *name == hook);
            here.fold(value, |value, (_, factor, shift)| match shift {
                Some(shift) => value.zip_map(shift, |value, shift| factor * value + shift),
                None => value.map(|value| factor * value),
            })
        });
        for dtype in [DType::F64, DType::F32] {
            let laid_out = tokens.laid_out(&[1, 0]);
            let logits = trial.array(asked(&model, &laid_out, &edits, dtype))?;
            trial.close("logits", &logits, &expected.to(dtype), TOLERANCE)?;
        }
    }
    Ok(())
}

fn unknown_hooks_are_refused(trial: &mut Trial) -> Outcome {
    let (model, tokens) = (Model::draw(trial, BARE), tokens(trial, [1, 2], BARE));
    for name in ["blocks.3.hook_resid_pre", "blocks.0.hook_mlp_out", "ln_final.hook_scale"] {
        let edits = [("hook_embed", 1.0, None), (name, 1.0, None)];
        let case = format!("the model has no `{name}`");
        let said = trial.refuses(&case, asked(&model, &tokens, &edits, DType::F32))?;
        trial.ensure(said.contains(name), || format!("Its error does not name `{name}`."))?;
    }
    Ok(())
}

fn asked(
    model: &Model,
    tokens: &Array,
    edits: &[Asked],
    dtype: DType,
) -> Vec<(&'static str, Value)> {
    let names = edits.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let factors = Array::vector(&edits.iter().map(|edit| edit.1).collect::<Vec<_>>());
    let shift = |(n, edit): (usize, &Asked)| Some((n.to_string(), edit.2.as_ref()?.to(dtype)));
    let shifts: Named = edits.iter().enumerate().filter_map(shift).collect();
    args![
        model: model.value(dtype),
        tokens: tokens,
        names: Value::Texts(names),
        factors: &factors,
        shifts: to_value(&shifts),
    ]
}
