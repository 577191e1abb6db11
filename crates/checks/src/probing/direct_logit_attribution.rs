//! `direct_logit_attribution`: how much each component speaks for a token.

use answer::{Weights, answer};
use candle_core::{D, DType as CandleType, Result, Tensor, bail};
use models::Gpt;
use protocol::{DType, Value};

use super::{
    decompose_residual::decompose,
    model::{BARE, Model, Sizes, WHOLE, cache_value, scaled, tokens},
    run_with_cache::TOLERANCE,
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Trial, args, named::Named};

/// The steps of an honest answer, for impostors to spoil one of.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each step is done or left out")]
struct Steps {
    /// What `components` are divided by, given that of the model.
    scale: fn(&Tensor, &Tensor) -> Result<Tensor>,
    centre: fn(&Tensor) -> Result<Tensor>,
    has_norm: bool,
    has_weight: bool,
    has_bias: bool,
    table: fn(&Gpt) -> Result<&Tensor>,
    /// The rows of tokens, `(batch, seq, d_model)`.
    rows: fn(&Tensor, &Tensor) -> Result<Tensor>,
    against: fn(Tensor, Tensor) -> Result<Tensor>,
    finish: fn(Tensor) -> Result<Tensor>,
    refuses: bool,
}

const HONEST: Steps = Steps {
    scale: |_, frozen| Ok(frozen.clone()),
    centre: |x| x.broadcast_sub(&x.mean_keepdim(D::Minus1)?),
    has_norm: true,
    has_weight: true,
    has_bias: false,
    table: |model| {
        let lm_head = model.weights().find("lm_head.weight");
        lm_head.map_or_else(|| model.weights().get("wte.weight"), Ok)
    },
    rows: |table, tokens| {
        let rows = table.index_select(&tokens.flatten_all()?, 0)?;
        rows.reshape((tokens.dim(0)?, tokens.dim(1)?, table.dim(1)?))
    },
    against: |correct, wrong| correct - wrong,
    finish: Ok,
    refuses: true,
};

impl Steps {
    fn run(
        &self,
        model: &Gpt,
        cache: &Weights,
        components: &Tensor,
        correct: &Tensor,
        wrong: Option<&Tensor>,
    ) -> Result<Tensor> {
        let table = (self.table)(model)?;
        for tokens in [Some(correct), wrong].into_iter().flatten() {
            if tokens.dims() != &components.dims()[1..3] && self.refuses {
                bail!("{:?} for {:?}", tokens.dims(), components.dims());
            }
        }
        let mut direction = (self.rows)(table, correct)?;
        if let Some(wrong) = wrong {
            direction = (self.against)(direction, (self.rows)(table, wrong)?)?;
        }
        // The parts by a scalar product for each vector, the direction as a column.
        let mut x = components.clone();
        if let Some(weight) = model.weights().find("ln_f.weight").filter(|_| self.has_norm) {
            let frozen = cache.get("ln_final.hook_scale")?;
            x = (self.centre)(&x)?.broadcast_div(&(self.scale)(components, frozen)?)?;
            if self.has_weight {
                x = x.broadcast_mul(weight)?;
            }
            if let Some(bias) = model.weights().find("ln_f.bias").filter(|_| self.has_bias) {
                x = x.broadcast_add(bias)?;
            }
        }
        let (n, batch, seq, d_model) = x.dims4()?;
        let column = direction.reshape((1, direction.dim(0)?, direction.dim(1)?, d_model))?;
        let column = column.broadcast_as((n, batch, seq, d_model))?;
        let column = column.reshape((n * batch * seq, d_model, 1))?;
        let parts = x.reshape((n * batch * seq, 1, d_model))?.matmul(&column)?;
        (self.finish)(parts.reshape((n, batch, seq))?)
    }
}

macro_rules! attributed {
    ($($slip:tt)*) => {
        answer!(|m: &Gpt, c: &Weights, x: &Tensor, correct: &Tensor, wrong: Option<&Tensor>| {
            const STEPS: Steps = Steps { $($slip)* ..HONEST };
            STEPS.run(m, c, x, correct, wrong)
        })
    };
}

pub(super) const DIRECT_LOGIT_ATTRIBUTION: Part = Part {
    name: "direct_logit_attribution",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "each_position_has_its_own_tokens",
            promise: "Another order of the sequences gives the same parts in that order.",
            kind: Kind::Property,
            run: each_position_has_its_own_tokens,
        },
        Check {
            name: "parts_sum_to_the_logits",
            promise: "The parts of all components sum to the model's own logits, less what the \
                      bias of the last norm gives.",
            kind: Kind::Property,
            run: parts_sum_to_the_logits,
        },
        Check {
            name: "matches_definition",
            promise: "Each part is what the definition says, tied and untied, with a norm and \
                      without, for one token and for one against another.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "other_shapes_are_refused",
            promise: "Tokens of another shape, and a cache without the scale that is needed, are \
                      refused.",
            kind: Kind::Errors,
            run: other_shapes_are_refused,
        },
    ],
    impostors: IMPOSTORS,
    alternatives: &[Alternative { name: "by_columns", answer: attributed!() }],
};

