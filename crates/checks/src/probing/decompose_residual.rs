//! `decompose_residual`: the stream before a block as the sum of all that was added to it.

use answer::{Weights, answer};
use candle_core::{DType as CandleType, Result as CandleResult, Tensor, bail};
use models::Gpt;
use protocol::{DType, Value};

use super::{
    model::{BARE, Model, WHOLE, cache_value, tokens},
    run_with_cache::TOLERANCE,
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Trial, args, named::Named,
};

macro_rules! decomposed {
    ($($slip:tt)*) => {
        answer!(|model: &Gpt, cache: &Weights, layer: usize| {
            const STEPS: Steps = Steps { $($slip)* ..HONEST };
            STEPS.run(model, cache, layer)
        })
    };
}

pub(super) const DECOMPOSE_RESIDUAL: Part = Part {
    name: "decompose_residual",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "components_sum_to_the_stream",
            promise: "The components sum to the cached residual stream, at every depth.",
            kind: Kind::Property,
            run: components_sum_to_the_stream,
        },
        Check {
            name: "a_silent_head_adds_nothing",
            promise: "A head whose `z` is 0 adds 0, and changes what no other head adds.",
            kind: Kind::Property,
            run: a_silent_head_adds_nothing,
        },
        Check {
            name: "matches_definition",
            promise: "Labels and components are what the definition says, with positions, biases \
                      and MLPs and without.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "what_is_not_there_is_refused",
            promise: "A block behind the last, and a cache that lacks something, are refused.",
            kind: Kind::Errors,
            run: what_is_not_there_is_refused,
        },
    ],
    impostors: IMPOSTORS,
    alternatives: &[Alternative { name: "by_masked_heads", answer: decomposed!() }],
};

/// Labels and what they stand for.
type Parts = Vec<Labelled>;

/// A component and its label.
type Labelled = (String, Tensor);

/// The steps of an honest answer, for impostors to spoil one of.
#[derive(Clone, Copy)]
struct Steps {
    positions: bool,
    mlps: bool,
    /// The blocks that are taken apart.
    blocks: fn(usize, usize) -> std::ops::Range<usize>,
    head: fn(&Tensor, &Tensor, usize) -> CandleResult<Tensor>,
    /// What becomes of a block's heads, given its bias and `attn_out`.
    heads: fn(Parts, Option<Labelled>, &Tensor) -> CandleResult<Parts>,
    refuses: bool,
    dtype: Option<CandleType>,
}

const HONEST: Steps = Steps {
    positions: true,
    mlps: true,
    blocks: |layer, _| 0..layer,
    head: masked,
    heads: |mut heads, bias, _| {
        heads.extend(bias);
        Ok(heads)
    },
    refuses: true,
    dtype: None,
};

/// All heads through the whole matrix, with every other head at 0.
fn masked(z: &Tensor, weight: &Tensor, head: usize) -> CandleResult<Tensor> {
    let (batch, seq, n_heads, d_head) = z.dims4()?;
    let mask: Vec<f64> = (0..n_heads).map(|other| f64::from(u8::from(other == head))).collect();
    let mask = Tensor::from_vec(mask, (n_heads, 1), z.device())?.to_dtype(z.dtype())?;
    let z = z.broadcast_mul(&mask)?.reshape((batch * seq, n_heads * d_head))?;
    z.matmul(weight)?.reshape((batch, seq, ()))
}

