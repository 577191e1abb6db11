//! A probe's controls in plain loops, whose steps an impostor can spoil, one at a time.

use answer::Weights;
use anyhow::{Result, ensure};
use candle_core::Tensor;
use protocol::{DType, Value};

use super::{
    border::{array, tensor},
    probe_oracle::{Config, RIGHT as PROBE, Rows, mean},
};
use crate::{Array, Named, args, named};

/// What a probe and its controls are trained on.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) activations: Array,
    pub(super) untrained: Array,
    pub(super) labels: Array,
    pub(super) tokens: Array,
    pub(super) games: Array,
    pub(super) split: Array,
    pub(super) types: Array,
    pub(super) config: Config,
}

impl Task {
    /// As a question.
    pub(super) fn args(&self) -> Vec<(&'static str, Value)> {
        let noise = [("split", &self.split), ("types", &self.types)];
        let noise: Named = noise.map(|(name, a)| (name.to_owned(), a.clone())).into();
        args![activations: &self.activations, untrained: &self.untrained, labels: &self.labels,
              tokens: &self.tokens, games: &self.games, noise: named::to_value(&noise),
              config: self.config]
    }

    /// What an answer was asked.
    pub(super) fn read(tensors: [&Tensor; 5], noise: &Weights, config: Config) -> Result<Self> {
        let [activations, untrained, labels, tokens, games] = tensors;
        Ok(Self {
            activations: array(activations)?,
            untrained: array(untrained)?,
            labels: array(labels)?,
            tokens: array(tokens)?,
            games: array(games)?,
            split: array(noise.get("split")?)?,
            types: array(noise.get("types")?)?,
            config,
        })
    }

    pub(super) fn rows(&self, activations: &Array, labels: &Array) -> Rows {
        Rows {
            activations: activations.clone(),
            labels: labels.clone(),
            games: self.games.clone(),
            noise: self.split.clone(),
            config: self.config,
        }
    }

    /// Whether real and control labels both have zeros and ones.
    pub(super) fn has_both_lots(&self) -> bool {
        [&self.labels, &lots(self, Lot::Type)].iter().all(|labels| {
            let share = mean(labels);
            share > 0.0 && share < 1.0
        })
    }
}

/// How control labels are drawn.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Lot {
    /// For each type, from the real labels.
    Type,
    /// For each type, 1 if its noise is below a half.
    Coin,
    /// For each row, from the real labels.
    Row,
    /// The real label of the type's first row.
    FirstRow,
    /// As `Type`, where the first type that comes has the first noise.
    Appearance,
    /// As `Type`, from the nearest row instead of the one below.
    Nearest,
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(super) struct Slips {
    pub(super) lot: Lot,
    /// Which rows of the accuracies are added up, and how often.
    pub(super) selectivity: [f64; 4],
    pub(super) control_learns_truth: bool,
    pub(super) untrained_reads_control: bool,
    pub(super) untrained_is_trained: bool,
    pub(super) majority_of_held_out: bool,
    pub(super) checks: bool,
}

pub(super) const RIGHT: Slips = Slips {
    lot: Lot::Type,
    selectivity: [1.0, -1.0, 0.0, 0.0],
    control_learns_truth: false,
    untrained_reads_control: false,
    untrained_is_trained: false,
    majority_of_held_out: false,
    checks: true,
};

/// What comes of a task.
pub(super) struct Controlled {
    pub(super) control: Array,
    pub(super) accuracies: Array,
    pub(super) selectivity: Array,
    /// The least distance of a measured row from being taken for the other label.
    pub(super) nearest: f64,
}

impl Controlled {
    /// As an answer gives it.
    pub(super) fn results(&self) -> Result<(Tensor, Tensor, Tensor)> {
        Ok((tensor(&self.control)?, tensor(&self.accuracies)?, tensor(&self.selectivity)?))
    }
}

impl Slips {
    pub(super) fn control(&self, task: &Task) -> Result<Controlled> {
        let n = task.labels.dim(0);
        ensure!(!self.checks || task.tokens.shape() == [n], "tokens do not fit rows");
        let known = task.tokens.values().iter().all(|&kind| (kind as usize) < task.types.dim(0));
        ensure!(!self.checks || known, "a type has no noise");
        let control = lots(task, self.lot);
        let of_control = if self.control_learns_truth { &task.labels } else { &control };
        let on = |activations: &Array, labels: &Array| PROBE.train(&task.rows(activations, labels));
        let on_untrained =
            if self.untrained_is_trained { &task.activations } else { &task.untrained };
        let second = if self.untrained_reads_control { &control } else { &task.labels };
        let probes = [
            on(&task.activations, &task.labels)?,
            on(&task.activations, of_control)?,
            on(on_untrained, second)?,
        ];
        let majority = self.majority(task);
        let rows: Vec<&[f64]> = probes.iter().map(|probe| probe.accuracies.values()).collect();
        let values = [rows.concat(), majority].concat();
        let dtype = task.activations.dtype();
        let accuracies = Array::new(&[4, values.len() / 4], values).to(dtype);
        let means = (0..4).map(|k| mean(&accuracies.narrow(0, k, 1)));
        let selectivity = means.zip(self.selectivity).map(|(mean, times)| mean * times).sum();
        let selectivity = Array::new(&[], vec![selectivity]).to(dtype);
        let nearest = probes.iter().map(|probe| probe.nearest).fold(f64::INFINITY, f64::min);
        Ok(Controlled { control, accuracies, selectivity, nearest })
    }

    fn majority(&self, task: &Task) -> Vec<f64> {
        let (train, held_out) = PROBE.split(&task.rows(&task.activations, &task.labels));
        let ones = |rows: &[usize]| rows.iter().filter(|&&r| task.labels.at(&[r]) > 0.5).count();
        let asked = if self.majority_of_held_out { held_out.concat() } else { train };
        let one = 2 * ones(&asked) >= asked.len();
        let share = |rows: &Vec<usize>| {
            let ones = ones(rows) as f64 / rows.len() as f64;
            if one { ones } else { 1.0 - ones }
        };
        held_out.iter().map(share).collect()
    }
}

/// The control labels of all rows; a type without noise has the last type's.
pub(super) fn lots(task: &Task, lot: Lot) -> Array {
    let (labels, types) = (task.labels.values(), task.types.values());
    let tokens: Vec<usize> = task.tokens.values().iter().map(|&kind| kind as usize).collect();
    let n = labels.len() as f64;
    let real = |noise: f64| labels[((noise * n) as usize).min(labels.len() - 1)];
    let noise = |kind: usize| types[kind.min(types.len() - 1)];
    let mut seen = Vec::new();
    for &kind in &tokens {
        if !seen.contains(&kind) {
            seen.push(kind);
        }
    }
    let place = |kind| seen.iter().position(|&other| other == kind).unwrap_or(0);
    let first = |kind| tokens.iter().position(|&other| other == kind).unwrap_or(0);
    let label = |row: usize| {
        let kind = tokens[row.min(tokens.len() - 1)];
        match lot {
            Lot::Type => real(noise(kind)),
            Lot::Coin => f64::from(u8::from(noise(kind) < 0.5)),
            Lot::Row => real(task.split.values()[row]),
            Lot::FirstRow => labels[first(kind)],
            Lot::Appearance => real(noise(place(kind))),
            Lot::Nearest => real((noise(kind) * n).round() / n),
        }
    };
    Array::from_fn(&[labels.len()], |at| label(at[0])).to(DType::U8)
}
