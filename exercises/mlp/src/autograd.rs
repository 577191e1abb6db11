//! Gradients, from the definition to a machine: measure them, order a graph, let it compute them.

use std::{cell::Cell, rc::Rc};

use candle_core::{Result, Tensor};
use wick::{Program, Step, part, piece};

/// Measures the slope of a function along each input, and says which of the claimed slopes hold.
///
/// This is how gradients are proved: whoever derives one by hand compares it with a measurement.
/// `f.at(&point)` evaluates the function at a point.
///
/// # Shapes
///
/// | tensor            | shape | dtype                                   |
/// |-------------------|-------|-----------------------------------------|
/// | `point`           | `(n)` | `f64`                                   |
/// | `claimed`         | `(n)` | `f64`                                   |
/// | first result      | `(n)` | `f64`, the measured slopes              |
/// | second result     | `(n)` | `u8`, 1 = the claim holds               |
///
/// # Contract
///
/// - Where `f` is smooth, a measured slope is within 1e-6 of the exact one, or within 1e-6 of it
///   relative to its size if it is larger than 1.
/// - Measured is the mean of the slope to the left and the slope to the right.
/// - A claim holds if it is between these two, or outside by at most 1e-4 times the larger of 1 and
///   the size of the measured slope. So at a kink, where they differ, anything between them holds,
///   as it does for a subgradient.
/// - A claim that is not a number does not hold.
///
/// # Errors
///
/// Fails if `point` and `claimed` differ in length, or `f` reads more inputs than there are.
///
/// # Example: a square and a kink
///
/// ```text
/// f(x₀, x₁) = x₀² + relu(x₁)     point = [3, 0]    claimed = [6, 2]
/// measured = [6, 0.5]            (left of the kink the slope is 0, right of it 1)
/// holds    = [1, 0]
/// ```
///
/// Source: Baydin et al. (2018), "Automatic Differentiation in Machine Learning: a Survey", §2.1,
/// arXiv:1502.05767, also for why steps may be neither large nor tiny.
#[part]
pub fn numeric_gradient(f: &Program, point: &Tensor, claimed: &Tensor) -> Result<(Tensor, Tensor)> {
    todo!("step both ways, compare sides")
}

/// Puts the nodes of a graph in an order in which none comes before those that it is made from.
///
/// # Shapes
///
/// `edges` has two numbers for each edge, `from` and `to`: `to` is made from `from`.
///
/// # Contract
///
/// - The result has each of the nodes `0..n` once, those without edges too.
/// - The `from` of each edge comes before its `to`. An edge may be there twice.
/// - Of the orders that are right, any will do.
/// - A chain of 40,000 nodes is ordered as well: keep a list of what is to be done, since a
///   function that calls itself once a node runs out of stack.
///
/// # Errors
///
/// Fails if there is a cycle, and names the nodes of one in order: `3 → 5 → 4 → 3`. Fails if an
/// edge names a node that does not exist, or its second half is missing.
///
/// # Example: a diamond
///
/// ```text
/// n = 4, edges = 3→1, 3→0, 1→2, 0→2        result = [3, 0, 1, 2] or [3, 1, 0, 2]
/// ```
///
/// Source: Kahn (1962), "Topological Sorting of Large Networks", doi:10.1145/368996.369025.
#[part]
pub fn topological_order(n: usize, edges: &[usize]) -> Result<Vec<usize>> {
    todo!("visit with a list, finish, reverse")
}

/// A number that remembers how it was computed.
///
/// Clones are the same number: what is done with either counts for both.
#[derive(Clone)]
#[must_use]
pub struct Scalar(pub Rc<Node>);

/// What a [`Scalar`] remembers.
pub struct Node {
    /// The number.
    pub value: f64,
    /// How much the result would rise for each unit that this rises; [`Scalar::backward`] sets it.
    pub gradient: Cell<f64>,
    /// What it was computed from, each with the slope of this number along it.
    pub parents: Vec<(Scalar, f64)>,
}

// given: without it, dropping a chain would call itself once for each node
impl Drop for Node {
    fn drop(&mut self) {
        let mut doomed = std::mem::take(&mut self.parents);
        while let Some((Scalar(parent), _)) = doomed.pop() {
            // Only the last owner takes it apart.
            if let Some(mut node) = Rc::into_inner(parent) {
                doomed.append(&mut node.parents);
            }
        }
    }
}

