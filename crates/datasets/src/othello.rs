//! Othello on 6×6 squares, and random legal games as tokens.
//!
//! Squares are numbered row by row from 0 to 35, and a game's tokens are the squares played.
//! The four in the middle are taken at the start, so no token is 14, 15, 20 or 21 and a game has 32
//! moves at most.
//! A pass has no token: whoever cannot move is passed over, and the game ends when nobody can.
//! So who played a token follows from those before it, not from its place alone.
//!
//! In a random game every legal move is as likely as any other, so the entropy of the next move is
//! known exactly: `ln` of the number of legal moves.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

/// Squares in a row.
pub const SIDE: usize = 6;

/// Squares of the board, and tokens of a model that reads games.
pub const SQUARES: usize = SIDE * SIDE;

/// The most moves of a game.
pub const MAX_MOVES: usize = SQUARES - 4;

/// A colour; black begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Moves first.
    Black,
    /// Moves second.
    White,
}

impl Side {
    /// The other colour.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Black => Self::White,
            Self::White => Self::Black,
        }
    }
}

/// Discs on a board, and whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Board {
    /// Squares with a disc of either colour, a bit each.
    discs: [u64; 2],
    to_move: Side,
}

impl Board {
    /// The board before the first move: white on 14 and 21, black on 15 and 20.
    #[must_use]
    pub fn start() -> Self {
        Self { discs: [bit(15) | bit(20), bit(14) | bit(21)], to_move: Side::Black }
    }

    /// Whose turn it is. Once the game is over, this is whose turn it would have been.
    #[must_use]
    pub fn to_move(&self) -> Side {
        self.to_move
    }

    /// The disc on a square.
    #[must_use]
    pub fn disc(&self, square: usize) -> Option<Side> {
        let has = |side: Side| square < SQUARES && self.discs[side as usize] & bit(square) != 0;
        [Side::Black, Side::White].into_iter().find(|&side| has(side))
    }

    /// The same turn with another disc, or none, on a square: a board that no game need lead to.
    ///
    /// # Panics
    ///
    /// Panics if there is no such square.
    #[must_use]
    pub fn with(mut self, square: usize, disc: Option<Side>) -> Self {
        assert!(square < SQUARES, "there is no square {square}");
        for side in [Side::Black, Side::White] {
            self.discs[side as usize] &= !bit(square);
        }
        if let Some(side) = disc {
            self.discs[side as usize] |= bit(square);
        }
        self
    }

    /// Squares that may be played now, in order. When there is none, the game is over.
    #[must_use]
    pub fn legal_moves(&self) -> Vec<usize> {
        let legal = self.legal(self.to_move);
        (0..SQUARES).filter(|&square| legal & bit(square) != 0).collect()
    }

    /// The board after a move, or nothing if the move is not legal.
    ///
    /// Whose turn it is then takes passes into account.
    #[must_use]
    pub fn play(&self, square: usize) -> Option<Self> {
        if square >= SQUARES || self.legal(self.to_move) & bit(square) == 0 {
            return None;
        }
        let [mine, theirs] = self.mine_and_theirs(self.to_move);
        let flipped = SHIFTS.iter().fold(0, |all, &shift| {
            let line = line(bit(square), theirs, shift);
            all | if step(line | bit(square), shift) & mine == 0 { 0 } else { line }
        });
        let mut discs = [mine | flipped | bit(square), theirs & !flipped];
        if self.to_move == Side::White {
            discs.reverse();
        }
        let next = Self { discs, to_move: self.to_move.other() };
        let is_passed = next.legal(next.to_move) == 0 && next.legal(self.to_move) != 0;
        Some(if is_passed { Self { to_move: self.to_move, ..next } } else { next })
    }

    fn mine_and_theirs(&self, side: Side) -> [u64; 2] {
        [self.discs[side as usize], self.discs[side.other() as usize]]
    }

    /// Squares that a side may play, a bit each.
    fn legal(&self, side: Side) -> u64 {
        let [mine, theirs] = self.mine_and_theirs(side);
        let free = !(mine | theirs) & ALL;
        SHIFTS.iter().fold(0, |all, &shift| all | step(line(mine, theirs, shift), shift) & free)
    }
}

/// Every square.
const ALL: u64 = (1 << SQUARES) - 1;

/// The eight directions: by how many bits, and the squares that can be entered that way.
const SHIFTS: [(i32, u64); 8] = [
    (1, ALL & !column(0)),
    (-1, ALL & !column(5)),
    (6, ALL),
    (-6, ALL),
    (7, ALL & !column(0)),
    (5, ALL & !column(5)),
    (-5, ALL & !column(0)),
    (-7, ALL & !column(5)),
];

const fn column(n: usize) -> u64 {
    0b1_000001_000001_000001_000001_000001 << n
}

const fn bit(square: usize) -> u64 {
    1 << square
}

/// All squares one step further in a direction.
fn step(squares: u64, (by, enterable): (i32, u64)) -> u64 {
    let moved = if by > 0 { squares << by } else { squares >> -by };
    moved & enterable
}

/// The squares among `through` that are reached from any of `from` without leaving `through`.
fn line(from: u64, through: u64, shift: (i32, u64)) -> u64 {
    let first = step(from, shift) & through;
    // At most four discs lie between two others in a row of six.
    (0..3).fold(first, |reached, _| reached | step(reached, shift) & through)
}

/// A game from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Game {
    /// The squares played, in order; the tokens of the game.
    pub moves: Vec<u8>,
    /// The board before each move, and the one after the last.
    pub boards: Vec<Board>,
}

impl Game {
    /// Plays moves from the start, or gives nothing if one is not legal.
    #[must_use]
    pub fn replay(moves: &[u8]) -> Option<Self> {
        let mut boards = vec![Board::start()];
        for &square in moves {
            boards.push(boards[boards.len() - 1].play(square.into())?);
        }
        Some(Self { moves: moves.to_vec(), boards })
    }

    /// The nats a move that nobody can do without who tells each move but the first from those
    /// before it: the mean of `ln` of the number of legal moves.
    #[must_use]
    pub fn floor(&self) -> f64 {
        let told = &self.boards[1..self.moves.len()];
        told.iter().map(|board| (board.legal_moves().len() as f64).ln()).sum::<f64>()
            / told.len() as f64
    }
}

/// Random legal games without end. Each seed has streams that have nothing to do with each other.
pub fn games(seed: u64, stream: u64) -> impl Iterator<Item = Game> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    std::iter::repeat_with(move || random(&mut rng))
}

fn random(rng: &mut ChaCha8Rng) -> Game {
    let mut game = Game { moves: Vec::new(), boards: vec![Board::start()] };
    let mut board = Board::start();
    loop {
        let legal = board.legal_moves();
        if legal.is_empty() {
            return game;
        }
        // The bias of the remainder is below one in a hundred million.
        let square = legal[rng.next_u32() as usize % legal.len()];
        board = board.play(square).expect("invariant: a legal move can be played");
        game.moves.push(square as u8);
        game.boards.push(board);
    }
}
