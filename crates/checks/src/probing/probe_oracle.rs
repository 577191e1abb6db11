//! A logistic probe in plain loops, whose steps an impostor can spoil, one at a time.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use protocol::{DType, Value};

use crate::{Array, args};

answer::settings! {
    /// How to train a probe, as it crosses the border.
    pub(super) struct Config {
        pub(super) held_out: f64,
        pub(super) steps: usize,
        pub(super) lr: f64,
        pub(super) l2: f64,
    }
}

impl From<Config> for Value {
    fn from(config: Config) -> Self {
        let Config { held_out, steps, lr, l2 } = config;
        let numbers = [("held_out", held_out), ("steps", steps as f64), ("lr", lr), ("l2", l2)];
        let named = numbers.map(|(name, number)| (name.to_owned(), number));
        Self::from(BTreeMap::from(named))
    }
}

/// Rows that a probe is trained and measured on.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) activations: Array,
    pub(super) labels: Array,
    pub(super) games: Array,
    pub(super) noise: Array,
    pub(super) config: Config,
}

impl Rows {
    /// As a question.
    pub(super) fn args(&self) -> Vec<(&'static str, Value)> {
        args![activations: &self.activations, labels: &self.labels, games: &self.games,
              noise: &self.noise, config: self.config]
    }

    pub(super) fn len(&self) -> usize {
        self.labels.dim(0)
    }

    /// In another dtype, features first in memory.
    pub(super) fn to(&self, dtype: DType) -> Self {
        let activations = self.activations.to(dtype).laid_out(&[1, 0]);
        Self { activations, noise: self.noise.to(dtype), ..self.clone() }
    }
}

/// By which noise a row is held out.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Split {
    /// That of the first row of its game.
    FirstOfGame,
    /// That of the last row of its game.
    LastOfGame,
    /// Its own: rows of one game get to both sides.
    Own,
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(super) struct Slips {
    pub(super) split: Split,
    /// Held out is what has the higher noise.
    pub(super) inverted: bool,
    pub(super) trains_on_all: bool,
    pub(super) measures_training: bool,
    /// Keeps the step whose accuracy on what is held out was the best.
    pub(super) picks_best: bool,
    pub(super) has_bias: bool,
    pub(super) penalises_bias: bool,
    /// Times `l2`, as the slope of the penalty.
    pub(super) penalty: f64,
    pub(super) sums_loss: bool,
    pub(super) uphill: bool,
    pub(super) extra_steps: usize,
    pub(super) rising_games: bool,
    pub(super) squared_error: bool,
    pub(super) checks: bool,
}

pub(super) const RIGHT: Slips = Slips {
    split: Split::FirstOfGame,
    inverted: false,
    trains_on_all: false,
    measures_training: false,
    picks_best: false,
    has_bias: true,
    penalises_bias: false,
    penalty: 1.0,
    sums_loss: false,
    uphill: false,
    extra_steps: 0,
    rising_games: false,
    squared_error: false,
    checks: true,
};

/// A trained probe.
#[derive(Clone)]
pub(super) struct Probe {
    pub(super) weight: Array,
    pub(super) bias: Array,
    pub(super) accuracies: Array,
    /// The least distance of a measured row from being taken for the other label.
    pub(super) nearest: f64,
}

impl Probe {
    /// Mean accuracy over the games.
    pub(super) fn accuracy(&self) -> f64 {
        mean(&self.accuracies)
    }

    pub(super) fn logit(&self, row: &[f64]) -> f64 {
        dot(self.weight.values(), row) + self.bias.values()[0]
    }
}

