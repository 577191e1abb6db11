//! `activation_patch`: through which cells a difference between two texts reaches the end.

use answer::answer;
use candle_core::{DType as CandleType, Result, Tensor, bail};
use models::{Gpt, hook::Hook};
use protocol::{DType, Value};

use super::{
    model::{BARE, Model, WHOLE, tokens},
    run_with_cache::TOLERANCE,
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args, named::Named,
};

/// The steps of an honest answer, for impostors to spoil one of.
#[derive(Clone, Copy)]
struct Steps {
    /// Whether a hook, by its name, is the one of a block and place.
    is_here: fn(&str, usize, &str) -> bool,
    /// The value with one position from another run.
    patch: fn(&Tensor, &Tensor, usize) -> Result<Tensor>,
    /// The lead of each sequence, from the logits at the last position.
    lead: fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    /// The effect, from the leads of each sequence in a patched, the clean and the corrupt run.
    effect: fn([&Tensor; 3]) -> Result<Tensor>,
    is_swapped: bool,
    last: fn(usize) -> usize,
    finish: fn(Tensor) -> Result<Tensor>,
    refuses: bool,
}

const HONEST: Steps = Steps {
    is_here: |name, layer, place| name == format!("blocks.{layer}.{place}"),
    patch: by_mask,
    lead: |last, correct, wrong| of(last, correct)? - of(last, wrong)?,
    effect: |[lead, best, worst]| {
        let [lead, best, worst] = [lead.mean_all()?, best.mean_all()?, worst.mean_all()?];
        (lead - &worst)? / (best - worst)?
    },
    is_swapped: false,
    last: |seq| seq - 1,
    finish: Ok,
    refuses: true,
};

/// The logit of one token a sequence.
fn of(last: &Tensor, tokens: &Tensor) -> Result<Tensor> {
    let (batch, d_vocab) = last.dims2()?;
    let all = Tensor::arange(0, d_vocab as u32, last.device())?.unsqueeze(0)?;
    let chosen = tokens.reshape((batch, 1))?.broadcast_eq(&all)?.to_dtype(last.dtype())?;
    (last * chosen)?.sum(1)
}

fn by_mask(value: &Tensor, other: &Tensor, position: usize) -> Result<Tensor> {
    let seq = value.dim(1)?;
    let mask: Vec<u8> = (0..seq).map(|at| u8::from(at == position)).collect();
    let mut shape = vec![1; value.rank()];
    shape[1] = seq;
    let mask = Tensor::from_vec(mask, shape, value.device())?.broadcast_as(value.shape())?;
    mask.where_cond(&other.contiguous()?, &value.contiguous()?)
}

/// What a part is asked for.
struct Asked<'a> {
    model: &'a Gpt,
    clean: &'a Tensor,
    corrupt: &'a Tensor,
    correct: &'a Tensor,
    wrong: &'a Tensor,
    place: &'a str,
}

impl Steps {
    fn run(&self, asked: &Asked) -> Result<Tensor> {
        let &Asked { model, clean, corrupt, place, .. } = asked;
        if clean.dims() != corrupt.dims() && self.refuses {
            bail!("{:?} and {:?}", clean.dims(), corrupt.dims());
        }
        let seq = clean.dim(1)?;
        let corrupt = &corrupt.narrow(1, corrupt.dim(1)? - seq, seq)?;
        let (from, into) = if self.is_swapped { (corrupt, clean) } else { (clean, corrupt) };
        let best = self.leads(asked, &model.forward(clean, &mut ())?)?;
        let worst = self.leads(asked, &model.forward(corrupt, &mut ())?)?;
        let mut kept = Vec::new();
        model.forward(from, &mut |hook: Hook, value: Tensor| {
            kept.push((hook.to_string(), value.clone()));
            Ok(value)
        })?;
        let mut effects = Vec::new();
        for cell in 0..model.n_layers() * seq {
            let (layer, position) = (cell / seq, cell % seq);
            let mut came_by = false;
            let logits = model.forward(into, &mut |hook: Hook, value: Tensor| {
                let name = hook.to_string();
                let other = kept.iter().find(|(kept, _)| *kept == name);
                match other.filter(|_| (self.is_here)(&name, layer, place)) {
                    Some((_, other)) => {
                        came_by = true;
                        (self.patch)(&value, other, position)
                    }
                    None => Ok(value),
                }
            })?;
            if !came_by {
                bail!("no `{place}` in block {layer}");
            }
            effects.push((self.effect)([&self.leads(asked, &logits)?, &best, &worst])?);
        }
        let effects = Tensor::stack(&effects, 0)?;
        let is_finite = |effect: f64| effect.is_finite();
        let numbers = effects.to_dtype(CandleType::F64)?.to_vec1::<f64>()?;
        if self.refuses && !numbers.into_iter().all(is_finite) {
            bail!("the leads are equal");
        }
        (self.finish)(effects.reshape((model.n_layers(), seq))?)
    }

