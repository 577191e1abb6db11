//! Reads the board out of a model that only ever saw moves, with your own probes.
//!
//! `cargo run -p probing --example othello` writes two pages below `.wick/pictures`: how well a
//! probe reads the board after each block, beside its controls; and one board as it is and as the
//! probe has it. It needs `run_with_cache` and `othello_probe`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::softmax;
use datasets::othello::{Board, Game, SQUARES, Side, games};
use pictures::{Belief, Disc, Line, othello_board, probe_accuracy};
use probing::{hooks::run_with_cache, othello::othello_probe, probes::ProbeConfig};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use wick::{Gpt, Weights};

/// Where pages go, below the folder that this is run in.
const FOLDER: &str = ".wick/pictures";

/// Games that probes are trained and measured on; a quarter is held out, whole.
const GAMES: usize = 80;

/// The games, of which the first moves are read; each lasts longer.
const MOVES: usize = 24;

/// The position in a game whose board is shown.
const SHOWN: usize = 17;

const CONFIG: ProbeConfig = ProbeConfig { held_out: 0.25, steps: 150, lr: 0.3, l2: 1e-3 };

fn main() -> Result<()> {
    pages()
}

/// Draws every page.
pub(crate) fn pages() -> Result<()> {
    fs::create_dir_all(FOLDER)?;
    let model = Gpt::from_safetensors(&datasets::model("othello")?)?.0;
    let data = Data::new()?;
    let (accuracy, board) = (accuracy(&model, &data)?, board(&model, &data)?);
    for (name, page) in [("accuracy", accuracy), ("board", board)] {
        let path = Path::new(FOLDER).join(format!("probing-example-othello-{name}.html"));
        fs::write(&path, page)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Games, and the board before each move that a model is asked for.
struct Data {
    tokens: Tensor,
    boards: Tensor,
    movers: Tensor,
    games: Tensor,
    noise: Tensor,
}

impl Data {
    fn new() -> Result<Self> {
        let played = games(7, 1).filter(|game| game.moves.len() > MOVES).take(GAMES);
        let (mut tokens, mut boards, mut movers, mut of_game) = (vec![], vec![], vec![], vec![]);
        for (n, game) in played.enumerate() {
            tokens.extend(game.moves[..MOVES].iter().map(|square| u32::from(*square)));
            // After a move the model thinks of the next: the board is the one behind that move.
            for board in &game.boards[1..=MOVES] {
                boards.extend((0..SQUARES).map(|square| colour(board.disc(square))));
                movers.push(colour(Some(board.to_move())));
                of_game.push(n as u32);
            }
        }
        let (rows, mut rng) = (of_game.len(), ChaCha8Rng::seed_from_u64(3));
        let noise: Vec<f32> =
            (0..rows).map(|_| (rng.next_u32() >> 8) as f32 / 16_777_216.0).collect();
        let cpu = &Device::Cpu;
        Ok(Self {
            tokens: Tensor::from_vec(tokens, (GAMES, MOVES), cpu)?,
            boards: Tensor::from_vec(boards, (rows, SQUARES), cpu)?,
            movers: Tensor::new(movers, cpu)?,
            games: Tensor::new(of_game, cpu)?,
            noise: Tensor::new(noise, cpu)?,
        })
    }

    /// The probe of what a model has at a hook, and its accuracies for colours and for sides.
    fn probe(&self, model: &Gpt, hook: &str) -> Result<(Weights, f64, f64)> {
        let only = [hook.to_owned()];
        let (_, cache) = run_with_cache(model, &self.tokens, Some(&only))?;
        let activations = cache.get(hook)?.flatten_to(1)?; // (games * moves, d_model)
        let (boards, movers, games) = (&self.boards, &self.movers, &self.games);
        let (probe, shares) =
            othello_probe(&activations, boards, movers, games, &self.noise, CONFIG)?;
        let shares = shares.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        Ok((probe, shares[0], shares[1]))
    }
}

/// How well probes read the board after each block, of this model and of one without training.
fn accuracy(model: &Gpt, data: &Data) -> Result<String> {
    let untrained = untrained(model)?;
    let mut layers = vec!["embedding".to_owned()];
    let mut hooks = vec!["blocks.0.hook_resid_pre".to_owned()];
    for layer in 0..model.n_layers() {
        layers.push(format!("block {layer}"));
        hooks.push(format!("blocks.{layer}.hook_resid_post"));
    }
    let (mut colours, mut sides, mut control) = (vec![], vec![], vec![]);
    for hook in &hooks {
        let (_, absolute, relative) = data.probe(model, hook)?;
        colours.push(absolute);
        sides.push(relative);
        control.push(data.probe(&untrained, hook)?.2);
        println!("{hook}: mine and theirs {relative:.3}, black and white {absolute:.3}");
    }
    let line = |name: &str, values, is_control| Line { name: name.to_owned(), values, is_control };
    Ok(probe_accuracy(
        "Is there a board in a model that saw only moves?",
        &layers,
        &[
            line("mine and theirs", sides, false),
            line("black and white", colours, false),
            line("mine and theirs, in an untrained model", control, true),
        ],
    ))
}

/// A board of a game that no probe was trained on, as it is and as the probe has it.
fn board(model: &Gpt, data: &Data) -> Result<String> {
    let hook = format!("blocks.{}.hook_resid_post", model.n_layers() - 1);
    let (probe, ..) = data.probe(model, &hook)?;
    let game: Game = games(7, 2).find(|g| g.moves.len() > SHOWN).context("games never end")?;
    let moves: Vec<u32> = game.moves[..SHOWN].iter().map(|square| u32::from(*square)).collect();
    let (_, cache) = run_with_cache(model, &Tensor::new(moves, &Device::Cpu)?.unsqueeze(0)?, None)?;
    let x = cache.get(&hook)?.get(0)?.get(SHOWN - 1)?.unsqueeze(1)?; // (d_model, 1)
    let weight = probe.get("weight")?.flatten_to(1)?; // (n_squares * 3, d_model)
    let logits = (weight.matmul(&x)?.reshape((SQUARES, 3))? + probe.get("bias")?)?;
    let chances = softmax(&logits, D::Minus1)?.to_vec2::<f32>()?;
    let now: &Board = &game.boards[SHOWN];
    let belief = chances.iter().map(|chances| {
        let best = (0..3).max_by(|a, b| chances[*a].total_cmp(&chances[*b])).unwrap_or_default();
        let side = match best {
            0 => None,
            1 => Some(now.to_move()),
            _ => Some(now.to_move().other()),
        };
        Belief { disc: disc(side), chance: chances[best].into() }
    });
    let truth: Vec<Disc> = (0..SQUARES).map(|square| disc(now.disc(square))).collect();
    let title = format!("The board after {SHOWN} moves, and what the model has in mind");
    Ok(othello_board(&title, &truth, &belief.collect::<Vec<_>>()))
}

/// The same architecture with random weights.
fn untrained(model: &Gpt) -> Result<Gpt> {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut weights = Weights::new();
    for (name, trained) in model.weights().iter() {
        // Norms stay, and matrices become as large as they would start.
        let fresh = if trained.rank() == 2 {
            let mut draw = |_| (f64::from(rng.next_u32()) / 4_294_967_296.0 - 0.5) * 0.07;
            let values: Vec<f32> = (0..trained.elem_count()).map(|n| draw(n) as f32).collect();
            Tensor::from_vec(values, trained.shape(), &Device::Cpu)?
        } else if name.ends_with(".weight") {
            trained.ones_like()?
        } else {
            trained.zeros_like()?
        };
        weights.insert(name, fresh);
    }
    Ok(Gpt::new(weights, model.n_heads())?)
}

fn colour(side: Option<Side>) -> u8 {
    match side {
        None => 0,
        Some(Side::Black) => 1,
        Some(Side::White) => 2,
    }
}

fn disc(side: Option<Side>) -> Disc {
    match side {
        None => Disc::Empty,
        Some(Side::Black) => Disc::Black,
        Some(Side::White) => Disc::White,
    }
}
