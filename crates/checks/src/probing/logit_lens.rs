//! `logit_lens`: what the stream would say if the model ended there.

use answer::{Weights, answer};
use candle_core::{D, DType as CandleType, Result, Tensor, bail};
use models::Gpt;
use pictures::Guess;
use protocol::{DType, Value};

use super::{
    model::{BARE, Model, WHOLE, cache_value, deviations, scaled, tokens},
    run_with_cache::TOLERANCE,
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Trial, args,
    data::{self, Trained},
    named::Named,
};

/// The steps of an honest answer, for impostors to spoil one of.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each step is done or left out")]
struct Steps {
    /// The hooks that are read, for so many blocks.
    hooks: fn(usize) -> Vec<String>,
    /// What each stream is divided by, given its own deviation and that of the end.
    scale: fn(Tensor, &Weights) -> Result<Tensor>,
    has_norm: bool,
    has_weight: bool,
    has_bias: bool,
    eps_and_divisor: (f64, usize),
    unembed: fn(&Gpt) -> Result<&Tensor>,
    finish: fn(Tensor) -> Result<Tensor>,
    refuses: bool,
}

const HONEST: Steps = Steps {
    hooks: |n_layers| {
        let mut hooks = vec!["blocks.0.hook_resid_pre".to_owned()];
        hooks.extend((0..n_layers).map(|layer| format!("blocks.{layer}.hook_resid_post")));
        hooks
    },
    scale: |own, _| Ok(own),
    has_norm: true,
    has_weight: true,
    has_bias: true,
    eps_and_divisor: (1e-5, 0),
    unembed: |model| {
        let lm_head = model.weights().find("lm_head.weight");
        lm_head.map_or_else(|| model.weights().get("wte.weight"), Ok)
    },
    finish: Ok,
    refuses: true,
};

impl Steps {
    fn run(&self, model: &Gpt, cache: &Weights) -> Result<Tensor> {
        let mut logits = Vec::new();
        for hook in (self.hooks)(model.n_layers()) {
            if let Some(resid) = cache.find(&hook) {
                logits.push(self.read(model, cache, resid)?);
            } else if self.refuses {
                bail!("no `{hook}`");
            }
        }
        (self.finish)(Tensor::stack(&logits, 0)?)
    }

    fn read(&self, model: &Gpt, cache: &Weights, resid: &Tensor) -> Result<Tensor> {
        let mut x = resid.clone();
        if let Some(weight) = model.weights().find("ln_f.weight").filter(|_| self.has_norm) {
            let (eps, less) = self.eps_and_divisor;
            let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
            let divisor = (x.dim(D::Minus1)? - less) as f64;
            let variance = (centred.sqr()?.sum_keepdim(D::Minus1)? / divisor)?;
            let scale = (self.scale)((variance + eps)?.sqrt()?, cache)?;
            x = centred.broadcast_div(&scale)?;
            if self.has_weight {
                x = x.broadcast_mul(weight)?;
            }
            if let Some(bias) = model.weights().find("ln_f.bias").filter(|_| self.has_bias) {
                x = x.broadcast_add(bias)?;
            }
        }
        let (batch, seq, _) = x.dims3()?;
        let table = (self.unembed)(model)?;
        let table = table.unsqueeze(0)?.broadcast_as((batch, table.dim(0)?, table.dim(1)?))?;
        x.contiguous()?.matmul(&table.t()?.contiguous()?)?.reshape((batch, seq, ()))
    }
}

macro_rules! read {
    ($($slip:tt)*) => {
        answer!(|model: &Gpt, cache: &Weights| {
            const STEPS: Steps = Steps { $($slip)* ..HONEST };
            STEPS.run(model, cache)
        })
    };
}

