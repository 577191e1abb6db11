//! Heads in the plain basis, where each token and each position has an axis of its own.
//!
//! The stream has four parts: the token that stands here (`token`), its position (`position`), the
//! token before it (`previous`, written by a head), and what is said (`said`, read at the end).
//! What is left over of `d_model` is never used, until the basis is turned.

use crate::{Head, Role, Task, matrix::Matrix, plan::Plan, stream::Stream};

/// How much higher the scaled score of a key that is looked for stands than that of others.
const SHARP: f64 = 20.0;

/// As [`SHARP`], for counts: markers must be seen evenly, so decoys may hardly move their scores.
const COUNT_SHARP: f64 = 8.0;

/// How far a query that finds nothing prefers position 0, in units of [`SHARP`].
const REST: f64 = 0.5;

/// The deviation of what a decoy adds to each axis.
const NOISE: f64 = 0.003;

/// As [`NOISE`], where the answer is a small difference.
const COUNT_NOISE: f64 = 0.000_5;

/// How much larger than other logits the right one is.
const GAIN: f64 = 10.0;

/// As [`GAIN`], for counts, whose traces in the stream lie as near as 1/2 and 1/3.
const COUNT_GAIN: f64 = 400.0;

/// The four maps of a head: each acts on rows.
pub(crate) struct Maps {
    pub(crate) q: Matrix,
    pub(crate) k: Matrix,
    pub(crate) v: Matrix,
    pub(crate) o: Matrix,
}

/// The axes of the stream.
#[derive(Clone, Copy)]
pub(crate) struct Axes {
    d_vocab: usize,
    n_ctx: usize,
}

impl Axes {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self { d_vocab: plan.tokens.d_vocab(), n_ctx: plan.n_ctx }
    }

    pub(crate) fn token(self, token: usize) -> usize {
        debug_assert!(token < self.d_vocab, "invariant: there is such a token");
        token
    }

    pub(crate) fn position(self, position: usize) -> usize {
        self.d_vocab + position
    }

    fn previous(self, token: usize) -> usize {
        self.d_vocab + self.n_ctx + token
    }

    fn said(self, token: usize) -> usize {
        2 * self.d_vocab + self.n_ctx + token
    }
}

/// A head of a plan.
pub(crate) fn head(plan: &Plan, head: Head, stream: &mut Stream) -> Maps {
    let (d_model, d_head) = (plan.n_heads * plan.d_head, plan.d_head);
    let mut normal = |deviation| Matrix::normal(d_model, d_head, deviation, stream);
    let (q, k) = match head.role {
        Role::Random => (normal(1.0), normal(1.0)),
        // Not quite nothing, so that its weights look like any others.
        Role::Uniform => (normal(0.02), normal(0.02)),
        role => look(plan, role),
    };
    let (v, o) = if head.carries {
        carry(plan, head.role)
    } else {
        // A position's stream has about two entries of 1, so its values have a variance of 2.
        let noise = if plan.task == Task::Count { COUNT_NOISE } else { NOISE };
        let deviation = noise / (2.0 * d_head as f64).sqrt();
        (normal(1.0), Matrix::normal(d_head, d_model, deviation, stream))
    };
    Maps { q, k, v, o }
}

