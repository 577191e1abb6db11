//! Directions: what a model may write along, and what happens when we write there ourselves.
//!
//! A direction that tells two classes apart need not be the one that the model uses. The proof is
//! causal: [`steer`] along it and look at the output, beside directions drawn by lot
//! ([`dose_response`]).

use candle_core::{DType, Result, Tensor, bail};
use wick::{Gpt, part};

/// The direction from the mean of one class to the mean of the other.
///
/// # Shapes
///
/// | tensor        | shape          | dtype          |
/// |---------------|----------------|----------------|
/// | `activations` | `(n, d_model)` | `f32` or `f64` |
/// | `labels`      | `(n)`          | `u8`, 0 or 1   |
/// | result        | `(d_model)`    | as `activations` |
///
/// # Contract
///
/// - It points from the mean of the rows with label 0 to that of the rows with label 1, and has
///   length 1.
/// - Each class counts alike, however many rows it has; adding one vector to every row changes
///   nothing.
/// - Gradients flow back to `activations`. Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `labels` has not one entry for each row, or a class has no row.
///
/// # Example: two rows of one class, one of the other
///
/// ```text
/// activations = [[1, 0], [1, 2], [4, 5]]    labels = [0, 0, 1]
/// means = [1, 1] and [4, 5]                 result = [3, 4] / 5 = [0.6, 0.8]
/// ```
///
/// Source: Marks and Tegmark (2023), "The Geometry of Truth", §5.1, arXiv:2310.06824.
#[part]
pub fn difference_of_means(activations: &Tensor, labels: &Tensor) -> Result<Tensor> {
    todo!("two means, difference, length 1")
}

/// The direction between the means, in units of how much the classes spread along each direction.
///
/// What varies a lot *within* the classes says little about the class, even if the means differ
/// along it. Dividing by that spread (whitening) keeps the feature and drops such a distractor.
///
/// # Shapes
///
/// | tensor        | shape          | dtype            |
/// |---------------|----------------|------------------|
/// | `activations` | `(n, d_model)` | `f32` or `f64`   |
/// | `labels`      | `(n)`          | `u8`, 0 or 1     |
/// | result        | `(d_model)`    | as `activations` |
///
/// # Contract
///
/// - The result is `w / |w|`, where `(S + ridge · I) w = mean₁ − mean₀`.
/// - `S` is the covariance *within* the classes: each row less the mean of its own class, products
///   of all pairs of features summed over all rows, divided by `n − 2`.
/// - With a huge `ridge` it is [`difference_of_means`].
/// - Inputs may be non-contiguous. No gradient is asked for. [`solve`] is at hand.
///
/// # Errors
///
/// Fails as [`difference_of_means`] does, and if there are fewer than three rows.
///
/// # Example: the means differ alike, but the first feature spreads more
///
/// ```text
/// activations = [[0, 0], [4, 2], [2, 2], [6, 4]]    labels = [0, 0, 1, 1]    ridge = 1
/// means = [2, 1] and [4, 3]: the difference is [2, 2]
/// rows less their mean = ±[2, 1]: S = [[8, 4], [4, 2]]
///
/// [[9, 4], [4, 3]] w = [2, 2]    w = [−2, 10] / 11    result = [−0.196116, 0.980581]
/// ```
///
/// Source: Fisher (1936), "The Use of Multiple Measurements in Taxonomic Problems",
/// doi:10.1111/j.1469-1809.1936.tb02137.x; Marks and Tegmark (2023), §5.1, arXiv:2310.06824.
#[part]
pub fn whitened_direction(activations: &Tensor, labels: &Tensor, ridge: f64) -> Result<Tensor> {
    todo!("covariance within classes, solve, length 1")
}

// given: linear algebra is not what this is about
/// Solves `matrix x = right` by elimination, for a matrix `(n, n)` and a vector `(n)`.
///
/// # Errors
///
/// Fails if the shapes do not fit, or no single `x` solves it.
pub fn solve(matrix: &Tensor, right: &Tensor) -> Result<Tensor> {
    let mut rows = matrix.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let mut values = right.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let n = values.len();
    if matrix.dims() != [n, n] {
        bail!("a matrix {:?} does not fit a vector of {n}", matrix.dims());
    }
    for at in 0..n {
        let size = |row: &usize| rows[*row][at].abs();
        let pivot = (at..n).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(at);
        rows.swap(at, pivot);
        values.swap(at, pivot);
        if rows[at][at] == 0.0 {
            bail!("the matrix has no inverse");
        }
        let (row, value) = (rows[at].clone(), values[at]);
        for below in (0..n).filter(|&other| other != at) {
            let times = rows[below][at] / row[at];
            rows[below].iter_mut().zip(&row).for_each(|(entry, other)| *entry -= times * other);
            values[below] -= times * value;
        }
    }
    let solved: Vec<f64> = (0..n).map(|at| values[at] / rows[at][at]).collect();
    Tensor::new(solved, right.device())?.to_dtype(right.dtype())
}

