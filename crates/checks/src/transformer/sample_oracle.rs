//! The next token's distribution, by counting which tokens are likelier.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::{Array, Generator};

/// How often we look for something clear.
const TRIES: usize = 1000;

/// Settings of `sample`, by name.
pub(super) type Settings = BTreeMap<String, f64>;

pub(super) fn settings(numbers: &[(&str, f64)]) -> Settings {
    numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
}

/// What may come next, with its probability, and how far the closest call was.
pub(super) struct Next {
    pub(super) probabilities: Vec<f64>,
    /// The smallest distance of a kept or cut token from where it would change sides.
    pub(super) clearance: f64,
}

/// The distribution of the next token as the documentation defines it.
pub(super) fn next(logits: &[f64], seen: &[usize], settings: &Settings) -> Next {
    let of = |name: &str| settings.get(name).copied();
    let penalty = of("repetition_penalty").unwrap_or(1.0);
    let penalised = |(token, &logit): (usize, &f64)| match (seen.contains(&token), logit > 0.0) {
        (false, _) => logit,
        (true, true) => logit / penalty,
        (true, false) => logit * penalty,
    };
    let logits: Vec<f64> = logits.iter().enumerate().map(penalised).collect();
    let better = |a: usize, b: usize| match logits[a].total_cmp(&logits[b]) {
        Ordering::Equal => a < b,
        order => order == Ordering::Greater,
    };
    let rank = |token| (0..logits.len()).filter(|&other| better(other, token)).count();
    let ranks: Vec<usize> = (0..logits.len()).map(rank).collect();
    let temperature = of("temperature").unwrap_or(1.0);
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<f64> = match temperature {
        0.0 => ranks.iter().map(|&rank| if rank == 0 { 1.0 } else { 0.0 }).collect(),
        t => logits.iter().map(|logit| ((logit - highest) / t).exp()).collect(),
    };
    let mut clearance = f64::INFINITY;
    if let Some(k) = of("top_k") {
        keep(&mut weights, |token, _| ranks[token] < k as usize);
    }
    if let Some(p) = of("top_p") {
        keep(&mut weights, |token, shares| {
            let before: f64 =
                (0..shares.len()).filter(|&o| better(o, token)).map(|o| shares[o]).sum();
            // The likeliest token has nothing before it, and is always kept.
            if before > 0.0 {
                clearance = clearance.min((before - p).abs());
            }
            before < p
        });
    }
    if let Some(least) = of("min_p") {
        let most = weights.iter().copied().fold(0.0, f64::max);
        for weight in &mut weights {
            clearance = clearance.min((*weight / most - least).abs());
            if *weight < least * most {
                *weight = 0.0;
            }
        }
    }
    let total: f64 = weights.iter().sum();
    Next { probabilities: weights.iter().map(|weight| weight / total).collect(), clearance }
}

/// Sets the weights of what is not kept to 0; decides by shares that sum to 1.
fn keep(weights: &mut [f64], mut kept: impl FnMut(usize, &[f64]) -> bool) {
    let total: f64 = weights.iter().sum();
    let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
    for (token, weight) in weights.iter_mut().enumerate() {
        if !kept(token, &shares) {
            *weight = 0.0;
        }
    }
}

/// The first token at which the sum of probabilities is above the noise.
pub(super) fn draw(probabilities: &[f64], noise: f64) -> usize {
    let mut sum = 0.0;
    let found = probabilities.iter().position(|probability| {
        sum += probability;
        *probability > 0.0 && sum > noise
    });
    let last = || probabilities.iter().rposition(|probability| *probability > 0.0);
    found.or_else(last).unwrap_or(0)
}

/// Noise that is clear of every place where the next token begins.
pub(super) fn clear_noise(rng: &mut Generator, probabilities: &[f64]) -> f64 {
    for _ in 0..TRIES {
        let noise = f64::from(rng.uniform() as f32);
        let mut sum = 0.0;
        let clear = probabilities.iter().all(|probability| {
            sum += probability;
            (sum - noise).abs() > 1e-4
        });
        if clear && noise < 1.0 {
            return noise;
        }
    }
    0.5 * probabilities.iter().find(|probability| **probability > 0.0).unwrap_or(&1.0)
}

/// Logits of rows whose cuts are all clear, and what comes next in each.
pub(super) fn clear_logits(
    rng: &mut Generator,
    seen: &[Vec<usize>],
    d_vocab: usize,
    settings: &Settings,
) -> (Array, Vec<Next>) {
    let (mut values, mut nexts) = (Vec::new(), Vec::new());
    for seen in seen {
        let draw = |rng: &mut Generator| {
            let row = rng.normal_array(&[d_vocab]).map(|x| 2.0 * x);
            let next = next(row.values(), seen, settings);
            (row, next)
        };
        let mut drawn = draw(rng);
        for _ in 0..TRIES {
            if drawn.1.clearance > 1e-3 {
                break;
            }
            drawn = draw(rng);
        }
        values.extend(drawn.0.values());
        nexts.push(drawn.1);
    }
    (Array::new(&[seen.len(), d_vocab], values), nexts)
}
