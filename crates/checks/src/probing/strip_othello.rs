//! A model of a board game whose board we wrote into it by hand.
//!
//! The game is Othello on a strip of six squares. Each token is a square and what lies on it; a
//! first block gathers the board at the last position, as *mine and theirs* in a random basis; the
//! MLP of a second block works out the legal moves from there, and only from there.

use candle_core::Tensor;
use models::Gpt;
use protocol::DType;

use super::border::tensor;
use crate::{Array, Generator};

/// Squares of the strip.
pub(super) const SQUARES: usize = 6;

/// Width of the stream: the token's own disc, the board, and the legal moves.
pub(super) const D_MODEL: usize = 5 * SQUARES;

/// How steep the MLP's units are; at a distance of a half from their edge they are 0 or linear.
const STEEP: f64 = 16.0;

/// The logit of a legal move; that of any other is about 0.
pub(super) const LEGAL: f64 = 4.0;

/// A model, and the truth about it.
pub(super) struct StripModel {
    pub(super) gpt: Gpt,
    /// The probe that reads its board exactly, `(SQUARES, 3, D_MODEL)`.
    pub(super) probe: Array,
}

/// A board: 0 empty, 1 mine, 2 theirs.
pub(super) type Strip = [u8; SQUARES];

/// Squares that may be played: empty, and behind a row of theirs lies one of mine.
pub(super) fn legal(board: Strip) -> Vec<usize> {
    let runs = |square: usize| {
        patterns(square)
            .into_iter()
            .any(|(row, end)| row.iter().all(|&at| board[at] == 2) && board[end] == 1)
    };
    (0..SQUARES).filter(|&square| board[square] == 0 && runs(square)).collect()
}

/// For a move at `square`: rows of theirs, and where one of mine has to lie behind them.
fn patterns(square: usize) -> Vec<(Vec<usize>, usize)> {
    let right = (square + 2..SQUARES).map(|end| ((square + 1..end).collect(), end));
    let left = (0..square.saturating_sub(1)).map(|end| ((end + 1..square).collect(), end));
    right.chain(left).collect()
}

/// The tokens of a board, in an order of the game's own.
pub(super) fn tokens(board: Strip, order: &[usize]) -> Vec<f64> {
    order.iter().map(|&square| (3 * square + usize::from(board[square])) as f64).collect()
}

/// Draws the basis, and writes the model into it.
pub(super) fn strip_model(rng: &mut Generator) -> StripModel {
    let basis = orthonormal(rng, D_MODEL);
    let axis = |n: usize| &basis[n];
    // Axes of the plain basis: own disc (mine, occupied), board (mine, occupied), legal move.
    let own = |square: usize, kind: usize| 2 * square + kind;
    let board = |square: usize, kind: usize| 2 * SQUARES + 2 * square + kind;
    let moves = |square: usize| 4 * SQUARES + square;
    let disc = |class: usize| [[0.0, 0.0], [1.0, 1.0], [-1.0, 1.0]][class];
    let wte = Array::from_fn(&[3 * SQUARES, D_MODEL], |at| {
        let (square, class) = (at[0] / 3, at[0] % 3);
        (0..2).map(|kind| disc(class)[kind] * axis(own(square, kind))[at[1]]).sum()
    });
    // Every position weighs all before it alike; the sum over the squares is their mean times six.
    let c_attn = Array::from_fn(&[D_MODEL, 3 * D_MODEL], |at| {
        f64::from(u8::from(at[1] == at[0] + 2 * D_MODEL))
    });
    let c_proj = Array::from_fn(&[D_MODEL, D_MODEL], |at| {
        let pairs = (0..2 * SQUARES).map(|n| axis(n)[at[0]] * axis(2 * SQUARES + n)[at[1]]);
        SQUARES as f64 * pairs.sum::<f64>()
    });
    let units: Vec<(usize, Vec<usize>, usize)> = (0..SQUARES)
        .flat_map(|square| patterns(square).into_iter().map(move |(row, end)| (square, row, end)))
        .collect();
    let c_fc = Array::from_fn(&[D_MODEL, units.len()], |at| {
        let (square, row, end) = &units[at[1]];
        let mine = |s: usize| axis(board(s, 0))[at[0]];
        let occupied = |s: usize| axis(board(s, 1))[at[0]];
        let theirs: f64 = row.iter().map(|&s| (occupied(s) - mine(s)) / 2.0).sum();
        STEEP * (theirs + f64::midpoint(occupied(*end), mine(*end)) - occupied(*square))
    });
    // All of a pattern must hold: a row of theirs, and one of mine, on an empty square.
    let fc_bias = Array::from_fn(&[units.len()], |at| -STEEP * (units[at[0]].1.len() as f64 + 0.5));
    let mlp_proj = Array::from_fn(&[units.len(), D_MODEL], |at| {
        LEGAL / (0.5 * STEEP) * axis(moves(units[at[0]].0))[at[1]]
    });
    let lm_head = Array::from_fn(&[SQUARES, D_MODEL], |at| axis(moves(at[0]))[at[1]]);
    let probe = Array::from_fn(&[SQUARES, 3, D_MODEL], |at| {
        let [mine, occupied] = [0, 1].map(|kind| axis(board(at[0], kind))[at[2]]);
        [-occupied, occupied + mine, occupied - mine][at[1]]
    });
    let named: [(&str, Array); 8] = [
        ("wte.weight", wte),
        ("h.0.attn.c_attn.weight", c_attn),
        ("h.0.attn.c_proj.weight", c_proj),
        ("h.1.mlp.c_fc.weight", c_fc),
        ("h.1.mlp.c_fc.bias", fc_bias),
        ("h.1.mlp.c_proj.weight", mlp_proj),
        ("h.1.mlp.c_proj.bias", Array::full(&[D_MODEL], 0.0)),
        ("lm_head.weight", lm_head),
    ];
    let write = |array: &Array| -> Tensor {
        tensor(&array.to(DType::F32)).expect("invariant: our own arrays are tensors")
    };
    let weights = named.iter().map(|(name, array)| ((*name).to_owned(), write(array))).collect();
    let gpt = Gpt::new(weights, 1).expect("invariant: the strip's model is whole");
    StripModel { gpt, probe: probe.to(DType::F32) }
}

fn orthonormal(rng: &mut Generator, n: usize) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    while basis.len() < n {
        let mut next: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        for _ in 0..2 {
            for known in &basis {
                let along: f64 = next.iter().zip(known).map(|(a, b)| a * b).sum();
                next.iter_mut().zip(known).for_each(|(x, k)| *x -= along * k);
            }
        }
        let length = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length > 0.1 {
            basis.push(next.iter().map(|x| x / length).collect());
        }
    }
    basis
}