impl Scalar {
    /// Makes a number that was computed from nothing.
    pub fn new(value: f64) -> Self {
        Self::computed(value, Vec::new())
    }

    /// Makes a number that was computed from `parents`, each with the slope along it.
    pub fn computed(value: f64, parents: Vec<(Self, f64)>) -> Self {
        Self(Rc::new(Node { value, gradient: Cell::new(0.0), parents }))
    }

    /// Adds two numbers, which may be the same one.
    #[piece]
    pub fn add(&self, other: &Self) -> Self {
        todo!("value, parents, two slopes")
    }

    /// Multiplies two numbers, which may be the same one.
    #[piece]
    pub fn mul(&self, other: &Self) -> Self {
        todo!("value, parents, two slopes")
    }

    /// Raises the number to a fixed power.
    #[piece]
    pub fn pow(&self, power: f64) -> Self {
        todo!("value, parent, slope of a power")
    }

    /// Raises e to the number.
    #[piece]
    pub fn exp(&self) -> Self {
        todo!("value, parent, its own slope")
    }

    /// Keeps what is positive, and makes 0 of everything else; its slope at 0 is 0.
    #[piece]
    pub fn relu(&self) -> Self {
        todo!("value, parent, slope 0 or 1")
    }

    /// Squashes the number between −1 and 1.
    #[piece]
    pub fn tanh(&self) -> Self {
        todo!("value, parent, slope from value")
    }

    /// Sets the gradient of every number that this one was computed from, and its own to 1.
    ///
    /// A number that is used more than once gets the sum over all its uses. What a gradient was
    /// before does not count. Chains of 10,000 numbers must not overflow the stack:
    /// [`topological_order`] is at hand.
    ///
    /// # Errors
    ///
    /// Fails if [`topological_order`] does.
    #[piece]
    pub fn backward(&self) -> Result<()> {
        todo!("order, clear, pass slopes to parents")
    }
}

// given: how the judge reaches your type; nothing to do here
/// Plays a function on your [`Scalar`], and calls [`Scalar::backward`].
///
/// # Shapes
///
/// | tensor        | shape | dtype                                        |
/// |---------------|-------|----------------------------------------------|
/// | `point`       | `(n)` | `f64`                                        |
/// | second result | `(n)` | `f64`, the gradient of each input; 0 if unused |
///
/// The first result is the value. `backward` is called `times` times, and must give the same each
/// time.
///
/// # Contract
///
/// - The gradients are exact: no measurement, no step.
/// - Numbers may be used more than once, in any shape of graph.
/// - A chain of 10,000 operations works on a stack of 256 KiB.
///
/// # Errors
///
/// Fails if [`Scalar::backward`] does.
///
/// # Example: a number that is used twice
///
/// ```text
/// f(x₀, x₁) = x₀ + x₀ · x₁     point = [2, −3]
/// value = −4                   gradient = [1 + x₁, x₀] = [−2, 2]
/// ```
///
/// Source: Karpathy (2020), micrograd, which this is with a longer stack.
#[part]
pub fn scalar(f: &Program, point: &Tensor, times: usize) -> Result<(f64, Tensor)> {
    let (device, point) = (point.device(), point.to_vec1::<f64>()?);
    let (value, gradients) = wick::on_small_stack(|| play(f, &point, times))?;
    Ok((value, Tensor::new(gradients, device)?))
}

// given: one operation of yours for each step
fn play(f: &Program, point: &[f64], times: usize) -> Result<(f64, Vec<f64>)> {
    let inputs: Vec<Scalar> = point.iter().map(|&x| Scalar::new(x)).collect();
    let mut done: Vec<Scalar> = Vec::new();
    for step in f.steps() {
        done.push(match *step {
            Step::Input(n) => inputs[n].clone(),
            Step::Constant(number) => Scalar::new(number),
            Step::Add(a, b) => done[a].add(&done[b]),
            Step::Mul(a, b) => done[a].mul(&done[b]),
            Step::Pow(a, power) => done[a].pow(power),
            Step::Exp(a) => done[a].exp(),
            Step::Relu(a) => done[a].relu(),
            Step::Tanh(a) => done[a].tanh(),
        });
    }
    let result = &done[done.len() - 1];
    for _ in 0..times {
        result.backward()?;
    }
    Ok((result.0.value, inputs.iter().map(|input| input.0.gradient.get()).collect()))
}
