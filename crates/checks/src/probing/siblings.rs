//! Induction models of one make, each from another seed: compiled ones, and those that we trained.

use candle_core::{DType as CandleDType, Device, Tensor};
use circuits::{Role, Task, compile};
use models::Gpt;
use protocol::DType;

use super::{border::tensor, claim_oracle::RIGHT};
use crate::{Array, Generator, Stop, data};

/// A model, and where its previous-token head is.
#[derive(Clone)]
pub(super) struct Sibling {
    pub(super) gpt: Gpt,
    pub(super) layer: usize,
    pub(super) head: usize,
    pub(super) d_vocab: usize,
}

impl Sibling {
    /// In another dtype.
    pub(super) fn to(&self, dtype: DType) -> Self {
        if dtype == DType::F64 {
            return self.clone();
        }
        let single = |(name, tensor): (&str, &Tensor)| {
            let tensor = tensor.to_dtype(CandleDType::F32);
            (name.to_owned(), tensor.expect("invariant: a weight is a number"))
        };
        let weights = self.gpt.weights().iter().map(single).collect();
        let gpt = Gpt::new(weights, self.gpt.n_heads());
        Self { gpt: gpt.expect("invariant: the model was whole"), ..self.clone() }
    }
}

/// Draws two siblings.
pub(super) fn siblings(rng: &mut Generator) -> [Sibling; 2] {
    [(); 2].map(|()| {
        let mut sibling = sibling(rng.below(1 << 30) as u64);
        // All read tokens of one length.
        while sibling.gpt.n_ctx().is_some_and(|n_ctx| n_ctx < SEQ) {
            sibling = self::sibling(rng.below(1 << 30) as u64);
        }
        sibling
    })
}

/// Positions of a repeated sequence.
pub(super) const SEQ: usize = 8;

fn sibling(seed: u64) -> Sibling {
    let circuit = compile(Task::Induction, seed);
    let head = circuit.head(Role::Previous).expect("invariant: induction needs such a head");
    let weights = circuit.weights.iter().map(|(name, weight)| {
        let values = weight.values.clone();
        let tensor = Tensor::from_vec(values, &weight.shape, &Device::Cpu);
        (name.clone(), tensor.expect("invariant: values fill a weight"))
    });
    let gpt = Gpt::new(weights.collect(), circuit.n_heads);
    Sibling {
        gpt: gpt.expect("invariant: a compiled model is whole"),
        layer: head.layer,
        head: head.head,
        d_vocab: circuit.d_vocab,
    }
}

/// The trained siblings, in an order drawn by lot, and sequences for them.
///
/// # Errors
///
/// Stops with a fault of ours if a file is missing or damaged.
pub(super) fn trained_siblings(rng: &mut Generator) -> Result<([Sibling; 3], Array), Stop> {
    let tokens = repeated(rng, 4, TRAINED_VOCAB, TRAINED_VOCAB);
    let order = rng.permutation(3);
    let draw = |at: usize| trained_sibling(TRAINED[order[at]], &tokens);
    Ok(([draw(0)?, draw(1)?, draw(2)?], tokens))
}

/// One of the trained siblings by lot, and a sequence for it.
///
/// # Errors
///
/// Stops with a fault of ours if its file is missing or damaged.
pub(super) fn one_trained_sibling(rng: &mut Generator) -> Result<(Sibling, Array), Stop> {
    let tokens = repeated(rng, 1, TRAINED_VOCAB, TRAINED_VOCAB);
    Ok((trained_sibling(TRAINED[rng.below(3)], &tokens)?, tokens))
}

const TRAINED: [&str; 3] = ["induction", "induction_b", "induction_c"];

/// Tokens that the trained siblings know.
const TRAINED_VOCAB: usize = 32;

fn trained_sibling(name: &str, tokens: &Array) -> Result<Sibling, Stop> {
    let model = data::trained(name)?;
    let build = || -> anyhow::Result<Sibling> {
        let weight = |(name, array): (&String, &Array)| Ok((name.clone(), tensor(array)?));
        let weights = model.weights.iter().map(weight).collect::<anyhow::Result<_>>()?;
        let gpt = Gpt::new(weights, model.n_heads)?;
        let (layer, head) = RIGHT.find(&gpt, &tensor(tokens)?)?;
        Ok(Sibling { gpt, layer, head, d_vocab: TRAINED_VOCAB })
    };
    build().map_err(|error| data::not_judged(&error))
}

/// Sequences of different tokens below `d_vocab`, each twice in a row.
pub(super) fn repeated_tokens(rng: &mut Generator, batch: usize, d_vocab: usize) -> Array {
    repeated(rng, batch, d_vocab, SEQ)
}

fn repeated(rng: &mut Generator, batch: usize, d_vocab: usize, seq: usize) -> Array {
    let rows: Vec<Vec<usize>> = (0..batch).map(|_| rng.permutation(d_vocab)).collect();
    Array::from_fn(&[batch, seq], |at| rows[at[0]][at[1] % (seq / 2)] as f64).to(DType::U32)
}
