//! `ablate`: what the model says without one head.

use answer::answer;
use candle_core::{DType as CandleType, Result, Tensor, bail};
use models::{
    Gpt,
    hook::{Hook, Place},
};
use protocol::{DType, Value};

use super::{
    model::{BARE, Model, WHOLE, tokens},
    run_with_cache::TOLERANCE,
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Trial, args, named::Named};

/// The steps of an honest answer, for impostors to spoil one of.
#[derive(Clone, Copy)]
struct Steps {
    is_here: fn(Hook, usize) -> bool,
    /// `z` on the source: its average, and what a resampled head gets.
    mean: fn(&Tensor) -> Result<Tensor>,
    resample: fn(&Tensor) -> Result<Tensor>,
    /// Which numbers of `z` are replaced, of the head in the middle.
    cut: fn(&Tensor, &Tensor, usize) -> Result<Tensor>,
    /// Runs the source, or what it stands for.
    source: fn(&Gpt, &Tensor, &Tensor, usize) -> Result<Tensor>,
    refuses_words: bool,
    refuses_other_batches: bool,
    dtype: Option<CandleType>,
}

const HONEST: Steps = Steps {
    is_here: |hook, layer| hook == Hook::in_block(Place::Z, layer),
    mean: |z| z.mean_keepdim(0),
    resample: |z| Ok(z.clone()),
    cut: by_mask,
    source: |model, _, source, layer| {
        let mut found = None;
        model.forward(source, &mut |hook: Hook, value: Tensor| {
            if hook == Hook::in_block(Place::Z, layer) {
                found = Some(value.clone());
            }
            Ok(value)
        })?;
        found.map_or_else(|| bail!("no `z` in block {layer}"), Ok)
    },
    refuses_words: true,
    refuses_other_batches: true,
    dtype: None,
};

/// `z`, with the head from another tensor, by arithmetic.
fn by_mask(z: &Tensor, other: &Tensor, head: usize) -> Result<Tensor> {
    let mask: Vec<u8> = (0..z.dim(2)?).map(|n| u8::from(n == head)).collect();
    let mask = Tensor::from_vec(mask, (z.dim(2)?, 1), z.device())?.broadcast_as(z.shape())?;
    mask.where_cond(&other.broadcast_as(z.shape())?.contiguous()?, &z.contiguous()?)
}

impl Steps {
    fn run(
        &self,
        model: &Gpt,
        tokens: &Tensor,
        layer: usize,
        head: usize,
        how: &str,
        source: Option<&Tensor>,
    ) -> Result<Tensor> {
        if layer >= model.n_layers() || head >= model.n_heads() {
            bail!("no head {head} in block {layer}");
        }
        let z = || {
            let Some(source) = source else { bail!("no source") };
            if source.dim(1)? != tokens.dim(1)? {
                bail!("{:?} and {:?}", source.dims(), tokens.dims());
            }
            (self.source)(model, tokens, source, layer)
        };
        let other = match how {
            "mean" => Some((self.mean)(&z()?)?),
            "resample" => {
                let z = (self.resample)(&z()?)?;
                if z.dim(0)? != tokens.dim(0)? && self.refuses_other_batches {
                    bail!("{:?} for {:?}", z.dims(), tokens.dims());
                }
                Some(z.narrow(0, 0, tokens.dim(0)?.min(z.dim(0)?))?)
            }
            "zero" => None,
            _ if self.refuses_words => bail!("what is {how}"),
            _ => None,
        };
        let logits = model.forward(tokens, &mut |hook: Hook, value: Tensor| {
            if !(self.is_here)(hook, layer) {
                return Ok(value);
            }
            let other = other.clone().map_or_else(|| value.zeros_like(), Ok)?;
            (self.cut)(&value, &other, head)
        })?;
        match self.dtype {
            Some(dtype) => logits.to_dtype(dtype)?.to_dtype(logits.dtype()),
            None => Ok(logits),
        }
    }
}

macro_rules! ablated {
    ($($slip:tt)*) => {
        answer!(|model: &Gpt, t: &Tensor, l: usize, h: usize, how: &str, s: Option<&Tensor>| {
            const STEPS: Steps = Steps { $($slip)* ..HONEST };
            STEPS.run(model, t, l, h, how, s)
        })
    };
}

pub(super) const ABLATE: Part = Part {
    name: "ablate",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "a_head_without_a_voice_is_not_missed",
            promise: "A head whose rows of `c_proj.weight` are 0 can be ablated in each way, and \
                      no logit changes.",
            kind: Kind::Property,
            run: a_head_without_a_voice_is_not_missed,
        },
        Check {
            name: "a_text_replaces_itself",
            promise: "Resampling a head from the text itself, or from its mean over copies of that \
                      text, changes nothing.",
            kind: Kind::Property,
            run: a_text_replaces_itself,
        },
        Check {
            name: "matches_definition",
            promise: "Zero, mean and resample are what the definition says, for each head.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "what_makes_no_sense_is_refused",
            promise: "Another word, a head or source that is not there, and sources of other \
                      shapes are refused.",
            kind: Kind::Errors,
            run: what_makes_no_sense_is_refused,
        },
    ],
    impostors: IMPOSTORS,
    alternatives: &[Alternative { name: "by_mask", answer: ablated!() }],
};

