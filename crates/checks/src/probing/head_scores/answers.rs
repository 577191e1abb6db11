//! Wrong and right answers to `head_scores`.

use answer::{Call, Weights, answer};
use candle_core::{D, DType, Device, Result, Tensor, bail};

use super::ROLES;
use crate::{Alternative, Impostor};

/// Whether a key counts for a query of these tokens.
type Counts = fn(tokens: &[u32], query: usize, key: usize) -> bool;

/// The steps of an honest answer, for impostors to spoil one of.
#[derive(Clone, Copy)]
struct Steps {
    keys: [Counts; 5],
    /// The numbers of the blocks, in the order in which they are stacked.
    order: fn(usize) -> Vec<usize>,
    /// Mean weight `(n_heads)` of a pattern on the keys of a mask.
    mean: fn(&Tensor, &Tensor) -> Result<Tensor>,
    /// What is refused.
    refuses: Refuses,
    /// Whether masks are made on the processor, wherever the tokens are.
    is_homebound: bool,
}

#[derive(Clone, Copy)]
struct Refuses {
    nothing: bool,
    other_tokens: bool,
    no_repeat: bool,
}

const HONEST: Steps = Steps {
    keys: [
        |_, query, key| key + 1 == query,
        |_, query, key| key == query && query > 0,
        |_, query, key| key == 0 && query > 0,
        |tokens, query, key| key < query && tokens[key] == tokens[query],
        |tokens, query, key| key > 0 && key <= query && tokens[key - 1] == tokens[query],
    ],
    order: |n_layers| (0..n_layers).collect(),
    mean,
    refuses: Refuses { nothing: true, other_tokens: true, no_repeat: true },
    is_homebound: false,
};

impl Steps {
    const fn with_keys(role: usize, keys: Counts) -> Self {
        let mut steps = HONEST;
        steps.keys[role] = keys;
        steps
    }

    fn run(&self, cache: &Weights, tokens: &Tensor) -> Result<Weights> {
        let name = |layer: usize| format!("blocks.{layer}.attn.hook_pattern");
        let mut n_layers = 0;
        while cache.find(&name(n_layers)).is_some() {
            n_layers += 1;
        }
        let mut scores = Weights::new();
        if n_layers == 0 {
            if self.refuses.nothing {
                bail!("there is no pattern");
            }
            return Ok(scores);
        }
        let patterns = (self.order)(n_layers);
        let patterns = patterns.iter().map(|&n| cache.get(&name(n))).collect::<Result<Vec<_>>>()?;
        let seq = patterns[0].dim(3)?;
        if seq != tokens.dim(1)? && self.refuses.other_tokens {
            bail!("{seq} tokens of {:?}", tokens.dims());
        }
        let rows = tokens.narrow(1, 0, seq)?.to_vec2::<u32>()?;
        for (role, counts) in ROLES.iter().zip(self.keys) {
            let mut mask = Vec::new();
            for row in &rows {
                for at in 0..seq * seq {
                    mask.push(f64::from(u8::from(counts(row, at / seq, at % seq))));
                }
            }
            if self.refuses.no_repeat && mask.iter().sum::<f64>() == 0.0 {
                bail!("nothing to look at for `{role}`");
            }
            let device = if self.is_homebound { &Device::Cpu } else { tokens.device() };
            let mask = Tensor::from_vec(mask, (rows.len(), seq, seq), device)?;
            let mask = mask.to_dtype(patterns[0].dtype())?;
            let layers = patterns.iter().map(|pattern| (self.mean)(pattern, &mask));
            scores.insert(role, Tensor::stack(&layers.collect::<Result<Vec<_>>>()?, 0)?);
        }
        Ok(scores)
    }
}

/// Weight of each query on its keys, `(batch, n_heads, seq)`.
fn weights(pattern: &Tensor, mask: &Tensor) -> Result<Tensor> {
    pattern.broadcast_mul(&mask.unsqueeze(1)?)?.sum(D::Minus1)
}