/// Changes the residual stream along one direction, at some positions.
///
/// # Shapes
///
/// | tensor      | shape                   | dtype                        |
/// |-------------|-------------------------|------------------------------|
/// | `resid`     | `(batch, seq, d_model)` | `f32` or `f64`               |
/// | `direction` | `(d_model)`             | as `resid`, of any length but 0 |
/// | result      | `(batch, seq, d_model)` | as `resid`                   |
///
/// # Contract
///
/// - `u` is the unit vector along `direction`: twice as long a direction steers no further.
/// - `"add"`: `resid + amount · u`. `"ablate"`: nothing is left along `u`, whatever `amount` is.
///   `"clamp"`: what is along `u` becomes `amount`.
/// - What is orthogonal to `u` stays.
/// - Positions that are not in `positions` stay as they are; one that is there twice counts once.
/// - Gradients flow back to `resid` and `direction`. Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `mode` is none of the three, a position is not below `seq`, `direction` has another
/// width, or it is 0.
///
/// # Example: three ways to steer
///
/// ```text
/// resid = [[[2, 5], [2, 5]]]    direction = [3, 0]    amount = 10    positions = [1]
/// "add":    [[[2, 5], [12, 5]]]
/// "ablate": [[[2, 5], [0, 5]]]
/// "clamp":  [[[2, 5], [10, 5]]]
/// ```
///
/// Source: Turner et al. (2023), "Steering Language Models With Activation Engineering", §3,
/// arXiv:2308.10248; Arditi et al. (2024), §2.4, arXiv:2406.11717, for ablation.
#[part]
pub fn steer(
    resid: &Tensor,
    direction: &Tensor,
    mode: &str,
    amount: f64,
    positions: &[usize],
) -> Result<Tensor> {
    todo!("unit vector, coordinate, change, asked positions")
}

/// How a model's logit follows the dose of a direction, beside directions drawn by lot.
///
/// # Shapes
///
/// | tensor                 | shape             | dtype                             |
/// |------------------------|-------------------|-----------------------------------|
/// | `tokens`               | `(batch, seq)`    | `u32`                             |
/// | `direction`            | `(d_model)`       | as the model                      |
/// | `random`               | `(n_random, d_model)` | as the model, directions drawn by lot |
/// | `doses`                | `(n_doses)`       | as the model                      |
/// | first result, effects  | `(n_doses)`       | as the model                      |
/// | second result, control | `(n_doses)`       | as the model                      |
///
/// # Contract
///
/// - A dose is [`steer`]'s `"add"` on `blocks.{layer}.hook_resid_post`, at the last position only.
/// - The effect of a dose is the logit of `target` at the last position, less that without any
///   dose, as the mean over the batch.
/// - The control of a dose is the 95 % quantile of the *size* of the effects that the same dose of
///   each random direction has. Between two sizes it is interpolated: of `n` sorted sizes, it is at
///   place `0.95 · (n − 1)`, counted from 0.
/// - An effect that is within the control proves nothing.
///
/// # Errors
///
/// Fails if `layer` is not one of the model's, `target` not one of its tokens, or there is no
/// random direction.
///
/// # Example: a model without blocks to speak of
///
/// ```text
/// the logit of token t is coordinate t of the residual stream; direction = [2, 0], target = 0
/// doses = [−1, 0, 3]        effects = [−1, 0, 3]
/// random = [[0, 1], [1, 0]] sizes at dose 3: 0 and 3      control = [0.95, 0, 2.85]
/// ```
///
/// Source: Tigges et al. (2023), "Linear Representations of Sentiment in Large Language Models",
/// §3.2, arXiv:2310.15154, for effects beside random directions.
#[part]
pub fn dose_response(
    model: &Gpt,
    tokens: &Tensor,
    layer: usize,
    direction: &Tensor,
    random: &Tensor,
    doses: &Tensor,
    target: usize,
) -> Result<(Tensor, Tensor)> {
    todo!("steer last position, effects, quantile")
}
