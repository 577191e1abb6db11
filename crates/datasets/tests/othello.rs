//! The rules of Othello against a slow version that looks at squares one by one.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use datasets::othello::{Board, Game, MAX_MOVES, SQUARES, Side, games};

/// A board as letters, row by row, and whose turn it is.
#[derive(Clone, Debug, PartialEq)]
struct Slow {
    rows: [[char; 6]; 6],
    turn: char,
}

impl Slow {
    fn start() -> Self {
        let mut rows = [['.'; 6]; 6];
        (rows[2][2], rows[3][3]) = ('w', 'w');
        (rows[2][3], rows[3][2]) = ('b', 'b');
        Self { rows, turn: 'b' }
    }

    /// Discs that `turn` would turn over by a move, found by walking outwards.
    fn caught(&self, row: i32, column: i32, turn: char) -> Vec<(usize, usize)> {
        let at = |row: i32, column: i32| {
            let inside = (0..6).contains(&row) && (0..6).contains(&column);
            inside.then(|| self.rows[row as usize][column as usize])
        };
        let mut caught = Vec::new();
        if at(row, column) != Some('.') {
            return caught;
        }
        for (down, right) in [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
        {
            let mut walked = Vec::new();
            let (mut r, mut c) = (row + down, column + right);
            while at(r, c).is_some_and(|disc| disc != '.' && disc != turn) {
                walked.push((r as usize, c as usize));
                (r, c) = (r + down, c + right);
            }
            if at(r, c) == Some(turn) {
                caught.extend(walked);
            }
        }
        caught
    }

    fn legal(&self, turn: char) -> Vec<usize> {
        let may = |square: &usize| {
            !self.caught((square / 6) as i32, (square % 6) as i32, turn).is_empty()
        };
        (0..36).filter(may).collect()
    }

    fn play(&self, square: usize) -> Self {
        let (row, column) = (square / 6, square % 6);
        let mut next = self.clone();
        for (r, c) in self.caught(row as i32, column as i32, self.turn) {
            next.rows[r][c] = self.turn;
        }
        next.rows[row][column] = self.turn;
        let other = if self.turn == 'b' { 'w' } else { 'b' };
        if !next.legal(other).is_empty() || next.legal(self.turn).is_empty() {
            next.turn = other;
        }
        next
    }
}

fn letter(side: Option<Side>) -> char {
    match side {
        Some(Side::Black) => 'b',
        Some(Side::White) => 'w',
        None => '.',
    }
}

#[track_caller]
fn same(board: &Board, slow: &Slow) {
    for square in 0..SQUARES {
        assert_eq!(letter(board.disc(square)), slow.rows[square / 6][square % 6], "{square}");
    }
    assert_eq!(letter(Some(board.to_move())), slow.turn);
    assert_eq!(board.legal_moves(), slow.legal(slow.turn));
}

#[test]
fn random_games_follow_the_slow_rules() {
    let (mut passes, mut short) = (0, 0);
    for game in games(1, 0).take(300) {
        let mut slow = Slow::start();
        for (board, &square) in game.boards.iter().zip(&game.moves) {
            same(board, &slow);
            let before = slow.turn;
            slow = slow.play(square.into());
            passes += usize::from(slow.turn == before);
        }
        same(&game.boards[game.moves.len()], &slow);
        assert!(slow.legal('b').is_empty() && slow.legal('w').is_empty());
        short += usize::from(game.moves.len() < MAX_MOVES);
        assert_eq!(Game::replay(&game.moves), Some(game));
    }
    println!("{passes} passes and {short} short games in 300");
    assert!(passes > 30 && short > 10, "{passes} passes, {short} short games");
}

/// Counts the ways to play so many moves.
fn ways(board: &Board, moves: usize) -> usize {
    if moves == 0 {
        return 1;
    }
    let next = |square: usize| ways(&board.play(square).unwrap(), moves - 1);
    board.legal_moves().into_iter().map(next).sum()
}

fn slow_ways(board: &Slow, moves: usize) -> usize {
    if moves == 0 {
        return 1;
    }
    board
        .legal(board.turn)
        .into_iter()
        .map(|square| slow_ways(&board.play(square), moves - 1))
        .sum()
}

#[test]
fn ways_to_play_are_as_many_as_by_the_slow_rules() {
    let counts: Vec<usize> = (0..7).map(|moves| ways(&Board::start(), moves)).collect();
    assert_eq!(counts[..5], [1, 4, 12, 56, 244]);
    for (moves, count) in counts.into_iter().enumerate() {
        assert_eq!(count, slow_ways(&Slow::start(), moves), "{moves} moves");
    }
}

#[test]
fn what_is_not_legal_is_refused() {
    let start = Board::start();
    assert_eq!(start.legal_moves(), [8, 13, 22, 27]);
    for square in [0, 14, 9, 36, 64, usize::MAX] {
        assert_eq!(start.play(square), None, "{square}");
    }
    assert_eq!(Game::replay(&[8, 8]), None);
}

#[test]
fn a_square_can_be_edited() {
    let edited = Board::start().with(14, Some(Side::Black));
    assert_eq!(edited.disc(14), Some(Side::Black));
    assert_ne!(edited.legal_moves(), Board::start().legal_moves());
    assert_eq!(edited.with(14, Some(Side::White)), Board::start());
    assert_eq!(edited.with(14, None).disc(14), None);
}

#[test]
fn streams_differ_and_repeat() {
    let take = |seed, stream| games(seed, stream).take(3).collect::<Vec<_>>();
    assert_eq!(take(4, 2), take(4, 2));
    assert_ne!(take(4, 2), take(4, 3));
    assert_ne!(take(4, 2), take(5, 2));
}

#[test]
fn the_floor_is_the_mean_over_all_moves_but_the_first() {
    // After any first move there are three answers; the mean of one number is the number.
    let game = Game::replay(&[8, 7]).unwrap();
    assert_eq!(game.boards[1].legal_moves().len(), 3);
    assert!((game.floor() - 3f64.ln()).abs() < 1e-12);
}