pub(super) const LOGIT_LENS: Part = Part {
    name: "logit_lens",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "last_entry_is_what_the_model_says",
            promise: "The last entry is the model's own logits, with a last norm and without; of a \
                      GPT that we trained, too.",
            kind: Kind::Property,
            run: last_entry_is_what_the_model_says,
        },
        Check {
            name: "length_of_a_stream_does_not_matter",
            promise: "A stream a hundred times as long reads the same behind the last norm, since \
                      each is normed by itself.",
            kind: Kind::Property,
            run: length_of_a_stream_does_not_matter,
        },
        Check {
            name: "matches_definition",
            promise: "Every entry is what the definition says, tied and untied, with a norm and \
                      without.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "a_missing_stream_is_refused",
            promise: "A cache without one of the streams is refused.",
            kind: Kind::Errors,
            run: a_missing_stream_is_refused,
        },
    ],
    impostors: IMPOSTORS,
    alternatives: &[Alternative { name: "block_by_block", answer: read!() }],
};

const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "embedding_for_unembedding",
        diagnosis: "the streams are compared with `wte.weight` though there is an `lm_head.weight`",
        caught_by: "documented_example",
        answer: read!(unembed: |model| model.weights().get("wte.weight"),),
    },
    Impostor {
        name: "start_left_out",
        diagnosis: "the stream before the first block is left out: there is one more stream than \
                    blocks",
        caught_by: "documented_example",
        answer: read!(hooks: |n_layers| (HONEST.hooks)(n_layers).split_off(1),),
    },
    Impostor {
        name: "end_left_out",
        diagnosis: "the stream behind the last block is left out: there is one more stream than \
                    blocks",
        caught_by: "documented_example",
        answer: read!(hooks: |n_layers| {
            let mut hooks = (HONEST.hooks)(n_layers);
            hooks.truncate(n_layers);
            hooks
        },),
    },
    Impostor {
        name: "from_the_end",
        diagnosis: "the depths come in reverse, the end first",
        caught_by: "documented_example",
        answer: read!(hooks: |n_layers| (HONEST.hooks)(n_layers).into_iter().rev().collect(),),
    },
    Impostor {
        name: "softmax_taken",
        diagnosis: "a softmax is taken; the entries are logits",
        caught_by: "documented_example",
        answer: read!(finish: |logits| candle_nn::ops::softmax(&logits, D::Minus1),),
    },
    Impostor {
        name: "no_last_norm",
        diagnosis: "the last norm is not applied, though the unembedding expects what it gives",
        caught_by: "last_entry_is_what_the_model_says",
        answer: read!(has_norm: false,),
    },
    Impostor {
        name: "norm_without_weight",
        diagnosis: "the weight of the last norm is left out",
        caught_by: "last_entry_is_what_the_model_says",
        answer: read!(has_weight: false,),
    },
    Impostor {
        name: "norm_without_bias",
        diagnosis: "the bias of the last norm is left out, as it would be for one component; here \
                    it is the whole stream",
        caught_by: "last_entry_is_what_the_model_says",
        answer: read!(has_bias: false,),
    },
    Impostor {
        name: "variance_by_n_minus_one",
        diagnosis: "the variance is divided by `d_model - 1`; layer norm divides by `d_model`",
        caught_by: "last_entry_is_what_the_model_says",
        answer: read!(eps_and_divisor: (1e-5, 1),),
    },
    Impostor {
        name: "frozen_at_the_end",
        diagnosis: "every depth is divided by the scale of the end, `ln_final.hook_scale`; that \
                    freezing is for components, and each depth here is a whole stream",
        caught_by: "length_of_a_stream_does_not_matter",
        answer: read!(scale: |own, cache| {
            cache.find("ln_final.hook_scale").map_or(Ok(own), |scale| Ok(scale.clone()))
        },),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the logits are computed in `f32` whatever the model is",
        caught_by: "matches_definition",
        answer: read!(finish: |logits| {
            logits.to_dtype(CandleType::F32)?.to_dtype(logits.dtype())
        },),
    },
    Impostor {
        name: "missing_streams_skipped",
        diagnosis: "a stream that is not in the cache is passed over, and the entries behind it \
                    move up",
        caught_by: "a_missing_stream_is_refused",
        answer: read!(refuses: false,),
    },
];

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = Named::from([
        ("wte.weight".to_owned(), Array::matrix(&[[1., 0.], [1., 1.]])),
        ("lm_head.weight".to_owned(), Array::matrix(&[[1., 0.], [0., 2.]])),
        ("h.0.attn.c_attn.weight".to_owned(), Array::full(&[2, 6], 0.0)),
        ("h.0.attn.c_proj.weight".to_owned(), Array::full(&[2, 2], 0.0)),
    ]);
    let cache = Named::from([
        ("blocks.0.hook_resid_pre".to_owned(), Array::new(&[1, 1, 2], vec![1., 0.])),
        ("blocks.0.hook_resid_post".to_owned(), Array::new(&[1, 1, 2], vec![0., 3.])),
    ]);
    let logits = trial.array(asked(&Model { weights, n_heads: 1 }, &cache, DType::F32))?;
    let expected = Array::new(&[2, 1, 1, 2], vec![1., 0., 0., 6.]).to(DType::F32);
    trial.close("logit_lens", &logits, &expected, TOLERANCE)
}

