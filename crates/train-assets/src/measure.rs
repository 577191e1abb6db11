//! What a model that reads drawn sequences can do, on sequences that no step was taken on.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{D, Device, Tensor};
use datasets::{othello, repeats};

use crate::{Targets, legal_moves, logits, loss};

/// Held-out sequences come from this seed, which no configuration has.
pub const HELD_OUT: u64 = 20_000_003;

/// Numbers about a model, by name.
pub type Measured = BTreeMap<&'static str, f64>;

/// Tells of `n` sequences which share of the repeated tokens the model has first.
///
/// # Errors
///
/// Fails if the weights are no model's.
pub fn measure_repeats(
    weights: &BTreeMap<String, Tensor>,
    n_heads: usize,
    n: usize,
) -> Result<Measured> {
    let length = weights["wpe.weight"].dim(0)? + 1;
    let rows: Vec<_> = repeats::repeats(HELD_OUT, 0, length).take(n).collect();
    let read = rows.iter().flat_map(|row| &row.tokens[..length - 1]).copied().collect();
    let x = Tensor::from_vec(read, (n, length - 1), &Device::Cpu)?;
    let first = logits(weights, n_heads, &x)?.argmax(D::Minus1)?.to_vec2::<u32>()?;
    let (mut right, mut all) = (0, 0);
    for (row, first) in rows.iter().zip(first) {
        for place in (1..length).filter(|&place| row.can_be_told(place)) {
            all += 1;
            right += usize::from(first[place - 1] == row.tokens[place]);
        }
    }
    Ok(BTreeMap::from([("repeated_accuracy", f64::from(right as u32) / f64::from(all))]))
}

/// Tells of `n` games the loss, its exact floor, and how many of the moves that the model has first
/// are legal, as a share.
///
/// # Errors
///
/// Fails if the weights are no model's.
pub fn measure_othello(
    weights: &BTreeMap<String, Tensor>,
    n_heads: usize,
    n: usize,
) -> Result<Measured> {
    let games: Vec<_> = othello::games(HELD_OUT, 0).take(n).collect();
    let batch = legal_moves(&games, weights["wpe.weight"].dim(0)?)?;
    let loss = loss(weights, n_heads, &batch.x, &batch.targets)?.to_scalar::<f32>()?;
    let first = logits(weights, n_heads, &batch.x)?.argmax(D::Minus1)?.to_vec2::<u32>()?;
    let Targets::Chances(chances) = &batch.targets else { return Ok(Measured::new()) };
    let chances = chances.to_vec3::<f32>()?;
    let (mut legal, mut all, mut floor) = (0, 0, 0.0);
    for (n, game) in games.iter().enumerate() {
        let asked = game.moves.len() - 1;
        all += asked;
        floor += game.floor() * asked as f64;
        legal += (0..asked).filter(|&at| chances[n][at][first[n][at] as usize] > 0.0).count();
    }
    let all = all as f64;
    Ok(BTreeMap::from([
        ("loss", f64::from(loss)),
        ("floor", floor / all),
        ("legal_first_moves", legal as f64 / all),
    ]))
}
