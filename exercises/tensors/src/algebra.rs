//! Tensor algebra: contractions, scattered sums, stable exponentials, and two small linear systems.
//!
//! Everything that a network does is one of a few moves: multiply and add along a shared axis,
//! collect numbers into slots, turn numbers into weights, solve for what is unknown.
//! Here you write each move once, for every shape that it may meet.
//!
//! Check your work: `cargo xtask check tensors`.

use candle_core::{Result, Tensor};
use wick::part;

/// Multiplies two tensors along named axes: einsum for two operands.
///
/// A spec such as `"bij,bjk->bik"` names each axis of `a`, of `b` and of the result by a letter.
/// The result holds, for every value of its own letters, the sum of `a · b` over all values of the
/// letters that it leaves out.
///
/// # Shapes
///
/// | tensor | shape                                     | dtype          |
/// |--------|-------------------------------------------|----------------|
/// | `a`    | one axis for each letter before the comma | `f32` or `f64` |
/// | `b`    | one axis for each letter after the comma  | as `a`         |
/// | result | one axis for each letter after the arrow  | as `a`         |
///
/// # Contract
///
/// - A letter in `a`, `b` and the result is a batch axis: it is neither summed nor doubled.
/// - A letter that stands in one operand alone, and not in the result, is summed as well.
/// - The axes of the result are in the order of the letters after the arrow, which may be none.
/// - Which letters are used does not matter, only where each one comes back.
/// - Gradients flow back to `a` and `b`; both may be non-contiguous.
///
/// # Errors
///
/// Fails if
/// - the spec is not two lists of letters, a comma between, an arrow, and a third list;
/// - an operand's letters are not as many as its axes;
/// - a letter stands twice in one list;
/// - a letter of the result stands in neither operand;
/// - `a` and `b` give one letter two sizes (nothing is broadcast, not even a size of 1).
///
/// # Example: a matrix product that comes out transposed
///
/// ```text
/// contract("ij,jk->ki", a, b)
/// a = [[1, 2]]    b = [[1, 2, 3], [4, 5, 6]]
/// result[k, i] = Σⱼ a[i, j] b[j, k]
/// result = [[9], [12], [15]]
/// ```
///
/// Source: Einstein (1916), "Die Grundlage der allgemeinen Relativitätstheorie", §5, with the
/// arrow of `numpy.einsum`.
#[part]
pub fn contract(spec: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    todo!("sum lone letters, permute, reshape, matmul")
}

/// Adds each value of `source` to the slot of `base` that `index` names along one axis.
///
/// Several values may name the same slot; it receives all of them.
/// This is what a table lookup does in reverse: the gradient of an embedding is a `scatter_add`.
///
/// # Shapes
///
/// | tensor   | shape                                              | dtype                       |
/// |----------|----------------------------------------------------|-----------------------------|
/// | `base`   | any, with `size` slots along `axis`                | `f32` or `f64`              |
/// | `index`  | as `base`, but of any length along `axis`          | `u32`, each less than `size`|
/// | `source` | as `index`                                         | as `base`                   |
/// | result   | as `base`                                          | as `base`                   |
///
/// # Contract
///
/// - For `axis` 1 of 3: `result[i, s, k]` is `base[i, s, k]` plus every `source[i, j, k]` for which
///   `index[i, j, k]` is `s`.
/// - The order of the pairs does not matter.
/// - A value of ±∞ or of 10⁸ changes its own slot and no other.
/// - Gradients flow back to `base` and `source`, also where slots are shared.
/// - Inputs may be non-contiguous. You may assume that `index` is not empty.
///
/// # Errors
///
/// Fails if an index is `size` or more, if `index` and `source` differ in shape, if `base` differs
/// from them along another axis than `axis`, or if `base` has no such axis.
///
/// # Example: two values share the last slot
///
/// ```text
/// base = [10, 20, 30]    index = [0, 2, 2]    source = [1, 2, 3]    axis = 0
/// result = [11, 20, 35]
/// ```
///
/// Source: the semantics of `torch.Tensor.scatter_add`, with `index` and `source` of one shape.
#[part]
pub fn scatter_add(base: &Tensor, index: &Tensor, source: &Tensor, axis: usize) -> Result<Tensor> {
    todo!("flat places, then add by index")
}

