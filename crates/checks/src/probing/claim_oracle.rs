//! Drops and claims in plain loops, whose steps an impostor can spoil, one at a time.

use answer::Numbers;
use anyhow::{Result, ensure};
use candle_core::Tensor;
use models::{
    Gpt,
    hook::{Hook, Place},
};

use super::{
    border::{array, tensor},
    siblings::Sibling,
};
use crate::Array;

/// What a claim says.
pub(super) const NAMES: [&str; 6] = ["layer", "head", "shown", "other", "mean", "spread"];

/// What stands for a head.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ablation {
    Mean,
    MeanOfSequence,
    MeanOfPosition,
    Zero,
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(super) struct Slips {
    /// How far before the query the head looks.
    pub(super) offset: usize,
    pub(super) exchanged: bool,
    pub(super) first_only: bool,
    pub(super) same_place: bool,
    pub(super) ablation: Ablation,
    pub(super) whole_layer: bool,
    pub(super) sign: f64,
    pub(super) whole_sequence: bool,
    /// Times the spread that one would bet on.
    pub(super) spread: f64,
    /// Times the mean that was measured.
    pub(super) claimed: f64,
    pub(super) checks: bool,
}

pub(super) const RIGHT: Slips = Slips {
    offset: 1,
    exchanged: false,
    first_only: false,
    same_place: false,
    ablation: Ablation::Mean,
    whole_layer: false,
    sign: 1.0,
    whole_sequence: false,
    spread: 1.0,
    claimed: 1.0,
    checks: true,
};

impl Slips {
    pub(super) fn claim(&self, shown: &Gpt, other: &Gpt, tokens: &Tensor) -> Result<Numbers> {
        let seq = tokens.dim(1)?;
        ensure!(!self.checks || seq % 2 == 0 && seq >= 4, "no tokens twice");
        let (layer, head) = self.find(shown, tokens)?;
        let place = if self.same_place { (layer, head) } else { self.find(other, tokens)? };
        let drops =
            [self.drop_at(shown, tokens, (layer, head))?, self.drop_at(other, tokens, place)?];
        let mean = f64::midpoint(drops[0], drops[1]);
        let spread = (drops[0] - drops[1]).abs().max(0.1 * mean.abs()).max(0.05);
        let (layer, head) = if self.exchanged { (head, layer) } else { (layer, head) };
        let numbers = [
            layer as f64,
            head as f64,
            drops[0],
            drops[1],
            self.claimed * mean,
            self.spread * spread,
        ];
        let mut claim = Numbers::new();
        NAMES.iter().zip(numbers).for_each(|(name, number)| claim.insert(name, number));
        Ok(claim)
    }

    pub(super) fn find(&self, model: &Gpt, tokens: &Tensor) -> Result<(usize, usize)> {
        let mut best = (f64::NEG_INFINITY, 0, 0);
        let mut look = |hook: Hook, value: Tensor| {
            if let Hook { place: Place::Pattern, layer: Some(layer) } = hook {
                let pattern = read(&value)?;
                let (batch, seq) = (pattern.dim(0), pattern.dim(2));
                for head in 0..pattern.dim(1) {
                    let mut sum = 0.0;
                    for row in 0..batch {
                        for q in self.offset..seq {
                            sum += pattern.at(&[row, head, q, q - self.offset]);
                        }
                    }
                    if sum > best.0 {
                        best = (sum, layer, head);
                    }
                }
            }
            Ok(value)
        };
        model.forward(tokens, &mut look)?;
        Ok((best.1, best.2))
    }

    /// The exact drop of a model whose head is known.
    pub(super) fn drop(&self, sibling: &Sibling, tokens: &Array) -> f64 {
        let tokens = tensor(tokens).expect("invariant: our own tokens are valid");
        self.drop_at(&sibling.gpt, &tokens, (sibling.layer, sibling.head))
            .expect("invariant: a sibling reads the tokens that were drawn for it")
    }

    pub(super) fn drop_at(
        &self,
        model: &Gpt,
        tokens: &Tensor,
        place: (usize, usize),
    ) -> Result<f64> {
        let (layer, head) = place;
        let mut ablate = |hook: Hook, z: Tensor| {
            if hook != Hook::in_block(Place::Z, layer) {
                return Ok(z);
            }
            let mut values = read(&z)?;
            for at in (0..values.dim(2)).filter(|&at| at == head || self.whole_layer) {
                self.ablate(&mut values, at);
            }
            write(&values)
        };
        let ablated = array(&model.forward(tokens, &mut ablate)?)?;
        let plain = array(&model.forward(tokens, &mut ())?)?;
        let tokens = array(tokens)?;
        Ok(self.sign * (self.known(&plain, &tokens) - self.known(&ablated, &tokens)))
    }

    pub(super) fn ablate(&self, z: &mut Array, head: usize) {
        let (batch, seq) = (z.dim(0), z.dim(1));
        let before = z.clone();
        for row in 0..batch {
            for at in 0..seq {
                let (rows, places) = match self.ablation {
                    Ablation::Mean => (0..batch, 0..seq),
                    Ablation::MeanOfSequence => (row..row + 1, 0..seq),
                    Ablation::MeanOfPosition => (0..batch, at..at + 1),
                    Ablation::Zero => (0..0, 0..0),
                };
                let n = (rows.len() * places.len()).max(1) as f64;
                for k in 0..z.dim(3) {
                    let of_row =
                        |r: usize| places.clone().map(move |p| [r, p, head, k]).collect::<Vec<_>>();
                    let sum: f64 = rows.clone().flat_map(of_row).map(|from| before.at(&from)).sum();
                    z.set(&[row, at, head, k], sum / n);
                }
            }
        }
    }

    /// Mean `ln p` of the next token, where it can be known from the first half.
    pub(super) fn known(&self, logits: &Array, tokens: &Array) -> f64 {
        let (batch, seq) = (if self.first_only { 1 } else { tokens.dim(0) }, tokens.dim(1));
        let start = if self.whole_sequence { 0 } else { seq / 2 };
        let mut sum = 0.0;
        for row in 0..batch {
            for at in start..seq - 1 {
                let scores = (0..logits.dim(2)).map(|token| logits.at(&[row, at, token]));
                let largest = scores.clone().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.map(|score| (score - largest).exp()).sum();
                let next = tokens.at(&[row, at + 1]) as usize;
                sum += logits.at(&[row, at, next]) - largest - total.ln();
            }
        }
        sum / (batch * (seq - 1 - start)) as f64
    }
}

pub(super) fn read(value: &Tensor) -> candle_core::Result<Array> {
    array(value).map_err(|error| candle_core::Error::Msg(format!("{error}")))
}

pub(super) fn write(values: &Array) -> candle_core::Result<Tensor> {
    tensor(values).map_err(|error| candle_core::Error::Msg(format!("{error}")))
}
