//! `generate`: text out of a GPT, with a cache.

use std::slice::from_ref;

use answer::{Numbers, Weights, answer};
use candle_core::{Tensor, bail};
use protocol::{DType, Value};

use super::{
    drawing::{self, Sizes, Widths, value},
    gpt::model::{below, logits, look_up},
    oracle,
    sample_oracle::{clear_noise, draw, next, settings},
    sample_slips,
    steps::Steps,
};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args,
    data::{Trained, trained},
    named::Named,
};

/// An answer that makes one mistake.
macro_rules! slip {
    ($slip:expr) => {
        answer!(|weights: &Weights,
                 tokens: &Tensor,
                 n_heads: usize,
                 settings: &Numbers,
                 noise: &Tensor| {
            let model = Model { weights, n_heads, slip: $slip };
            model.generate(tokens, settings, noise)
        })
    };
}

pub(super) const GENERATE: Part = Part {
    name: "generate",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "two_calls_give_what_one_gives",
            promise: "Continuing in two calls, each with its noise, gives the same text.",
            kind: Kind::Property,
            run: two_calls_give_what_one_gives,
        },
        Check {
            name: "sequences_stand_alone",
            promise: "A text in a batch is continued as it is alone.",
            kind: Kind::Property,
            run: sequences_stand_alone,
        },
        Check {
            name: "matches_the_model_without_cache",
            promise: "The text is what the whole model, run anew for each token, gives; with a \
                      trained model, too.",
            kind: Kind::Reference,
            run: matches_the_model_without_cache,
        },
        Check {
            name: "long_texts_are_refused",
            promise: "A text beyond `n_ctx`, an empty prompt, and unfit noise give errors.",
            kind: Kind::Errors,
            run: long_texts_are_refused,
        },
        Check {
            name: "nothing_is_computed_twice",
            promise: "From one token on, no square of positions is ever held.",
            kind: Kind::Economy,
            run: nothing_is_computed_twice,
        },
    ],
    impostors: &[
        Impostor {
            name: "prompt_not_returned",
            diagnosis: "only the new tokens come back; the prompt stands before them",
            caught_by: "documented_example",
            answer: slip!(Slip::OnlyNew),
        },
        Impostor {
            name: "prompt_not_penalised",
            diagnosis: "`sample` is given the new tokens alone; the prompt counts as well",
            caught_by: "documented_example",
            answer: slip!(Slip::HistoryNew),
        },
        Impostor {
            name: "new_tokens_not_penalised",
            diagnosis: "`sample` is given the prompt alone; the new tokens count as well",
            caught_by: "documented_example",
            answer: slip!(Slip::HistoryPrompt),
        },
        Impostor {
            name: "positions_start_again",
            diagnosis: "a new token is embedded at position 0; it stands behind all that was read",
            caught_by: "two_calls_give_what_one_gives",
            answer: slip!(Slip::PositionsAgain),
        },
        Impostor {
            name: "positions_one_late",
            diagnosis: "a new token is embedded one position too late",
            caught_by: "two_calls_give_what_one_gives",
            answer: slip!(Slip::PositionsLate),
        },
        Impostor {
            name: "cache_not_extended",
            diagnosis: "the cache stays what the prompt made it, so that new tokens cannot read \
                        each other",
            caught_by: "two_calls_give_what_one_gives",
            answer: slip!(Slip::CacheKept),
        },
        Impostor {
            name: "first_positions_logits",
            diagnosis: "the logits of the first position of what was read are taken; the last \
                        one says what comes next",
            caught_by: "two_calls_give_what_one_gives",
            answer: slip!(Slip::FirstLogits),
        },
        Impostor {
            name: "first_texts_noise",
            diagnosis: "every text draws by the first one's noise",
            caught_by: "sequences_stand_alone",
            answer: slip!(Slip::FirstNoise),
        },
        Impostor {
            name: "noise_not_used",
            diagnosis: "the likeliest token always comes; the noise is not looked at",
            caught_by: "matches_the_model_without_cache",
            answer: slip!(Slip::Greedy),
        },
        Impostor {
            name: "last_position_again_and_again",
            diagnosis: "beyond `n_ctx` the last position is used again; that is an error",
            caught_by: "long_texts_are_refused",
            answer: slip!(Slip::NoLimit),
        },
        Impostor {
            name: "no_cache",
            diagnosis: "the whole text runs through the model again for each new token",
            caught_by: "nothing_is_computed_twice",
            answer: slip!(Slip::NoCache),
        },
    ],
    alternatives: &[Alternative { name: "caches_in_a_list", answer: slip!(Slip::None) }],
};

