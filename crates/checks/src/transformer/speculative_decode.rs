//! `speculative_decode`: a small model proposes, a large one decides.

use answer::answer;
use candle_core::{DType as CandleDType, Tensor};
use protocol::{DType, Value};

use super::sample_oracle::draw;
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

/// An answer that makes one mistake.
macro_rules! slip {
    ($slip:expr) => {
        answer!(|target: &Tensor,
                 draft: &Tensor,
                 start: &Tensor,
                 n_draft: usize,
                 noise: &Tensor| {
            answered([target, draft], start, n_draft, noise, $slip)
        })
    };
}

pub(super) const SPECULATIVE_DECODE: Part = Part {
    name: "speculative_decode",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "tokens_are_the_targets",
            promise: "Over evenly spaced noise, each token comes as often as `target` says.",
            kind: Kind::Property,
            run: tokens_are_the_targets,
        },
        Check {
            name: "agreement_saves_rounds",
            promise: "If both models agree, each round gives `n_draft` tokens and one more.",
            kind: Kind::Property,
            run: agreement_saves_rounds,
        },
        Check {
            name: "disagreement_costs_rounds",
            promise: "If the draft only proposes what cannot be, each round gives one token.",
            kind: Kind::Property,
            run: disagreement_costs_rounds,
        },
        Check {
            name: "matches_definition",
            promise: "For random models, tokens and rounds are the defined ones.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "bad_questions_are_refused",
            promise: "Tables and noise that do not fit, unknown tokens and no draft are errors.",
            kind: Kind::Errors,
            run: bad_questions_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "always_accepted",
            diagnosis: "every proposal is accepted, so the text is the draft's",
            caught_by: "documented_example",
            answer: slip!(Slip::AlwaysAccepted),
        },
        Impostor {
            name: "ratio_upside_down",
            diagnosis: "proposals are accepted with probability draft/target; it is target/draft",
            caught_by: "documented_example",
            answer: slip!(Slip::UpsideDown),
        },
        Impostor {
            name: "redrawn_from_target",
            diagnosis: "after a refusal the token is drawn from `target`; what the draft could \
                        have given has to be taken off first",
            caught_by: "tokens_are_the_targets",
            answer: slip!(Slip::FromTarget),
        },
        Impostor {
            name: "redrawn_from_draft",
            diagnosis: "after a refusal the token is drawn from `draft` once more",
            caught_by: "documented_example",
            answer: slip!(Slip::FromDraft),
        },
        Impostor {
            name: "rest_not_made_whole",
            diagnosis: "max(0, target − draft) is not made to sum to 1 before a token is drawn",
            caught_by: "tokens_are_the_targets",
            answer: slip!(Slip::NotRenormalised),
        },
        Impostor {
            name: "absolute_rest",
            diagnosis: "after a refusal the token is drawn from |target − draft|; where the draft \
                        is larger it should be 0",
            caught_by: "tokens_are_the_targets",
            answer: slip!(Slip::Absolute),
        },
        Impostor {
            name: "noise_used_twice",
            diagnosis: "the noise that refused a proposal also draws the token in its place, so \
                        the two are not independent",
            caught_by: "tokens_are_the_targets",
            answer: slip!(Slip::SameNoise),
        },
        Impostor {
            name: "nothing_added",
            diagnosis: "when all proposals are accepted, no token of the target's own is added",
            caught_by: "agreement_saves_rounds",
            answer: slip!(Slip::NoBonus),
        },
        Impostor {
            name: "round_goes_on",
            diagnosis: "after a refusal the round goes on with further proposals; it should end",
            caught_by: "disagreement_costs_rounds",
            answer: slip!(Slip::GoesOn),
        },
        Impostor {
            name: "impossible_tokens_drawn",
            diagnosis: "with noise 0 the first id is drawn, even if its probability is 0",
            caught_by: "disagreement_costs_rounds",
            answer: slip!(Slip::AtLeast),
        },
        Impostor {
            name: "added_from_draft",
            diagnosis: "when all proposals are accepted, the token that is added comes from \
                        `draft`; it should come from `target`",
            caught_by: "matches_definition",
            answer: slip!(Slip::BonusFromDraft),
        },
        Impostor {
            name: "rows_of_the_first_token",
            diagnosis: "all proposals of a round look up what comes after the round's first token; \
                        each should look after the proposal before it",
            caught_by: "agreement_saves_rounds",
            answer: slip!(Slip::StaleRow),
        },
        Impostor {
            name: "anything_accepted",
            diagnosis: "inputs that do not fit each other go unnoticed",
            caught_by: "bad_questions_are_refused",
            answer: slip!(Slip::Unchecked),
        },
    ],
    alternatives: &[Alternative { name: "position_by_position", answer: slip!(Slip::None) }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let (target, draft) = ([0.25, 0.5, 0.25], [0.75, 0.25, 0.0]);
    let (target, draft) = (Array::matrix(&[target; 3]), Array::matrix(&[draft; 3]));
    let noise = vec![0.5, 0.2, 0.9, 0.5, 0.6, 0.9, 0.8, 0.9, 0.9];
    let noise = Array::new(&[3, 1, 3], noise);
    let models = Models { target: &target, draft: &draft };
    gives(trial, models, &[0, 1, 2], 1, &noise, &[vec![0], vec![2], vec![1]], &[1, 1, 1])
}

