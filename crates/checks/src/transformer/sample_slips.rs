//! Answers to `sample` that make one mistake, or none.

use std::collections::BTreeSet;

use answer::Numbers;
use anyhow::ensure;
use candle_core::{DType, Tensor};

/// What can go wrong in drawing a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slip {
    None,
    CutBeforeCrossing,
    NotRenormalised,
    Multiplied,
    AfterSoftmax,
    ByRank,
    FirstNoise,
    Greedy,
    DivideByZero,
    LastOfEquals,
    OneTooMany,
    TiesKept,
    AbsoluteMinP,
    TopPFirst,
    TemperatureLast,
    DividesAll,
    EachTime,
    AllRows,
    AtLeast,
    LastId,
    Unchecked,
}

/// Draws in probability space, made to sum to 1 after each cut.
pub(super) fn drawn(
    logits: &Tensor,
    tokens: &Tensor,
    settings: &Numbers,
    noise: &Tensor,
    slip: Slip,
) -> anyhow::Result<Tensor> {
    let rows = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let noise = noise.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let seen = tokens.to_vec2::<u32>()?;
    if slip != Slip::Unchecked {
        check(settings)?;
        ensure!(rows.len() == noise.len() && rows.len() == seen.len(), "rows, noise and tokens");
    }
    let all: Vec<u32> = seen.concat();
    let mut drawn = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        let seen = if slip == Slip::AllRows { &all } else { &seen[n.min(seen.len() - 1)] };
        if slip != Slip::Unchecked {
            let finite = row.iter().any(|x| x.is_finite());
            ensure!(finite && !row.iter().any(|x| x.is_nan()), "row {n} is no distribution");
            ensure!(seen.iter().all(|token| (*token as usize) < row.len()), "an unknown token");
        }
        let noise = noise[if slip == Slip::FirstNoise { 0 } else { n.min(noise.len() - 1) }];
        drawn.push(one(row, seen, settings, noise, slip));
    }
    let count = drawn.len();
    Ok(Tensor::from_vec(drawn, count, logits.device())?)
}

fn check(settings: &Numbers) -> anyhow::Result<()> {
    for (name, number) in settings.iter() {
        let sound = match name {
            "repetition_penalty" => number > 0.0,
            "temperature" => number >= 0.0,
            "top_k" => number >= 1.0 && number.fract() == 0.0,
            "top_p" => number > 0.0 && number <= 1.0,
            "min_p" => (0.0..=1.0).contains(&number),
            _ => false,
        };
        ensure!(sound, "{name} {number}");
    }
    Ok(())
}

fn one(row: &[f64], seen: &[u32], settings: &Numbers, noise: f64, slip: Slip) -> u32 {
    let of = |name: &str| settings.find(name);
    let mut logits = row.to_vec();
    penalise(&mut logits, seen, of("repetition_penalty").unwrap_or(1.0), slip);
    let order = order(&logits, slip);
    let temperature = of("temperature").unwrap_or(1.0);
    if slip == Slip::Greedy || temperature == 0.0 && slip != Slip::DivideByZero {
        return order[0] as u32;
    }
    let heat = |logits: &[f64]| -> Vec<f64> {
        let heated = logits.iter().map(|x| match slip {
            Slip::Multiplied => x * temperature,
            Slip::AfterSoftmax => *x,
            _ => x / temperature,
        });
        softmax(&heated.collect::<Vec<_>>())
    };
    let mut p = if slip == Slip::TemperatureLast { softmax(&logits) } else { heat(&logits) };
    let top_k = |p: &mut Vec<f64>| {
        if let Some(k) = of("top_k") {
            let k = (k as usize).min(p.len()) + usize::from(slip == Slip::OneTooMany);
            let last = order.get(k - 1).map_or(f64::NEG_INFINITY, |&token| logits[token]);
            let stays = |token: usize| slip == Slip::TiesKept && logits[token] >= last;
            order.iter().skip(k).filter(|t| !stays(**t)).for_each(|&token| p[token] = 0.0);
            whole(p, slip);
        }
    };
    let top_p = |p: &mut Vec<f64>| {
        if let Some(enough) = of("top_p") {
            let mut sum = 0.0;
            for (n, &token) in order.iter().enumerate() {
                let before = sum;
                sum += p[token];
                let cut =
                    if slip == Slip::CutBeforeCrossing { sum > enough } else { before >= enough };
                if cut && n > 0 {
                    p[token] = 0.0;
                }
            }
            whole(p, slip);
        }
    };
    if slip == Slip::TopPFirst {
        top_p(&mut p);
        top_k(&mut p);
    } else {
        top_k(&mut p);
        top_p(&mut p);
    }
    if let Some(least) = of("min_p") {
        let highest = p.iter().copied().fold(0.0, f64::max);
        let bound = if slip == Slip::AbsoluteMinP { least.min(highest) } else { least * highest };
        p.iter_mut().filter(|p| **p < bound).for_each(|p| *p = 0.0);
        whole(&mut p, slip);
    }
    if slip == Slip::TemperatureLast {
        let kept = |(x, p): (&f64, &f64)| if *p > 0.0 { *x } else { f64::NEG_INFINITY };
        p = heat(&logits.iter().zip(&p).map(kept).collect::<Vec<_>>());
    }
    first_above(&p, &order, noise, slip)
}

fn first_above(p: &[f64], order: &[usize], noise: f64, slip: Slip) -> u32 {
    let ids: Vec<usize> =
        if slip == Slip::ByRank { order.to_vec() } else { (0..p.len()).collect() };
    let mut sum = 0.0;
    let found = ids.iter().find(|&&token| {
        sum += p[token];
        if slip == Slip::AtLeast { sum >= noise } else { sum > noise }
    });
    let last = ids.iter().rfind(|&&token| p[token] > 0.0);
    let last = if slip == Slip::LastId { ids.last() } else { last };
    found.or(last).map_or(0, |&token| token as u32)
}

fn penalise(logits: &mut [f64], seen: &[u32], penalty: f64, slip: Slip) {
    let once: BTreeSet<u32> = seen.iter().copied().collect();
    let times: Vec<u32> =
        if slip == Slip::EachTime { seen.to_vec() } else { once.into_iter().collect() };
    for token in times {
        let Some(logit) = logits.get_mut(token as usize) else { continue };
        let divides = *logit > 0.0 || slip == Slip::DividesAll;
        *logit = if divides { *logit / penalty } else { *logit * penalty };
    }
}

/// Tokens from the likeliest on.
fn order(logits: &[f64], slip: Slip) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    if slip == Slip::LastOfEquals {
        order.reverse();
    }
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = logits.iter().map(|x| (x - highest).exp()).collect();
    let total: f64 = exps.iter().sum();
    exps.iter().map(|x| x / total).collect()
}

fn whole(p: &mut [f64], slip: Slip) {
    let total: f64 = p.iter().sum();
    if slip != Slip::NotRenormalised {
        for share in p {
            *share /= total;
        }
    }
}
