//! Small dense matrices, and random orthogonal ones.

use crate::{Weight, stream::Stream};

/// A matrix that acts on rows: `x M`.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// Draws normal numbers of this deviation.
    pub(crate) fn normal(rows: usize, columns: usize, deviation: f64, stream: &mut Stream) -> Self {
        let values = (0..rows * columns).map(|_| deviation * stream.normal()).collect();
        Self { rows, columns, values }
    }

    /// Draws an orthogonal matrix, uniformly: the rows of a normal one, made orthonormal.
    pub(crate) fn orthogonal(size: usize, stream: &mut Stream) -> Self {
        let mut matrix = Self::normal(size, size, 1.0, stream);
        for row in 0..size {
            // Twice, since what the first time leaves over is as large as its rounding.
            for earlier in (0..row).chain(0..row) {
                let overlap = dot(matrix.row(row), matrix.row(earlier));
                for column in 0..size {
                    matrix.values[row * size + column] -=
                        overlap * matrix.values[earlier * size + column];
                }
            }
            let length = dot(matrix.row(row), matrix.row(row)).sqrt();
            matrix.values[row * size..][..size].iter_mut().for_each(|value| *value /= length);
        }
        matrix
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..][..self.columns]
    }

    pub(crate) fn add(&mut self, row: usize, column: usize, value: f64) {
        self.values[row * self.columns + column] += value;
    }

    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut product = Self::zeros(self.rows, other.columns);
        for row in 0..self.rows {
            let sums = &mut product.values[row * other.columns..][..other.columns];
            for (factor, other) in self.row(row).iter().zip(other.values.chunks(other.columns)) {
                sums.iter_mut().zip(other).for_each(|(sum, value)| *sum += factor * value);
            }
        }
        product
    }

    pub(crate) fn transposed(&self) -> Self {
        let mut turned = Self::zeros(self.columns, self.rows);
        for (at, value) in self.values.iter().enumerate() {
            turned.values[at % self.columns * self.rows + at / self.columns] = *value;
        }
        turned
    }

    /// Matrices of the same height, side by side.
    pub(crate) fn beside(parts: &[Self]) -> Self {
        let rows = parts[0].rows;
        let all = (0..rows).flat_map(|row| parts.iter().flat_map(move |part| part.row(row)));
        let columns = parts.iter().map(|part| part.columns).sum();
        Self { rows, columns, values: all.copied().collect() }
    }

    /// Matrices of the same width, one below the other.
    pub(crate) fn below(parts: &[Self]) -> Self {
        let values = parts.iter().flat_map(|part| &part.values).copied().collect();
        let rows = parts.iter().map(|part| part.rows).sum();
        Self { rows, columns: parts[0].columns, values }
    }
}

impl From<Matrix> for Weight {
    fn from(matrix: Matrix) -> Self {
        Self { shape: [matrix.rows, matrix.columns], values: matrix.values }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Purpose;

    #[test]
    fn an_orthogonal_matrix_undoes_its_transpose() {
        let matrix = Matrix::orthogonal(40, &mut Stream::new(3, Purpose::Weights));
        let product = matrix.times(&matrix.transposed());
        for (at, value) in product.values.iter().enumerate() {
            let expected = if at % 41 == 0 { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-14, "{value} at {at}");
        }
    }

    #[test]
    fn parts_stand_side_by_side_or_one_below_the_other() {
        let [mut a, mut b] = [Matrix::zeros(1, 2), Matrix::zeros(1, 2)];
        a.add(0, 1, 2.0);
        b.add(0, 0, 3.0);
        let parts = [a, b];
        assert_eq!(Matrix::beside(&parts).values, [0.0, 2.0, 3.0, 0.0]);
        assert_eq!(Matrix::beside(&parts).columns, 4);
        assert_eq!(Matrix::below(&parts).rows, 2);
    }
}
