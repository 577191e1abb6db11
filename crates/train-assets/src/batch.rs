//! What a step is taken on: windows of a text, or sequences that are drawn anew for each step.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use datasets::{othello, repeats};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

use crate::{Config, Targets};

/// Where batches come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Windows of these tokens.
    Text(Vec<u32>),
    /// Sequences of [`datasets::repeats`].
    Repeats,
    /// Games of [`datasets::othello`].
    Othello,
}

/// The tokens of a step, `(batch, n_ctx)`, and what should follow each.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The tokens.
    pub x: Tensor,
    /// What should follow.
    pub targets: Targets,
}

impl Batch {
    /// The same on a device.
    pub(crate) fn to(&self, device: &Device) -> Result<Self> {
        let targets = match &self.targets {
            Targets::Tokens(tokens) => Targets::Tokens(tokens.to_device(device)?),
            Targets::Chances(chances) => Targets::Chances(chances.to_device(device)?),
        };
        Ok(Self { x: self.x.to_device(device)?, targets })
    }
}

impl Source {
    /// The batch of a step, which follows from the configuration's seed and the step alone.
    ///
    /// # Errors
    ///
    /// Fails if there are too few tokens.
    pub fn batch(&self, config: &Config, step: usize) -> Result<Batch> {
        // A stream for each step, beside that of the weights to start from.
        let stream = 1 + step as u64;
        match self {
            Self::Text(tokens) => {
                let Config { n_ctx, batch, seed, .. } = *config;
                ensure!(tokens.len() > n_ctx, "{} tokens are no window of {n_ctx}", tokens.len());
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(stream);
                let window = || {
                    let start = (rng.next_u64() % (tokens.len() - n_ctx) as u64) as usize;
                    tokens[start..=start + n_ctx].to_vec()
                };
                let windows: Vec<_> = std::iter::repeat_with(window).take(batch).collect();
                next_tokens(&windows, n_ctx)
            }
            Self::Repeats => {
                let rows = repeats::repeats(config.seed, stream, config.n_ctx + 1);
                let rows: Vec<_> = rows.take(config.batch).collect();
                told_tokens(&rows, config.n_ctx)
            }
            Self::Othello => {
                let games: Vec<_> =
                    othello::games(config.seed, stream).take(config.batch).collect();
                legal_moves(&games, config.n_ctx)
            }
        }
    }
}

/// Rows of `n_ctx` + 1 tokens as what is read and what follows.
fn next_tokens(rows: &[Vec<u32>], n_ctx: usize) -> Result<Batch> {
    let all = Tensor::from_vec(rows.concat(), (rows.len(), n_ctx + 1), &Device::Cpu)?;
    let cut = |from: usize| all.narrow(1, from, n_ctx)?.contiguous();
    Ok(Batch { x: cut(0)?, targets: Targets::Tokens(cut(1)?) })
}

/// Sequences as what is read and, where it can be told, what follows; nothing else is asked, so
/// whoever has learned induction loses nothing at all.
fn told_tokens(rows: &[repeats::Repeats], n_ctx: usize) -> Result<Batch> {
    let x = rows.iter().flat_map(|row| &row.tokens[..n_ctx]).copied().collect();
    let mut chances = vec![0f32; rows.len() * n_ctx * repeats::D_VOCAB];
    for (n, row) in rows.iter().enumerate() {
        for place in (1..=n_ctx).filter(|&place| row.can_be_told(place)) {
            let at = (n * n_ctx + place - 1) * repeats::D_VOCAB;
            chances[at + row.tokens[place] as usize] = 1.0;
        }
    }
    let x = Tensor::from_vec(x, (rows.len(), n_ctx), &Device::Cpu)?;
    let shape = (rows.len(), n_ctx, repeats::D_VOCAB);
    let chances = Tensor::from_vec(chances, shape, &Device::Cpu)?;
    Ok(Batch { x, targets: Targets::Chances(chances) })
}

/// Games as what is read and, for each move, the chances of the next: every legal move alike.
///
/// That is the expectation of training on the move that was drawn, with none of its noise. What
/// lies behind the end of a game is 0 and asks nothing.
///
/// # Errors
///
/// Fails if candle does.
pub fn legal_moves(games: &[othello::Game], n_ctx: usize) -> Result<Batch> {
    let mut x = vec![0u32; games.len() * n_ctx];
    let mut chances = vec![0f32; x.len() * othello::SQUARES];
    for (n, game) in games.iter().enumerate() {
        for (at, (&square, after)) in game.moves.iter().zip(&game.boards[1..]).enumerate() {
            let row = n * n_ctx + at;
            x[row] = square.into();
            let legal = after.legal_moves();
            for &square in &legal {
                chances[row * othello::SQUARES + square] = 1.0 / legal.len() as f32;
            }
        }
    }
    let x = Tensor::from_vec(x, (games.len(), n_ctx), &Device::Cpu)?;
    let shape = (games.len(), n_ctx, othello::SQUARES);
    let chances = Tensor::from_vec(chances, shape, &Device::Cpu)?;
    Ok(Batch { x, targets: Targets::Chances(chances) })
}

#[cfg(test)]
mod tests {
    use candle_core::D;

    use super::*;

    #[test]
    fn chances_are_of_legal_moves_and_end_with_the_game() {
        let games: Vec<_> = othello::games(3, 0).take(40).collect();
        let Batch { x, targets: Targets::Chances(chances) } = legal_moves(&games, 32).unwrap()
        else {
            panic!("no chances");
        };
        let x = x.to_vec2::<u32>().unwrap();
        let sums = chances.sum(D::Minus1).unwrap().to_vec2::<f32>().unwrap();
        let chances = chances.to_vec3::<f32>().unwrap();
        for (n, game) in games.iter().enumerate() {
            for at in 0..32 {
                let asked = at + 1 < game.moves.len();
                assert!((sums[n][at] - f32::from(u8::from(asked))).abs() < 1e-5);
                if asked {
                    let next = usize::from(game.moves[at + 1]);
                    assert!(chances[n][at][next] > 0.0);
                    assert_eq!(x[n][at], u32::from(game.moves[at]));
                }
            }
        }
    }
}