/// Multiples of 1/8 such that all that is drawn and weighed falls between the noises of a grid.
const TARGET: [f64; 4] = [0.125, 0.125, 0.25, 0.5];
const DRAFT: [f64; 4] = [0.5, 0.25, 0.125, 0.125];

fn tokens_are_the_targets(trial: &mut Trial) -> Outcome {
    let orders: Vec<Vec<usize>> = (0..4).map(|_| trial.rng.permutation(4)).collect();
    let row = |values: [f64; 4]| Array::from_fn(&[4, 4], |at| values[orders[at[0]][at[1]]]);
    let (target, draft) = (row(TARGET), row(DRAFT));
    let grid = [8, 4, 4];
    let n_noises = grid.iter().product::<usize>();
    let noise = Array::from_fn(&[4 * n_noises, 1, 3], |at| {
        let place = match at[2] {
            0 => at[0] / 16,
            1 => at[0] / 4,
            _ => at[0],
        };
        (((place % grid[at[2]]) as f64) + 0.5) / grid[at[2]] as f64
    });
    let start: Vec<usize> = (0..4 * n_noises).map(|row| row / n_noises).collect();
    let models = Models { target: &target, draft: &draft };
    let [tokens, _] = trial.arrays(question(models, &start, 1, &noise))?;
    trial.has_shape("tokens", &tokens, &[4 * n_noises, 1])?;
    for (before, tokens) in tokens.values().chunks(n_noises).enumerate() {
        let count = |token| tokens.iter().filter(|found| **found as u32 == token).count();
        let counts: Vec<f64> = (0..4u32).map(|token| count(token) as f64).collect();
        let expected = target.narrow(0, before, 1).reshape(&[4]).map(|p| p * n_noises as f64);
        let name = format!("how often each token comes after token {before}, of {n_noises} times");
        trial.close(&name, &Array::vector(&counts), &expected, Tolerance::EXACT)?;
    }
    Ok(())
}

fn agreement_saves_rounds(trial: &mut Trial) -> Outcome {
    for (n_draft, n_new) in [(1, 6), (3, 8), (4, 3), (2, 7)] {
        let models = random_models(trial, 5).0;
        let agreeing = Models { target: &models, draft: &models };
        let start = [0, 3, 4];
        let (noise, tokens, rounds) = clear_noise(trial, agreeing, &start, n_draft, n_new);
        gives(trial, agreeing, &start, n_draft, &noise, &tokens, &rounds)?;
    }
    Ok(())
}