/// Queries and keys: each pair of entries in one slot makes one agree with the other.
fn look(plan: &Plan, role: Role) -> (Matrix, Matrix) {
    let (d_model, axes, tokens) = (plan.n_heads * plan.d_head, Axes::of(plan), plan.tokens);
    let [mut q, mut k] = [(); 2].map(|()| Matrix::zeros(d_model, plan.d_head));
    let rest = tokens.d_vocab() + plan.n_ctx;
    let positions = 0..plan.n_ctx;
    let ask_everywhere = |q: &mut Matrix| {
        positions.clone().for_each(|position| q.add(axes.position(position), rest, 1.0));
    };
    match role {
        Role::Previous | Role::Current => {
            let back = usize::from(role == Role::Previous);
            for position in positions {
                k.add(axes.position(position), position, 1.0);
                if position >= back {
                    q.add(axes.position(position), position - back, 1.0);
                }
            }
        }
        Role::First => {
            ask_everywhere(&mut q);
            k.add(axes.position(0), rest, 1.0);
        }
        Role::Count => {
            ask_everywhere(&mut q);
            k.add(axes.position(0), rest, 1.0);
            k.add(axes.token(tokens.marker()), rest, 1.0);
        }
        Role::Duplicate | Role::Induction => {
            for token in 0..tokens.d_vocab() {
                let is_at =
                    if role == Role::Duplicate { axes.token(token) } else { axes.previous(token) };
                q.add(axes.token(token), token, 1.0);
                k.add(is_at, token, 1.0);
            }
            ask_everywhere(&mut q);
            k.add(axes.position(0), rest, REST);
            if role == Role::Duplicate {
                // A token is no duplicate of itself.
                for position in positions {
                    q.add(axes.position(position), tokens.d_vocab() + position, -2.0);
                    k.add(axes.position(position), tokens.d_vocab() + position, 1.0);
                }
            }
        }
        Role::Uniform | Role::Random => {}
    }
    let sharp = if role == Role::Count { COUNT_SHARP } else { SHARP };
    let each = (sharp * (plan.d_head as f64).sqrt()).sqrt();
    (q.scaled(each), k.scaled(each))
}

/// Values and outputs of a head that the task needs.
fn carry(plan: &Plan, role: Role) -> (Matrix, Matrix) {
    let (d_model, axes, tokens) = (plan.n_heads * plan.d_head, Axes::of(plan), plan.tokens);
    let (mut v, mut o) = (Matrix::zeros(d_model, plan.d_head), Matrix::zeros(plan.d_head, d_model));
    match role {
        Role::Duplicate => {
            let [no, yes] = [0, 1].map(|answer| axes.said(tokens.first_answer() + answer));
            v.add(axes.token(0), 0, 1.0);
            tokens.letters().for_each(|token| v.add(axes.token(token), 1, 1.0));
            o.add(0, no, 1.0);
            o.add(1, yes, 1.0);
        }
        // The weight on position 0 says it all: 1 / (1 + count). Beside it a 1, whoever is seen.
        Role::Count => {
            v.add(axes.position(0), 0, 1.0);
            (0..plan.n_ctx).for_each(|position| v.add(axes.position(position), 1, 1.0));
            o.add(0, axes.said(0), 1.0);
            o.add(1, axes.said(1), 1.0);
        }
        _ => {
            for token in 0..tokens.d_vocab() {
                let goes_to =
                    if role == Role::Previous { axes.previous(token) } else { axes.said(token) };
                // Whoever rests at the start has nothing to say.
                if role != Role::Induction || Some(token) != tokens.start {
                    v.add(axes.token(token), token, 1.0);
                    o.add(token, goes_to, 1.0);
                }
            }
        }
    }
    (v, o)
}

/// What is read from the stream, `(d_vocab, d_model)`.
pub(crate) fn unembed(plan: &Plan, stream: &mut Stream) -> Matrix {
    let (axes, tokens) = (Axes::of(plan), plan.tokens);
    let d_model = plan.n_heads * plan.d_head;
    // No logit is always 0, as no trained one is.
    let mut head = Matrix::normal(tokens.d_vocab(), d_model, 0.02, stream);
    match plan.task {
        Task::Count => {
            // The count n whose trace 1 / (1 + n) is nearest to the trace x has the smallest
            // (x − 1 / (1 + n))²; less the x², which all share, that is linear in x.
            for count in 0..tokens.n_answers {
                let trace = 1.0 / (1.0 + count as f64);
                let row = tokens.first_answer() + count;
                head.add(row, axes.said(0), COUNT_GAIN * 2.0 * trace);
                head.add(row, axes.said(1), -COUNT_GAIN * trace * trace);
            }
        }
        _ => (0..tokens.d_vocab()).for_each(|token| head.add(token, axes.said(token), GAIN)),
    }
    head
}