const SIZES: Sizes =
    Sizes { d_vocab: 7, n_ctx: 12, n_layers: 2, widths: Widths { d_model: 6, d_mlp: 5 } };

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = Named::from([
        ("wte.weight".to_owned(), Array::matrix(&[[1., 0.], [0., 1.], [1., 1.]])),
        ("wpe.weight".to_owned(), Array::full(&[3, 2], 0.0)),
        ("ln_f.weight".to_owned(), Array::vector(&[0., 0.])),
        ("ln_f.bias".to_owned(), Array::vector(&[1., 2.])),
    ]);
    let numbers = [("repetition_penalty", 4.0), ("temperature", 0.0)];
    let tokens = Array::matrix(&[[2.]]).to(DType::U32);
    let noise = Array::matrix(&[[0., 0.]]);
    let got = trial.array(question(&weights, &tokens, 1, &numbers, &noise))?;
    let expected = Array::matrix(&[[2., 1., 0.]]).to(DType::U32);
    trial.close("text", &got, &expected, Tolerance::EXACT)
}

fn two_calls_give_what_one_gives(trial: &mut Trial) -> Outcome {
    let weights = drawing::gpt(trial, SIZES);
    let numbers = [("temperature", 1.5)];
    for (n_prompt, n_first) in [(4, 3), (2, 6)] {
        let tokens = drawing::tokens(trial, [3, n_prompt], 7);
        let n_new = 12 - n_prompt;
        let (noise, _) = clear(trial, (&weights, 2), &tokens, &numbers, n_new);
        let whole = trial.array(question(&weights, &tokens, 2, &numbers, &noise))?;
        trial.has_shape("text", &whole, &[3, 12])?;
        let first = noise.narrow(1, 0, n_first);
        let start = trial.array(question(&weights, &tokens, 2, &numbers, &first))?;
        trial.has_shape("text", &start, &[3, n_prompt + n_first])?;
        let rest = noise.narrow(1, n_first, n_new - n_first);
        let pieces = trial.array(question(&weights, &start.to(DType::U32), 2, &numbers, &rest))?;
        trial.close("text in two calls, against one", &pieces, &whole, Tolerance::EXACT)?;
    }
    Ok(())
}

fn sequences_stand_alone(trial: &mut Trial) -> Outcome {
    let weights = drawing::gpt(trial, SIZES);
    let numbers = [("temperature", 2.0)];
    let tokens = drawing::tokens(trial, [3, 4], 7);
    let (noise, _) = clear(trial, (&weights, 2), &tokens, &numbers, 8);
    let together = trial.array(question(&weights, &tokens, 3, &numbers, &noise))?;
    trial.has_shape("text", &together, &[3, 12])?;
    for sequence in 0..3 {
        let one = |array: &Array| array.narrow(0, sequence, 1);
        let alone = trial.array(question(&weights, &one(&tokens), 3, &numbers, &one(&noise)))?;
        let name = format!("text {sequence} of the batch, against the same alone");
        trial.close(&name, &one(&together), &alone, Tolerance::EXACT)?;
    }
    Ok(())
}

fn matches_the_model_without_cache(trial: &mut Trial) -> Outcome {
    let cut = [("temperature", 1.5), ("top_k", 3.0), ("repetition_penalty", 1.4)];
    let (hot, plain) = ([("temperature", 2.0)], []);
    let cases = [
        (1, 11, hot.as_slice(), DType::F32),
        (5, 4, cut.as_slice(), DType::F64),
        (12, 0, plain.as_slice(), DType::F32),
        (3, 8, cut.as_slice(), DType::F32),
    ];
    for (n_prompt, n_new, numbers, dtype) in cases {
        let weights = drawing::gpt(trial, SIZES);
        let tokens = drawing::tokens(trial, [2, n_prompt], 7);
        let (noise, expected) = clear(trial, (&weights, 2), &tokens, numbers, n_new);
        let laid_out = tokens.laid_out(&[1, 0]);
        let args = args![
            weights: value(&weights, dtype),
            tokens: &laid_out,
            n_heads: 2usize,
            settings: settings(numbers),
            noise: &noise.to(dtype)
        ];
        let got = trial.array(args)?;
        let name = format!("text of {n_prompt} tokens and {n_new} new ones");
        trial.close(&name, &got, &expected, Tolerance::EXACT)?;
    }
    let Trained { weights, n_heads, .. } = trained("char_gpt")?;
    let text = "ROMEO:\nBut, soft".bytes().map(f64::from).collect();
    let tokens = Array::new(&[2, 8], text).to(DType::U32);
    let numbers = [("temperature", 0.7)];
    let (noise, expected) = clear(trial, (&weights, n_heads), &tokens, &numbers, 8);
    let args = args![
        weights: value(&weights, DType::F32),
        tokens: &tokens,
        n_heads: n_heads,
        settings: settings(&numbers),
        noise: &noise.to(DType::F32)
    ];
    let got = trial.array(args)?;
    trial.close("text by the trained char_gpt", &got, &expected, Tolerance::EXACT)
}

