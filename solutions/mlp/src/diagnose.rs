//! What is wrong with a network that does not learn: measure first, then name it.

use candle_core::{DType, Result, Tensor, Var, bail};
use wick::{Weights, part};

use crate::{cross_entropy, linear, optimisers::sgd, relu};

/// Examines a network on one batch, and names what is wrong with it.
///
/// Layer `l` is [`linear`](crate::linear) with `layers.l.weight` and `layers.l.bias`; behind every
/// layer but the last stands [`relu`](crate::relu), which makes it a *hidden* layer; the loss is
/// [`cross_entropy`](crate::cross_entropy).
/// What a layer *gives* is its result before `relu`; what its units give is that after it.
///
/// # Shapes
///
/// | tensor                         | shape            | dtype                    |
/// |--------------------------------|------------------|--------------------------|
/// | `layers.0.weight` in `weights` | `(d_1, d_in)`    | `f32` or `f64`           |
/// | `layers.0.bias`                | `(d_1)`          | as `x`                   |
/// | … to `layers.{n_layers − 1}.…` | `d_out` is `n_classes` | as `x`             |
/// | `x`                            | `(batch, d_in)`  | as the weights           |
/// | `targets`                      | `(batch)`        | `u32`, below `n_classes` |
/// | `silent`, in the third result  | `(n_layers − 1)` | as `x`, in `[0, 1]`      |
/// | `gradients`                    | `(n_layers)`     | as `x`                   |
/// | `losses`                       | `(steps + 1)`    | as `x`                   |
///
/// There are at least two layers; how many, the names in `weights` say.
/// The first result is a word of the list below; the second is a layer, where the list has one.
///
/// # Contract
///
/// What is measured, and returned last:
///
/// - `silent` is, for each hidden layer, the share of its units that are 0 on every example.
/// - `gradients` is, for each layer, the norm of the gradient of the loss with respect to all
///   numbers that the layer gives for the batch: the root of the sum of their squares.
/// - `losses` starts with the loss as the network came; behind it stands the loss after each of
///   `steps` steps of plain gradient descent on this one batch, each with rate `lr`.
///
/// What is named is the first of these that is true:
///
/// | word            | what is true                                           | layer |
/// |-----------------|--------------------------------------------------------|-------|
/// | `nan`           | a layer gives a NaN or an infinity                     | first |
/// | `twins`         | a hidden layer's units all give the same               | first |
/// | `dead`          | half or more of a hidden layer's units are silent      | first |
/// | `vanishing`     | a layer's gradient is below 1/1000 of the last layer's | last  |
/// | `exploding`     | a layer's gradient is above 1000 times the last's      | last  |
/// | `overconfident` | the first loss is above `2 ln(n_classes)`              | none  |
/// | `too_fast`      | a loss is not finite, or above twice the first         | none  |
/// | `too_slow`      | the last loss is above 95 % of the first               | none  |
/// | `healthy`       | nothing of this                                        | none  |
///
/// - Units give *the same* if, on every example, none differs from another by more than 1/1000 of
///   the largest number that the layer's units give, and that is not 0. A single unit has no twin.
/// - *First* is the layer nearest to the input of which it is true, *last* the one nearest to the
///   output; layers count from 0.
/// - The networks that you are asked about are far from every limit.
/// - `x` may be non-contiguous.
///
/// # Errors
///
/// Fails if a number of `x` is not finite (look at the data first), `steps` is 0, or `x` and
/// `targets` differ in `batch`.
///
/// # Example: two units that never fire
///
/// ```text
/// x = [[1], [2]]    targets = [0, 1]    steps = 1
/// layers.0.weight = [[-1], [-2]]        layers.0.bias = [0, 0]    gives [[-1, -2], [-2, -4]]
/// layers.1.weight = [[1, 2], [3, 4]]    layers.1.bias = [0, 0]    gives [[0, 0], [0, 0]]
///
/// silent    = [1]
/// gradients = [0, 1/2]       (of the last: four numbers, each 1/4 or -1/4)
/// losses    = [ln 2, ln 2]
/// result    = "dead", layer 0
/// ```
///
/// Source: Karpathy (2019), "A Recipe for Training Neural Networks", for the loss at the start and
/// learning one batch by heart; Glorot and Bengio (2010), "Understanding the difficulty of training
/// deep feedforward neural networks", §4, for the gradient at each layer; He et al. (2015), §2.2,
/// arXiv:1502.01852, for the scale that neither vanishes nor explodes.
#[part(plan = "measure everything, then walk the list")]
pub fn diagnose(
    weights: &Weights,
    x: &Tensor,
    targets: &Tensor,
    lr: f64,
    steps: usize,
) -> Result<(String, Option<usize>, Weights)> {
    if steps == 0 || !is_finite(&numbers(x)?) {
        bail!("`steps` is {steps}, or `x` has numbers that are not finite");
    }
    let first = look(weights, x, targets)?;
    let mut losses = vec![first.loss];
    let (mut now, mut slopes) = (weights.clone(), first.of_weights.clone());
    for _ in 0..steps {
        (now, _) = sgd(&now, &slopes, &Weights::new(), lr, 0.0, false)?;
        let next = look(&now, x, targets)?;
        slopes = next.of_weights;
        losses.push(next.loss);
    }
    let n_classes = first.given.last().map_or(Ok(0), |logits| logits.dim(1))?;
    let units =
        first.given[..first.given.len() - 1].iter().map(units).collect::<Result<Vec<_>>>()?;
    let silent: Vec<f64> = units.iter().map(|units| silent_share(units)).collect();

    let (word, layer) = if let Some(layer) = first.not_finite()? {
        ("nan", Some(layer))
    } else if let Some(layer) = units.iter().position(|units| are_twins(units)) {
        ("twins", Some(layer))
    } else if let Some(layer) = silent.iter().position(|&share| share >= 0.5) {
        ("dead", Some(layer))
    } else {
        of_numbers(&first.gradients, &losses, n_classes)
    };
    let mut measured = Weights::new();
    for (name, numbers) in [("silent", silent), ("gradients", first.gradients), ("losses", losses)]
    {
        let length = numbers.len();
        let tensor = Tensor::from_vec(numbers, length, x.device())?.to_dtype(x.dtype())?;
        measured.insert(name, tensor);
    }
    Ok((word.to_owned(), layer, measured))
}