/// Computes `log Σ exp(x)` along one axis, without overflow.
///
/// # Shapes
///
/// | tensor | shape                      | dtype                      |
/// |--------|----------------------------|----------------------------|
/// | `x`    | any, at least one axis     | `f32` or `f64`, may be −∞  |
/// | result | that of `x` without `axis` | as `x`                     |
///
/// # Contract
///
/// - Inputs of ±10⁴ give the exact answer to rounding, never ±∞.
/// - Adding a number to a whole row adds it to the result.
/// - An input of −∞ adds nothing; a row of −∞ alone gives −∞, never NaN.
/// - Gradients flow back to `x`; an input of −∞ receives 0, also where the whole row is −∞.
/// - `x` may be non-contiguous. You may assume that it holds neither +∞ nor NaN.
///
/// Write it from plain operations: the library's ready function is what you build here, and is NaN
/// where you must not be.
///
/// # Errors
///
/// Fails if `x` has no such axis.
///
/// # Example: one, three, and four
///
/// ```text
/// x = [[0, ln 3], [−∞, 7]]    axis = 1
/// result = [ln 4, 7]
/// ```
///
/// Source: Blanchard, Higham and Higham (2021), "Accurately computing the log-sum-exp and softmax
/// functions", IMA Journal of Numerical Analysis 41(4).
#[part]
pub fn log_sum_exp(x: &Tensor, axis: usize) -> Result<Tensor> {
    todo!("shift, exp, sum, log, shift back")
}

/// Turns the numbers along one axis into weights: `exp(x) / Σ exp(x)`.
///
/// # Shapes
///
/// | tensor | shape                  | dtype                     |
/// |--------|------------------------|---------------------------|
/// | `x`    | any, at least one axis | `f32` or `f64`, may be −∞ |
/// | result | as `x`                 | as `x`, in `[0, 1]`       |
///
/// # Contract
///
/// - The weights along `axis` sum to 1.
/// - Inputs of ±10⁴ still give the exact weights to rounding.
/// - Adding a number to a whole row changes nothing.
/// - An input of −∞ gets a weight of exactly 0; a row of −∞ alone gets zeros, never NaN.
/// - Gradients flow back to `x`; an input of −∞ receives 0, also where the whole row is −∞.
/// - `x` may be non-contiguous. You may assume that it holds neither +∞ nor NaN.
///
/// Write it from plain operations. A row of zeros for a query that may look nowhere is what
/// attention kernels give; the library's ready function gives NaN, which would spread.
///
/// # Errors
///
/// Fails if `x` has no such axis.
///
/// # Example: a score of ln 3 against 0 weighs three to one
///
/// ```text
/// x = [[ln 3, 0], [0, 0]]    axis = 1
/// result = [[0.75, 0.25], [0.5, 0.5]]
/// ```
///
/// Source: Blanchard, Higham and Higham (2021), "Accurately computing the log-sum-exp and softmax
/// functions", IMA Journal of Numerical Analysis 41(4).
#[part]
pub fn softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    todo!("shift, exp, divide by the sum")
}