pub(super) fn mean(array: &Array) -> f64 {
    array.sum() / array.values().len() as f64
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Slips {
    pub(super) fn train(&self, rows: &Rows) -> Result<Probe> {
        let n = rows.activations.dim(0);
        let one_each = [&rows.labels, &rows.games, &rows.noise].iter().all(|a| a.shape() == [n]);
        ensure!(!self.checks || one_each, "entries do not fit rows");
        let binary = rows.labels.values().iter().all(|&label| label <= 1.0);
        ensure!(!self.checks || binary, "labels are 0 or 1");
        let (train, held_out) = self.split(rows);
        ensure!(!self.checks || !train.is_empty() && !held_out.is_empty(), "one side is empty");
        let (weight, bias) = self.descend(rows, &train, &held_out);
        let measured = if self.measures_training { vec![train] } else { held_out };
        let dtype = rows.activations.dtype();
        let probe = Probe {
            weight: Array::vector(&weight).to(dtype),
            bias: Array::new(&[], vec![bias]).to(dtype),
            accuracies: Array::vector(&[]),
            nearest: 0.0,
        };
        let distance = |row: &usize| probe.logit(features(rows, *row)).abs();
        let nearest = measured.iter().flatten().map(distance).fold(f64::INFINITY, f64::min);
        let accuracies = accuracies(rows, &measured, &weight, bias);
        Ok(Probe { accuracies: Array::vector(&accuracies).to(dtype), nearest, ..probe })
    }

    /// The rows to train on, and those of each game that is held out.
    pub(super) fn split(&self, rows: &Rows) -> (Vec<usize>, Vec<Vec<usize>>) {
        let (games, noise) = (rows.games.values(), rows.noise.values());
        let n = games.len().min(noise.len());
        let deciding = |row: usize| match self.split {
            Split::FirstOfGame => (0..n).find(|&other| same(games, other, row)),
            Split::LastOfGame => (0..n).rfind(|&other| same(games, other, row)),
            Split::Own => Some(row),
        };
        let is_out = |row: usize| {
            let low = deciding(row).is_some_and(|by| noise[by] < rows.config.held_out);
            low != self.inverted
        };
        let (mut train, mut held_out) = (Vec::new(), Vec::<Vec<usize>>::new());
        for row in 0..n {
            if !is_out(row) || self.trains_on_all {
                train.push(row);
            }
            if !is_out(row) {
                continue;
            }
            match held_out.iter_mut().find(|game| same(games, game[0], row)) {
                Some(game) => game.push(row),
                None => held_out.push(vec![row]),
            }
        }
        if self.rising_games {
            held_out.sort_by_key(|game| games[game[0]] as u64);
        }
        (train, held_out)
    }

    fn descend(&self, rows: &Rows, train: &[usize], held_out: &[Vec<usize>]) -> (Vec<f64>, f64) {
        let Config { steps, lr, l2, .. } = rows.config;
        let lr = if self.uphill { -lr } else { lr };
        let n = if self.sums_loss { 1.0 } else { train.len() as f64 };
        let (mut weight, mut bias) = (vec![0.0; rows.activations.dim(1)], 0.0);
        let mut best = (weight.clone(), bias, f64::NEG_INFINITY);
        for _ in 0..steps + self.extra_steps {
            let mut slope: Vec<f64> = weight.iter().map(|w| self.penalty * l2 * w).collect();
            let mut of_bias = if self.penalises_bias { l2 * bias } else { 0.0 };
            for &row in train {
                let x = features(rows, row);
                let p = sigmoid(dot(&weight, x) + bias);
                let mut error = (p - rows.labels.values()[row]) / n;
                if self.squared_error {
                    error *= 2.0 * p * (1.0 - p);
                }
                slope.iter_mut().zip(x).for_each(|(slope, x)| *slope += error * x);
                of_bias += error;
            }
            weight.iter_mut().zip(&slope).for_each(|(w, slope)| *w -= lr * slope);
            bias -= if self.has_bias { lr * of_bias } else { 0.0 };
            let share = accuracies(rows, held_out, &weight, bias).iter().sum::<f64>();
            if self.picks_best && share > best.2 {
                best = (weight.clone(), bias, share);
            }
        }
        if self.picks_best { (best.0, best.1) } else { (weight, bias) }
    }
}

fn same(games: &[f64], a: usize, b: usize) -> bool {
    games[a].to_bits() == games[b].to_bits()
}

fn features(rows: &Rows, row: usize) -> &[f64] {
    let d_model = rows.activations.dim(1);
    &rows.activations.values()[row * d_model..][..d_model]
}

fn accuracies(rows: &Rows, games: &[Vec<usize>], weight: &[f64], bias: f64) -> Vec<f64> {
    let is_right = |row: &&usize| {
        let says = dot(weight, features(rows, **row)) + bias > 0.0;
        says == (rows.labels.values()[**row] > 0.5)
    };
    let share = |game: &Vec<usize>| game.iter().filter(is_right).count() as f64 / game.len() as f64;
    games.iter().map(share).collect()
}