/// What can be said from gradients and losses alone.
fn of_numbers(
    gradients: &[f64],
    losses: &[f64],
    n_classes: usize,
) -> (&'static str, Option<usize>) {
    let (last, start) = (gradients[gradients.len() - 1], losses[0]);
    if let Some(layer) = gradients.iter().rposition(|&norm| norm < 1e-3 * last) {
        ("vanishing", Some(layer))
    } else if let Some(layer) = gradients.iter().rposition(|&norm| norm > 1e3 * last) {
        ("exploding", Some(layer))
    } else if start > 2.0 * (n_classes as f64).ln() {
        ("overconfident", None)
    } else if losses.iter().any(|loss| !loss.is_finite() || *loss > 2.0 * start) {
        ("too_fast", None)
    } else if losses[losses.len() - 1] > 0.95 * start {
        ("too_slow", None)
    } else {
        ("healthy", None)
    }
}

/// One pass forward and back.
struct Look {
    /// What each layer gives, `(batch, d_out)`.
    given: Vec<Tensor>,
    /// For each layer the norm of the gradient of that.
    gradients: Vec<f64>,
    of_weights: Weights,
    loss: f64,
}

impl Look {
    /// The first layer that gives something that is no number.
    fn not_finite(&self) -> Result<Option<usize>> {
        for (layer, given) in self.given.iter().enumerate() {
            if !is_finite(&numbers(given)?) {
                return Ok(Some(layer));
            }
        }
        Ok(None)
    }
}

fn look(weights: &Weights, x: &Tensor, targets: &Tensor) -> Result<Look> {
    let (mut variables, mut probes, mut given) = (Vec::new(), Vec::new(), Vec::new());
    let mut h = x.clone();
    while weights.find(&format!("layers.{}.weight", given.len())).is_some() || given.is_empty() {
        let mut variable = |kind: &str| {
            let name = format!("layers.{}.{kind}", given.len());
            let variable = Var::from_tensor(weights.get(&name)?)?;
            variables.push((name, variable.clone()));
            Ok::<_, candle_core::Error>(variable)
        };
        let (weight, bias) = (variable("weight")?, variable("bias")?);
        let out = linear(&h, &weight, Some(&bias))?; // (batch, d_out)
        // The store keeps gradients of variables only. One that is 0, and added to what the layer
        // gives, changes nothing and has that value's gradient.
        let probe = Var::from_tensor(&out.zeros_like()?)?;
        let out = (out + probe.as_tensor())?;
        probes.push(probe);
        h = relu(&out)?;
        given.push(out);
    }
    let loss = cross_entropy(&given[given.len() - 1], targets)?;
    let store = loss.backward()?;
    let mut of_weights = Weights::new();
    for (name, variable) in &variables {
        if let Some(gradient) = store.get(variable) {
            of_weights.insert(name, gradient.clone());
        }
    }
    let norm = |probe: &Var| match store.get(probe) {
        Some(gradient) => Ok(numbers(gradient)?.iter().map(|g| g * g).sum::<f64>().sqrt()),
        None => bail!("no gradient reaches a layer"),
    };
    let gradients = probes.iter().map(norm).collect::<Result<_>>()?;
    Ok(Look { given, gradients, of_weights, loss: numbers(&loss)?[0] })
}

/// What each unit gives, example by example.
fn units(given: &Tensor) -> Result<Vec<Vec<f64>>> {
    relu(given)?.t()?.to_dtype(DType::F64)?.to_vec2()
}

fn silent_share(units: &[Vec<f64>]) -> f64 {
    let n_silent = units.iter().filter(|unit| unit.iter().all(|&y| y == 0.0)).count();
    n_silent as f64 / units.len() as f64
}

fn are_twins(units: &[Vec<f64>]) -> bool {
    let largest = units.iter().flatten().copied().fold(0.0, f64::max);
    let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-3 * largest;
    let (first, others) = (&units[0], &units[1..]);
    let is_twin = |unit: &Vec<f64>| unit.iter().zip(first).all(is_near);
    largest > 0.0 && !others.is_empty() && others.iter().all(is_twin)
}

fn is_finite(numbers: &[f64]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}
