//! Probes of a board in plain loops, whose steps an impostor can spoil, one at a time.

use answer::Weights;
use anyhow::{Result, ensure};
use candle_core::Tensor;
use protocol::{DType, Value};

use super::{
    border::{array, tensor},
    probe_oracle::{Config, RIGHT as PROBE, Rows, Split},
};
use crate::{Array, args};

/// What a probe is trained on.
#[derive(Clone)]
pub(super) struct Play {
    pub(super) activations: Array,
    pub(super) boards: Array,
    pub(super) movers: Array,
    pub(super) games: Array,
    pub(super) noise: Array,
    pub(super) config: Config,
}

impl Play {
    pub(super) fn args(&self) -> Vec<(&'static str, Value)> {
        args![activations: &self.activations, boards: &self.boards, movers: &self.movers,
              games: &self.games, noise: &self.noise, config: self.config]
    }

    pub(super) fn read(tensors: [&Tensor; 5], config: Config) -> Result<Self> {
        let [activations, boards, movers, games, noise] = tensors;
        let [activations, boards] = [array(activations)?, array(boards)?];
        let [movers, games, noise] = [array(movers)?, array(games)?, array(noise)?];
        Ok(Self { activations, boards, movers, games, noise, config })
    }

    pub(super) fn to(&self, dtype: DType) -> Self {
        let activations = self.activations.to(dtype).laid_out(&[1, 0]);
        Self { activations, noise: self.noise.to(dtype), ..self.clone() }
    }

    pub(super) fn part_of(&self, start: usize, n: usize) -> Self {
        let Self { activations, boards, movers, games, noise, config } = self;
        let keep = |array: &Array| array.narrow(0, start, n);
        Self {
            activations: keep(activations),
            boards: keep(boards),
            movers: keep(movers),
            games: keep(games),
            noise: keep(noise),
            config: *config,
        }
    }

    /// Class of each square, seen one way.
    pub(super) fn classes(&self, view: View) -> Array {
        Array::from_fn(self.boards.shape(), |at| {
            let disc = self.boards.at(at);
            let mover = match view {
                View::Parity => 1.0 + (at[0] % 2) as f64,
                _ => self.movers.at(&[at[0].min(self.movers.dim(0) - 1)]),
            };
            let is_mine = (disc - mover).abs() < 0.5;
            match view {
                View::Colours => disc.min(2.0),
                View::EmptyIsTheirs if disc < 0.5 => 2.0,
                _ if disc < 0.5 => 0.0,
                View::Exchanged => f64::from(1 + u8::from(is_mine)),
                _ => f64::from(2 - u8::from(is_mine)),
            }
        })
    }

    pub(super) fn rows(&self) -> Rows {
        Rows {
            activations: self.activations.clone(),
            labels: self.movers.clone(),
            games: self.games.clone(),
            noise: self.noise.clone(),
            config: self.config,
        }
    }
}

/// How a board is seen.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum View {
    Mover,
    Colours,
    Exchanged,
    Parity,
    EmptyIsTheirs,
}

/// What comes of it.
pub(super) struct Found {
    pub(super) weight: Array,
    pub(super) bias: Array,
    pub(super) accuracies: Array,
    /// The least distance of a class from being overtaken.
    pub(super) nearest: f64,
}

impl Found {
    pub(super) fn to(&self, dtype: DType) -> Self {
        let [weight, bias, accuracies] =
            [&self.weight, &self.bias, &self.accuracies].map(|a| a.to(dtype));
        Self { weight, bias, accuracies, nearest: self.nearest }
    }

    pub(super) fn results(&self) -> Result<(Weights, Tensor)> {
        let mut probe = Weights::new();
        probe.insert("weight", tensor(&self.weight)?);
        probe.insert("bias", tensor(&self.bias)?);
        Ok((probe, tensor(&self.accuracies)?))
    }
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(super) struct Slips {
    pub(super) view: View,
    pub(super) exchanged: bool,
    pub(super) split: Split,
    pub(super) averages: bool,
    pub(super) sigmoids: bool,
    pub(super) penalises_bias: bool,
    pub(super) checks: bool,
}

pub(super) const RIGHT: Slips = Slips {
    view: View::Mover,
    exchanged: false,
    split: Split::FirstOfGame,
    averages: false,
    sigmoids: false,
    penalises_bias: false,
    checks: true,
};

impl Slips {
    pub(super) fn probe(self, play: &Play) -> Result<Found> {
        let n = play.boards.dim(0);
        let arrays = [&play.movers, &play.games, &play.noise];
        let one_each = arrays.iter().all(|a| a.shape() == [n]) && play.activations.dim(0) == n;
        ensure!(!self.checks || one_each, "entries do not fit boards");
        ensure!(!self.checks || play.boards.max_abs() <= 2.0, "an odd square");
        let slips = super::probe_oracle::Slips { split: self.split, ..PROBE };
        let (train, held_out) = slips.split(&play.rows());
        let held_out = held_out.concat();
        ensure!(!self.checks || !train.is_empty() && !held_out.is_empty(), "one side is empty");
        let colours = play.classes(View::Colours);
        let seen = play.classes(self.view);
        let (weight, bias) = self.descend(play, &colours, &train);
        let of_colours = measure(play, &colours, &held_out, &weight, &bias);
        let (weight, bias) = self.descend(play, &seen, &train);
        let of_seen = measure(play, &seen, &held_out, &weight, &bias);
        let mut shares = [of_colours.0, of_seen.0];
        if self.exchanged {
            shares.reverse();
        }
        let dtype = play.activations.dtype();
        let [weight, bias, accuracies] =
            [weight, bias, Array::vector(&shares)].map(|a| a.to(dtype));
        Ok(Found { weight, bias, accuracies, nearest: of_colours.1.min(of_seen.1) })
    }

