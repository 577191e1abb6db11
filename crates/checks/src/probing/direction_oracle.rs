//! Directions between two classes in plain loops, whose steps an impostor can spoil.

use anyhow::{Result, ensure};
use protocol::DType;

use crate::{Array, Generator};

/// Rows of two classes.
#[derive(Clone)]
pub(super) struct Classes {
    pub(super) activations: Array,
    pub(super) labels: Array,
}

impl Classes {
    /// In another dtype, features first in memory.
    pub(super) fn to(&self, dtype: DType) -> Self {
        let activations = self.activations.to(dtype).laid_out(&[1, 0]);
        Self { activations, labels: self.labels.clone() }
    }

    /// Random rows with both labels, the first two rows of either one.
    pub(super) fn random(rng: &mut Generator, n: usize, d_model: usize) -> Self {
        let labels = Array::from_fn(&[n], |at| match at[0] {
            0 | 1 => at[0] as f64,
            _ => f64::from(u8::from(rng.uniform() < 0.3)),
        });
        let activations = Array::from_fn(&[n, d_model], |at| {
            rng.normal() + labels.at(&at[..1]) * (1.0 + at[1] as f64) + 0.5
        });
        Self { activations, labels: labels.to(DType::U8) }
    }

    pub(super) fn with(&self, change: impl Fn(f64) -> f64) -> Self {
        Self { activations: self.activations.map(change), labels: self.labels.clone() }
    }

    fn is_one(&self, row: usize) -> bool {
        self.labels.at(&[row]) > 0.5
    }

    fn mean(&self, class: bool) -> Vec<f64> {
        let (n, d_model) = (self.activations.dim(0), self.activations.dim(1));
        let rows: Vec<usize> = (0..n).filter(|&row| self.is_one(row) == class).collect();
        let sum = |at: usize| rows.iter().map(|&row| self.activations.at(&[row, at])).sum::<f64>();
        (0..d_model).map(|at| sum(at) / rows.len() as f64).collect()
    }
}

/// What stands for the spread.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Spread {
    /// Nothing does: the difference of the means.
    None,
    /// Covariance about each class's mean.
    Within,
    /// Covariance about the mean of all rows.
    Total,
    /// Variances alone.
    Diagonal,
}

/// What may go wrong; [`RIGHT`] is how the whitened direction should be.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(super) struct Ways {
    pub(super) spread: Spread,
    pub(super) sign: f64,
    pub(super) is_unit: bool,
    /// The sign is chosen so that the largest coordinate is positive.
    pub(super) positive: bool,
    pub(super) sums: bool,
    pub(super) one_mean: bool,
    /// Added to the squared length.
    pub(super) epsilon: f64,
    /// Taken off the number of rows.
    pub(super) less: f64,
    /// Added to the diagonal beside the ridge.
    pub(super) jitter: f64,
    pub(super) multiplies: bool,
    /// Steps of conjugate gradients, in place of elimination.
    pub(super) steps: Option<usize>,
    pub(super) checks: bool,
}

pub(super) const RIGHT: Ways = Ways {
    spread: Spread::Within,
    sign: 1.0,
    is_unit: true,
    positive: false,
    sums: false,
    one_mean: false,
    epsilon: 0.0,
    less: 2.0,
    jitter: 0.0,
    multiplies: false,
    steps: None,
    checks: true,
};

/// As [`RIGHT`], for the difference of the means.
pub(super) const PLAIN: Ways = Ways { spread: Spread::None, ..RIGHT };

impl Ways {
    pub(super) fn direction(&self, rows: &Classes, ridge: f64) -> Result<Array> {
        let n = rows.activations.dim(0);
        if self.checks {
            ensure!(rows.labels.shape() == [n], "labels do not fit rows");
            let ones = (0..n).filter(|&row| rows.is_one(row)).count();
            ensure!(ones > 0 && ones < n, "a class has no row");
            ensure!(self.spread == Spread::None || n > 2, "too few rows");
        }
        let apart = self.apart(rows);
        let direction = match self.spread {
            Spread::None => apart,
            _ => self.solve(&self.covariance(rows, ridge), &apart),
        };
        let length = if self.is_unit {
            (direction.iter().map(|x| x * x).sum::<f64>() + self.epsilon).sqrt()
        } else {
            1.0
        };
        let largest = direction.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
        let turned = self.positive && largest.is_some_and(|largest| largest < 0.0);
        let sign = if turned { -self.sign } else { self.sign };
        let values: Vec<f64> = direction.iter().map(|x| sign * x / length).collect();
        Ok(Array::vector(&values).to(rows.activations.dtype()))
    }

    fn apart(&self, rows: &Classes) -> Vec<f64> {
        let n = rows.activations.dim(0).min(rows.labels.dim(0));
        let ones = (0..n).filter(|&row| rows.is_one(row)).count() as f64;
        let [of_zero, of_one] = if self.sums { [n as f64 - ones, ones] } else { [1.0, 1.0] };
        let of_zero = if self.one_mean { 0.0 } else { of_zero };
        let pairs = rows.mean(false).into_iter().zip(rows.mean(true));
        pairs.map(|(zero, one)| of_one * one - of_zero * zero).collect()
    }

    fn covariance(&self, rows: &Classes, ridge: f64) -> Vec<Vec<f64>> {
        let (n, d_model) = (rows.activations.dim(0), rows.activations.dim(1));
        let means = [rows.mean(false), rows.mean(true)];
        let all = |at: usize| rows.activations.narrow(1, at, 1).sum() / n as f64;
        let all: Vec<f64> = (0..d_model).map(all).collect();
        let centred = |row: usize, at: usize| {
            let own = &means[usize::from(rows.is_one(row))];
            rows.activations.at(&[row, at])
                - if self.spread == Spread::Total { all[at] } else { own[at] }
        };
        let entry = |a: usize, b: usize| {
            let sum: f64 = (0..n).map(|row| centred(row, a) * centred(row, b)).sum();
            let kept = a == b || self.spread != Spread::Diagonal;
            let diagonal = if a == b { ridge + self.jitter } else { 0.0 };
            (if kept { sum / (n as f64 - self.less) } else { 0.0 }) + diagonal
        };
        (0..d_model).map(|a| (0..d_model).map(|b| entry(a, b)).collect()).collect()
    }

    fn solve(&self, matrix: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
        if self.multiplies {
            return times(matrix, right);
        }
        // Conjugate gradients are exact after as many steps as there are features; a few more
        // take care of rounding.
        let steps = self.steps.unwrap_or(4 * right.len());
        let mut x = vec![0.0; right.len()];
        let (mut left, mut along) = (right.to_vec(), right.to_vec());
        for _ in 0..steps {
            let size = dot(&left, &left);
            if size <= 1e-30 * dot(right, right) {
                break;
            }
            let image = times(matrix, &along);
            let step = size / dot(&along, &image);
            x.iter_mut().zip(&along).for_each(|(x, a)| *x += step * a);
            left.iter_mut().zip(&image).for_each(|(l, i)| *l -= step * i);
            let kept = dot(&left, &left) / size;
            along = left.iter().zip(&along).map(|(l, a)| l + kept * a).collect();
        }
        x
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, vector)).collect()
}