fn last_entry_is_what_the_model_says(trial: &mut Trial) -> Outcome {
    for sizes in [WHOLE, BARE] {
        let (model, tokens) = (Model::draw(trial, sizes), tokens(trial, [2, 3], sizes));
        let (own, cache) = model.look(&tokens);
        let logits = trial.array(asked(&model, &cache, DType::F32))?;
        let shape = [sizes.n_layers + 1, 2, 3, sizes.d_vocab];
        trial.has_shape("logit_lens", &logits, &shape)?;
        let last = logits.narrow(0, sizes.n_layers, 1).reshape(&shape[1..]);
        trial.close("last entry", &last, &own.to(DType::F32), TOLERANCE)?;
    }
    of_a_trained_model(trial)
}

/// Reads the GPT of `transformer` at each depth, and draws what it says there.
fn of_a_trained_model(trial: &mut Trial) -> Outcome {
    let Trained { weights, n_heads, n_layers } = data::trained("char_gpt")?;
    let model = Model { weights, n_heads };
    let text = LINES[trial.rng.below(LINES.len())];
    let bytes: Vec<usize> = text.bytes().map(usize::from).collect();
    let (own, cache) = model.look(&Array::from_fn(&[1, bytes.len()], |at| bytes[at[1]] as f64));
    let logits = trial.array(asked(&model, &cache, DType::F32))?;
    let d_vocab = own.dim(2);
    trial.has_shape("logit_lens", &logits, &[n_layers + 1, 1, bytes.len(), d_vocab])?;
    trial.show_page("a trained GPT at each depth", page(&logits, &bytes));
    let last = logits.narrow(0, n_layers, 1).reshape(own.shape());
    trial.close("last entry of a trained model", &last, &own.to(DType::F32), TOLERANCE)
}

/// Speakers, and what they begin to say.
const LINES: [&str; 3] =
    ["KING HENRY:\nWhat say you", "BEATRICE:\nI pray you, is", "CLAUDIO:\nCan the world"];

/// The first guess after each block, of logits `(n_layers + 1, 1, seq, d_vocab)`.
fn page(logits: &Array, bytes: &[usize]) -> String {
    let character = |byte: usize| char::from(byte as u8).to_string();
    let guess = |depth: usize, at: usize| {
        let of = |token: usize| logits.at(&[depth, 0, at, token]);
        let all = 0..logits.dim(3);
        let best = all.clone().max_by(|&a, &b| of(a).total_cmp(&of(b))).unwrap_or_default();
        let total: f64 = all.map(|token| (of(token) - of(best)).exp()).sum();
        let is_right = bytes.get(at + 1) == Some(&best);
        Guess { token: character(best), chance: 1.0 / total, is_right }
    };
    let rows: Vec<_> = (0..logits.dim(0))
        .map(|depth| {
            let name = match depth {
                0 => "embedding".to_owned(),
                depth => format!("block {}", depth - 1),
            };
            (name, (0..bytes.len()).map(|at| guess(depth, at)).collect())
        })
        .collect();
    let tokens: Vec<String> = bytes.iter().map(|&byte| character(byte)).collect();
    pictures::logit_lens("What a trained GPT would say at each depth", &tokens, &rows)
}