    fn leads(&self, asked: &Asked, logits: &Tensor) -> Result<Tensor> {
        let last = logits.narrow(1, (self.last)(logits.dim(1)?), 1)?.squeeze(1)?;
        (self.lead)(&last, asked.correct, asked.wrong)
    }
}

macro_rules! patched {
    ($($slip:tt)*) => {
        answer!(|m: &Gpt, a: &Tensor, b: &Tensor, c: &Tensor, w: &Tensor, place: &str| {
            const STEPS: Steps = Steps { $($slip)* ..HONEST };
            STEPS.run(&Asked { model: m, clean: a, corrupt: b, correct: c, wrong: w, place })
        })
    };
}

pub(super) const ACTIVATION_PATCH: Part = Part {
    name: "activation_patch",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "swapped_answers_have_the_same_effects",
            promise: "With `correct` and `wrong` exchanged every lead changes its sign, and no \
                      effect changes.",
            kind: Kind::Property,
            run: swapped_answers_have_the_same_effects,
        },
        Check {
            name: "planted_cells_light_up",
            promise: "In twenty compiled models the cells of the planted circuit have all of the \
                      effect, and the others none.",
            kind: Kind::Property,
            run: planted_cells_light_up,
        },
        Check {
            name: "matches_definition",
            promise: "The effects of a random model are what the definition says, below 0 and \
                      above 1 too.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "what_cannot_be_compared_is_refused",
            promise: "Texts of different lengths, equal leads, and a place that no block has are \
                      refused.",
            kind: Kind::Errors,
            run: what_cannot_be_compared_is_refused,
        },
    ],
    impostors: IMPOSTORS,
    alternatives: &[Alternative { name: "by_mask", answer: patched!() }],
};

const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "corrupt_into_clean",
        diagnosis: "the corrupt value is put into the clean run; that asks what is needed, not \
                    what is enough",
        caught_by: "documented_example",
        answer: patched!(is_swapped: true,),
    },
    Impostor {
        name: "not_normalised",
        diagnosis: "the lead itself is returned, in nats, so two pairs of texts cannot be compared",
        caught_by: "documented_example",
        answer: patched!(effect: |[lead, ..]| lead.mean_all(),),
    },
    Impostor {
        name: "share_of_the_clean_lead",
        diagnosis: "the lead is divided by that of the clean run; what the corrupt run has anyway \
                    is not taken off",
        caught_by: "documented_example",
        answer: patched!(effect: |[lead, best, _]| lead.mean_all()? / best.mean_all()?,),
    },
    Impostor {
        name: "whole_block_patched",
        diagnosis: "all positions are replaced at once, so every cell of a block shows the same",
        caught_by: "documented_example",
        answer: patched!(patch: |_, other, _| Ok(other.clone()),),
    },
    Impostor {
        name: "first_position_read",
        diagnosis: "the lead is read at the first position; the answer stands at the last",
        caught_by: "documented_example",
        answer: patched!(last: |_| 0, refuses: false,),
    },
    Impostor {
        name: "correct_alone",
        diagnosis: "only the logit of `correct` counts, so what raises both answers looks like \
                    evidence for one",
        caught_by: "swapped_answers_have_the_same_effects",
        answer: patched!(lead: |last, correct, _| of(last, correct),),
    },
    Impostor {
        name: "every_block_patched",
        diagnosis: "the position is replaced in every block at once, so no row shows where the \
                    difference moved on",
        caught_by: "planted_cells_light_up",
        answer: patched!(is_here: |name, _, place| name.ends_with(place),),
    },
    Impostor {
        name: "cut_to_zero_and_one",
        diagnosis: "effects are cut to between 0 and 1; a cell that works against the answer has \
                    less than 0",
        caught_by: "matches_definition",
        answer: patched!(finish: |effects| effects.clamp(0.0, 1.0),),
    },
    Impostor {
        name: "mean_of_shares",
        diagnosis: "each sequence is normalised by itself and then averaged, so one whose leads \
                    are nearly equal outweighs all others",
        caught_by: "matches_definition",
        answer: patched!(effect: |[lead, best, worst]| {
            ((lead - worst)? / (best - worst)?)?.mean_all()
        },),
    },
    Impostor {
        name: "first_sequence_alone",
        diagnosis: "only the first sequence counts",
        caught_by: "matches_definition",
        answer: patched!(effect: |[lead, best, worst]| {
            (lead.get(0)? - worst.get(0)?)? / (best.get(0)? - worst.get(0)?)?
        },),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the effects are computed in `f32` whatever the model is",
        caught_by: "matches_definition",
        answer: patched!(finish: |effects| {
            effects.to_dtype(CandleType::F32)?.to_dtype(effects.dtype())
        },),
    },
    Impostor {
        name: "nothing_divided_by_nothing",
        diagnosis: "equal leads give 0/0, which is NaN, and texts of other lengths are cut to fit",
        caught_by: "what_cannot_be_compared_is_refused",
        answer: patched!(refuses: false,),
    },
];