const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "pattern_in_place_of_z",
        diagnosis: "nothing happens: the edit stands at another block's hook, so the head goes on \
                    as before",
        caught_by: "documented_example",
        answer: ablated!(is_here: |hook, layer| hook == Hook::in_block(Place::Z, layer + 1),),
    },
    Impostor {
        name: "all_heads_at_once",
        diagnosis: "all heads of the block are replaced, so what they do together is blamed on one",
        caught_by: "a_head_without_a_voice_is_not_missed",
        answer: ablated!(cut: |z, other, _| other.broadcast_as(z.shape()),),
    },
    Impostor {
        name: "that_head_in_every_block",
        diagnosis: "the head of that number is replaced in every block",
        caught_by: "a_head_without_a_voice_is_not_missed",
        answer: ablated!(is_here: |hook, _| hook.place == Place::Z,),
    },
    Impostor {
        name: "position_in_place_of_head",
        diagnosis: "axis 1 is cut, which holds positions at this hook; heads stand on axis 2",
        caught_by: "a_head_without_a_voice_is_not_missed",
        answer: ablated!(cut: |z, other, head| {
            let (z, other) = (z.transpose(1, 2)?, other.broadcast_as(z.shape())?.transpose(1, 2)?);
            by_mask(&z, &other, head)?.transpose(1, 2)?.contiguous()
        },),
    },
    Impostor {
        name: "mean_over_positions_too",
        diagnosis: "the mean goes over positions as well as texts, so the head forgets even where \
                    it stands",
        caught_by: "a_text_replaces_itself",
        answer: ablated!(mean: |z| z.mean_keepdim((0, 1)),),
    },
    Impostor {
        name: "mean_over_heads",
        diagnosis: "the mean goes over the heads, not over the texts",
        caught_by: "a_text_replaces_itself",
        answer: ablated!(mean: |z| z.mean_keepdim(2)?.narrow(0, 0, 1),),
    },
    Impostor {
        name: "texts_in_reverse",
        diagnosis: "the sequences of `source` are taken in another order than that of `tokens`",
        caught_by: "a_text_replaces_itself",
        answer: ablated!(resample: |z| {
            let batch = z.dim(0)?;
            let order: Vec<u32> = (0..batch as u32).rev().collect();
            z.contiguous()?.index_select(&Tensor::from_vec(order, batch, z.device())?, 0)
        },),
    },
    Impostor {
        name: "source_not_read",
        diagnosis: "`z` is averaged or resampled from `tokens` itself; `source` is never run",
        caught_by: "matches_definition",
        answer: ablated!(source: |model, text, _, layer| {
            (HONEST.source)(model, text, text, layer)
        },),
    },
    Impostor {
        name: "first_source_alone",
        diagnosis: "the first sequence of `source` stands for the mean of all",
        caught_by: "matches_definition",
        answer: ablated!(mean: |z| z.narrow(0, 0, 1),),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the logits are computed in `f32` whatever the model is",
        caught_by: "matches_definition",
        answer: ablated!(dtype: Some(CandleType::F32),),
    },
    Impostor {
        name: "every_other_word_is_zero",
        diagnosis: "a word that is none of the three ablates by zero; a typing mistake would pass \
                    as a result",
        caught_by: "what_makes_no_sense_is_refused",
        answer: ablated!(refuses_words: false,),
    },
    Impostor {
        name: "sources_stretched_or_cut",
        diagnosis: "another number of sequences in `source` is stretched or cut to fit",
        caught_by: "what_makes_no_sense_is_refused",
        answer: ablated!(refuses_other_batches: false,),
    },
];

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = Named::from([
        ("wte.weight".to_owned(), Array::matrix(&[[1.], [10.]])),
        ("h.0.attn.c_attn.weight".to_owned(), Array::matrix(&[[0., 0., 3.]])),
        ("h.0.attn.c_proj.weight".to_owned(), Array::matrix(&[[2.]])),
    ]);
    let (model, tokens) = (Model { weights, n_heads: 1 }, Array::matrix(&[[0.]]).to(DType::U32));
    let logits = trial.array(asked(&model, &tokens, [0, 0], "zero", None, DType::F32))?;
    let expected = Array::new(&[1, 1, 2], vec![1., 10.]).to(DType::F32);
    trial.close("logits", &logits, &expected, TOLERANCE)
}

