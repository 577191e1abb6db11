//! Compiled induction models of one make, each from another seed.

use candle_core::{DType as CandleDType, Device, Tensor};
use circuits::{Role, Task, compile};
use models::Gpt;
use protocol::DType;

use crate::{Array, Generator};

/// A model, and where its previous-token head was planted.
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

/// Sequences of different tokens below `d_vocab`, each twice in a row.
pub(super) fn repeated_tokens(rng: &mut Generator, batch: usize, d_vocab: usize) -> Array {
    let rows: Vec<Vec<usize>> = (0..batch).map(|_| rng.permutation(d_vocab)).collect();
    Array::from_fn(&[batch, SEQ], |at| rows[at[0]][at[1] % (SEQ / 2)] as f64).to(DType::U32)
}