fn documented_example(trial: &mut Trial) -> Outcome {
    // Token 1 leads by 3, token 2 by −1, and token 7 by 5, where nobody asks.
    let lm_head = Array::from_fn(&[8, 3], |at| f64::from(u8::from(at[0] == 0 && at[1] == 0)));
    let wte = Array::from_fn(&[8, 3], |at| match (at[0], at[1]) {
        (1, 0) => 3.0,
        (2, 0) => -1.0,
        (7, 0) => 5.0,
        _ => 0.0,
    });
    let weights = Named::from([
        ("wte.weight".to_owned(), wte),
        ("lm_head.weight".to_owned(), lm_head),
        ("h.0.attn.c_attn.weight".to_owned(), Array::full(&[3, 9], 0.5)),
        ("h.0.attn.c_proj.weight".to_owned(), Array::full(&[3, 3], 0.0)),
    ]);
    let model = Model { weights, n_heads: 1 };
    let [clean, corrupt] = [1., 2.].map(|last| Array::matrix(&[[7., last]]));
    let answers = [0., 1.].map(|token| Array::vector(&[token]));
    let effects =
        trial.array(asked(&model, [&clean, &corrupt], &answers, "hook_resid_pre", DType::F32))?;
    let expected = Array::matrix(&[[0., 1.]]).to(DType::F32);
    trial.close("effects", &effects, &expected, TOLERANCE)
}

fn swapped_answers_have_the_same_effects(trial: &mut Trial) -> Outcome {
    let pair = pair(trial, [1, 3]);
    let (model, texts) = (&pair.model, [&pair.clean, &pair.corrupt]);
    let place = "hook_resid_pre";
    let before = trial.array(asked(model, texts, &pair.answers, place, DType::F64))?;
    let [correct, wrong] = pair.answers;
    let after = trial.array(asked(model, texts, &[wrong, correct], place, DType::F64))?;
    trial.close("effects with the answers exchanged", &after, &before, EFFECT)
}

fn planted_cells_light_up(trial: &mut Trial) -> Outcome {
    for n in 0..20 {
        let circuit = shallow(trial, circuits::Task::ALL[n % 4]);
        let contrast = circuit.contrast(trial.rng.below(1 << 31) as u64);
        let text = |tokens: &[usize]| {
            Array::new(&[1, tokens.len()], tokens.iter().map(|&token| token as f64).collect())
        };
        let (clean, corrupt) = (text(&contrast.clean), text(&contrast.corrupt));
        let answers = [contrast.correct, contrast.wrong].map(|t| Array::vector(&[t as f64]));
        // The stream in most models, what attention adds in the others.
        let (place, truth) = if n < 12 {
            ("hook_resid_pre", contrast.resid_pre(circuit.n_layers))
        } else {
            ("hook_attn_out", contrast.attn_out(circuit.n_layers))
        };
        let model = Model::compiled(&circuit);
        let effects =
            trial.array(asked(&model, [&clean, &corrupt], &answers, place, DType::F32))?;
        let expected = Array::from_fn(&[circuit.n_layers, circuit.n_ctx], |at| {
            f64::from(u8::from(truth[at[0]][at[1]]))
        });
        if n == 0 && effects.shape() == expected.shape() {
            trial.show_page("effects in a planted circuit", page(&contrast.clean, &effects));
        }
        let name = format!("effects of `{place}` in model {n} of 20");
        // What decoys add moves an effect by up to a tenth; a cell in the wrong place by 1.
        let near = effects.shape() == expected.shape()
            && effects.values().iter().zip(expected.values()).all(|(a, b)| (a - b).abs() < 0.25);
        if !near {
            trial.close(&name, &effects, &expected.to(DType::F32), Tolerance::relative(0.0))?;
        }
    }
    Ok(())
}

/// The answer's effects as a heat map.
fn page(clean: &[usize], effects: &Array) -> String {
    let words: Vec<String> = clean.iter().map(usize::to_string).collect();
    let rows = effects.values().chunks(words.len()).enumerate();
    let rows: Vec<_> =
        rows.map(|(layer, row)| (format!("before block {layer}"), row.to_vec())).collect();
    pictures::patching("Where the answer of a planted circuit travels", &words, &rows)
}