fn long_texts_are_refused(trial: &mut Trial) -> Outcome {
    let weights = drawing::gpt(trial, SIZES);
    let tokens = drawing::tokens(trial, [2, 5], 7);
    let noise = |batch, n_new| Array::full(&[batch, n_new], 0.5);
    let mut refused = |case: &str, tokens: &Array, noise: &Array| {
        trial.refuses(case, question(&weights, tokens, 2, &[], noise)).map(drop)
    };
    refused("5 + 8 tokens are more than an `n_ctx` of 12", &tokens, &noise(2, 8))?;
    refused("the prompt is empty", &Array::full(&[2, 0], 0.0).to(DType::U32), &noise(2, 1))?;
    refused("there are two texts and three rows of noise", &tokens, &noise(3, 1))
}

fn nothing_is_computed_twice(trial: &mut Trial) -> Outcome {
    let (n_ctx, n_heads) = (96, 8);
    let widths = Widths { d_model: 16, d_mlp: 4 };
    let weights = drawing::gpt(trial, Sizes { d_vocab: 5, n_ctx, n_layers: 1, widths });
    let tokens = drawing::tokens(trial, [1, 1], 5);
    let noise = trial.rng.uniform_array(&[1, n_ctx - 1], 0.0, 1.0);
    let args = args![
        weights: value(&weights, DType::F32),
        tokens: &tokens,
        n_heads: n_heads,
        settings: settings(&[]),
        noise: &noise
    ];
    trial.array(args)?;
    let (peak, square) = (trial.usage().peak_bytes, (4 * n_heads * n_ctx * n_ctx) as u64);
    trial.ensure(peak < square / 2, || {
        // Not how much it was: that depends on what else the process holds.
        format!(
            "It held more at once than half of the scores of {n_ctx} positions with each other, \
             {} KiB; those of one position are {} KiB.",
            square / 2048,
            4 * n_heads * n_ctx / 1024
        )
    })
}

fn question(
    weights: &Named,
    tokens: &Array,
    n_heads: usize,
    numbers: &[(&str, f64)],
    noise: &Array,
) -> Vec<(&'static str, Value)> {
    args![
        weights: value(weights, DType::F64),
        tokens: tokens,
        n_heads: n_heads,
        settings: settings(numbers),
        noise: &noise.to(DType::F64)
    ]
}

/// Noise that is clear of every edge, and the texts that it makes of a model with so many heads.
fn clear(
    trial: &mut Trial,
    (weights, n_heads): (&Named, usize),
    tokens: &Array,
    numbers: &[(&str, f64)],
    n_new: usize,
) -> (Array, Array) {
    let (batch, seq) = (tokens.dim(0), tokens.dim(1));
    let n_layers = weights.keys().filter(|name| name.ends_with(".c_attn.weight")).count();
    let (mut noises, mut texts) = (Vec::new(), Vec::new());
    for row in 0..batch {
        let mut text = tokens.narrow(0, row, 1).values().to_vec();
        for _ in 0..n_new {
            let read = Array::new(&[1, text.len()], text.clone());
            let logits = oracle::gpt(&|name| &weights[name], n_layers, &read, n_heads);
            let last = logits.narrow(1, text.len() - 1, 1);
            let seen: Vec<usize> = text.iter().map(|&token| token as usize).collect();
            let probabilities = next(last.values(), &seen, &settings(numbers)).probabilities;
            let noise = clear_noise(&mut trial.rng, &probabilities);
            text.push(draw(&probabilities, noise) as f64);
            noises.push(noise);
        }
        texts.extend(text);
    }
    (Array::new(&[batch, n_new], noises), Array::new(&[batch, seq + n_new], texts).to(DType::U32))
}