/// Computes how far each ray travels until it hits each triangle.
///
/// A ray is at `origin + t · direction`, and a triangle with the corners `a`, `b`, `c` holds the
/// points `a + u (b − a) + v (c − a)` with `u ≥ 0`, `v ≥ 0` and `u + v ≤ 1`.
/// Where both meet is a system of three linear equations for `t`, `u` and `v`.
///
/// # Shapes
///
/// | tensor       | shape                                    | dtype                          |
/// |--------------|------------------------------------------|--------------------------------|
/// | `origins`    | `(n_rays, 3)`                            | `f32` or `f64`                 |
/// | `directions` | `(n_rays, 3)`, of any length             | as `origins`                   |
/// | `triangles`  | `(n_triangles, 3, 3)`: corner, then x y z| as `origins`                   |
/// | result       | `(n_rays, n_triangles)`                  | as `origins`; `t`, or +∞: a miss|
///
/// # Contract
///
/// - `t` counts in lengths of `direction`: twice the direction, half the `t`.
/// - A triangle is hit from both sides, at its edges and corners too, and at `t = 0`.
/// - What lies behind the origin (`t < 0`) is a miss.
/// - A ray parallel to the plane, in it or beside it, is a miss; so is a triangle without area.
///   The system is then singular, and the answer is +∞, never NaN.
/// - No threshold on size: the scene drawn 10⁴ times smaller has the same hits.
/// - Gradients flow back to every input through the hits; a miss sends back 0, never NaN.
///
/// # Errors
///
/// Fails if `origins` and `directions` differ in shape, or if the last axis of an input is not 3.
///
/// # Example: one triangle in front, one behind
///
/// ```text
/// origin = [0, 0, 0]    direction = [0, 0, 1]
/// triangles = [[[−1, −1, 2], [3, −1, 2], [−1, 3, 2]],        in front, at z = 2
///              [[−1, −1, −2], [3, −1, −2], [−1, 3, −2]]]     behind, at z = −2
/// result = [[2, ∞]]
/// ```
///
/// Source: Möller and Trumbore (1997), "Fast, Minimum Storage Ray/Triangle Intersection", Journal
/// of Graphics Tools 2(1), §2.
#[part]
pub fn ray_triangles(origins: &Tensor, directions: &Tensor, triangles: &Tensor) -> Result<Tensor> {
    todo!("solve three equations, hide misses")
}

/// Turns correlated features into uncorrelated ones of mean 0 and variance 1.
///
/// The directions in which the data spreads most are the eigenvectors of their covariance.
/// Power iteration finds the foremost: multiply any vector by the covariance and give it length 1,
/// `steps` times over.
/// Deflation takes what was found out of the covariance, so that the next one comes foremost.
///
/// # Shapes
///
/// | tensor     | shape                                           | dtype                |
/// |------------|-------------------------------------------------|----------------------|
/// | `x`        | `(n_samples, n_features)`                       | `f32` or `f64`       |
/// | `starts`   | `(n_components, n_features)`, random            | as `x`               |
/// | whitened   | `(n_samples, n_components)`                     | as `x`               |
/// | components | `(n_components, n_features)`, rows of length 1  | as `x`               |
/// | variances  | `(n_components,)`, largest first                | as `x`               |
///
/// `starts` has one start a component; a random one is never exactly at right angles to what it
/// seeks.
///
/// # Contract
///
/// - Covariance is taken about the mean and divided by `n_samples − 1`.
/// - Components have length 1 and stand at right angles to each other; each sign is free.
/// - The covariance of the whitened data is the identity, and their mean is 0.
/// - Two variances may be equal; any two such directions of that plane are then right.
/// - The unit of `x` changes neither the whitened data nor the components: metres or kilometres.
/// - An offset of 1000 spreads is no harm in `f32`.
///
/// You may assume that the `n_components` foremost variances are not 0, and that `steps` is enough
/// to tell apart those that differ.
///
/// # Errors
///
/// Fails if there are fewer than 2 samples, or if `starts` has not `n_features` columns.
///
/// # Example: a cross, wider than high
///
/// ```text
/// x = [[5, 1], [1, 1], [3, 2], [3, 0], [3, 1]]    starts = [[1, 1], [−1, 1]]    steps = 40
/// mean (3, 1), covariance [[2, 0], [0, 0.5]]
/// whitened = [[√2, 0], [−√2, 0], [0, √2], [0, −√2], [0, 0]]
/// components = [[1, 0], [0, 1]]    variances = [2, 0.5]
/// ```
///
/// Source: Hotelling (1933), "Analysis of a complex of statistical variables into principal
/// components", Journal of Educational Psychology 24; Kessy, Lewin and Strimmer (2018), "Optimal
/// Whitening and Decorrelation" (there: PCA whitening), arXiv:1512.00809.
#[part]
pub fn whiten(x: &Tensor, starts: &Tensor, steps: usize) -> Result<(Tensor, Tensor, Tensor)> {
    todo!("covariance, power iteration, deflation, rescale")
}