impl Steps {
    fn run(
        &self,
        model: &Gpt,
        cache: &Weights,
        layer: usize,
    ) -> CandleResult<(Vec<String>, Tensor)> {
        let has = |name: &str| model.weights().find(name);
        if self.refuses && layer > model.n_layers() {
            bail!("there is no block {layer}");
        }
        let mut parts = vec![("embed".to_owned(), cache.get("hook_embed")?.clone())];
        if has("wpe.weight").is_some() && self.positions {
            parts.push(("pos_embed".to_owned(), cache.get("hook_pos_embed")?.clone()));
        }
        for block in (self.blocks)(layer, model.n_layers()) {
            let z = cache.get(&format!("blocks.{block}.attn.hook_z"))?;
            let weight = model.weights().get(&format!("h.{block}.attn.c_proj.weight"))?;
            let head = |head| Ok((format!("L{block}H{head}"), (self.head)(z, weight, head)?));
            let heads = (0..z.dim(2)?).map(head).collect::<CandleResult<Parts>>()?;
            let bias = has(&format!("h.{block}.attn.c_proj.bias"));
            let bias = bias.map(|bias| bias.broadcast_as(parts[0].1.shape())).transpose()?;
            let bias = bias.map(|bias| (format!("{block}_attn_bias"), bias));
            let attn_out = cache.get(&format!("blocks.{block}.hook_attn_out"))?;
            parts.extend((self.heads)(heads, bias, attn_out)?);
            if has(&format!("h.{block}.mlp.c_fc.weight")).is_some() && self.mlps {
                let mlp_out = cache.get(&format!("blocks.{block}.hook_mlp_out"))?;
                parts.push((format!("{block}_mlp_out"), mlp_out.clone()));
            }
        }
        let (labels, tensors): (Vec<String>, Vec<Tensor>) = parts.into_iter().unzip();
        let stack = Tensor::stack(&tensors, 0)?;
        match self.dtype {
            Some(dtype) => Ok((labels, stack.to_dtype(dtype)?.to_dtype(stack.dtype())?)),
            None => Ok((labels, stack)),
        }
    }
}

const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "biases_forgotten",
        diagnosis: "the bias of attention is left out; no head adds it, but it is in the stream",
        caught_by: "documented_example",
        answer: decomposed!(heads: |heads, _, _| Ok(heads),),
    },
    Impostor {
        name: "bias_given_to_the_last_head",
        diagnosis: "the bias of attention is counted to a head, which then seems to add something \
                    on every text",
        caught_by: "documented_example",
        answer: decomposed!(heads: |mut heads, bias, _| {
            if let (Some((_, bias)), Some((_, last))) = (bias, heads.last_mut()) {
                *last = (&*last + bias)?;
            }
            Ok(heads)
        },),
    },
    Impostor {
        name: "attention_as_one",
        diagnosis: "attention is one component for all heads of a block; each head adds by itself",
        caught_by: "documented_example",
        answer: decomposed!(heads: |heads, _, attn_out| {
            Ok(heads.into_iter().take(1).map(|(name, _)| (name, attn_out.clone())).collect())
        },),
    },
    Impostor {
        name: "block_short",
        diagnosis: "off by one: the last block before `layer` is left out",
        caught_by: "documented_example",
        answer: decomposed!(blocks: |layer, _| 0..layer.saturating_sub(1),),
    },
    Impostor {
        name: "positions_forgotten",
        diagnosis: "the embeddings of positions are left out",
        caught_by: "components_sum_to_the_stream",
        answer: decomposed!(positions: false,),
    },
    Impostor {
        name: "mlps_forgotten",
        diagnosis: "what the MLPs add is left out",
        caught_by: "components_sum_to_the_stream",
        answer: decomposed!(mlps: false,),
    },
    Impostor {
        name: "every_nth_row",
        diagnosis: "a head takes every n-th row of `c_proj.weight`; its rows stand together",
        caught_by: "components_sum_to_the_stream",
        answer: decomposed!(head: |z, weight, head| {
            let (batch, seq, n_heads, d_head) = z.dims4()?;
            let rows: Vec<u32> = (0..d_head).map(|d| (d * n_heads + head) as u32).collect();
            let rows = Tensor::from_vec(rows, d_head, z.device())?;
            let z = z.narrow(2, head, 1)?.reshape((batch * seq, d_head))?;
            z.matmul(&weight.index_select(&rows, 0)?)?.reshape((batch, seq, ()))
        },),
    },
    Impostor {
        name: "last_head_gets_the_rest",
        diagnosis: "the last head is what is left of `attn_out` after the others, so every error \
                    of theirs is hidden in it",
        caught_by: "a_silent_head_adds_nothing",
        answer: decomposed!(heads: |mut heads, bias, attn_out| {
            let mut rest = attn_out.clone();
            if let Some((_, bias)) = &bias {
                rest = (rest - bias)?;
            }
            let last = heads.len() - 1;
            for (_, other) in &heads[..last] {
                rest = (rest - other)?;
            }
            heads[last].1 = rest;
            heads.extend(bias);
            Ok(heads)
        },),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the components are computed in `f32` whatever the cache holds",
        caught_by: "matches_definition",
        answer: decomposed!(dtype: Some(CandleType::F32),),
    },
    Impostor {
        name: "more_blocks_than_there_are",
        diagnosis: "a `layer` behind the last block gives the end of the model without a word",
        caught_by: "what_is_not_there_is_refused",
        answer: decomposed!(blocks: |layer, n_layers| 0..layer.min(n_layers), refuses: false,),
    },
];

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = Named::from([
        ("wte.weight".to_owned(), Array::matrix(&[[1., 1.]])),
        ("h.0.attn.c_attn.weight".to_owned(), Array::full(&[2, 6], 0.0)),
        ("h.0.attn.c_proj.weight".to_owned(), Array::matrix(&[[10., 0.], [0., 100.]])),
        ("h.0.attn.c_proj.bias".to_owned(), Array::vector(&[0., 7.])),
    ]);
    let model = Model { weights, n_heads: 2 };
    let vector = |values: [f64; 2]| Array::new(&[1, 1, 2], values.to_vec());
    let cache = Named::from([
        ("hook_embed".to_owned(), vector([1., 1.])),
        ("blocks.0.attn.hook_z".to_owned(), Array::new(&[1, 1, 2, 1], vec![2., 3.])),
        ("blocks.0.hook_attn_out".to_owned(), vector([20., 307.])),
        ("blocks.0.hook_resid_pre".to_owned(), vector([1., 1.])),
        ("blocks.0.hook_resid_post".to_owned(), vector([21., 308.])),
    ]);
    let expected = Array::new(&[4, 1, 1, 2], vec![1., 1., 20., 0., 0., 300., 0., 7.]);
    let (labels, parts) = ask(trial, &model, &cache, 1, DType::F32)?;
    same_labels(trial, &labels, &["embed", "L0H0", "L0H1", "0_attn_bias"].map(str::to_owned))?;
    trial.close("components", &parts, &expected.to(DType::F32), TOLERANCE)
}