fn length_of_a_stream_does_not_matter(trial: &mut Trial) -> Outcome {
    let (model, tokens) = (Model::draw(trial, WHOLE), tokens(trial, [2, 3], WHOLE));
    let (_, mut cache) = model.look(&tokens);
    // Long enough from the start that what stands under the root for safety is nothing.
    let mut stretch = |factor: f64| {
        for name in
            ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre", "blocks.0.hook_resid_post"]
        {
            let stretched = cache[name].map(|x| factor * x);
            cache.insert(name.to_owned(), stretched);
        }
        cache.clone()
    };
    let (long, longer) = (stretch(1e3), stretch(1e2));
    let before = trial.array(asked(&model, &long, DType::F64))?;
    let after = trial.array(asked(&model, &longer, DType::F64))?;
    trial.close("logit_lens", &after, &before, TOLERANCE.in_double(1e-6))
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (sizes, is_tied, shape) in
        [(WHOLE, false, [2, 4]), (WHOLE, true, [1, 1]), (BARE, true, [3, 2])]
    {
        let mut model = Model::draw(trial, sizes);
        if is_tied {
            model.weights.remove("lm_head.weight");
        }
        let (_, cache) = model.look(&tokens(trial, shape, sizes));
        let expected = oracle(&model, &cache);
        for dtype in [DType::F64, DType::F32] {
            let logits = trial.array(asked(&model, &cache, dtype))?;
            trial.close("logit_lens", &logits, &expected.to(dtype), TOLERANCE)?;
        }
    }
    Ok(())
}

fn a_missing_stream_is_refused(trial: &mut Trial) -> Outcome {
    let model = Model::draw(trial, BARE);
    let (_, cache) = model.look(&tokens(trial, [1, 2], BARE));
    for names in [
        &["blocks.1.hook_resid_pre", "blocks.0.hook_resid_post"][..],
        &["blocks.2.hook_resid_post"],
    ] {
        let mut less = cache.clone();
        less.retain(|name, _| !names.contains(&name.as_str()));
        let case = format!("there is no `{}` in the cache", names[0]);
        trial.refuses(&case, asked(&model, &less, DType::F32))?;
    }
    Ok(())
}

fn asked(model: &Model, cache: &Named, dtype: DType) -> Vec<(&'static str, Value)> {
    args![model: model.value(dtype), cache: cache_value(cache, dtype)]
}

fn oracle(model: &Model, cache: &Named) -> Array {
    let n_layers = model.n_layers();
    let mut streams = Vec::new();
    for layer in 0..n_layers {
        streams.push(&cache[&format!("blocks.{layer}.hook_resid_pre")]);
    }
    streams.push(&cache[&format!("blocks.{}.hook_resid_post", n_layers - 1)]);
    let mut values = Vec::new();
    let mut shape = vec![n_layers + 1];
    for stream in streams {
        let mut normed = stream.clone();
        if let Some(weight) = model.weights.get("ln_f.weight") {
            let bias = &model.weights["ln_f.bias"];
            let scaled = scaled(stream, &deviations(stream), weight);
            normed = Array::from_fn(stream.shape(), |at| scaled.at(at) + bias.at(&at[2..]));
        }
        let logits = model.unembed(&normed);
        shape.truncate(1);
        shape.extend_from_slice(logits.shape());
        values.extend_from_slice(logits.values());
    }
    Array::new(&shape, values)
}
