//! What a model is to be: its sizes, and which head does what.

use crate::{
    Head, Role, Task,
    stream::{Purpose, Stream},
};

/// Sizes, tokens and heads, before there is a weight.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) task: Task,
    pub(crate) n_layers: usize,
    pub(crate) n_heads: usize,
    pub(crate) d_head: usize,
    pub(crate) n_ctx: usize,
    pub(crate) tokens: Tokens,
    pub(crate) heads: Vec<Head>,
}

/// Which tokens a task has, by their numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens {
    /// The token at position 0, unless the task is about that position.
    pub(crate) start: Option<usize>,
    /// The first of the tokens that a text is made of; the first of them is the marker.
    pub(crate) first_letter: usize,
    /// How many of them there are.
    pub(crate) n_letters: usize,
    /// How many tokens behind those are said, and never read.
    pub(crate) n_answers: usize,
}

impl Tokens {
    pub(crate) fn of(task: Task) -> Self {
        let tokens =
            |n_letters, n_answers| Self { start: Some(0), first_letter: 1, n_letters, n_answers };
        match task {
            Task::Induction => tokens(6, 0),
            // No and yes.
            Task::Duplicate => tokens(5, 2),
            Task::First => Self { start: None, first_letter: 0, n_letters: 6, n_answers: 0 },
            // Zero to two: the traces of more lie too near to each other.
            Task::Count => tokens(4, 3),
        }
    }

    pub(crate) fn d_vocab(self) -> usize {
        self.first_answer() + self.n_answers
    }

    /// The first of the tokens that are said and never read.
    pub(crate) fn first_answer(self) -> usize {
        self.first_letter + self.n_letters
    }

    pub(crate) fn letters(self) -> std::ops::Range<usize> {
        self.first_letter..self.first_answer()
    }

    /// The token that is counted.
    pub(crate) fn marker(self) -> usize {
        self.first_letter
    }
}

/// Draws a plan.
pub(crate) fn plan(task: Task, seed: u64) -> Plan {
    let mut stream = Stream::new(seed, Purpose::Plan);
    let (n_layers, n_heads) = (stream.between(2, 3), stream.between(2, 3));
    let (n_ctx, tokens) = (stream.between(6, 8), Tokens::of(task));
    // One slot a token and a position, and one to rest on; for the stream see `plain.rs`.
    let slots = tokens.d_vocab() + n_ctx + 1;
    let needed = 3 * tokens.d_vocab() + n_ctx;
    let d_head = slots.max(needed.div_ceil(n_heads)) + stream.below(3);
    let heads = heads(task, n_layers, n_heads, &mut stream);
    Plan { task, n_layers, n_heads, d_head, n_ctx, tokens, heads }
}

/// The heads that carry a task, at random places among decoys.
fn heads(task: Task, n_layers: usize, n_heads: usize, stream: &mut Stream) -> Vec<Head> {
    let carriers: &[Role] = match task {
        Task::Induction => &[Role::Previous, Role::Induction],
        Task::Duplicate => &[Role::Duplicate],
        Task::First => &[Role::First],
        Task::Count => &[Role::Count],
    };
    // In ascending order, so that what one writes the next can read.
    let mut layers: Vec<usize> = (0..n_layers).collect();
    stream.shuffle(&mut layers);
    layers.truncate(carriers.len());
    layers.sort_unstable();
    let places: Vec<_> = layers.iter().map(|&layer| (layer, stream.below(n_heads))).collect();

    let mut decoys = vec![Role::Previous, Role::Current, Role::First, Role::Duplicate];
    decoys.retain(|role| !carriers.contains(role));
    decoys.extend([Role::Uniform, Role::Random, Role::Random]);
    stream.shuffle(&mut decoys);
    decoys.resize(n_layers * n_heads, Role::Random);
    let mut decoys = decoys.into_iter();
    let head = |at: usize| {
        let (layer, head) = (at / n_heads, at % n_heads);
        let carrier = places.iter().position(|&place| place == (layer, head));
        let role = carrier.map(|carrier| carriers[carrier]);
        let role = role.or_else(|| decoys.next()).unwrap_or(Role::Random);
        Head { layer, head, role, carries: carrier.is_some() }
    };
    (0..n_layers * n_heads).map(head).collect()
}
