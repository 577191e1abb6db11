//! `head_scores`: which head looks back, at itself, at the start, or behind its like.

use std::cmp::Ordering::Equal;

use pictures::{HeadPattern, attention_patterns};
use protocol::{DType, Value};

use super::model::Model;
use crate::{
    Array, Check, Homebound, Kind, Outcome, Part, Tolerance, Trial, args,
    named::{Named, to_value},
};

mod answers;

pub(super) const HEAD_SCORES: Part = Part {
    name: "head_scores",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "perfect_heads_score_one",
            promise: "A head that does nothing but its role scores 1 at it, wherever the repeats \
                      stand.",
            kind: Kind::Property,
            run: perfect_heads_score_one,
        },
        Check {
            name: "names_of_tokens_do_not_matter",
            promise: "Other numbers for the same tokens, 0 among them, change no score.",
            kind: Kind::Property,
            run: names_of_tokens_do_not_matter,
        },
        Check {
            name: "planted_heads_are_named",
            promise: "In twenty compiled models the head with the highest score is the one that \
                      was planted for that role.",
            kind: Kind::Property,
            run: planted_heads_are_named,
        },
        Check {
            name: "matches_definition",
            promise: "The scores are what the definition says, for one layer and for eleven, with \
                      sequences that repeat often and seldom.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "what_cannot_be_measured_is_refused",
            promise: "A cache without patterns, patterns of other tokens, and tokens without a \
                      repeat are refused.",
            kind: Kind::Errors,
            run: what_cannot_be_measured_is_refused,
        },
    ],
    impostors: answers::IMPOSTORS,
    alternatives: answers::ALTERNATIVES,
};

pub(super) const HOMEBOUND: Homebound = Homebound {
    part: "head_scores",
    diagnosis: "the masks of the roles are made on the processor, wherever `tokens` is",
    answer: answers::HOMEBOUND,
};

/// Roundings of an honest `f32` answer: a sum of up to a hundred weights, and a division.
///
/// So few weights are summed that an answer which computes in `f32` errs by 1e-9 only.
const TOLERANCE: Tolerance = Tolerance::roundings(64.0).at_scale(1.0).in_double(1e-12);

/// The names of the scores.
pub(super) const ROLES: [&str; 5] = ["previous", "current", "first", "duplicate", "induction"];

/// Whether a key counts for a query.
type Counts = fn(tokens: &[usize], query: usize, key: usize) -> bool;

/// What each role looks at, in the order of [`ROLES`].
const KEYS: [Counts; 5] = [
    |_, query, key| key + 1 == query,
    |_, query, key| key == query && query > 0,
    |_, query, key| key == 0 && query > 0,
    |tokens, query, key| key < query && tokens[key] == tokens[query],
    |tokens, query, key| key > 0 && key <= query && tokens[key - 1] == tokens[query],
];

fn documented_example(trial: &mut Trial) -> Outcome {
    let rows = vec![1., 0., 0., 0.75, 0.25, 0., 0.125, 0.625, 0.25];
    let pattern = Array::new(&[1, 1, 3, 3], rows);
    let tokens = Array::matrix(&[[5., 6., 5.]]);
    let expected = [0.6875, 0.25, 0.4375, 0.125, 0.625].map(|score| Array::matrix(&[[score]]));
    has_scores(trial, &[pattern], &tokens, &expected)
}

fn perfect_heads_score_one(trial: &mut Trial) -> Outcome {
    let tokens = Array::matrix(&[[1., 2., 3., 5., 6., 4.], [4., 1., 3., 4., 1., 1.]]);
    // The first text repeats nothing, so all that is to see of repeats is in the second.
    // A query without such a key rests on itself, or at the start: neither counts against it.
    let pattern = Array::from_fn(&[2, 5, 6, 6], |at| {
        let (row, query, key) = (row(&tokens, at[0]), at[2], at[3]);
        let keys: Vec<usize> = (0..6).filter(|&key| KEYS[at[1]](&row, query, key)).collect();
        if keys.is_empty() {
            return f64::from(u8::from(key == 0));
        }
        // All of its weight, spread over all that it may look for.
        f64::from(u8::from(keys.contains(&key))) / keys.len() as f64
    });
    let scores = scores(trial, &[pattern], &tokens, DType::F32)?;
    for (head, role) in ROLES.iter().enumerate() {
        trial.has_shape(role, &scores[*role], &[1, 5])?;
        let name = format!("{role} of a head that does nothing else");
        let one = Array::vector(&[1.0]).to(DType::F32);
        let got = scores[*role].narrow(1, head, 1).reshape(&[1]);
        trial.close(&name, &got, &one, TOLERANCE)?;
    }
    Ok(())
}