fn disagreement_costs_rounds(trial: &mut Trial) -> Outcome {
    let target = Array::from_fn(&[4, 4], |at| if at[1] == 1 || at[1] == 2 { 0.5 } else { 0.0 });
    let draft = Array::from_fn(&[4, 4], |at| if at[1] == 0 || at[1] == 3 { 0.5 } else { 0.0 });
    let models = Models { target: &target, draft: &draft };
    let noise = trial.rng.uniform_array(&[3, 5, 3], 0.0, 1.0).to(DType::F64);
    let noise = Array::from_fn(&[3, 5, 3], |at| {
        if at[0] == 0 { 0.0 } else { noise.at(at) * 0.4 + 0.5 * f64::from(u8::from(at[1] > 2)) }
    });
    let (tokens, rounds) = decided(models, &[0, 1, 3], 3, &noise);
    gives(trial, models, &[0, 1, 3], 3, &noise, &tokens, &rounds)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let cases = [(1, 1, 1, 2), (1, 6, 4, 3), (2, 5, 3, 7), (3, 7, 5, 5), (5, 8, 2, 4)];
    for (n_draft, n_new, batch, d_vocab) in cases {
        let (target, draft) = random_models(trial, d_vocab);
        let models = Models { target: &target, draft: &draft };
        let start: Vec<usize> = (0..batch).map(|_| trial.rng.below(d_vocab)).collect();
        let (noise, tokens, rounds) = clear_noise(trial, models, &start, n_draft, n_new);
        gives(trial, models, &start, n_draft, &noise, &tokens, &rounds)?;
        let laid_out = noise.to(DType::F32).laid_out(&[2, 0, 1]);
        let (target, draft) = (target.to(DType::F32), draft.to(DType::F32).laid_out(&[1, 0]));
        let models = Models { target: &target, draft: &draft };
        gives(trial, models, &start, n_draft, &laid_out, &tokens, &rounds)?;
    }
    Ok(())
}

fn bad_questions_are_refused(trial: &mut Trial) -> Outcome {
    let even = |rows: usize, columns: usize| Array::full(&[rows, columns], 1.0 / columns as f64);
    let (three, noise) = (even(3, 3), Array::full(&[1, 2, 3], 0.5));
    let good = Models { target: &three, draft: &three };
    trial.refuses("`n_draft` is 0", question(good, &[0], 0, &noise))?;
    trial.refuses("`start` is token 3 of 3", question(good, &[3], 1, &noise))?;
    trial
        .refuses("there are two starts and one row of noise", question(good, &[0, 1], 1, &noise))?;
    let wide = even(3, 4);
    let models = Models { target: &wide, draft: &wide };
    trial.refuses("the tables are not square", question(models, &[0], 1, &noise))?;
    let models = Models { target: &three, draft: &even(2, 2) };
    trial.refuses("the tables have two shapes", question(models, &[0], 1, &noise))?;
    let two = Array::full(&[1, 2, 2], 0.5);
    trial.refuses("the noise has two numbers a place", question(good, &[0], 1, &two)).map(drop)
}

/// How often we look for noise that is clear of every edge.
const TRIES: usize = 1000;

/// The two tables.
#[derive(Clone, Copy)]
struct Models<'a> {
    target: &'a Array,
    draft: &'a Array,
}

fn question(
    models: Models<'_>,
    start: &[usize],
    n_draft: usize,
    noise: &Array,
) -> Vec<(&'static str, Value)> {
    let start: Vec<f64> = start.iter().map(|&token| token as f64).collect();
    let start = Array::vector(&start).to(DType::U32);
    let Models { target, draft } = models;
    args![target: target, draft: draft, start: &start, n_draft: n_draft, noise: noise]
}

fn gives(
    trial: &mut Trial,
    models: Models<'_>,
    start: &[usize],
    n_draft: usize,
    noise: &Array,
    tokens: &[Vec<usize>],
    rounds: &[usize],
) -> Outcome {
    let [got, got_rounds] = trial.arrays(question(models, start, n_draft, noise))?;
    let expected = Array::from_fn(&[start.len(), noise.dim(1)], |at| tokens[at[0]][at[1]] as f64);
    trial.close("tokens", &got, &expected.to(DType::U32), Tolerance::EXACT)?;
    let expected: Vec<f64> = rounds.iter().map(|&n| n as f64).collect();
    trial.close("rounds", &got_rounds, &Array::vector(&expected).to(DType::U32), Tolerance::EXACT)
}