/// What can go wrong in generating.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    OnlyNew,
    HistoryNew,
    HistoryPrompt,
    PositionsAgain,
    PositionsLate,
    CacheKept,
    FirstLogits,
    FirstNoise,
    Greedy,
    NoLimit,
    NoCache,
}

/// A model that generates with a slip.
struct Model<'a> {
    weights: &'a Weights,
    n_heads: usize,
    slip: Slip,
}

/// Keys and values of each block.
type Caches = Vec<(Tensor, Tensor)>;

impl Model<'_> {
    fn generate(
        &self,
        tokens: &Tensor,
        settings: &Numbers,
        noise: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let ((batch, seq), (rows, n_new)) = (tokens.dims2()?, noise.dims2()?);
        let n_ctx = self.weights.get("wpe.weight")?.dim(0)?;
        if seq == 0 || rows != batch || seq + n_new > n_ctx && self.slip != Slip::NoLimit {
            bail!("{seq} + {n_new} of {n_ctx}, {rows} of {batch}");
        }
        let mut settings = settings.clone();
        if self.slip == Slip::Greedy {
            settings.insert("temperature", 0.0);
        }
        let mut caches = Caches::new();
        let mut new: Vec<Tensor> = Vec::new();
        for n in 0..n_new {
            let text = Tensor::cat(&[from_ref(tokens), new.as_slice()].concat(), 1)?;
            let unread = match new.last() {
                Some(last) if self.slip != Slip::NoCache => last,
                _ => &text,
            };
            let at = text.dim(1)? - unread.dim(1)?;
            let logits = self.read(unread, at, &mut caches)?;
            let history = match self.slip {
                Slip::HistoryNew => text.narrow(1, seq, n)?,
                Slip::HistoryPrompt => tokens.clone(),
                _ => text,
            };
            let mut column = noise.narrow(1, n, 1)?.squeeze(1)?;
            if self.slip == Slip::FirstNoise {
                column = column.narrow(0, 0, 1)?.broadcast_as(batch)?;
            }
            let slip = sample_slips::Slip::None;
            let next = sample_slips::drawn(&logits, &history, &settings, &column, slip);
            new.push(next.map_err(candle_core::Error::wrap)?.unsqueeze(1)?);
        }
        if self.slip == Slip::OnlyNew && !new.is_empty() {
            return Tensor::cat(&new, 1);
        }
        Tensor::cat(&[from_ref(tokens), new.as_slice()].concat(), 1)
    }

    /// Reads tokens that stand at `at` and after, and gives the logits of the last.
    fn read(&self, tokens: &Tensor, at: usize, caches: &mut Caches) -> candle_core::Result<Tensor> {
        let (weights, seq) = (self.weights, tokens.dim(1)?);
        let wpe = weights.get("wpe.weight")?;
        let at = match self.slip {
            Slip::PositionsAgain => 0,
            Slip::PositionsLate if at > 0 => at + 1,
            _ => at,
        };
        let at = at.min(wpe.dim(0)? - seq);
        let mut resid = look_up(weights, tokens)?.broadcast_add(&wpe.narrow(0, at, seq)?)?;
        let mut kept = Caches::new();
        let is_there = |layer: &usize| weights.find(&format!("h.{layer}.ln_1.weight")).is_some();
        for layer in (0..).take_while(is_there) {
            let past = caches.get(layer).filter(|_| self.slip != Slip::NoCache);
            let past = [past.map(|past| &past.0), past.map(|past| &past.1)];
            let inside = below(weights, &format!("h.{layer}."));
            let (out, k, v) = Steps::HONEST.block(&inside, &resid, self.n_heads, past)?;
            resid = out;
            kept.push((k, v));
        }
        if self.slip != Slip::CacheKept || caches.is_empty() {
            *caches = kept;
        }
        let place = if self.slip == Slip::FirstLogits { 0 } else { seq - 1 };
        logits(weights, &resid.narrow(1, place, 1)?, weights.get("wte.weight")?)?.squeeze(1)
    }
}