    pub(super) fn descend(self, play: &Play, classes: &Array, train: &[usize]) -> (Array, Array) {
        let (d_model, n_squares) = (play.activations.dim(1), play.boards.dim(1));
        let Config { steps, lr, l2, .. } = play.config;
        let mut weight = Array::full(&[n_squares, 3, d_model], 0.0);
        let mut bias = Array::full(&[n_squares, 3], 0.0);
        let n = train.len() as f64 * if self.averages { n_squares as f64 } else { 1.0 };
        for _ in 0..steps {
            let mut slope: Vec<f64> = weight.values().iter().map(|w| l2 * w).collect();
            let of_bias = bias.map(|b| if self.penalises_bias { l2 * b } else { 0.0 });
            let mut of_bias = of_bias.values().to_vec();
            for &row in train {
                let x = &play.activations.values()[row * d_model..][..d_model];
                for square in 0..n_squares {
                    let p = self.says(logits(play, &weight, &bias, row, square));
                    let truth = classes.at(&[row, square]);
                    for (class, p) in p.into_iter().enumerate() {
                        let is_class = (truth - class as f64).abs() < 0.5;
                        let error = (p - f64::from(u8::from(is_class))) / n;
                        let at = 3 * square + class;
                        of_bias[at] += error;
                        let slope = &mut slope[at * d_model..][..d_model];
                        slope.iter_mut().zip(x).for_each(|(slope, x)| *slope += error * x);
                    }
                }
            }
            let [slope, of_bias] = [(&weight, slope), (&bias, of_bias)]
                .map(|(of, slope)| Array::new(of.shape(), slope));
            weight = weight.zip_map(&slope, |w, s| w - lr * s);
            bias = bias.zip_map(&of_bias, |b, s| b - lr * s);
        }
        (weight, bias)
    }

    /// Probabilities of the three classes.
    fn says(self, logits: [f64; 3]) -> [f64; 3] {
        if self.sigmoids {
            return logits.map(|logit| 1.0 / (1.0 + (-logit).exp()));
        }
        let total: f64 = logits.iter().map(|z| z.exp()).sum();
        logits.map(|logit| logit.exp() / total)
    }
}

pub(super) fn logits(
    play: &Play,
    weight: &Array,
    bias: &Array,
    row: usize,
    square: usize,
) -> [f64; 3] {
    let d_model = play.activations.dim(1);
    let x = &play.activations.values()[row * d_model..][..d_model];
    [0, 1, 2].map(|class| {
        let at = 3 * square + class;
        let weight = &weight.values()[at * d_model..][..d_model];
        bias.values()[at] + weight.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>()
    })
}

/// The share of squares that are read right, and how near one was to being read otherwise.
pub(super) fn measure(
    play: &Play,
    classes: &Array,
    rows: &[usize],
    weight: &Array,
    bias: &Array,
) -> (f64, f64) {
    let (mut right, mut nearest) = (0, f64::INFINITY);
    for &row in rows {
        for square in 0..play.boards.dim(1) {
            let logits = logits(play, weight, bias, row, square);
            let mut sorted = logits;
            sorted.sort_by(f64::total_cmp);
            nearest = nearest.min(sorted[2] - sorted[1]);
            let says = logits.iter().position(|&z| z >= sorted[2]).unwrap_or(0);
            right += usize::from((classes.at(&[row, square]) - says as f64).abs() < 0.5);
        }
    }
    (right as f64 / (rows.len() * play.boards.dim(1)) as f64, nearest)
}

pub(super) fn share(play: &Play, classes: &Array, weight: &Array, bias: &Array) -> f64 {
    let rows: Vec<usize> = (0..play.boards.dim(0)).collect();
    measure(play, classes, &rows, weight, bias).0
}
