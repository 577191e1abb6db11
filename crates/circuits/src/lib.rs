//! Small attention-only transformers, compiled from a seed, of which we know what each head does.
//!
//! A trained model has no answer key: nobody can say for certain which head does what.
//! Here it is the other way round. [`compile`] first writes a circuit down in a *plain* basis,
//! where each token and each position has an axis of its own, and then hides it: the residual
//! stream is turned by a random orthogonal matrix, the insides of every head by others, and the
//! heads that carry the task stand at random places among decoys.
//!
//! | [`Task`]    | at each position the model says      | heads that carry it           |
//! |-------------|--------------------------------------|-------------------------------|
//! | `Induction` | what followed this token before      | `Previous`, later `Induction` |
//! | `Duplicate` | whether this token stood here before | `Duplicate`                   |
//! | `First`     | the first token                      | `First`                       |
//! | `Count`     | how many markers there were so far   | `Count`                       |
//!
//! No block has a norm, an MLP or a bias. Tensors have GPT-2's names: `wte.weight`, `wpe.weight`,
//! `h.N.attn.c_attn.weight` `(d_model, 3 * d_model)`, `h.N.attn.c_proj.weight`, `lm_head.weight`
//! `(d_vocab, d_model)`.
//!
//! **Invariant:** the same task and seed give the same numbers; and no axis of any tensor means
//! anything, so that what is found was not found by looking at axes.
//!
//! Source: Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits",
//! transformer-circuits.pub/2021/framework, for heads as separate QK and OV circuits and for
//! induction in two layers; Olsson et al. (2022), "In-context Learning and Induction Heads",
//! arXiv:2209.11895. Lindner et al. (2023), "Tracr", arXiv:2301.05062, compiles whole programs, and
//! leaves them in the plain basis.

mod assemble;
mod matrix;
mod plain;
mod plan;
mod prompt;
mod stream;

use std::collections::BTreeMap;

pub use prompt::{Contrast, Prompt};

/// What a compiled model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Says what followed this token when it stood here before: "a b … a" → "b".
    Induction,
    /// Says whether this token stood here before.
    Duplicate,
    /// Says the first token.
    First,
    /// Says how many markers there were so far.
    Count,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 4] = [Self::Induction, Self::Duplicate, Self::First, Self::Count];
}

/// What a head looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The position before.
    Previous,
    /// Its own position.
    Current,
    /// Position 0.
    First,
    /// Earlier positions with the same token; without any, position 0.
    Duplicate,
    /// Positions behind earlier ones with the same token; without any, position 0.
    Induction,
    /// All markers and position 0, evenly.
    Count,
    /// Everything that it may, evenly.
    Uniform,
    /// Whatever random weights make of it.
    Random,
}

/// One head, and the truth about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its block.
    pub layer: usize,
    /// Its number inside the block.
    pub head: usize,
    /// What it looks at.
    pub role: Role,
    /// Whether the task needs it. A decoy looks at something too, and adds a little noise.
    pub carries: bool,
}

/// A tensor: row-major values of a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Length of each axis.
    pub shape: [usize; 2],
    /// Values in row-major order.
    pub values: Vec<f64>,
}

/// A compiled model with its answer key.
#[derive(Clone, Debug, PartialEq)]
pub struct Circuit {
    /// What it does.
    pub task: Task,
    /// Blocks.
    pub n_layers: usize,
    /// Heads in each block.
    pub n_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Tokens that it knows.
    pub d_vocab: usize,
    /// The most tokens that it reads at once.
    pub n_ctx: usize,
    /// Every head, block by block.
    pub heads: Vec<Head>,
    /// Tensors in GPT-2's names.
    pub weights: BTreeMap<String, Weight>,
}

impl Circuit {
    /// Width of the residual stream.
    #[must_use]
    pub fn d_model(&self) -> usize {
        self.n_heads * self.d_head
    }

    /// The only head with this role, if there is one.
    #[must_use]
    pub fn head(&self, role: Role) -> Option<Head> {
        self.heads.iter().copied().find(|head| head.role == role)
    }
}

/// Compiles a model for `task`; sizes, places, bases and decoys are drawn from `seed`.
///
/// # Contract
///
/// - It has two or three blocks of two or three heads and reads up to eight tokens.
/// - What the task says about a prompt of [`Circuit::prompt`] is its largest logit.
/// - Every role but `Uniform` and `Random` is that of one head at most.
/// - Zeroing a head that carries the task destroys it; zeroing a decoy changes no answer.
///
/// # Example: the heads that carry induction stand in different blocks
///
/// ```
/// use circuits::{Role, Task, compile};
///
/// let circuit = compile(Task::Induction, 7);
/// let previous = circuit.head(Role::Previous).unwrap();
/// let induction = circuit.head(Role::Induction).unwrap();
/// assert!(previous.layer < induction.layer);
///
/// let prompt = circuit.prompt(1);
/// assert_eq!(prompt.tokens.len(), circuit.n_ctx);
/// ```
#[must_use]
pub fn compile(task: Task, seed: u64) -> Circuit {
    assemble::assemble(plan::plan(task, seed), seed)
}