/// Two tables of probabilities that lie not too far apart.
fn random_models(trial: &mut Trial, d_vocab: usize) -> (Array, Array) {
    let shape = [d_vocab, d_vocab];
    let logits = trial.rng.normal_array(&shape);
    let other = trial.rng.normal_array(&shape);
    let softmax = |logits: &Array| {
        let sums: Vec<f64> =
            logits.values().chunks(d_vocab).map(|row| row.iter().map(|x| x.exp()).sum()).collect();
        Array::from_fn(&shape, |at| logits.at(at).exp() / sums[at[0]])
    };
    (softmax(&logits), softmax(&logits.zip_map(&other, |a, b| a + b)))
}

/// Noise, the tokens and the rounds; such that moving the noise a little would change none.
fn clear_noise(
    trial: &mut Trial,
    models: Models<'_>,
    start: &[usize],
    n_draft: usize,
    n_new: usize,
) -> (Array, Vec<Vec<usize>>, Vec<usize>) {
    let (mut noise, mut tokens, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
    for start in start {
        for tries in 1.. {
            let row = trial.rng.uniform_array(&[1, n_new, 3], 0.0005, 0.9995).to(DType::F64);
            let near = |by: f64| decided(models, &[*start], n_draft, &row.map(|x| x + by));
            let here = near(0.0);
            if tries == TRIES || near(1e-4) == here && near(-1e-4) == here {
                noise.extend(row.values());
                tokens.extend(here.0);
                rounds.extend(here.1);
                break;
            }
        }
    }
    (Array::new(&[start.len(), n_new, 3], noise), tokens, rounds)
}

/// The definition, position by position: what matters is how many proposals the round has left.
fn decided(
    models: Models<'_>,
    start: &[usize],
    n_draft: usize,
    noise: &Array,
) -> (Vec<Vec<usize>>, Vec<usize>) {
    let row = |table: &Array, n: usize| table.narrow(0, n, 1).values().to_vec();
    let (mut tokens, mut rounds) = (Vec::new(), Vec::new());
    for (n, &start) in start.iter().enumerate() {
        let (mut text, mut last, mut left, mut n_rounds) = (Vec::new(), start, n_draft, 0);
        for place in 0..noise.dim(1) {
            n_rounds += usize::from(left == n_draft);
            let at = |k: usize| noise.at(&[n, place, k]);
            let (p, q) = (row(models.target, last), row(models.draft, last));
            let proposal = draw(&q, at(0));
            let (token, ends) = if left == 0 {
                (draw(&p, at(2)), true)
            } else if at(1) * q[proposal] < p[proposal] {
                (proposal, false)
            } else {
                let rest: Vec<f64> = p.iter().zip(&q).map(|(p, q)| (p - q).max(0.0)).collect();
                let total: f64 = rest.iter().sum();
                (draw(&rest.iter().map(|x| x / total).collect::<Vec<_>>(), at(2)), true)
            };
            left = if ends { n_draft } else { left - 1 };
            text.push(token);
            last = token;
        }
        tokens.push(text);
        rounds.push(n_rounds);
    }
    (tokens, rounds)
}

/// What can go wrong in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    AlwaysAccepted,
    UpsideDown,
    FromTarget,
    FromDraft,
    NotRenormalised,
    Absolute,
    SameNoise,
    NoBonus,
    GoesOn,
    AtLeast,
    BonusFromDraft,
    StaleRow,
    Unchecked,
}