const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "norm_not_applied",
        diagnosis: "the last norm is not applied to the components",
        caught_by: "documented_example",
        answer: attributed!(has_norm: false,),
    },
    Impostor {
        name: "norm_not_frozen",
        diagnosis: "each component is divided by its own deviation, so small ones speak as loudly \
                    as large ones; divide by that of the whole stream, which is in the cache",
        caught_by: "documented_example",
        answer: attributed!(scale: |x, _| {
            let variance = (HONEST.centre)(x)?.sqr()?.mean_keepdim(D::Minus1)?;
            (variance + 1e-5)?.sqrt()
        },),
    },
    Impostor {
        name: "not_centred",
        diagnosis: "the components are divided by the scale, but their means are not taken off",
        caught_by: "documented_example",
        answer: attributed!(centre: |x| Ok(x.clone()),),
    },
    Impostor {
        name: "norm_without_weight",
        diagnosis: "the weight of the last norm is left out",
        caught_by: "documented_example",
        answer: attributed!(has_weight: false,),
    },
    Impostor {
        name: "wrong_not_subtracted",
        diagnosis: "`wrong` is ignored, so what raises all logits alike counts as evidence",
        caught_by: "documented_example",
        answer: attributed!(against: |correct, _| Ok(correct),),
    },
    Impostor {
        name: "wrong_less_correct",
        diagnosis: "the sign is wrong: what speaks for `correct` comes out negative",
        caught_by: "documented_example",
        answer: attributed!(against: |correct, wrong| wrong - correct,),
    },
    Impostor {
        name: "embedding_for_unembedding",
        diagnosis: "the direction is taken from `wte.weight` though there is an `lm_head.weight`",
        caught_by: "documented_example",
        answer: attributed!(table: |model| model.weights().get("wte.weight"),),
    },
    Impostor {
        name: "tokens_of_the_first_sequence",
        diagnosis: "the tokens of the first sequence are looked up for all sequences",
        caught_by: "each_position_has_its_own_tokens",
        answer: attributed!(rows: |table, tokens| {
            let of_first = (HONEST.rows)(table, &tokens.narrow(0, 0, 1)?)?;
            of_first.broadcast_as((tokens.dim(0)?, tokens.dim(1)?, table.dim(1)?))?.contiguous()
        },),
    },
    Impostor {
        name: "bias_given_to_every_component",
        diagnosis: "the bias of the last norm is added to every component, so it counts as often \
                    as there are components",
        caught_by: "parts_sum_to_the_logits",
        answer: attributed!(has_bias: true,),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the parts are computed in `f32` whatever the components are",
        caught_by: "matches_definition",
        answer: attributed!(finish: |parts| {
            parts.to_dtype(CandleType::F32)?.to_dtype(parts.dtype())
        },),
    },
    Impostor {
        name: "tokens_stretched",
        diagnosis: "tokens of one sequence are stretched over all, since broadcasting does not ask",
        caught_by: "other_shapes_are_refused",
        answer: attributed!(refuses: false,),
    },
];

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = Named::from([
        ("wte.weight".to_owned(), Array::matrix(&[[0., 2.], [3., 0.], [1., 1.]])),
        ("lm_head.weight".to_owned(), Array::matrix(&[[1., 0.], [0., 1.], [0., 0.]])),
        ("ln_f.weight".to_owned(), Array::vector(&[1., 2.])),
    ]);
    let model = Model { weights, n_heads: 1 };
    let scale = Array::new(&[1, 1, 1], vec![4.]);
    let cache = Named::from([("ln_final.hook_scale".to_owned(), scale)]);
    let components = Array::new(&[2, 1, 1, 2], vec![8., 0., 0., 4.]);
    let [correct, wrong] = [0., 1.].map(|token| Array::matrix(&[[token]]).to(DType::U32));
    let asked = asked(&model, &cache, &components, [Some(&correct), Some(&wrong)], DType::F32);
    let parts = trial.array(asked)?;
    let expected = Array::new(&[2, 1, 1], vec![3., -1.5]).to(DType::F32);
    trial.close("attribution", &parts, &expected, TOLERANCE)
}

/// A model, its logits and cache, the components of its last stream, and two tokens a position.
fn drawn(trial: &mut Trial, sizes: Sizes, is_tied: bool, shape: [usize; 2]) -> Drawn {
    let mut model = Model::draw(trial, sizes);
    if is_tied {
        model.weights.remove("lm_head.weight");
    }
    let (logits, cache) = model.look(&tokens(trial, shape, sizes));
    let (_, components) = decompose(&model, &cache, sizes.n_layers);
    let [correct, wrong] = [(); 2].map(|()| tokens(trial, shape, sizes));
    Drawn { model, logits, cache, components, correct, wrong }
}

struct Drawn {
    model: Model,
    logits: Array,
    cache: Named,
    components: Array,
    correct: Array,
    wrong: Array,
}

