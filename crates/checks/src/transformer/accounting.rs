//! `accounting`: what a GPT has, computes and keeps.

use std::collections::BTreeMap;

use answer::{Numbers, answer};
use protocol::{DType, Value};

use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

/// An answer with one count that may differ from the honest one.
macro_rules! counting {
    ($($count:ident: $function:expr),* $(,)?) => {
        answer!(|config: &Numbers| {
            #[allow(clippy::needless_update, reason = "an honest count spoils nothing")]
            let counts = Counts { $($count: $function,)* ..Counts::HONEST };
            counts.of(config)
        })
    };
}

pub(super) const ACCOUNTING: Part = Part {
    name: "accounting",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "every_block_costs_the_same",
            promise: "Each further block adds as much as the one before it, to all four counts.",
            kind: Kind::Property,
            run: every_block_costs_the_same,
        },
        Check {
            name: "batches_add_up",
            promise: "Twice the batch computes and keeps twice as much, with the same parameters.",
            kind: Kind::Property,
            run: batches_add_up,
        },
        Check {
            name: "real_models_are_counted",
            promise: "GPT-2's four sizes have the parameters that they have, and random models \
                      what counting each tensor gives, exactly.",
            kind: Kind::Reference,
            run: real_models_are_counted,
        },
        Check {
            name: "impossible_models_are_refused",
            promise: "Sizes that are missing, 0 or no whole numbers, heads that do not divide the \
                      width, and a text longer than the context give an error.",
            kind: Kind::Errors,
            run: impossible_models_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "unembedding_counted_again",
            diagnosis: "the unembedding is counted as a matrix of its own; it is the embedding's",
            caught_by: "documented_example",
            answer: counting!(parameters: |s| honest_parameters(s) + s.d_vocab * s.d_model),
        },
        Impostor {
            name: "biases_not_counted",
            diagnosis: "the biases of the projections are not counted",
            caught_by: "documented_example",
            answer: counting!(parameters: |s| {
                honest_parameters(s) - s.n_layers * (5.0 * s.d_model + s.d_mlp)
            }),
        },
        Impostor {
            name: "last_norm_not_counted",
            diagnosis: "`ln_f` is not counted",
            caught_by: "documented_example",
            answer: counting!(parameters: |s| honest_parameters(s) - 2.0 * s.d_model),
        },
        Impostor {
            name: "mlp_always_four_times_as_wide",
            diagnosis: "the inside of the MLP is taken as 4 `d_model` wide, whatever `d_mlp` is",
            caught_by: "documented_example",
            answer: answer!(|config: &Numbers| {
                let mut config = config.clone();
                config.insert("d_mlp", 4.0 * config.get("d_model")?);
                Counts::HONEST.of(&config)
            }),
        },
        Impostor {
            name: "one_for_each_product",
            diagnosis: "each product counts one; the addition behind it counts one more",
            caught_by: "documented_example",
            answer: counting!(flops: |s| honest_flops(s) / 2.0),
        },
        Impostor {
            name: "two_for_each_parameter",
            diagnosis: "two for each parameter and position leaves the scores out, and counts \
                        embeddings that are only looked up",
            caught_by: "documented_example",
            answer: counting!(flops: |s| 2.0 * honest_parameters(s) * s.batch * s.seq),
        },
        Impostor {
            name: "bytes_forgotten",
            diagnosis: "numbers are counted where bytes are asked for",
            caught_by: "documented_example",
            answer: answer!(|config: &Numbers| {
                let mut config = config.clone();
                config.count("bytes")?;
                config.insert("bytes", 1.0);
                Counts::HONEST.of(&config)
            }),
        },
        Impostor {
            name: "keys_without_values",
            diagnosis: "the cache holds keys and values, and only one of them is counted",
            caught_by: "documented_example",
            answer: counting!(cached: |s| honest_cached(s) / 2.0),
        },
        Impostor {
            name: "last_norm_in_every_block",
            diagnosis: "`ln_f` is counted with every block; there is one at the end",
            caught_by: "every_block_costs_the_same",
            answer: counting!(parameters: |s| {
                // A third norm in each block, and none where there is no block.
                honest_parameters(s) + 2.0 * s.d_model * (s.n_layers - 1.0) * s.n_layers / 2.0
            }),
        },
        Impostor {
            name: "one_block_cached",
            diagnosis: "the cache of one block is counted; every block has its own",
            caught_by: "every_block_costs_the_same",
            answer: counting!(cached: |s| 2.0 * s.batch * s.seq * s.d_model),
        },
        Impostor {
            name: "batch_forgotten",
            diagnosis: "one sequence is counted, whatever `batch` is",
            caught_by: "batches_add_up",
            answer: answer!(|config: &Numbers| {
                let mut config = config.clone();
                config.count("batch")?;
                config.insert("batch", 1.0);
                Counts::HONEST.of(&config)
            }),
        },
        Impostor {
            name: "one_pattern_for_all_heads",
            diagnosis: "one attention pattern is counted for each block; every head keeps its own",
            caught_by: "real_models_are_counted",
            answer: counting!(kept: |s| {
                honest_kept(s) - s.batch * s.seq * s.seq * s.n_layers * (s.n_heads - 1.0)
            }),
        },
        Impostor {
            name: "scores_as_if_alone",
            diagnosis: "a position's scores are counted against one key; there are `seq` of them",
            caught_by: "real_models_are_counted",
            answer: counting!(flops: |s| {
                let without = 4.0 * s.batch * s.seq * s.n_layers * s.d_model;
                honest_flops(s) - without * (s.seq - 1.0)
            }),
        },
        Impostor {
            name: "mask_halves_the_scores",
            diagnosis: "only the scores that the mask lets through are counted; a plain product \
                        computes all of them",
            caught_by: "real_models_are_counted",
            answer: counting!(flops: |s| {
                let scores = 4.0 * s.batch * s.seq * s.n_layers * s.d_model;
                honest_flops(s) - scores * (s.seq - 1.0) / 2.0
            }),
        },
        Impostor {
            name: "counted_in_f32",
            diagnosis: "the counts are kept in `f32`, which has no odd numbers beyond 16,777,216",
            caught_by: "real_models_are_counted",
            answer: counting!(parameters: |s| f64::from(honest_parameters(s) as f32)),
        },
        Impostor {
            name: "heads_rounded_down",
            diagnosis: "heads that do not divide `d_model` pass without an error",
            caught_by: "impossible_models_are_refused",
            answer: answer!(|config: &Numbers| {
                let mut config = config.clone();
                let (d_model, n_heads) = (config.count("d_model")?, config.count("n_heads")?);
                if n_heads > 0 && !d_model.is_multiple_of(n_heads) {
                    config.insert("n_heads", 1.0);
                }
                Counts::HONEST.of(&config)
            }),
        },
        Impostor {
            name: "context_not_looked_at",
            diagnosis: "a text longer than the context passes without an error",
            caught_by: "impossible_models_are_refused",
            answer: answer!(|config: &Numbers| {
                let size = Sizes::of(config, false)?;
                Ok::<_, anyhow::Error>(Counts::HONEST.numbers(&size))
            }),
        },
    ],
    alternatives: &[Alternative { name: "closed_forms", answer: counting!() }],
};