fn names_of_tokens_do_not_matter(trial: &mut Trial) -> Outcome {
    let tokens = Array::matrix(&[[3., 1., 3., 2., 1.]]);
    let renamed = tokens.map(|token| (token + 1.0) % 4.0 * 250.0);
    let pattern = random_pattern(trial, [1, 2, 5]);
    let before = scores(trial, std::slice::from_ref(&pattern), &tokens, DType::F32)?;
    let after = scores(trial, &[pattern], &renamed, DType::F32)?;
    let list = ROLES.map(|role| (role, before[role].clone(), TOLERANCE));
    trial.close_each("score", &after, &list)
}

fn planted_heads_are_named(trial: &mut Trial) -> Outcome {
    for n in 0..20 {
        let task = circuits::Task::ALL[n % 4];
        let (circuit, patterns, tokens) = telling(trial, task);
        let scores = scores(trial, &patterns, &tokens, DType::F32)?;
        if n == 0 {
            trial.show_page("the heads of a planted circuit", page(&patterns, &tokens, &scores));
        }
        for (name, role) in ROLES.into_iter().zip(PLANTED) {
            let Some(planted) = circuit.head(role) else { continue };
            let place = [planted.layer, planted.head];
            trial.has_shape(name, &scores[name], &[circuit.n_layers, circuit.n_heads])?;
            let found = highest(&scores[name]);
            let score = scores[name].at(&place);
            trial.ensure(found == place, || {
                format!(
                    "Model {n} of 20 has its `{name}` head in block {} as number {}, with a score \
                     of {score:.3}; the highest score is that of block {}, number {}.",
                    place[0], place[1], found[0], found[1]
                )
            })?;
        }
    }
    Ok(())
}

/// A circuit with its patterns on four texts, in which each planted head scores highest in its
/// role.
///
/// By chance another head may do as well: one that looks at the first token does what one for
/// duplicates does, where it is the first token that comes again.
fn telling(trial: &mut Trial, task: circuits::Task) -> (circuits::Circuit, Vec<Array>, Array) {
    loop {
        let circuit = circuits::compile(task, trial.rng.below(1 << 31) as u64);
        let mut rows = Vec::new();
        for _ in 0..4 {
            let prompt = circuit.prompt(trial.rng.below(1 << 31) as u64);
            rows.extend(prompt.tokens.into_iter().map(|token| token as f64));
        }
        let tokens = Array::new(&[4, circuit.n_ctx], rows).to(DType::U32);
        let (_, cache) = Model::compiled(&circuit).look(&tokens);
        let pattern = |layer: usize| cache[&format!("blocks.{layer}.attn.hook_pattern")].clone();
        let patterns: Vec<Array> = (0..circuit.n_layers).map(pattern).collect();
        let expected = oracle(&patterns, &tokens);
        let is_told = expected.iter().zip(PLANTED).all(|(scores, role)| {
            circuit.head(role).is_none_or(|head| {
                let own = head.layer * circuit.n_heads + head.head;
                let mut others = scores.values().iter().enumerate().filter(|(n, _)| *n != own);
                others.all(|(_, score)| *score < scores.values()[own] - 0.05)
            })
        });
        if is_told {
            return (circuit, patterns, tokens);
        }
    }
}

/// Where each head of a circuit looks in its first text, with what the answer scored it highest in.
fn page(patterns: &[Array], tokens: &Array, scores: &Named) -> String {
    let words: Vec<String> = row(tokens, 0).iter().map(usize::to_string).collect();
    let seq = words.len();
    let mut heads = Vec::new();
    for (layer, pattern) in patterns.iter().enumerate() {
        for head in 0..pattern.dim(1) {
            let of = |role: &str| scores[role].values().get(layer * pattern.dim(1) + head).copied();
            let best = ROLES.into_iter().max_by(|a, b| of(a).partial_cmp(&of(b)).unwrap_or(Equal));
            let best = best.unwrap_or_default();
            let score = of(best).unwrap_or(f64::NAN);
            let share = |query, key| pattern.at(&[0, head, query, key]);
            heads.push(HeadPattern {
                name: format!("block {layer}, head {head}: {best} {score:.2}"),
                pattern: (0..seq).map(|q| (0..seq).map(|k| share(q, k)).collect()).collect(),
            });
        }
    }
    attention_patterns("The heads of a planted circuit, and what you scored them", &words, &heads)
}

/// What the compiler calls the roles, in the order of [`ROLES`].
const PLANTED: [circuits::Role; 5] = [
    circuits::Role::Previous,
    circuits::Role::Current,
    circuits::Role::First,
    circuits::Role::Duplicate,
    circuits::Role::Induction,
];