fn components_sum_to_the_stream(trial: &mut Trial) -> Outcome {
    for sizes in [WHOLE, BARE] {
        let (model, tokens) = (Model::draw(trial, sizes), tokens(trial, [2, 3], sizes));
        let (_, cache) = model.look(&tokens);
        for layer in 0..=sizes.n_layers {
            let (_, parts) = ask(trial, &model, &cache, layer, DType::F32)?;
            let n_parts = parts.shape().first().copied().unwrap_or(0);
            trial.has_shape("components", &parts, &[n_parts, 2, 3, sizes.d_model])?;
            let sum = Array::from_fn(&[2, 3, sizes.d_model], |at| {
                (0..n_parts).map(|n| parts.at(&[n, at[0], at[1], at[2]])).sum()
            });
            let stream = match layer.checked_sub(1) {
                None => &cache["blocks.0.hook_resid_pre"],
                Some(last) => &cache[&format!("blocks.{last}.hook_resid_post")],
            };
            let name = format!("sum of the components before block {layer}");
            trial.close(&name, &sum.to(DType::F32), &stream.to(DType::F32), TOLERANCE)?;
        }
    }
    Ok(())
}

fn a_silent_head_adds_nothing(trial: &mut Trial) -> Outcome {
    let (model, tokens) = (Model::draw(trial, WHOLE), tokens(trial, [1, 3], WHOLE));
    let (_, cache) = model.look(&tokens);
    let (labels, before) = ask(trial, &model, &cache, 2, DType::F32)?;
    for head in 0..WHOLE.n_heads {
        let mut silent = cache.clone();
        let z = &cache["blocks.1.attn.hook_z"];
        let without = |at: &[usize]| if at[2] == head { 0.0 } else { z.at(at) };
        silent.insert("blocks.1.attn.hook_z".to_owned(), Array::from_fn(z.shape(), without));
        let (_, after) = ask(trial, &model, &silent, 2, DType::F32)?;
        let label = format!("L1H{head}");
        let expected = Array::from_fn(before.shape(), |at| {
            if labels.get(at[0]) == Some(&label) { 0.0 } else { before.at(at) }
        });
        let name = format!("components with `z` of {label} at 0");
        trial.close(&name, &after, &expected.to(DType::F32), TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (sizes, layer, shape) in [(WHOLE, 2, [2, 4]), (BARE, 2, [1, 1]), (BARE, 3, [3, 2])] {
        let (model, tokens) = (Model::draw(trial, sizes), tokens(trial, shape, sizes));
        let (_, cache) = model.look(&tokens);
        let (names, expected) = decompose(&model, &cache, layer);
        for dtype in [DType::F64, DType::F32] {
            let (labels, parts) = ask(trial, &model, &cache, layer, dtype)?;
            same_labels(trial, &labels, &names)?;
            trial.close("components", &parts, &expected.to(dtype), TOLERANCE)?;
        }
    }
    Ok(())
}

fn what_is_not_there_is_refused(trial: &mut Trial) -> Outcome {
    let (model, tokens) = (Model::draw(trial, BARE), tokens(trial, [1, 2], BARE));
    let (_, mut cache) = model.look(&tokens);
    let case = "`layer` is 4 and the model has 3 blocks";
    trial.refuses(case, asked(&model, &cache, 4, DType::F32))?;
    cache.remove("blocks.1.attn.hook_z");
    trial.refuses("`z` of block 1 is not there", asked(&model, &cache, 3, DType::F32))?;
    Ok(())
}

fn same_labels(trial: &mut Trial, got: &[String], expected: &[String]) -> Outcome {
    trial.ensure(got == expected, || {
        let got: Vec<String> =
            got.iter().take(24).map(|label| label.chars().take(24).collect()).collect();
        format!("The labels are {got:?}; expected {expected:?}.")
    })
}

fn asked(model: &Model, cache: &Named, layer: usize, dtype: DType) -> Vec<(&'static str, Value)> {
    args![model: model.value(dtype), cache: cache_value(cache, dtype), layer: layer]
}

fn ask(
    trial: &mut Trial,
    model: &Model,
    cache: &Named,
    layer: usize,
    dtype: DType,
) -> Result<(Vec<String>, Array), Stop> {
    let values = trial.values(asked(model, cache, layer, dtype))?;
    match values.as_slice() {
        [Value::Texts(labels), Value::Tensor(parts)] => match Array::from_raw(parts) {
            Ok(parts) => Ok((labels.clone(), parts)),
            Err(error) => Err(trial.wrong(format!("{error}."))),
        },
        _ => Err(trial.wrong("It did not return labels and a tensor.".to_owned())),
    }
}

/// The components by the definition.
pub(super) fn decompose(model: &Model, cache: &Named, layer: usize) -> (Vec<String>, Array) {
    let mut parts = vec![("embed".to_owned(), cache["hook_embed"].clone())];
    if let Some(positions) = cache.get("hook_pos_embed") {
        parts.push(("pos_embed".to_owned(), positions.clone()));
    }
    let shape = parts[0].1.shape().to_vec();
    for block in 0..layer {
        let z = &cache[&format!("blocks.{block}.attn.hook_z")];
        let weight = &model.weights[&format!("h.{block}.attn.c_proj.weight")];
        for head in 0..model.n_heads {
            let d_head = z.dim(3);
            let adds = Array::from_fn(&shape, |at| {
                let product =
                    |d| z.at(&[at[0], at[1], head, d]) * weight.at(&[head * d_head + d, at[2]]);
                (0..d_head).map(product).sum()
            });
            parts.push((format!("L{block}H{head}"), adds));
        }
        if let Some(bias) = model.weights.get(&format!("h.{block}.attn.c_proj.bias")) {
            let bias = Array::from_fn(&shape, |at| bias.at(&at[2..]));
            parts.push((format!("{block}_attn_bias"), bias));
        }
        if let Some(mlp_out) = cache.get(&format!("blocks.{block}.hook_mlp_out")) {
            parts.push((format!("{block}_mlp_out"), mlp_out.clone()));
        }
    }
    let (labels, arrays): (Vec<String>, Vec<Array>) = parts.into_iter().unzip();
    let values = arrays.iter().flat_map(|array| array.values().iter().copied()).collect();
    let shape = [&[arrays.len()][..], &shape].concat();
    (labels, Array::new(&shape, values))
}
