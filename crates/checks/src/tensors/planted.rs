//! Data for `whiten`, made from the answer: directions and variances that we chose.

use protocol::DType;

use crate::{Array, Generator};

/// Data with the answer that they were made from.
#[derive(Clone)]
pub(super) struct Planted {
    pub(super) x: Array,
    pub(super) whitened: Array,
    pub(super) components: Array,
    pub(super) variances: Array,
}

impl Planted {
    pub(super) fn to(&self, dtype: DType) -> Self {
        Self {
            x: self.x.to(dtype),
            whitened: self.whitened.to(dtype),
            components: self.components.to(dtype),
            variances: self.variances.to(dtype),
        }
    }

    /// Asks for the first `n_components` only.
    pub(super) fn foremost(&self, n_components: usize) -> Self {
        Self {
            x: self.x.clone(),
            whitened: self.whitened.narrow(1, 0, n_components),
            components: self.components.narrow(0, 0, n_components),
            variances: self.variances.narrow(0, 0, n_components),
        }
    }

    /// Gives component `n` another sign.
    pub(super) fn turn(&mut self, n: usize, sign: f64) {
        for feature in 0..self.components.dim(1) {
            self.components.set(&[n, feature], sign * self.components.at(&[n, feature]));
        }
        for sample in 0..self.whitened.dim(0) {
            self.whitened.set(&[sample, n], sign * self.whitened.at(&[sample, n]));
        }
    }
}

/// Makes data whose covariance has exactly this spectrum, in random directions.
pub(super) fn plant(
    rng: &mut Generator,
    n_samples: usize,
    spectrum: &[f64],
    offset: f64,
) -> Planted {
    let n_features = spectrum.len();
    let components = orthonormal(rng, n_features, n_features, false);
    let spread = (n_samples as f64 - 1.0).sqrt();
    // Fewer samples than features leave directions without any spread.
    let n_spread = n_features.min(n_samples - 1);
    let rows = orthonormal(rng, n_spread, n_samples, true);
    let whitened = Array::from_fn(&[n_samples, n_features], |at| {
        if at[1] < n_spread { spread * rows.at(&[at[1], at[0]]) } else { 0.0 }
    });
    let x = Array::from_fn(&[n_samples, n_features], |at| {
        let part = |n: usize| whitened.at(&[at[0], n]) * spectrum[n].sqrt();
        offset + (0..n_features).map(|n| part(n) * components.at(&[n, at[1]])).sum::<f64>()
    });
    Planted { x, whitened, components, variances: Array::vector(spectrum) }
}

/// Rows of length 1 at right angles to each other, and to (1, 1, …) if `centred`.
fn orthonormal(rng: &mut Generator, count: usize, width: usize, centred: bool) -> Array {
    let mut rows: Vec<Vec<f64>> = Vec::new();
    while rows.len() < count {
        let mut row: Vec<f64> = (0..width).map(|_| rng.normal()).collect();
        // Twice, because once leaves an error where little is left of the row.
        for _ in 0..2 {
            if centred {
                let mean = row.iter().sum::<f64>() / width as f64;
                for x in &mut row {
                    *x -= mean;
                }
            }
            for other in &rows {
                let along: f64 = row.iter().zip(other).map(|(x, y)| x * y).sum();
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length > 1e-3 {
            rows.push(row.iter().map(|x| x / length).collect());
        }
    }
    Array::new(&[count, width], rows.concat())
}

/// Products of all pairs of columns, divided by `divisor`.
pub(super) fn gram(columns: &Array, divisor: f64) -> Array {
    let width = columns.dim(1);
    Array::from_fn(&[width, width], |at| {
        let product = |row| columns.at(&[row, at[0]]) * columns.at(&[row, at[1]]);
        (0..columns.dim(0)).map(product).sum::<f64>() / divisor
    })
}