/// Tokens and rounds, with a slip.
fn answered(
    models: [&Tensor; 2],
    start: &Tensor,
    n_draft: usize,
    noise: &Tensor,
    slip: Slip,
) -> anyhow::Result<(Tensor, Tensor)> {
    let (batch, n_new, three) = noise.dims3()?;
    let (rows, d_vocab) = models[0].dims2()?;
    let mut starts = start.to_vec1::<u32>()?;
    if slip == Slip::Unchecked {
        starts =
            (0..batch).map(|n| starts[n.min(starts.len() - 1)].min(d_vocab as u32 - 1)).collect();
    } else {
        let square = rows == d_vocab && models[1].dims() == models[0].dims();
        anyhow::ensure!(square && three == 3 && n_draft > 0, "shapes");
        let known = starts.iter().all(|&token| (token as usize) < d_vocab);
        anyhow::ensure!(starts.len() == batch && known, "start");
    }
    let table = |table: &Tensor| table.to_dtype(CandleDType::F64)?.to_vec2::<f64>();
    let tables = [table(models[0])?, table(models[1])?];
    let noise = noise.to_dtype(CandleDType::F64)?.to_vec3::<f64>()?;
    let (mut tokens, mut rounds) = (Vec::new(), Vec::new());
    for (start, noise) in starts.iter().zip(&noise) {
        let (text, n_rounds) = one(&tables, *start as usize, n_draft, noise, slip);
        tokens.extend(text);
        rounds.push(n_rounds);
    }
    let device = models[0].device();
    Ok((
        Tensor::from_vec(tokens, (batch, n_new), device)?,
        Tensor::from_vec(rounds, batch, device)?,
    ))
}

fn one(
    tables: &[Vec<Vec<f64>>; 2],
    start: usize,
    n_draft: usize,
    noise: &[Vec<f64>],
    slip: Slip,
) -> (Vec<u32>, u32) {
    let mut text: Vec<u32> = Vec::new();
    let mut rounds = 0;
    while text.len() < noise.len() {
        rounds += 1;
        let begin = text.last().map_or(start, |&token| token as usize);
        let mut last = begin;
        let mut refused = false;
        for _ in 0..n_draft.min(noise.len() - text.len()) {
            let noise = &noise[text.len()];
            let row = if slip == Slip::StaleRow { begin } else { last };
            let row = row.min(tables[0].len() - 1).min(tables[1].len() - 1);
            let (p, q) = (&tables[0][row], &tables[1][row]);
            let proposal = pick(q, noise[0], slip);
            let accepted = match slip {
                Slip::AlwaysAccepted => true,
                Slip::UpsideDown => noise[1] * p[proposal] < q[proposal],
                _ => noise[1] < p.get(proposal).unwrap_or(&0.0) / q[proposal],
            };
            last = if accepted { proposal } else { mended(p, q, noise, slip) };
            text.push(last as u32);
            if !accepted && slip != Slip::GoesOn {
                refused = true;
                break;
            }
        }
        if !refused && text.len() < noise.len() && slip != Slip::NoBonus {
            let from = usize::from(slip == Slip::BonusFromDraft);
            let row = last.min(tables[from].len() - 1);
            let own = noise[text.len()].last().copied().unwrap_or(0.0);
            text.push(pick(&tables[from][row], own, slip) as u32);
        }
    }
    (text, rounds)
}

/// The token in place of one that was refused.
fn mended(p: &[f64], q: &[f64], noise: &[f64], slip: Slip) -> usize {
    let rest = p.iter().zip(q).map(|(p, q)| match slip {
        Slip::FromTarget => *p,
        Slip::FromDraft => *q,
        Slip::Absolute => (p - q).abs(),
        _ => (p - q).max(0.0),
    });
    let noise = noise[if slip == Slip::SameNoise { 1 } else { noise.len() - 1 }];
    pick(&rest.collect::<Vec<_>>(), noise, slip)
}

fn pick(weights: &[f64], noise: f64, slip: Slip) -> usize {
    let total: f64 = if slip == Slip::NotRenormalised { 1.0 } else { weights.iter().sum() };
    let mut sum = 0.0;
    let found = weights.iter().position(|weight| {
        sum += weight / total;
        if slip == Slip::AtLeast { sum >= noise } else { sum > noise }
    });
    found.or_else(|| weights.iter().rposition(|weight| *weight > 0.0)).unwrap_or(0)
}
