//! `attention_by_hand`: weights that make one layer compute what was asked.
//!
//! The judge runs the layer itself, in `f64` and by index, on random strings whose answers it
//! knows; any weights that work are right.

use answer::{Weights, answer};
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::{DType, Value};

use super::oracle;
use crate::{
    Alternative, Array, Check, Impostor, Inputs, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

/// An answer whose program may differ from the right one.
macro_rules! program {
    ($($task:ident: $value:expr),* $(,)?) => {
        answer!(|task: &str, token_embed: &Tensor, pos_embed: &Tensor| {
            let program = Program { $($task: $value,)* ..Program::RIGHT };
            program.weights(task, Embeddings { token: token_embed, pos: pos_embed })
        })
    };
}

pub(super) const ATTENTION_BY_HAND: Part = Part {
    name: "attention_by_hand",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "first_token_is_found",
            promise: "`first_token` gives the first token, at every position.",
            kind: Kind::Property,
            run: first_token_is_found,
        },
        Check {
            name: "previous_token_is_found",
            promise: "`previous_token` gives the token one position back.",
            kind: Kind::Property,
            run: previous_token_is_found,
        },
        Check {
            name: "same_token_is_found",
            promise: "`same_token` gives the places where the same token stands.",
            kind: Kind::Property,
            run: same_token_is_found,
        },
        Check {
            name: "any_orthonormal_basis_will_do",
            promise: "All four tasks work for embeddings that point in any directions.",
            kind: Kind::Property,
            run: any_orthonormal_basis_will_do,
        },
        Check {
            name: "unknown_tasks_are_refused",
            promise: "A task that is none of the four gives an error.",
            kind: Kind::Errors,
            run: unknown_tasks_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "count_of_own_kind",
            diagnosis: "`count` looks only at tokens like the query's own; it must look at all \
                        alike",
            caught_by: "documented_example",
            answer: program!(count: |at| Head::new(at.token.clone(), at.token.clone(), at.token)),
        },
        Impostor {
            name: "count_looks_at_itself",
            diagnosis: "`count` looks only at the query's own position; equal scores look at all",
            caught_by: "documented_example",
            answer: program!(count: |at| Head::new(at.pos.clone(), at.pos.clone(), at.token)),
        },
        Impostor {
            name: "count_moves_positions",
            diagnosis: "`count` moves where tokens stand; it should move which they are",
            caught_by: "documented_example",
            answer: program!(count: |at| Head::new(nothing(at.pos)?, nothing(at.pos)?, at.pos)),
        },
        Impostor {
            name: "output_left_out",
            diagnosis: "`o.weight` is the identity, so what is moved never gets written back in \
                        the embedding's own direction",
            caught_by: "documented_example",
            answer: answer!(|task: &str, token_embed: &Tensor, pos_embed: &Tensor| {
                let embeddings = Embeddings { token: token_embed, pos: pos_embed };
                let mut weights = Program::RIGHT.weights(task, embeddings)?;
                let d_model = token_embed.dim(1)?;
                for name in ["q.weight", "k.weight", "v.weight"] {
                    let weight = weights.get(name)?;
                    let padded = weight.pad_with_zeros(0, d_model - weight.dim(0)?, 0)?;
                    weights.insert(name, padded);
                }
                let identity = Tensor::eye(d_model, token_embed.dtype(), token_embed.device())?;
                weights.insert("o.weight", identity);
                Result::Ok(weights)
            }),
        },
        Impostor {
            name: "weights_transposed",
            diagnosis: "`q`, `k` and `v` come as `(d_model, d_head)`; their rows are the outputs",
            caught_by: "documented_example",
            answer: answer!(|task: &str, token_embed: &Tensor, pos_embed: &Tensor| {
                let embeddings = Embeddings { token: token_embed, pos: pos_embed };
                let weights = Program::RIGHT.weights(task, embeddings)?;
                let turned = weights.iter().map(|(name, w)| Ok((name.to_owned(), w.t()?)));
                turned.collect::<Result<Weights>>()
            }),
        },
        Impostor {
            name: "only_position_zero_asks",
            diagnosis: "only position 0 asks for position 0; every position must",
            caught_by: "first_token_is_found",
            answer: program!(first: |at| {
                Head::new(at.pos.narrow(0, 0, 1)?, at.pos.narrow(0, 0, 1)?, at.token)
            }),
        },
        Impostor {
            name: "every_position_offers",
            diagnosis: "every position offers what is asked for; only position 0 may",
            caught_by: "first_token_is_found",
            answer: program!(first: |at| {
                Head::new(at.pos.sum_keepdim(0)?, at.pos.sum_keepdim(0)?, at.token)
            }),
        },
        Impostor {
            name: "scores_too_weak",
            diagnosis: "a match scores so little that other positions keep a share; make the \
                        queries longer, and mind the division by √d_head",
            caught_by: "first_token_is_found",
            answer: program!(sharpness: 3.0),
        },
        Impostor {
            name: "next_token",
            diagnosis: "the shift runs the wrong way: position i asks for i + 1, which is masked",
            caught_by: "previous_token_is_found",
            answer: program!(previous: |at| {
                Head::new(at.pos.clone(), earlier(at.pos)?, at.token)
            }),
        },
        Impostor {
            name: "own_token",
            diagnosis: "position i asks for i; there is no shift",
            caught_by: "previous_token_is_found",
            answer: program!(previous: |at| Head::new(at.pos.clone(), at.pos.clone(), at.token)),
        },
        Impostor {
            name: "two_back",
            diagnosis: "the shift is two positions; it should be one",
            caught_by: "previous_token_is_found",
            answer: program!(previous: |at| {
                Head::new(earlier(&earlier(at.pos)?)?, at.pos.clone(), at.token)
            }),
        },
        Impostor {
            name: "same_place",
            diagnosis: "`same_token` compares positions; it should compare tokens",
            caught_by: "same_token_is_found",
            answer: program!(same: |at| Head::new(at.pos.clone(), at.pos.clone(), at.pos)),
        },
        Impostor {
            name: "same_token_moved",
            diagnosis: "`same_token` moves the token; what is asked for is where it stands",
            caught_by: "same_token_is_found",
            answer: program!(same: |at| Head::new(at.token.clone(), at.token.clone(), at.token)),
        },
        Impostor {
            name: "basis_assumed",
            diagnosis: "it takes each embedding for a row with a single 1, tokens first; read the \
                        directions from `token_embed` and `pos_embed`",
            caught_by: "any_orthonormal_basis_will_do",
            answer: answer!(|task: &str, token_embed: &Tensor, pos_embed: &Tensor| {
                let (d_vocab, d_model) = token_embed.dims2()?;
                let axes = Tensor::eye(d_model, token_embed.dtype(), token_embed.device())?;
                let token = axes.narrow(0, 0, d_vocab)?;
                let pos = axes.narrow(0, d_vocab, pos_embed.dim(0)?)?;
                Program::RIGHT.weights(task, Embeddings { token: &token, pos: &pos })
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the weights are `f32` whatever the embeddings are",
            caught_by: "any_orthonormal_basis_will_do",
            answer: answer!(|task: &str, token_embed: &Tensor, pos_embed: &Tensor| {
                let (token, pos) = (
                    token_embed.to_dtype(CandleDType::F32)?,
                    pos_embed.to_dtype(CandleDType::F32)?,
                );
                Program::RIGHT.weights(task, Embeddings { token: &token, pos: &pos })
            }),
        },
        Impostor {
            name: "any_task_accepted",
            diagnosis: "an unknown task is taken for one of the four",
            caught_by: "unknown_tasks_are_refused",
            answer: answer!(|task: &str, token_embed: &Tensor, pos_embed: &Tensor| {
                let known = ["previous_token", "first_token", "same_token"].contains(&task);
                let task = if known { task } else { "count" };
                Program::RIGHT.weights(task, Embeddings { token: token_embed, pos: pos_embed })
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_whole_matrices",
        answer: answer!(|task: &str, token_embed: &Tensor, pos_embed: &Tensor| {
            by_whole_matrices(task, token_embed, pos_embed)
        }),
    }],
};

/// The contract's own bound: every number to within 0.001.
const TOLERANCE: Tolerance = Tolerance::relative(1e-3).at_scale(1.0);

const TASKS: [&str; 4] = ["count", "first_token", "previous_token", "same_token"];

/// Embeddings of tokens and positions, `(d_vocab, d_model)` and `(n_ctx, d_model)`.
struct Basis {
    token: Array,
    pos: Array,
}

impl Basis {
    /// Rows with a single 1, tokens first.
    fn one_hot(d_vocab: usize, n_ctx: usize) -> Self {
        let row = |first: usize| move |at: &[usize]| f64::from(u8::from(at[1] == first + at[0]));
        let d_model = d_vocab + n_ctx;
        Self {
            token: Array::from_fn(&[d_vocab, d_model], row(0)).to(DType::F32),
            pos: Array::from_fn(&[n_ctx, d_model], row(d_vocab)).to(DType::F32),
        }
    }

    /// Random orthonormal rows, by Gram and Schmidt, that leave some directions free.
    fn random(trial: &mut Trial, d_vocab: usize, n_ctx: usize, dtype: DType) -> Self {
        let d_model = d_vocab + n_ctx + 2;
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for _ in 0..d_vocab + n_ctx {
            let mut row: Vec<f64> = (0..d_model).map(|_| trial.rng.normal()).collect();
            // Twice, since once leaves what rounding leaves.
            for other in rows.iter().chain(&rows) {
                let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(x, unit)| *x -= along * unit);
            }
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            rows.push(row.iter().map(|x| x / length).collect());
        }
        let (token, pos) = rows.split_at(d_vocab);
        Self {
            token: Array::new(&[d_vocab, d_model], token.concat()).to(dtype),
            pos: Array::new(&[n_ctx, d_model], pos.concat()).to(dtype),
        }
    }

    /// The residual stream of a string: token and position added.
    fn resid_pre(&self, tokens: &[usize]) -> Array {
        Array::from_fn(&[1, tokens.len(), self.token.dim(1)], |at| {
            self.token.at(&[tokens[at[1]], at[2]]) + self.pos.at(&[at[1], at[2]])
        })
    }

    /// What the layer must write, `(1, seq, d_model)`.
    fn truth(&self, task: &str, tokens: &[usize]) -> Array {
        let share = |i: usize, is_one: &dyn Fn(usize) -> bool| -> Vec<f64> {
            let ones: Vec<usize> = (0..=i).filter(|&j| is_one(j)).collect();
            let of = |j| if ones.contains(&j) { 1.0 / ones.len() as f64 } else { 0.0 };
            (0..tokens.len()).map(of).collect()
        };
        let weights = |i: usize| match task {
            "count" => share(i, &|_| true),
            "first_token" => share(i, &|j| j == 0),
            "previous_token" => share(i, &|j| j == i.saturating_sub(1)),
            _ => share(i, &|j| tokens[j] == tokens[i]),
        };
        let moved = |j: usize, d: usize| match task {
            "same_token" => self.pos.at(&[j, d]),
            _ => self.token.at(&[tokens[j], d]),
        };
        Array::from_fn(&[1, tokens.len(), self.token.dim(1)], |at| {
            weights(at[1]).iter().enumerate().map(|(j, weight)| weight * moved(j, at[2])).sum()
        })
    }
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let basis = Basis::one_hot(2, 3);
    let layer = Layer::ask(trial, "count", &basis)?;
    layer.answers(trial, "count", &basis, &[0, 0, 1])
}

fn first_token_is_found(trial: &mut Trial) -> Outcome {
    works_on_random_strings(trial, "first_token", &Basis::one_hot(4, 6))
}

fn previous_token_is_found(trial: &mut Trial) -> Outcome {
    works_on_random_strings(trial, "previous_token", &Basis::one_hot(4, 6))
}

fn same_token_is_found(trial: &mut Trial) -> Outcome {
    works_on_random_strings(trial, "same_token", &Basis::one_hot(4, 6))
}

fn any_orthonormal_basis_will_do(trial: &mut Trial) -> Outcome {
    let bases = [Basis::random(trial, 2, 4, DType::F64), Basis::random(trial, 3, 4, DType::F32)];
    for (n, task) in TASKS.into_iter().enumerate() {
        works_on_random_strings(trial, task, &bases[n % 2])?;
    }
    Ok(())
}

fn unknown_tasks_are_refused(trial: &mut Trial) -> Outcome {
    let basis = Basis::one_hot(2, 3);
    let args = args![task: "next_token", token_embed: &basis.token, pos_embed: &basis.pos];
    trial.refuses("there is no task `next_token`", args).map(drop)
}

fn works_on_random_strings(trial: &mut Trial, task: &str, basis: &Basis) -> Outcome {
    let (d_vocab, n_ctx) = (basis.token.dim(0), basis.pos.dim(0));
    let layer = Layer::ask(trial, task, basis)?;
    for seq in [n_ctx, 1] {
        let tokens: Vec<usize> = (0..seq).map(|_| trial.rng.below(d_vocab)).collect();
        layer.answers(trial, task, basis, &tokens)?;
    }
    Ok(())
}

/// A layer with the weights that came.
struct Layer {
    weights: Value,
}

impl Layer {
    /// Asks for the weights, and makes sure that they are those of a layer.
    fn ask(trial: &mut Trial, task: &str, basis: &Basis) -> std::result::Result<Self, Stop> {
        let found =
            trial.named(args![task: task, token_embed: &basis.token, pos_embed: &basis.pos])?;
        let d_model = basis.token.dim(1);
        let Some(q) = found.get("q.weight") else {
            return Err(trial.wrong("There is no `q.weight` among what it returned.".to_owned()));
        };
        let makes_queries = q.rank() == 2 && q.dim(1) == d_model;
        trial.ensure(makes_queries && (1..=d_model).contains(&q.dim(0)), || {
            let shape = q.shape();
            format!(
                "`q.weight` has shape {shape:?}; expected (d_head, d_model), where d_model is \
                 {d_model} and d_head at most that."
            )
        })?;
        let d_head = q.dim(0);
        let mut weights = std::collections::BTreeMap::new();
        for (name, shape) in [
            ("q.weight", [d_head, d_model]),
            ("k.weight", [d_head, d_model]),
            ("v.weight", [d_head, d_model]),
            ("o.weight", [d_model, d_head]),
        ] {
            let Some(weight) = found.get(name) else {
                return Err(trial.wrong(format!("There is no `{name}` among what it returned.")));
            };
            trial.ensure(weight.shape() == shape, || {
                let came = weight.shape();
                format!("`{name}` has shape {came:?}; expected {shape:?}, as d_head is {d_head}.")
            })?;
            let (came, dtype) = (weight.dtype(), basis.token.dtype());
            trial.ensure(came == dtype, || {
                let (came, dtype) = (came.name(), dtype.name());
                format!("`{name}` has dtype {came}; expected {dtype}, that of `token_embed`.")
            })?;
            weights.insert(name.to_owned(), weight.to_raw());
        }
        Ok(Self { weights: Value::Named(weights) })
    }

    /// Runs the layer on a string and compares what it writes with the truth.
    fn answers(&self, trial: &mut Trial, task: &str, basis: &Basis, tokens: &[usize]) -> Outcome {
        let resid_pre = basis.resid_pre(tokens);
        let args = args![weights: self.weights.clone(), resid_pre: &resid_pre];
        let mask = oracle::causal_mask(tokens.len());
        let attn_out = oracle::multi_head(&Inputs::of(&args), 1, Some(&mask));
        let letters: Vec<String> =
            tokens.iter().map(|&t| char::from(b'a' + t as u8).to_string()).collect();
        let name = format!("attn_out of {task} on \"{}\"", letters.join(" "));
        trial.close(&name, &attn_out, &basis.truth(task, tokens), TOLERANCE)
    }
}

#[derive(Clone, Copy)]
struct Embeddings<'a> {
    token: &'a Tensor,
    pos: &'a Tensor,
}

/// What queries ask for and keys offer, row by row, and what is moved.
struct Head {
    asked: Tensor,
    offered: Tensor,
    moved: Tensor,
}

impl Head {
    #[allow(clippy::unnecessary_wraps, reason = "a task's closure returns it as it is")]
    fn new(asked: Tensor, offered: Tensor, moved: &Tensor) -> Result<Self> {
        Ok(Self { asked, offered, moved: moved.clone() })
    }
}

/// One head for each task.
struct Program {
    count: fn(Embeddings) -> Result<Head>,
    first: fn(Embeddings) -> Result<Head>,
    previous: fn(Embeddings) -> Result<Head>,
    same: fn(Embeddings) -> Result<Head>,
    sharpness: f64,
}

impl Program {
    const RIGHT: Self = Self {
        count: |at| Head::new(nothing(at.pos)?, nothing(at.pos)?, at.token),
        first: |at| Head::new(at.pos.sum_keepdim(0)?, at.pos.narrow(0, 0, 1)?, at.token),
        previous: |at| Head::new(earlier(at.pos)?, at.pos.clone(), at.token),
        same: |at| Head::new(at.token.clone(), at.token.clone(), at.pos),
        sharpness: 200.0,
    };

    fn weights(&self, task: &str, embeddings: Embeddings) -> Result<Weights> {
        let head = match task {
            "count" => (self.count)(embeddings),
            "first_token" => (self.first)(embeddings),
            "previous_token" => (self.previous)(embeddings),
            "same_token" => (self.same)(embeddings),
            other => bail!("there is no task `{other}`"),
        }?;
        let d_head = head.asked.dim(0)?.max(head.moved.dim(0)?);
        let padded = |rows: &Tensor| rows.pad_with_zeros(0, 0, d_head - rows.dim(0)?);
        let mut weights = Weights::new();
        weights.insert("q.weight", padded(&(&head.asked * self.sharpness)?)?);
        weights.insert("k.weight", padded(&head.offered)?);
        weights.insert("v.weight", padded(&head.moved)?);
        weights.insert("o.weight", padded(&head.moved)?.t()?);
        Ok(weights)
    }
}

fn nothing(like: &Tensor) -> Result<Tensor> {
    like.zeros_like()
}

/// Row `j` holds position `j + 1`, which asks for position `j`.
fn earlier(pos: &Tensor) -> Result<Tensor> {
    let n_ctx = pos.dim(0)?;
    pos.narrow(0, 1, n_ctx - 1)?.pad_with_zeros(0, 0, 1)
}

/// All looking in `q` and all moving in `o`, `k` and `v` being the identity.
fn by_whole_matrices(task: &str, token: &Tensor, pos: &Tensor) -> Result<Weights> {
    let n_ctx = pos.dim(0)?;
    let table = |offers: fn(usize, usize) -> bool| {
        let cells = (0..n_ctx * n_ctx).map(|n| f64::from(u8::from(offers(n / n_ctx, n % n_ctx))));
        let table = Tensor::from_vec(cells.collect(), (n_ctx, n_ctx), pos.device())?;
        // (key, d_model)ᵀ (key, query) (query, d_model)
        pos.t()?.matmul(&table.to_dtype(pos.dtype())?)?.matmul(pos)
    };
    let (looking, moving) = match task {
        "count" => (table(|_, _| false)?, token),
        "first_token" => (table(|key, _| key == 0)?, token),
        "previous_token" => (table(|key, query| key + 1 == query)?, token),
        "same_token" => (token.t()?.matmul(token)?, pos),
        other => bail!("`{other}` is not a task"),
    };
    let identity = Tensor::eye(token.dim(1)?, token.dtype(), token.device())?;
    let mut weights = Weights::new();
    weights.insert("q.weight", (looking * 1000.0)?);
    weights.insert("k.weight", identity.clone());
    weights.insert("v.weight", identity);
    weights.insert("o.weight", moving.t()?.matmul(moving)?);
    Ok(weights)
}
