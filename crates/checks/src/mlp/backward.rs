//! `mlp_backward`: a whole network differentiated by hand.

use protocol::{DType, Value};

use super::network::Network;
use crate::{Array, Check, Kind, Named, Outcome, Part, SourceRule, Tolerance, Trial, args, named};

mod answers;

pub(super) const MLP_BACKWARD: Part = Part {
    name: "mlp_backward",
    rule: Some(SourceRule {
        only: &[],
        never: &["backward"],
        reason: "The way back by hand is the exercise; autograd may not be called.",
    }),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "repeated_batches_weigh_the_same",
            promise: "Every row of a batch twice changes the gradient of no weight or bias.",
            kind: Kind::Property,
            run: repeated_batches_weigh_the_same,
        },
        Check {
            name: "layer_norm_takes_out_mean_and_size",
            promise: "No gradient of `pre` asks for another mean or, with eps = 0, another size of \
                      its row.",
            kind: Kind::Property,
            run: layer_norm_takes_out_mean_and_size,
        },
        Check {
            name: "every_gradient_is_right",
            promise: "All eleven gradients are the slopes of the loss.",
            kind: Kind::Gradient,
            run: every_gradient_is_right,
        },
        Check {
            name: "shapes_and_dtypes_do_not_matter",
            promise: "The gradients are right in every shape, layout and dtype.",
            kind: Kind::Reference,
            run: shapes_and_dtypes_do_not_matter,
        },
        Check {
            name: "other_batches_are_refused",
            promise: "A missing weight, or targets that do not fit the batch, give an error.",
            kind: Kind::Errors,
            run: other_batches_are_refused,
        },
    ],
    impostors: answers::IMPOSTORS,
    alternatives: answers::ALTERNATIVES,
};

/// Roundings of an honest `f32` answer: two layers, a norm and a softmax, and the way back.
const TOLERANCE: Tolerance = Tolerance::roundings(512.0);

/// Sizes of a network; no two are alike.
struct Sizes {
    batch: usize,
    d_in: usize,
    d_mlp: usize,
    n_classes: usize,
}

const SIZES: Sizes = Sizes { batch: 3, d_in: 2, d_mlp: 5, n_classes: 4 };

fn documented_example(trial: &mut Trial) -> Outcome {
    let weights = [
        ("hidden.weight", Array::matrix(&[[1.], [-1.]])),
        ("hidden.bias", Array::vector(&[0., 0.])),
        ("norm.weight", Array::vector(&[2., 2.])),
        ("norm.bias", Array::vector(&[0., 0.])),
        ("output.weight", Array::matrix(&[[1., 5.], [-1., 7.]])),
        ("output.bias", Array::vector(&[-2., 2.])),
    ];
    let weights: Named =
        weights.map(|(name, array)| (name.to_owned(), array.to(DType::F32))).into();
    let x = Array::matrix(&[[1.]]).to(DType::F32);
    let targets = Array::vector(&[0.]).to(DType::U32);
    let network = Network { weights, x, targets, eps: 0.0 };
    let [got] = trial.sets(asked(&network))?;
    let expected = [
        ("logits", Array::matrix(&[[-0.5, 0.5]])),
        ("output.bias", Array::vector(&[-0.5, 0.5])),
        ("output.weight", Array::matrix(&[[-1., 0.], [1., 0.]])),
        ("hidden", Array::matrix(&[[-1., 1.]])),
        ("norm", Array::matrix(&[[-1., 0.]])),
        ("norm.bias", Array::vector(&[-1., 0.])),
        ("norm.weight", Array::vector(&[-1., 0.])),
        ("pre", Array::matrix(&[[0., 0.]])),
        ("hidden.bias", Array::vector(&[0., 0.])),
        ("hidden.weight", Array::matrix(&[[0.], [0.]])),
        ("x", Array::matrix(&[[0.]])),
    ];
    let tolerance = TOLERANCE.at_scale(1.0);
    let expected = expected.map(|(name, array)| (name, array.to(DType::F32), tolerance));
    trial.close_each("gradient of", &got, &expected)
}

fn repeated_batches_weigh_the_same(trial: &mut Trial) -> Outcome {
    let once = draw(trial, &SIZES, 0.1, DType::F32);
    let rows: Vec<usize> = (0..SIZES.batch).chain(0..SIZES.batch).collect();
    let (x, targets) = (once.x.select(0, &rows), once.targets.select(0, &rows));
    let twice = Network { x, targets, ..once.clone() };
    let [before] = trial.sets(asked(&once))?;
    let [after] = trial.sets(asked(&twice))?;
    let mut expected = Vec::new();
    for (name, right) in once.gradients().into_iter().filter(|(name, _)| name.contains('.')) {
        // What the single batch gave is the promise; if it has no such shape, that is the finding.
        let promised = before.get(name).filter(|array| array.shape() == right.shape());
        let promised = promised.unwrap_or(&right).to(DType::F32);
        expected.push((name, promised, scaled(&right)));
    }
    trial.close_each("gradient, with every row of the batch twice, of", &after, &expected)
}