const NAMES: [&str; 9] =
    ["d_vocab", "n_ctx", "d_model", "n_heads", "n_layers", "d_mlp", "batch", "seq", "bytes"];
const RESULTS: [&str; 4] = ["parameters", "flops", "activation_bytes", "kv_bytes"];

type Config = [usize; 9];

fn documented_example(trial: &mut Trial) -> Outcome {
    let found = counted(trial, [3, 4, 2, 1, 1, 5, 1, 1, 4])?;
    compare(trial, found, [77.0, 92.0, 136.0, 16.0])
}

fn every_block_costs_the_same(trial: &mut Trial) -> Outcome {
    let mut config = random(trial);
    let mut before: Option<[f64; 4]> = None;
    let mut step: Option<[f64; 4]> = None;
    for n_layers in 0..5 {
        config[4] = n_layers;
        let found = counted(trial, config)?;
        let added = before.map(|before| difference(found, before));
        if let (Some(added), Some(step)) = (added, step) {
            for (name, (added, step)) in RESULTS.iter().zip(added.iter().zip(step)) {
                let name = format!("what block {n_layers} adds to {name}");
                exact(trial, &name, *added, step)?;
            }
        }
        if let (None, Some(added)) = (step, added) {
            trial.ensure(added.iter().all(|&added| added > 0.0), || {
                format!("The first block adds {added:?} to {RESULTS:?}; each has to grow.")
            })?;
        }
        (before, step) = (Some(found), added);
    }
    Ok(())
}

