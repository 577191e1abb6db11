//! Tensor algebra: contractions, scattered sums, stable exponentials, and two small linear systems.
//!
//! Everything that a network does is one of a few moves: multiply and add along a shared axis,
//! collect numbers into slots, turn numbers into weights, solve for what is unknown.
//! Here you write each move once, for every shape that it may meet.
//!
//! Check your work: `cargo xtask check tensors`.

use candle_core::{D, IndexOp as _, Result, Tensor, bail};
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
#[part(plan = "sum lone letters, permute, reshape, matmul")]
pub fn contract(spec: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (left, right, output) = parse(spec)?;
    check_operands(spec, (a, &left), (b, &right))?;
    let stays = |letter: &char, others: &[char]| others.contains(letter) || output.contains(letter);
    let (a, left) = sum_lone(a, &left, |letter| stays(letter, &right))?;
    let (b, right) = sum_lone(b, &right, |letter| stays(letter, &left))?;

    // Every letter is now of one of the four kinds that a batched matmul knows.
    let pick = |from: &[char], keep: &dyn Fn(&char) -> bool| -> Vec<char> {
        from.iter().copied().filter(|letter| keep(letter)).collect()
    };
    let batch = pick(&left, &|letter| right.contains(letter) && output.contains(letter));
    let summed = pick(&left, &|letter| right.contains(letter) && !output.contains(letter));
    let rows = pick(&left, &|letter| !right.contains(letter));
    let columns = pick(&right, &|letter| !left.contains(letter));

    let lhs = grouped(&a, &left, [&batch, &rows, &summed])?;
    let rhs = grouped(&b, &right, [&batch, &summed, &columns])?;
    let product = lhs.matmul(&rhs)?; // (batch, rows, columns)

    let found = [batch, rows, columns].concat();
    let mut sizes = Vec::new();
    for letter in &found {
        let at = |letters: &[char]| place(letters, *letter);
        sizes.push(at(&left).map_or_else(|_| b.dim(at(&right)?), |axis| a.dim(axis))?);
    }
    let order: Vec<usize> = output.iter().map(|&l| place(&found, l)).collect::<Result<_>>()?;
    product.reshape(sizes)?.permute(order)
}

/// Splits a spec into the letters of `a`, of `b` and of the result.
fn parse(spec: &str) -> Result<(Vec<char>, Vec<char>, Vec<char>)> {
    let lists = spec.split_once("->").and_then(|(inputs, output)| {
        let (left, right) = inputs.split_once(',')?;
        Some([left, right, output].map(|list| list.chars().collect::<Vec<_>>()))
    });
    let Some([left, right, output]) = lists else {
        bail!("spec {spec:?} is not of the form `ab,bc->ac`");
    };
    for list in [&left, &right, &output] {
        if let Some(other) = list.iter().find(|letter| !letter.is_alphabetic()) {
            bail!("{other:?} in spec {spec:?} is not a letter");
        }
        if let Some(twice) = list.iter().find(|l| list.iter().filter(|m| m == l).count() > 1) {
            bail!("letter {twice:?} stands twice in one list of spec {spec:?}");
        }
    }
    if let Some(unknown) = output.iter().find(|l| !left.contains(l) && !right.contains(l)) {
        bail!("letter {unknown:?} of the result stands in neither operand of spec {spec:?}");
    }
    Ok((left, right, output))
}

/// Proves that the letters fit the shapes, and that shared letters agree on their size.
fn check_operands(
    spec: &str,
    (a, left): (&Tensor, &[char]),
    (b, right): (&Tensor, &[char]),
) -> Result<()> {
    for (name, tensor, letters) in [("a", a, left), ("b", b, right)] {
        if tensor.rank() != letters.len() {
            let (axes, named) = (tensor.rank(), letters.len());
            bail!("`{name}` has {axes} axes but spec {spec:?} names {named}");
        }
    }
    for (letter, &size) in left.iter().zip(a.dims()) {
        let other = right.iter().zip(b.dims()).find(|(other, _)| *other == letter);
        if let Some((_, &other)) = other.filter(|&(_, &other)| other != size) {
            bail!("letter {letter:?} has size {size} in `a` but {other} in `b`");
        }
    }
    Ok(())
}

/// Sums the axes whose letter stands nowhere else.
fn sum_lone(
    tensor: &Tensor,
    letters: &[char],
    stays: impl Fn(&char) -> bool,
) -> Result<(Tensor, Vec<char>)> {
    let lone: Vec<usize> = (0..letters.len()).filter(|&axis| !stays(&letters[axis])).collect();
    let kept = letters.iter().copied().filter(stays).collect();
    Ok((tensor.sum(lone)?, kept))
}

