//! Random tokens that come again: what a model can only continue by induction.
//!
//! The first `fresh` tokens of a sequence are all different.
//! From there on the last `period` of them come again and again, each in its turn, to the end.
//! Both numbers are drawn anew for each sequence, so neither a token nor its place says what
//! follows: only what followed the same token before.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

/// The tokens that there are.
pub const D_VOCAB: usize = 32;

/// The shortest and the longest period.
pub const PERIODS: [usize; 2] = [4, 24];

/// One sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// How many come before anything is repeated.
    pub fresh: usize,
    /// After how many a token comes again.
    pub period: usize,
}

impl Repeats {
    /// Whether the token at a place can be told from those before it: it is repeated, and so is the
    /// one before.
    #[must_use]
    pub fn can_be_told(&self, place: usize) -> bool {
        place > self.fresh && place < self.tokens.len()
    }
}

/// Random sequences of `length` tokens without end. Each seed has streams that have nothing to do
/// with each other.
///
/// # Panics
///
/// Panics if no period fits twice into `length`.
pub fn repeats(seed: u64, stream: u64, length: usize) -> impl Iterator<Item = Repeats> {
    let longest = PERIODS[1].min(length / 2);
    assert!(longest >= PERIODS[0], "no period fits twice into {length} tokens");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    std::iter::repeat_with(move || {
        let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
        let period = PERIODS[0] + below(longest - PERIODS[0] + 1);
        // Whatever comes first, the repeated tokens come twice at least.
        let most = (length - 2 * period).min(D_VOCAB - period);
        let fresh = period + below(most + 1);
        let mut order: Vec<u32> = (0..D_VOCAB as u32).collect();
        for n in 0..fresh {
            order.swap(n, n + below(D_VOCAB - n));
        }
        let mut tokens = order[..fresh.min(length)].to_vec();
        while tokens.len() < length {
            tokens.push(tokens[tokens.len() - period]);
        }
        Repeats { tokens, fresh, period }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn only_what_came_before_tells() {
        let mut shapes = BTreeSet::new();
        for row in repeats(2, 0, 65).take(200) {
            assert_eq!(row.tokens.len(), 65);
            let first: BTreeSet<u32> = row.tokens[..row.fresh].iter().copied().collect();
            assert_eq!(first.len(), row.fresh);
            assert!(row.period <= row.fresh && row.fresh + row.period <= 65);
            for place in row.fresh..65 {
                assert_eq!(row.tokens[place], row.tokens[place - row.period]);
            }
            assert!(!row.can_be_told(row.fresh) && row.can_be_told(row.fresh + 1));
            shapes.insert((row.fresh, row.period));
        }
        assert!(shapes.len() > 120, "{}", shapes.len());
    }
}