fn batches_add_up(trial: &mut Trial) -> Outcome {
    let mut config = random(trial);
    let one = counted(trial, config)?;
    config[6] *= 2;
    let two = counted(trial, config)?;
    let doubled = [one[0], 2.0 * one[1], 2.0 * one[2], 2.0 * one[3]];
    for (name, (two, doubled)) in RESULTS.iter().zip(two.iter().zip(doubled)) {
        exact(trial, &format!("{name} with twice the batch"), *two, doubled)?;
    }
    Ok(())
}

fn real_models_are_counted(trial: &mut Trial) -> Outcome {
    for (d_model, n_heads, n_layers, parameters) in [
        (768, 12, 12, 124_439_808.0),
        (1024, 16, 24, 354_823_168.0),
        (1280, 20, 36, 774_030_080.0),
        (1600, 25, 48, 1_557_611_200.0),
    ] {
        let config = [50_257, 1024, d_model, n_heads, n_layers, 4 * d_model, 8, 1024, 2];
        let found = counted(trial, config)?;
        exact(trial, "parameters of a GPT-2", found[0], parameters)?;
        compare(trial, found, oracle(config))?;
    }
    for _ in 0..8 {
        let config = random(trial);
        let found = counted(trial, config)?;
        compare(trial, found, oracle(config))?;
    }
    Ok(())
}

fn impossible_models_are_refused(trial: &mut Trial) -> Outcome {
    let whole = [11, 8, 6, 3, 2, 5, 2, 8, 4];
    for (position, name) in NAMES.iter().enumerate().filter(|(_, name)| **name != "n_layers") {
        let mut config = whole;
        config[position] = 0;
        trial.refuses(&format!("`{name}` is 0"), args![config: named(config)])?;
    }
    for (name, number) in [("d_mlp", 2.5), ("batch", -1.0)] {
        let mut config = named(whole);
        config.insert(name.to_owned(), number);
        trial.refuses(&format!("`{name}` is {number}"), args![config: config])?;
    }
    let mut without = named(whole);
    without.remove("seq");
    trial.refuses("`seq` is missing", args![config: without])?;
    let case = "4 heads do not divide a d_model of 6";
    trial.refuses(case, args![config: named([11, 8, 6, 4, 2, 5, 2, 8, 4])])?;
    let case = "`seq` is 9 and `n_ctx` is 8";
    trial.refuses(case, args![config: named([11, 8, 6, 3, 2, 5, 2, 9, 4])])?;
    Ok(())
}

fn named(config: Config) -> BTreeMap<String, f64> {
    NAMES.iter().zip(config).map(|(name, size)| ((*name).to_owned(), size as f64)).collect()
}

fn random(trial: &mut Trial) -> Config {
    let mut size = |low, high| trial.rng.between(low, high);
    let (n_heads, n_ctx) = (size(2, 4), size(5, 9));
    let d_model = n_heads * size(2, 5);
    let (d_vocab, n_layers, d_mlp) = (size(10, 99), size(1, 4), size(5, 50));
    [d_vocab, n_ctx, d_model, n_heads, n_layers, d_mlp, size(2, 5), size(3, 5), size(2, 4)]
}

/// Asks for the four counts.
fn counted(trial: &mut Trial, config: Config) -> Result<[f64; 4], Stop> {
    let values = trial.values(args![config: named(config)])?;
    let [Value::Numbers(found)] = values.as_slice() else {
        return Err(trial.wrong("It did not return named numbers.".to_owned()));
    };
    let mut counts = [0.0; 4];
    for (count, name) in counts.iter_mut().zip(RESULTS) {
        let Some(number) = found.get(name) else {
            return Err(trial.wrong(format!("There is no `{name}` among the results.")));
        };
        *count = *number;
    }
    Ok(counts)
}

fn compare(trial: &mut Trial, found: [f64; 4], expected: [f64; 4]) -> Outcome {
    for (name, (found, expected)) in RESULTS.iter().zip(found.iter().zip(expected)) {
        exact(trial, name, *found, expected)?;
    }
    Ok(())
}

fn exact(trial: &mut Trial, name: &str, found: f64, expected: f64) -> Outcome {
    let scalar = |number| Array::new(&[], vec![number]).to(DType::F64);
    trial.close(name, &scalar(found), &scalar(expected), Tolerance::EXACT)
}

fn difference(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    std::array::from_fn(|n| a[n] - b[n])
}