/// Which queries have a key to look for, `(batch, 1, seq)`.
fn queries(mask: &Tensor) -> Result<Tensor> {
    mask.max(D::Minus1)?.unsqueeze(1)
}

fn mean(pattern: &Tensor, mask: &Tensor) -> Result<Tensor> {
    weights(pattern, mask)?.sum((0, 2))?.broadcast_div(&queries(mask)?.sum_all()?)
}

macro_rules! scores {
    ($steps:expr) => {
        answer!(|cache: &Weights, tokens: &Tensor| {
            const STEPS: Steps = $steps;
            STEPS.run(cache, tokens)
        })
    };
}

pub(super) const HOMEBOUND: Call = scores!(Steps { is_homebound: true, ..HONEST });

pub(super) const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "axes_swapped",
        diagnosis: "keys are read as queries: in a pattern the last axis is the key, and each row \
                    is one query's",
        caught_by: "documented_example",
        answer: scores!(Steps { mean: |pattern, mask| mean(&pattern.t()?, mask), ..HONEST }),
    },
    Impostor {
        name: "first_query_counts",
        diagnosis: "the first query counts too, which can attend to nothing but itself, so every \
                    head looks like a `current` head",
        caught_by: "documented_example",
        answer: scores!(Steps::with_keys(1, |_, query, key| key == query)),
    },
    Impostor {
        name: "first_query_counts_at_the_start",
        diagnosis: "the first query counts too, which can attend to nothing but the start, so \
                    every head looks like a `first` head",
        caught_by: "documented_example",
        answer: scores!(Steps::with_keys(2, |_, _, key| key == 0)),
    },
    Impostor {
        name: "induction_is_duplicate",
        diagnosis: "`induction` looks at the earlier token that is the same; what an induction \
                    head copies stands one behind it",
        caught_by: "documented_example",
        answer: scores!(Steps::with_keys(4, HONEST.keys[3])),
    },
    Impostor {
        name: "induction_before_its_like",
        diagnosis: "`induction` looks one key before the earlier token, not one behind it",
        caught_by: "documented_example",
        answer: scores!(Steps::with_keys(4, |tokens, query, key| {
            key + 1 < query && tokens[key + 1] == tokens[query]
        })),
    },
    Impostor {
        name: "own_key_is_a_duplicate",
        diagnosis: "the query's own key counts as a duplicate of itself",
        caught_by: "documented_example",
        answer: scores!(Steps::with_keys(3, |tokens, query, key| {
            key <= query && tokens[key] == tokens[query]
        })),
    },
    Impostor {
        name: "queries_without_a_key_count",
        diagnosis: "the sum is divided by all queries, also those whose token did not stand \
                    earlier, so the scores depend on how often the text repeats",
        caught_by: "documented_example",
        answer: scores!(Steps {
            mean: |pattern, mask| weights(pattern, mask)?.mean((0, 2)),
            ..HONEST
        }),
    },
    Impostor {
        name: "largest_in_place_of_the_mean",
        diagnosis: "the largest weight is taken, so a head that looks back once scores as high as \
                    one that always does",
        caught_by: "documented_example",
        answer: scores!(Steps {
            mean: |pattern, mask| weights(pattern, mask)?.max(2)?.max(0),
            ..HONEST
        }),
    },
    Impostor {
        name: "nearest_repeat_alone",
        diagnosis: "only the nearest earlier occurrence counts; a head may spread its weight over \
                    all of them",
        caught_by: "perfect_heads_score_one",
        answer: scores!(Steps::with_keys(3, |tokens, query, key| {
            tokens[..query].iter().rposition(|token| *token == tokens[query]) == Some(key)
        })),
    },
    Impostor {
        name: "halves_supposed_to_repeat",
        diagnosis: "the second half is supposed to repeat the first; where a token stood earlier \
                    is to be found out from `tokens`",
        caught_by: "perfect_heads_score_one",
        answer: scores!(Steps::with_keys(4, |tokens, query, key| {
            // The halves of three tokens are two apart.
            let period = tokens.len().div_ceil(2);
            query >= period && key + period == query + 1
        })),
    },
    Impostor {
        name: "token_zero_is_padding",
        diagnosis: "token 0 is left out as if it were padding; here it is a token as any other",
        caught_by: "names_of_tokens_do_not_matter",
        answer: scores!(Steps::with_keys(3, |tokens, query, key| {
            tokens[query] != 0 && key < query && tokens[key] == tokens[query]
        })),
    },
    Impostor {
        name: "last_block_first",
        diagnosis: "the blocks are stacked from the last back to the first, so the right heads are \
                    named in the wrong blocks",
        caught_by: "planted_heads_are_named",
        answer: scores!(Steps { order: |n_layers| (0..n_layers).rev().collect(), ..HONEST }),
    },
    Impostor {
        name: "mean_of_means",
        diagnosis: "each sequence is averaged by itself and then the sequences, so a query in a \
                    sequence with few repeats weighs more than one with many",
        caught_by: "perfect_heads_score_one",
        answer: scores!(Steps {
            mean: |pattern, mask| {
                let sums = weights(pattern, mask)?.sum(2)?; // (batch, n_heads)
                let counts = queries(mask)?.sum(2)?.maximum(1.0)?; // (batch, 1)
                sums.broadcast_div(&counts)?.mean(0)
            },
            ..HONEST
        }),
    },
    Impostor {
        name: "first_sequence_alone",
        diagnosis: "only the first sequence of the batch is measured",
        caught_by: "perfect_heads_score_one",
        answer: answer!(|cache: &Weights, tokens: &Tensor| {
            let first =
                |(name, tensor): (&str, &Tensor)| Ok((name.to_owned(), tensor.narrow(0, 0, 1)?));
            let cache = cache.iter().map(first).collect::<Result<Weights>>()?;
            HONEST.run(&cache, &tokens.narrow(0, 0, 1)?)
        }),
    },
    Impostor {
        name: "blocks_in_order_of_text",
        diagnosis: "the blocks are taken in the order of their names as text, where blocks.10 \
                    stands before blocks.2",
        caught_by: "matches_definition",
        answer: scores!(Steps {
            order: |n_layers| {
                let mut order: Vec<usize> = (0..n_layers).collect();
                order.sort_by_key(ToString::to_string);
                order
            },
            ..HONEST
        }),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the scores are computed in `f32` whatever the patterns are",
        caught_by: "matches_definition",
        answer: scores!(Steps {
            mean: |pattern, mask| {
                let single = mean(&pattern.to_dtype(DType::F32)?, &mask.to_dtype(DType::F32)?)?;
                single.to_dtype(pattern.dtype())
            },
            ..HONEST
        }),
    },
    Impostor {
        name: "nothing_measured_is_no_error",
        diagnosis: "a cache without patterns gives scores of nothing, where a misspelt name wants \
                    to be told",
        caught_by: "what_cannot_be_measured_is_refused",
        answer: scores!(Steps { refuses: Refuses { nothing: false, ..HONEST.refuses }, ..HONEST }),
    },
    Impostor {
        name: "tokens_cut_to_the_pattern",
        diagnosis: "patterns of other tokens pass, and are read with the tokens that fit",
        caught_by: "what_cannot_be_measured_is_refused",
        answer: scores!(Steps {
            refuses: Refuses { other_tokens: false, ..HONEST.refuses },
            ..HONEST
        }),
    },
    Impostor {
        name: "nothing_divided_by_nothing",
        diagnosis: "without a repeat the scores of duplicate and induction are 0/0, which is NaN",
        caught_by: "what_cannot_be_measured_is_refused",
        answer: scores!(Steps {
            refuses: Refuses { no_repeat: false, ..HONEST.refuses },
            ..HONEST
        }),
    },
];

pub(super) const ALTERNATIVES: &[Alternative] =
    &[Alternative { name: "rule_by_rule", answer: scores!(HONEST) }];