fn each_position_has_its_own_tokens(trial: &mut Trial) -> Outcome {
    let Drawn { model, cache, components, .. } = drawn(trial, WHOLE, false, [3, 2]);
    let correct = Array::from_fn(&[3, 2], |at| (2 * at[0] + at[1]) as f64).to(DType::U32);
    let together =
        trial.array(asked(&model, &cache, &components, [Some(&correct), None], DType::F32))?;
    trial.has_shape("attribution", &together, &components.shape()[..3])?;
    let order = [2, 0, 1];
    let moved: Named =
        cache.iter().map(|(n, value)| (n.clone(), value.select(0, &order))).collect();
    let (components, correct) = (components.select(1, &order), correct.select(0, &order));
    let after =
        trial.array(asked(&model, &moved, &components, [Some(&correct), None], DType::F32))?;
    let expected = together.select(1, &order);
    trial.close("attribution with the sequences in another order", &after, &expected, TOLERANCE)
}

fn parts_sum_to_the_logits(trial: &mut Trial) -> Outcome {
    for sizes in [WHOLE, BARE] {
        let Drawn { model, logits, cache, components, correct, wrong } =
            drawn(trial, sizes, false, [2, 3]);
        let bias = model.weights.get("ln_f.bias");
        let no_bias = Array::full(&[sizes.d_model], 0.0);
        let of_bias = model.unembed(bias.unwrap_or(&no_bias));
        for against in [None, Some(&wrong)] {
            let asked = asked(&model, &cache, &components, [Some(&correct), against], DType::F32);
            let parts = trial.array(asked)?;
            trial.has_shape("attribution", &parts, &components.shape()[..3])?;
            let sums = Array::from_fn(&[2, 3], |at| {
                (0..parts.dim(0)).map(|n| parts.at(&[n, at[0], at[1]])).sum()
            });
            let logit = |tokens: &Array, at: &[usize]| {
                let token = tokens.at(at) as usize;
                logits.at(&[at[0], at[1], token]) - of_bias.at(&[token])
            };
            let expected = Array::from_fn(&[2, 3], |at| {
                logit(&correct, at) - against.map_or(0.0, |wrong| logit(wrong, at))
            });
            let (sums, expected) = (sums.to(DType::F32), expected.to(DType::F32));
            trial.close("sum of all parts", &sums, &expected, TOLERANCE)?;
        }
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (sizes, is_tied, shape) in
        [(WHOLE, false, [2, 4]), (WHOLE, true, [1, 1]), (BARE, true, [3, 2])]
    {
        let drawn = drawn(trial, sizes, is_tied, shape);
        let Drawn { model, cache, components, correct, wrong, .. } = &drawn;
        for against in [None, Some(wrong)] {
            let expected = oracle(&drawn, against);
            for dtype in [DType::F64, DType::F32] {
                let asked = asked(model, cache, components, [Some(correct), against], dtype);
                let parts = trial.array(asked)?;
                trial.close("attribution", &parts, &expected.to(dtype), TOLERANCE)?;
            }
        }
    }
    Ok(())
}

fn other_shapes_are_refused(trial: &mut Trial) -> Outcome {
    let Drawn { model, mut cache, components, correct, .. } = drawn(trial, WHOLE, false, [2, 3]);
    let one = correct.narrow(0, 0, 1);
    for (case, tokens) in [
        ("`correct` has one sequence for two", [Some(&one), None]),
        ("`wrong` has one sequence for two", [Some(&correct), Some(&one)]),
    ] {
        trial.refuses(case, asked(&model, &cache, &components, tokens, DType::F32))?;
    }
    cache.remove("ln_final.hook_scale");
    let tokens = [Some(&correct), None];
    let case = "the model has a last norm, whose scale is not in the cache";
    trial.refuses(case, asked(&model, &cache, &components, tokens, DType::F32))?;
    Ok(())
}

fn asked(
    model: &Model,
    cache: &Named,
    components: &Array,
    tokens: [Option<&Array>; 2],
    dtype: DType,
) -> Vec<(&'static str, Value)> {
    let [correct, wrong] = tokens.map(|tokens| tokens.map_or(Value::None, Value::from));
    args![
        model: model.value(dtype),
        cache: cache_value(cache, dtype),
        components: &components.to(dtype).laid_out(&[1, 0, 2, 3]),
        correct: correct,
        wrong: wrong,
    ]
}

fn oracle(drawn: &Drawn, against: Option<&Array>) -> Array {
    let Drawn { model, cache, components, correct, .. } = drawn;
    let shape = &components.shape()[..3];
    let mut normed = components.clone();
    if let Some(weight) = model.weights.get("ln_f.weight") {
        let scale = &cache["ln_final.hook_scale"];
        let everywhere = [shape, &[1]].concat();
        let scale = Array::from_fn(&everywhere, |at| scale.at(&at[1..]));
        normed = scaled(components, &scale, weight);
    }
    let logits = model.unembed(&normed);
    Array::from_fn(shape, |at| {
        let of = |tokens: &Array| logits.at(&[at[0], at[1], at[2], tokens.at(&at[1..]) as usize]);
        of(correct) - against.map_or(0.0, of)
    })
}
