//! Rows for a probe: a planted feature, or games to learn by heart.

use protocol::DType;

use super::probe_oracle::{Config, Rows};
use crate::{Array, Generator};

/// Games with random labels, of which a share of each row's activations tells, along a direction.
pub(super) fn planted(
    rng: &mut Generator,
    [n_games, seq, d_model]: [usize; 3],
    strength: f64,
    config: Config,
) -> Rows {
    let n = n_games * seq;
    let direction = rng.normal_array(&[d_model]).to(DType::F64);
    let length = direction.dot(&direction).sqrt();
    let labels = Array::from_fn(&[n], |_| rng.below(2) as f64);
    let activations = Array::from_fn(&[n, d_model], |at| {
        let sign = 2.0 * labels.at(&at[..1]) - 1.0;
        rng.normal() + strength * sign * direction.at(&at[1..]) / length
    });
    let names = rng.permutation(n_games);
    let games = Array::from_fn(&[n], |at| names[at[0] % n_games] as f64).to(DType::U32);
    let noise = Array::from_fn(&[n], |_| rng.uniform());
    Rows { activations, labels: labels.to(DType::U8), games, noise, config }
}

/// As [`planted`], away from the origin.
pub(super) fn shifted(rng: &mut Generator, sizes: [usize; 3], config: Config) -> Rows {
    let mut rows = planted(rng, sizes, 1.0, config);
    rows.activations = rows.activations.map(|x| x + 1.0);
    rows
}

/// Moves all rows so that both labels lie on one side of the origin.
pub(super) fn shift(rows: &mut Rows) {
    let (x, labels) = (&rows.activations, &rows.labels);
    let d_model = x.dim(1);
    let centre = |label: f64, at: usize| {
        let of_label = (0..x.dim(0)).filter(|&row| (labels.at(&[row]) - label).abs() < 0.5);
        let values: Vec<f64> = of_label.map(|row| x.at(&[row, at])).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let apart: Vec<f64> = (0..d_model).map(|at| centre(1.0, at) - centre(0.0, at)).collect();
    rows.activations = Array::from_fn(x.shape(), |at| x.at(at) + 0.6 * apart[at[1]]);
}

/// The first rows.
pub(super) fn head(rows: &Rows, n: usize) -> Rows {
    part_of(rows, 0, n)
}

/// The last rows.
pub(super) fn tail(rows: &Rows, n: usize) -> Rows {
    part_of(rows, rows.len() - n, n)
}

fn part_of(rows: &Rows, start: usize, n: usize) -> Rows {
    let keep = |array: &Array| array.narrow(0, start, n);
    Rows {
        activations: keep(&rows.activations),
        labels: keep(&rows.labels),
        games: keep(&rows.games),
        noise: keep(&rows.noise),
        config: rows.config,
    }
}

/// Games that are easily told apart, each with one label for all its rows, drawn by lot.
pub(super) fn memorable(
    rng: &mut Generator,
    [n_games, seq, d_model]: [usize; 3],
    config: Config,
) -> Rows {
    let faces = rng.normal_array(&[n_games, d_model]).to(DType::F64);
    let lots: Vec<f64> = (0..n_games).map(|_| rng.below(2) as f64).collect();
    let n = n_games * seq;
    let activations = Array::from_fn(&[n, d_model], |at| {
        faces.at(&[at[0] % n_games, at[1]]) + 0.2 * rng.normal()
    });
    let labels = Array::from_fn(&[n], |at| lots[at[0] % n_games]).to(DType::U8);
    let games = Array::from_fn(&[n], |at| (at[0] % n_games) as f64).to(DType::U32);
    let noise = Array::from_fn(&[n], |_| rng.uniform());
    Rows { activations, labels, games, noise, config }
}
