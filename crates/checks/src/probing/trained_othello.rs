//! The Othello models that we trained, on fresh games, and what they have in mind of the board.

use anyhow::Result;
use candle_core::Tensor;
use datasets::othello::{Board, Game, SIDE, SQUARES, games};
use models::{
    Gpt,
    hook::{Hook, Place},
};
use protocol::DType;

use super::{
    border::{array, tensor},
    othello_oracle::Play,
    probe_oracle::Config,
};
use crate::{Array, Generator, Stop, data};

/// The block behind which the board is read and edited: the last but one, as far as the board gets
/// before the last turns it into moves.
pub(super) const LAYER: usize = 2;

/// Moves of a game that are read; games that end earlier are left out.
pub(super) const MOVES: usize = 20;

/// One of the two models, by lot.
///
/// # Errors
///
/// Stops with a fault of ours if its file is missing or damaged.
pub(super) fn trained_othello(rng: &mut Generator) -> Result<Gpt, Stop> {
    let name = ["othello", "othello_b"][rng.below(2)];
    let bytes = datasets::model(name).map_err(|error| data::not_judged(&error))?;
    let (model, _) = Gpt::from_safetensors(&bytes).map_err(|error| data::not_judged(&error))?;
    Ok(model)
}

/// Random games, from a seed of the check's own.
pub(super) struct Games(Vec<Game>);

impl Games {
    pub(super) fn draw(rng: &mut Generator, n: usize) -> Self {
        let drawn = games(rng.below(1 << 30) as u64, 0);
        Self(drawn.filter(|game| game.moves.len() > MOVES).take(n).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `(n_games, MOVES)`, `u32`.
    pub(super) fn tokens(&self) -> Array {
        let token = |at: &[usize]| f64::from(self.0[at[0]].moves[at[1]]);
        Array::from_fn(&[self.len(), MOVES], token).to(DType::U32)
    }

    /// The board behind each move, game by game: of it the model thinks when it is asked for the
    /// next.
    pub(super) fn boards(&self) -> Vec<Board> {
        self.0.iter().flat_map(|game| game.boards[1..=MOVES].iter().copied()).collect()
    }

    /// The residual stream behind block [`LAYER`] at each board, `(n_games · MOVES, d_model)`.
    pub(super) fn activations(&self, model: &Gpt) -> Result<Array> {
        let mut stream = None;
        let mut keep = |hook: Hook, value: Tensor| {
            if hook == Hook::in_block(Place::ResidPost, LAYER) {
                stream = Some(value.clone());
            }
            Ok(value)
        };
        model.forward(&tensor(&self.tokens())?, &mut keep)?;
        let stream = array(&stream.expect("invariant: the model has this block"))?;
        Ok(stream.reshape(&[self.len() * MOVES, model.d_model()]))
    }

    /// What a probe of the model's stream is trained on: every board, some squares of it.
    ///
    /// # Errors
    ///
    /// Stops with a fault of ours if the model cannot be run.
    pub(super) fn play(
        &self,
        model: &Gpt,
        squares: &[usize],
        rng: &mut Generator,
        config: Config,
    ) -> Result<Play, Stop> {
        let activations = self.activations(model).map_err(|error| data::not_judged(&error))?;
        let boards = self.boards();
        let colour = |board: &Board, square: usize| match board.disc(square) {
            None => 0.0,
            Some(side) => 1.0 + f64::from(side as u8),
        };
        let n = boards.len();
        let disc = |at: &[usize]| colour(&boards[at[0]], squares[at[1]]);
        let discs = Array::from_fn(&[n, squares.len()], disc);
        let movers = Array::from_fn(&[n], |at| 1.0 + f64::from(boards[at[0]].to_move() as u8));
        let games = Array::from_fn(&[n], |at| (at[0] / MOVES) as f64);
        let noise = Array::from_fn(&[n], |_| rng.uniform());
        Ok(Play {
            activations,
            boards: discs.to(DType::U8),
            movers: movers.to(DType::U8),
            games: games.to(DType::U32),
            noise: noise.to(DType::F32),
            config,
        })
    }

    /// The games whose last board, with the disc of `square` flipped, gains moves and loses others.
    pub(super) fn telling(&self, square: usize) -> (Self, Vec<Flip>) {
        let told = self.0.iter().filter_map(|game| {
            let flip = Flip::of(&game.boards[MOVES], square)?;
            Some((game.clone(), flip))
        });
        let (games, flips) = told.unzip();
        (Self(games), flips)
    }
}

/// Squares not at an edge, by lot: these are seldom empty and change sides often.
pub(super) fn inner_squares(rng: &mut Generator, n: usize) -> Vec<usize> {
    let inner = |square: &usize| [square / SIDE, square % SIDE].iter().all(|n| (1..5).contains(n));
    rng.permutation(SQUARES).into_iter().filter(inner).take(n).collect()
}

/// What the flip of a disc changes.
pub(super) struct Flip {
    /// Moves that it makes legal.
    pub(super) gained: Vec<usize>,
    /// Moves that are legal no more.
    pub(super) lost: Vec<usize>,
}

impl Flip {
    fn of(board: &Board, square: usize) -> Option<Self> {
        let flipped = board.with(square, Some(board.disc(square)?.other()));
        let (before, after) = (board.legal_moves(), flipped.legal_moves());
        let less = |all: &[usize], known: &[usize]| -> Vec<usize> {
            all.iter().copied().filter(|square| !known.contains(square)).collect()
        };
        let (gained, lost) = (less(&after, &before), less(&before, &after));
        (!gained.is_empty() && !lost.is_empty()).then_some(Self { gained, lost })
    }

    /// How far the moves gained lie above those lost, in row `game` of logits `(n, d_vocab)`.
    pub(super) fn lead(&self, logits: &Array, game: usize) -> f64 {
        let mean = |moves: &[usize]| {
            moves.iter().map(|&square| logits.at(&[game, square])).sum::<f64>() / moves.len() as f64
        };
        mean(&self.gained) - mean(&self.lost)
    }
}

/// What lies on a square, seen by the mover: 0 empty, 1 mine, 2 theirs.
pub(super) fn seen(board: &Board, square: usize) -> u8 {
    match board.disc(square) {
        None => 0,
        Some(side) if side == board.to_move() => 1,
        Some(_) => 2,
    }
}

/// A probe whose rows are the mean activations where a square is empty, mine, theirs:
/// `(SQUARES, 3, d_model)`, `f32`. Where a class does not occur its row is 0.
pub(super) fn class_means(activations: &Array, boards: &[Board]) -> Array {
    let d_model = activations.dim(1);
    let mut sums = vec![0.0; SQUARES * 3 * d_model];
    let mut counts = vec![0_u32; SQUARES * 3];
    for (row, board) in activations.values().chunks_exact(d_model).zip(boards) {
        for square in 0..SQUARES {
            let class = 3 * square + usize::from(seen(board, square));
            counts[class] += 1;
            let sum = &mut sums[class * d_model..][..d_model];
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    }
    for (sum, count) in sums.chunks_exact_mut(d_model).zip(counts) {
        for x in sum {
            *x /= f64::from(count.max(1));
        }
    }
    Array::new(&[SQUARES, 3, d_model], sums).to(DType::F32)
}