/// A circuit of two blocks: every cell is a run, and a run through three tells no more.
fn shallow(trial: &mut Trial, task: circuits::Task) -> circuits::Circuit {
    loop {
        let circuit = circuits::compile(task, trial.rng.below(1 << 31) as u64);
        if circuit.n_layers == 2 {
            return circuit;
        }
    }
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for place in ["hook_resid_pre", "hook_mlp_out", "hook_attn_out"] {
        let pair = pair(trial, [2, 3]);
        let expected = oracle(&pair, place);
        for dtype in [DType::F64, DType::F32] {
            let texts = [&pair.clean, &pair.corrupt];
            let effects = trial.array(asked(&pair.model, texts, &pair.answers, place, dtype))?;
            trial.close("effects", &effects, &expected.to(dtype), EFFECT)?;
        }
    }
    Ok(())
}

fn what_cannot_be_compared_is_refused(trial: &mut Trial) -> Outcome {
    let (model, text) = (Model::draw(trial, BARE), tokens(trial, [1, 3], BARE));
    let longer = tokens(trial, [1, 4], BARE);
    let answers = [0., 1.].map(|token| Array::vector(&[token]));
    let place = "hook_resid_pre";
    let case = "`corrupt` is longer than `clean`";
    trial.refuses(case, asked(&model, [&text, &longer], &answers, place, DType::F32))?;
    let case = "`clean` and `corrupt` are the same, so the leads are equal";
    trial.refuses(case, asked(&model, [&text, &text], &answers, place, DType::F32))?;
    let other = text.map(|token| (token + 1.0) % 5.0);
    let case = "no block of this model has an MLP";
    trial.refuses(case, asked(&model, [&text, &other], &answers, "hook_mlp_out", DType::F32))?;
    Ok(())
}

/// Roundings of an honest answer: those of the logits, which the range of the leads divides.
const EFFECT: Tolerance = Tolerance::roundings(2048.0).at_scale(16.0).in_double(1e-11);

/// A model and two texts whose leads differ by at least one, and whose first tokens differ: where
/// only the last ones do, every effect is 0 or 1, whatever the lead is.
struct Pair {
    model: Model,
    clean: Array,
    corrupt: Array,
    answers: [Array; 2],
}

fn pair(trial: &mut Trial, shape: [usize; 2]) -> Pair {
    loop {
        let model = Model::draw(trial, WHOLE);
        let [clean, corrupt] = [(); 2].map(|()| tokens(trial, shape, WHOLE));
        let first = |text: &Array, n: usize| text.at(&[n, 0]) as usize;
        if (0..shape[0]).any(|n| first(&clean, n) == first(&corrupt, n)) {
            continue;
        }
        let answers = [0, 3].map(|first| {
            let tokens = (0..shape[0]).map(|n| (first + n) as f64).collect();
            Array::new(&[shape[0]], tokens)
        });
        let pair = Pair { model, clean, corrupt, answers };
        let [best, worst] =
            [&pair.clean, &pair.corrupt].map(|text| pair.lead(&pair.model.look(text).0));
        if (best - worst).abs() > 1.0 {
            return pair;
        }
    }
}

impl Pair {
    fn lead(&self, logits: &Array) -> f64 {
        let (batch, last) = (logits.dim(0), logits.dim(1) - 1);
        let logit =
            |n: usize, answer: usize| logits.at(&[n, last, self.answers[answer].at(&[n]) as usize]);
        (0..batch).map(|n| logit(n, 0) - logit(n, 1)).sum::<f64>() / batch as f64
    }
}

fn asked(
    model: &Model,
    [clean, corrupt]: [&Array; 2],
    [correct, wrong]: &[Array; 2],
    place: &str,
    dtype: DType,
) -> Vec<(&'static str, Value)> {
    args![
        model: model.value(dtype),
        clean: &clean.to(DType::U32).laid_out(&[1, 0]),
        corrupt: &corrupt.to(DType::U32),
        correct: &correct.to(DType::U32),
        wrong: &wrong.to(DType::U32),
        place: Value::Text(place.to_owned()),
    ]
}

fn oracle(pair: &Pair, place: &str) -> Array {
    let (logits, cache) = pair.model.look(&pair.clean);
    let (best, worst) = (pair.lead(&logits), pair.lead(&pair.model.look(&pair.corrupt).0));
    Array::from_fn(&[pair.model.n_layers(), pair.clean.dim(1)], |cell| {
        let name = format!("blocks.{}.{place}", cell[0]);
        let logits = pair.model.run(&pair.corrupt, &mut |hook, value| {
            if hook != name {
                return value;
            }
            let clean = &cache[hook];
            let patched = |at: &[usize]| if at[1] == cell[1] { clean.at(at) } else { value.at(at) };
            Array::from_fn(value.shape(), patched)
        });
        (pair.lead(&logits) - worst) / (best - worst)
    })
}