/// Where the highest score stands: layer and head.
fn highest(scores: &Array) -> [usize; 2] {
    let values = scores.values();
    let best = (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0);
    [best / scores.dim(1), best % scores.dim(1)]
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (n_layers, [batch, n_heads, seq]) in [(1, [1, 1, 4]), (2, [2, 3, 7]), (11, [3, 1, 5])] {
        let mut patterns = Vec::new();
        for _ in 0..n_layers {
            patterns.push(random_pattern(trial, [batch, n_heads, seq]));
        }
        // The first sequence repeats one token all the time, the others seldom.
        let mut tokens = Array::from_fn(&[batch, seq], |_| trial.rng.below(seq) as f64);
        (0..seq - 1).for_each(|at| tokens.set(&[0, at], 1.0));
        let tokens = tokens.laid_out(&[1, 0]);
        let expected = oracle(&patterns, &tokens);
        has_scores(trial, &patterns, &tokens, &expected)?;
    }
    Ok(())
}

fn what_cannot_be_measured_is_refused(trial: &mut Trial) -> Outcome {
    let pattern = random_pattern(trial, [1, 2, 3]);
    let tokens = Array::matrix(&[[1., 2., 1.]]);
    trial.refuses("there is no pattern in the cache", asked(&[], &tokens, DType::F32))?;
    let longer = Array::matrix(&[[1., 2., 1., 2.]]);
    let case = "the patterns are of 3 tokens, and 4 came";
    trial.refuses(case, asked(std::slice::from_ref(&pattern), &longer, DType::F32))?;
    let distinct = Array::matrix(&[[1., 2., 3.]]);
    let case = "no token repeats, so duplicate and induction would be 0 / 0";
    trial.refuses(case, asked(&[pattern], &distinct, DType::F32))?;
    Ok(())
}

/// Compares all five scores, in both dtypes, with those in the order of [`ROLES`].
fn has_scores(
    trial: &mut Trial,
    patterns: &[Array],
    tokens: &Array,
    expected: &[Array; 5],
) -> Outcome {
    for dtype in [DType::F64, DType::F32] {
        let got = scores(trial, patterns, tokens, dtype)?;
        let list: Vec<_> =
            ROLES.iter().zip(expected).map(|(&role, e)| (role, e.to(dtype), TOLERANCE)).collect();
        trial.close_each("score", &got, &list)?;
    }
    Ok(())
}

/// Asks for the scores, and proves that all are there.
fn scores(
    trial: &mut Trial,
    patterns: &[Array],
    tokens: &Array,
    dtype: DType,
) -> Result<Named, crate::Stop> {
    let [scores] = trial.sets(asked(patterns, tokens, dtype))?;
    for role in ROLES {
        trial.ensure(scores.contains_key(role), || format!("There is no score `{role}`."))?;
    }
    Ok(scores)
}

fn asked(patterns: &[Array], tokens: &Array, dtype: DType) -> Vec<(&'static str, Value)> {
    let named = |(layer, pattern): (usize, &Array)| {
        // Not contiguous, as a model leaves what it swapped the axes of.
        let pattern = pattern.to(dtype).laid_out(&[0, 2, 1, 3]);
        (format!("blocks.{layer}.attn.hook_pattern"), pattern)
    };
    let mut cache: Named = patterns.iter().enumerate().map(named).collect();
    // What else a cache holds.
    cache.insert("hook_embed".to_owned(), Array::full(&[1, 1, 2], 0.5).to(dtype));
    args![cache: to_value(&cache), tokens: &tokens.to(DType::U32)]
}

/// Causal attention at random.
fn random_pattern(trial: &mut Trial, [batch, n_heads, seq]: [usize; 3]) -> Array {
    let mut pattern = Array::full(&[batch, n_heads, seq, seq], 0.0);
    for row in 0..batch * n_heads * seq {
        let query = row % seq;
        let weights: Vec<f64> = (0..=query).map(|_| trial.rng.normal().exp()).collect();
        let sum: f64 = weights.iter().sum();
        let at = |key| [row / seq / n_heads, row / seq % n_heads, query, key];
        weights.iter().enumerate().for_each(|(key, w)| pattern.set(&at(key), w / sum));
    }
    pattern.to(DType::F32)
}

fn row(tokens: &Array, sequence: usize) -> Vec<usize> {
    tokens.narrow(0, sequence, 1).values().iter().map(|&token| token as usize).collect()
}

/// The scores by the definition, in the order of [`ROLES`].
fn oracle(patterns: &[Array], tokens: &Array) -> [Array; 5] {
    [0, 1, 2, 3, 4].map(|role| {
        Array::from_fn(&[patterns.len(), patterns[0].dim(1)], |to| {
            let (mut sum, mut n_queries) = (0.0, 0);
            for sequence in 0..tokens.dim(0) {
                let row = row(tokens, sequence);
                for query in 0..row.len() {
                    let counts = |key: &usize| KEYS[role](&row, query, *key);
                    let keys: Vec<usize> = (0..row.len()).filter(counts).collect();
                    n_queries += usize::from(!keys.is_empty());
                    let weight = |&key| patterns[to[0]].at(&[sequence, to[1], query, key]);
                    sum += keys.iter().map(weight).sum::<f64>();
                }
            }
            sum / n_queries as f64
        })
    })
}