/// Counts tensor by tensor and product by product, in whole numbers.
fn oracle(config: Config) -> [f64; 4] {
    let [d_vocab, n_ctx, d_model, n_heads, n_layers, d_mlp, batch, seq, bytes] =
        config.map(|size| size as u128);
    let projections =
        [(d_model, 3 * d_model), (d_model, d_model), (d_model, d_mlp), (d_mlp, d_model)];
    let (mut parameters, mut products, mut kept, mut cached) = (0, 0, 0, 0);
    for _ in 0..n_layers {
        for (d_in, d_out) in projections {
            parameters += d_in * d_out + d_out;
            products += batch * seq * d_in * d_out;
        }
        parameters += 2 * (d_model + d_model);
        for _ in 0..n_heads {
            // Each query with each key, then each weight with each value.
            products += 2 * batch * seq * seq * (d_model / n_heads);
            kept += batch * seq * seq;
        }
        kept += batch * seq * (2 * d_model + 3 * d_model + d_model + 2 * d_model + 2 * d_mlp);
        cached += 2 * batch * seq * d_model;
    }
    parameters += d_vocab * d_model + n_ctx * d_model + 2 * d_model;
    products += batch * seq * d_model * d_vocab;
    kept += batch * seq * (2 * d_model + d_vocab);
    [parameters, 2 * products, kept * bytes, cached * bytes].map(|count| count as f64)
}

/// The sizes of a model and of a run, as numbers to reckon with.
#[derive(Clone, Copy)]
struct Sizes {
    d_vocab: f64,
    n_ctx: f64,
    d_model: f64,
    n_heads: f64,
    n_layers: f64,
    d_mlp: f64,
    batch: f64,
    seq: f64,
    bytes: f64,
}

impl Sizes {
    fn of(config: &Numbers, mind_the_context: bool) -> anyhow::Result<Self> {
        let mut sizes = [0.0; 9];
        for (size, name) in sizes.iter_mut().zip(NAMES) {
            *size = config.count(name)? as f64;
            anyhow::ensure!(*size > 0.0 || name == "n_layers", "`{name}` is 0");
        }
        let [d_vocab, n_ctx, d_model, n_heads, n_layers, d_mlp, batch, seq, bytes] = sizes;
        anyhow::ensure!(d_model % n_heads == 0.0, "heads do not divide");
        anyhow::ensure!(seq <= n_ctx || !mind_the_context, "the text is too long");
        Ok(Self { d_vocab, n_ctx, d_model, n_heads, n_layers, d_mlp, batch, seq, bytes })
    }
}

/// The four counts, each to be spoiled by some impostor.
struct Counts {
    parameters: fn(&Sizes) -> f64,
    flops: fn(&Sizes) -> f64,
    kept: fn(&Sizes) -> f64,
    cached: fn(&Sizes) -> f64,
}

impl Counts {
    const HONEST: Self = Self {
        parameters: honest_parameters,
        flops: honest_flops,
        kept: honest_kept,
        cached: honest_cached,
    };

    fn of(&self, config: &Numbers) -> anyhow::Result<Numbers> {
        Ok(self.numbers(&Sizes::of(config, true)?))
    }

    fn numbers(&self, sizes: &Sizes) -> Numbers {
        let mut numbers = Numbers::new();
        numbers.insert("parameters", (self.parameters)(sizes));
        numbers.insert("flops", (self.flops)(sizes));
        numbers.insert("activation_bytes", sizes.bytes * (self.kept)(sizes));
        numbers.insert("kv_bytes", sizes.bytes * (self.cached)(sizes));
        numbers
    }
}

fn honest_parameters(s: &Sizes) -> f64 {
    let in_block = s.d_model * (4.0 * s.d_model + 2.0 * s.d_mlp + 9.0) + s.d_mlp;
    s.d_model * (s.d_vocab + s.n_ctx + 2.0) + s.n_layers * in_block
}

fn honest_flops(s: &Sizes) -> f64 {
    let in_block = 4.0 * s.d_model + 2.0 * s.d_mlp + 2.0 * s.seq;
    2.0 * s.batch * s.seq * s.d_model * (s.n_layers * in_block + s.d_vocab)
}

fn honest_kept(s: &Sizes) -> f64 {
    let in_block = 8.0 * s.d_model + 2.0 * s.d_mlp + s.n_heads * s.seq;
    s.batch * s.seq * (s.n_layers * in_block + 2.0 * s.d_model + s.d_vocab)
}

fn honest_cached(s: &Sizes) -> f64 {
    2.0 * s.n_layers * s.batch * s.seq * s.d_model
}