fn a_head_without_a_voice_is_not_missed(trial: &mut Trial) -> Outcome {
    let mut model = Model::draw(trial, WHOLE);
    let name = "h.0.attn.c_proj.weight".to_owned();
    let weight = &model.weights[&name];
    let silent = |at: &[usize]| if at[0] < WHOLE.d_head { 0.0 } else { weight.at(at) };
    let silent = Array::from_fn(weight.shape(), silent).to(DType::F32);
    model.weights.insert(name, silent);
    let [tokens, source] = [(); 2].map(|()| tokens(trial, [2, 4], WHOLE));
    let own = model.look(&tokens).0.to(DType::F32);
    for (how, source) in [("zero", None), ("mean", Some(&source)), ("resample", Some(&source))] {
        let logits = trial.array(asked(&model, &tokens, [0, 0], how, source, DType::F32))?;
        trial.close(
            &format!("logits without a silent head, by {how}"),
            &logits,
            &own,
            TOLERANCE,
        )?;
    }
    Ok(())
}

fn a_text_replaces_itself(trial: &mut Trial) -> Outcome {
    let (model, tokens) = (Model::draw(trial, WHOLE), tokens(trial, [2, 4], WHOLE));
    let own = model.look(&tokens).0.to(DType::F32);
    let first = tokens.select(0, &[0]);
    let copies = tokens.select(0, &[0, 0, 0]);
    for head in 0..WHOLE.n_heads {
        let at = [1, head];
        let logits =
            trial.array(asked(&model, &tokens, at, "resample", Some(&tokens), DType::F32))?;
        trial.close("logits, resampled from the text itself", &logits, &own, TOLERANCE)?;
        let logits = trial.array(asked(&model, &first, at, "mean", Some(&copies), DType::F32))?;
        let name = "logits, with the mean over copies of the text";
        trial.close(name, &logits, &own.narrow(0, 0, 1), TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (sizes, layer, shape) in [(WHOLE, 0, [2, 4]), (BARE, 2, [3, 2])] {
        let model = Model::draw(trial, sizes);
        let text = tokens(trial, shape, sizes);
        for head in 0..sizes.n_heads {
            let many = tokens(trial, [4, shape[1]], sizes);
            let same = tokens(trial, shape, sizes);
            for (how, source) in [("zero", None), ("mean", Some(&many)), ("resample", Some(&same))]
            {
                let expected = oracle(&model, &text, [layer, head], how, source);
                for dtype in [DType::F64, DType::F32] {
                    let asked = asked(&model, &text, [layer, head], how, source, dtype);
                    let logits = trial.array(asked)?;
                    let name = format!("logits without head {head} of block {layer}, by {how}");
                    trial.close(&name, &logits, &expected.to(dtype), TOLERANCE)?;
                }
            }
        }
    }
    Ok(())
}

fn what_makes_no_sense_is_refused(trial: &mut Trial) -> Outcome {
    let (model, text) = (Model::draw(trial, BARE), tokens(trial, [2, 3], BARE));
    let [short, single] = [[2, 2], [1, 3]].map(|shape| tokens(trial, shape, BARE));
    let fitting = Some(&text);
    for (case, place, how, source) in [
        ("`how` is `median`", [0, 0], "median", fitting),
        ("the model has 3 blocks", [3, 0], "zero", None),
        ("a block has 3 heads", [0, 3], "zero", None),
        ("`mean` has no `source`", [0, 0], "mean", None),
        ("`source` is shorter than `tokens`", [0, 0], "mean", Some(&short)),
        ("`source` has one sequence for two", [0, 0], "resample", Some(&single)),
    ] {
        trial.refuses(case, asked(&model, &text, place, how, source, DType::F32))?;
    }
    Ok(())
}

fn asked(
    model: &Model,
    tokens: &Array,
    [layer, head]: [usize; 2],
    how: &str,
    source: Option<&Array>,
    dtype: DType,
) -> Vec<(&'static str, Value)> {
    args![
        model: model.value(dtype),
        tokens: &tokens.laid_out(&[1, 0]),
        layer: layer,
        head: head,
        how: Value::Text(how.to_owned()),
        source: source.map_or(Value::None, Value::from),
    ]
}

fn oracle(
    model: &Model,
    tokens: &Array,
    [layer, head]: [usize; 2],
    how: &str,
    source: Option<&Array>,
) -> Array {
    let name = format!("blocks.{layer}.attn.hook_z");
    let of_source = source.map(|source| model.look(source).1[&name].clone());
    model.run(tokens, &mut |hook, z| {
        if hook != name {
            return z;
        }
        Array::from_fn(z.shape(), |at| match &of_source {
            _ if at[2] != head => z.at(at),
            None => 0.0,
            Some(other) if how == "resample" => other.at(at),
            Some(other) => {
                let texts = 0..other.dim(0);
                let sum: f64 = texts.clone().map(|n| other.at(&[n, at[1], at[2], at[3]])).sum();
                sum / texts.len() as f64
            }
        })
    })
}