fn layer_norm_takes_out_mean_and_size(trial: &mut Trial) -> Outcome {
    // Where the variance is small, eps would count; without it, the size of a row is taken out.
    let network = draw(trial, &SIZES, 0.0, DType::F64);
    let [got] = trial.sets(asked(&network))?;
    let expected = network.gradients();
    let Some((_, right)) = expected.iter().find(|(name, _)| *name == "pre") else { return Ok(()) };
    let Some(gradient) = got.get("pre") else {
        return Err(trial.wrong("There is no gradient `pre` in the result.".to_owned()));
    };
    trial.has_shape("gradient of pre", gradient, right.shape())?;
    let zeros = Array::full(&[SIZES.batch], 0.0);
    let tolerance = Tolerance::relative(1e-9).at_scale(right.max_abs().max(0.1));
    let sums = along(gradient, |_| 1.0);
    trial.close("sum of each row of the gradient of pre", &sums, &zeros, tolerance)?;
    let pre = network.pre();
    let with_pre = along(gradient, |at| pre.at(at));
    let tolerance = tolerance.at_scale(right.max_abs().max(0.1) * pre.max_abs());
    let name = "dot product of each row of pre with its gradient";
    trial.close(name, &with_pre, &zeros, tolerance)
}

/// `Σ_j gradient[b, j] factor([b, j])`.
fn along(gradient: &Array, factor: impl Fn(&[usize]) -> f64) -> Array {
    Array::from_fn(&[gradient.dim(0)], |at| {
        (0..gradient.dim(1)).map(|j| [at[0], j]).map(|at| gradient.at(&at) * factor(&at)).sum()
    })
}

fn every_gradient_is_right(trial: &mut Trial) -> Outcome {
    let network = draw(trial, &SIZES, 0.1, DType::F64);
    matches(trial, &network)
}

fn shapes_and_dtypes_do_not_matter(trial: &mut Trial) -> Outcome {
    let one = Sizes { batch: 1, d_in: 1, d_mlp: 3, n_classes: 2 };
    let wide = Sizes { batch: 4, d_in: 6, d_mlp: 2, n_classes: 1 };
    for (sizes, dtype) in [(SIZES, DType::F32), (one, DType::F64), (wide, DType::F64)] {
        let mut network = draw(trial, &sizes, 0.1, dtype);
        network.x = network.x.laid_out(&[1, 0]);
        matches(trial, &network)?;
    }
    Ok(())
}

fn matches(trial: &mut Trial, network: &Network) -> Outcome {
    let [got] = trial.sets(asked(network))?;
    let dtype = network.x.dtype();
    // From the loss back, each before what is made from it: the first that is wrong is the cause.
    let order = [
        "logits",
        "output.bias",
        "output.weight",
        "hidden",
        "norm",
        "norm.bias",
        "norm.weight",
        "pre",
        "hidden.bias",
        "hidden.weight",
        "x",
    ];
    let mut expected = network.gradients();
    expected.sort_by_key(|(name, _)| order.iter().position(|wanted| wanted == name));
    let expected: Vec<_> =
        expected.into_iter().map(|(name, right)| (name, right.to(dtype), scaled(&right))).collect();
    trial.close_each("gradient of", &got, &expected)
}

/// A gradient may be small while what it is made of is about 1.
fn scaled(right: &Array) -> Tolerance {
    TOLERANCE.at_scale(right.max_abs().max(1.0))
}

fn other_batches_are_refused(trial: &mut Trial) -> Outcome {
    let network = draw(trial, &SIZES, 0.1, DType::F32);
    for count in [2, 1] {
        let targets = network.targets.narrow(0, 0, count);
        let case = format!("`x` has 3 rows and `targets` {count}");
        trial.refuses(&case, asked(&Network { targets, ..network.clone() }))?;
    }
    for missing in ["norm.weight", "output.bias"] {
        let mut network = network.clone();
        network.weights.remove(missing);
        trial.refuses(&format!("`{missing}` is missing"), asked(&network))?;
    }
    Ok(())
}

fn asked(network: &Network) -> Vec<(&'static str, Value)> {
    args![
        weights: named::to_value(&network.weights),
        x: &network.x,
        targets: &network.targets,
        eps: network.eps,
    ]
}

fn draw(trial: &mut Trial, sizes: &Sizes, eps: f64, dtype: DType) -> Network {
    let Sizes { batch, d_in, d_mlp, n_classes } = *sizes;
    let mut normal = |shape: &[usize]| trial.rng.normal_array(shape).to(dtype);
    let weights = [
        ("hidden.weight", normal(&[d_mlp, d_in])),
        ("hidden.bias", normal(&[d_mlp])),
        ("norm.weight", normal(&[d_mlp])),
        ("norm.bias", normal(&[d_mlp])),
        ("output.weight", normal(&[n_classes, d_mlp])),
        ("output.bias", normal(&[n_classes])),
    ];
    let weights = weights.map(|(name, array)| (name.to_owned(), array)).into();
    let x = normal(&[batch, d_in]);
    let targets: Vec<f64> = (0..batch).map(|_| trial.rng.below(n_classes) as f64).collect();
    Network { weights, x, targets: Array::vector(&targets).to(DType::U32), eps }
}