/// Brings three groups of letters into order, and makes one axis of each.
fn grouped(tensor: &Tensor, letters: &[char], groups: [&[char]; 3]) -> Result<Tensor> {
    let order: Vec<usize> =
        groups.concat().iter().map(|&l| place(letters, l)).collect::<Result<_>>()?;
    let permuted = tensor.permute(order)?.contiguous()?;
    let mut sizes = permuted.dims();
    let shape = groups.map(|group| {
        let (own, rest) = sizes.split_at(group.len());
        sizes = rest;
        own.iter().product::<usize>() // 1 for a group without letters
    });
    permuted.reshape(shape.as_slice())
}

/// Finds the axis that a letter names.
fn place(letters: &[char], letter: char) -> Result<usize> {
    match letters.iter().position(|&other| other == letter) {
        Some(axis) => Ok(axis),
        None => bail!("letter {letter:?} is not among {letters:?}"),
    }
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
#[part(plan = "flat places, then add by index")]
pub fn scatter_add(base: &Tensor, index: &Tensor, source: &Tensor, axis: usize) -> Result<Tensor> {
    let size = base.dim(axis)?;
    check_slots(base, index, source, axis)?;
    let (outer, inner): (usize, usize) =
        (base.dims()[..axis].iter().product(), base.dims()[axis + 1..].iter().product());
    // Slot `s` of lane `(o, i)` is number `(o · size + s) · inner + i` of the flat base.
    let first = Tensor::arange(0u32, outer as u32, base.device())?.reshape((outer, 1, 1))?;
    let lane = Tensor::arange(0u32, inner as u32, base.device())?.reshape((1, 1, inner))?;
    let slots = index.reshape((outer, index.dim(axis)?, inner))?;
    let places = slots.broadcast_add(&(first * size as f64)?)?;
    let places = (places * inner as f64)?.broadcast_add(&lane)?.flatten_all()?;
    // candle's own `scatter_add` would send no gradient to the slots that are hit.
    base.flatten_all()?.index_add(&places, &source.flatten_all()?, 0)?.reshape(base.shape())
}

/// Proves that shapes agree and that no index runs into the next lane.
fn check_slots(base: &Tensor, index: &Tensor, source: &Tensor, axis: usize) -> Result<()> {
    if index.dims() != source.dims() {
        bail!("`index` {:?} and `source` {:?} differ in shape", index.dims(), source.dims());
    }
    let mut expected = base.dims().to_vec();
    expected[axis] = index.dims().get(axis).copied().unwrap_or_default();
    if index.dims() != expected {
        let (index, base) = (index.dims(), base.dims());
        bail!("`index` {index:?} and `base` {base:?} differ along another axis than {axis}");
    }
    let largest = index.flatten_all()?.max(0)?.to_scalar::<u32>()?;
    if largest as usize >= base.dim(axis)? {
        bail!("index {largest} is outside of the {} slots along axis {axis}", base.dim(axis)?);
    }
    Ok(())
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
#[part(plan = "shift, exp, sum, log, shift back")]
pub fn log_sum_exp(x: &Tensor, axis: usize) -> Result<Tensor> {
    let (exps, max) = shifted_exps(x, axis)?;
    let sum = exps.sum_keepdim(axis)?;
    // An empty row has the sum 0, whose logarithm would send back 0 · ∞; it is hidden *before*
    // the logarithm, because hiding the result leaves the NaN in the gradient.
    let is_empty = max.eq(f64::NEG_INFINITY)?;
    let sum = is_empty.where_cond(&sum.ones_like()?, &sum)?;
    (sum.log()? + max)?.squeeze(axis)
}

/// Computes `exp(x − max)` along one axis, and the maximum itself with the axis kept.
fn shifted_exps(x: &Tensor, axis: usize) -> Result<(Tensor, Tensor)> {
    // The result does not depend on what is subtracted, so no gradient has to pass through it.
    let max = x.detach().max_keepdim(axis)?;
    let is_empty = max.eq(f64::NEG_INFINITY)?;
    let shift = is_empty.where_cond(&max.zeros_like()?, &max)?; // −∞ − −∞ would be NaN
    Ok((x.broadcast_sub(&shift)?.exp()?, max))
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
#[part(plan = "shift, exp, divide by the sum")]
pub fn softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let (exps, _) = shifted_exps(x, axis)?;
    let sum = exps.sum_keepdim(axis)?;
    // The largest input of a row adds exp(0) = 1, so only an empty row has the sum 0.
    let sum = sum.eq(0.0)?.where_cond(&sum.ones_like()?, &sum)?;
    exps.broadcast_div(&sum)
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
#[part(plan = "solve three equations, hide misses")]
pub fn ray_triangles(origins: &Tensor, directions: &Tensor, triangles: &Tensor) -> Result<Tensor> {
    let ((n_rays, width), (n_triangles, corners, depth)) = (origins.dims2()?, triangles.dims3()?);
    if origins.dims() != directions.dims() {
        let (origins, directions) = (origins.dims(), directions.dims());
        bail!("`origins` {origins:?} and `directions` {directions:?} differ in shape");
    }
    if [width, corners, depth] != [3; 3] {
        let triangles = triangles.dims();
        bail!("a point has 3 numbers and a triangle 3 corners, not {width} and {triangles:?}");
    }
    let each = |rays: &Tensor| rays.unsqueeze(1)?.broadcast_as((n_rays, n_triangles, 3));
    let (origin, direction) = (each(origins)?, each(directions)?);
    let corner = |n| triangles.i((.., n))?.unsqueeze(0)?.broadcast_as((n_rays, n_triangles, 3));
    let (a, b, c) = (corner(0)?, corner(1)?, corner(2)?);

    // Cramer's rule; each determinant is a triple product.
    let (edge_b, edge_c, from_a) = ((b - &a)?, (c - &a)?, (origin - &a)?);
    let (across, along) = (cross(&direction, &edge_c)?, cross(&from_a, &edge_b)?);
    let det = dot(&edge_b, &across)?; // (n_rays, n_triangles)
    // A determinant of 0 is replaced before the division: hiding the quotient afterwards would
    // leave NaN in the gradient.
    let is_singular = det.eq(0.0)?;
    let det = is_singular.where_cond(&det.ones_like()?, &det)?;
    let u = (dot(&from_a, &across)? / &det)?;
    let v = (dot(&direction, &along)? / &det)?;
    let t = (dot(&edge_c, &along)? / &det)?;

    let inside = ((u.ge(0.0)? * v.ge(0.0)?)? * (u + v)?.le(1.0)?)?;
    let is_hit = ((inside * t.ge(0.0)?)? * is_singular.eq(0u8)?)?;
    is_hit.where_cond(&t, &t.ones_like()?.affine(f64::INFINITY, 0.0)?)
}

/// The vector product along the last axis.
fn cross(p: &Tensor, q: &Tensor) -> Result<Tensor> {
    // Component x of the product needs y and z of the factors, and so on round the circle.
    let next = Tensor::new(&[1u32, 2, 0], p.device())?;
    let after_next = Tensor::new(&[2u32, 0, 1], p.device())?;
    let turn = |x: &Tensor, by: &Tensor| x.contiguous()?.index_select(by, 2);
    let forth = (turn(p, &next)? * turn(q, &after_next)?)?;
    let back = (turn(p, &after_next)? * turn(q, &next)?)?;
    forth - back
}

/// The scalar product along the last axis.
fn dot(p: &Tensor, q: &Tensor) -> Result<Tensor> {
    (p * q)?.sum(D::Minus1)
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
#[part(plan = "covariance, power iteration, deflation, rescale")]
pub fn whiten(x: &Tensor, starts: &Tensor, steps: usize) -> Result<(Tensor, Tensor, Tensor)> {
    let ((n_samples, n_features), (n_components, width)) = (x.dims2()?, starts.dims2()?);
    if n_samples < 2 {
        bail!("`x` has {n_samples} samples; a variance needs at least 2");
    }
    if width != n_features {
        bail!("`starts` has {width} columns but `x` has {n_features} features");
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(0)?)?;
    let products = centred.t()?.contiguous()?.matmul(&centred)?;
    let mut covariance = (products / (n_samples - 1) as f64)?; // (n_features, n_features)
    let (mut components, mut variances) = (Vec::new(), Vec::new());
    for n in 0..n_components {
        let row = foremost(&covariance, &starts.narrow(0, n, 1)?, steps)?; // (1, n_features)
        let column = row.t()?.contiguous()?;
        let variance = row.matmul(&covariance)?.matmul(&column)?; // (1, 1)
        covariance = (covariance - column.matmul(&row)?.broadcast_mul(&variance)?)?;
        components.push(row);
        variances.push(variance);
    }
    let (components, variances) = (Tensor::cat(&components, 0)?, Tensor::cat(&variances, 1)?);
    let scores = centred.matmul(&components.t()?.contiguous()?)?; // (n_samples, n_components)
    Ok((scores.broadcast_div(&variances.sqrt()?)?, components, variances.squeeze(0)?))
}

/// Finds the direction of the largest variance by power iteration.
fn foremost(covariance: &Tensor, start: &Tensor, steps: usize) -> Result<Tensor> {
    let unit = |row: &Tensor| row.broadcast_div(&row.sqr()?.sum_all()?.sqrt()?);
    // Length 1 at every step, or the numbers grow until they overflow.
    (0..steps).try_fold(unit(&start.contiguous()?)?, |row, _| unit(&row.matmul(covariance)?))
}
