//! `difference_of_means`: from one class to the other.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use super::{
    border::{Sent as _, array, tensor},
    direction_oracle::{Classes, PLAIN, Ways},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

/// Makes an answer to `difference_of_means` that has one slip.
macro_rules! plain {
    ($($field:ident: $value:expr),*) => {
        answer!(|activations: &Tensor, labels: &Tensor| {
            with(&Ways { $($field: $value,)* ..PLAIN }, activations, labels, 0.0)
        })
    };
}

pub(super) const DIFFERENCE_OF_MEANS: Part = Part {
    name: "difference_of_means",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_difference,
        },
        Check {
            name: "other_labels_turn_it",
            promise: "With the labels exchanged it points the other way.",
            kind: Kind::Property,
            run: other_labels_turn_it,
        },
        Check {
            name: "unit_does_not_matter",
            promise: "Activations in another unit, or moved as a whole, give the same direction.",
            kind: Kind::Property,
            run: unit_of_difference,
        },
        Check {
            name: "matches_definition",
            promise: "It is the difference of the two means, with length 1.",
            kind: Kind::Reference,
            run: difference_matches,
        },
        Check {
            name: "gradient_reaches_activations",
            promise: "The gradient reaches `activations`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_activations,
        },
        Check {
            name: "missing_class_is_refused",
            promise: "A class without rows, or too few labels, give an error.",
            kind: Kind::Errors,
            run: missing_class_of_difference,
        },
    ],
    impostors: &[
        Impostor {
            name: "wrong_sign",
            diagnosis: "it points from label 1 to label 0; it must point to label 1",
            caught_by: "documented_example",
            answer: plain!(sign: -1.0),
        },
        Impostor {
            name: "not_unit",
            diagnosis: "the direction does not have length 1, so a dose along it has no unit",
            caught_by: "documented_example",
            answer: plain!(is_unit: false),
        },
        Impostor {
            name: "one_mean_only",
            diagnosis: "the mean of label 1 is taken alone; most of it is in all activations",
            caught_by: "documented_example",
            answer: plain!(one_mean: true),
        },
        Impostor {
            name: "sums_for_means",
            diagnosis: "the sums of the classes are compared, so the larger class outweighs",
            caught_by: "documented_example",
            answer: plain!(sums: true),
        },
        Impostor {
            name: "mean_over_features",
            diagnosis: "the mean runs over the features; it must run over the rows",
            caught_by: "documented_example",
            answer: answer!(|activations: &Tensor, labels: &Tensor| {
                let signs = (labels.to_dtype(activations.dtype())? * 2.0)? - 1.0;
                let apart = (activations.mean(1)? * signs?)?;
                apart.broadcast_div(&apart.sqr()?.sum_all()?.sqrt()?)
            }),
        },
        Impostor {
            name: "made_positive",
            diagnosis: "the sign is chosen so that the largest coordinate is positive; here it \
                        says which class is which",
            caught_by: "other_labels_turn_it",
            answer: plain!(positive: true),
        },
        Impostor {
            name: "epsilon_in_length",
            diagnosis: "a small number is added under the root, which is not small for activations \
                        in another unit",
            caught_by: "unit_does_not_matter",
            answer: plain!(epsilon: 1e-8),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the direction is computed in `f32` whatever the activations are",
            caught_by: "matches_definition",
            answer: answer!(|activations: &Tensor, labels: &Tensor| {
                let single = activations.to_dtype(CandleDType::F32)?;
                by_matmul(&single, labels)?.to_dtype(activations.dtype())
            }),
        },
        Impostor {
            name: "left_the_graph",
            diagnosis: "the value leaves the graph on the way, so no gradient comes back",
            caught_by: "gradient_reaches_activations",
            answer: answer!(|activations: &Tensor, labels: &Tensor| {
                by_matmul(&activations.detach(), labels)
            }),
        },
        Impostor {
            name: "nothing_over_nothing",
            diagnosis: "a class without rows is not refused, and 0 / 0 makes the direction NaN",
            caught_by: "missing_class_is_refused",
            answer: answer!(|activations: &Tensor, labels: &Tensor| {
                let zero = labels.eq(0u8)?.to_dtype(activations.dtype())?;
                let one = labels.eq(1u8)?.to_dtype(activations.dtype())?;
                unit_between(activations, &zero, &one)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_matmul",
        answer: answer!(|activations: &Tensor, labels: &Tensor| by_matmul(activations, labels)),
    }],
};

/// A mean over some rows and a length; the coordinates are at most 1.
const TOLERANCE: Tolerance = Tolerance::roundings(256.0).at_scale(1.0);

fn documented_difference(trial: &mut Trial) -> Outcome {
    let activations = Array::matrix(&[[1., 0.], [1., 2.], [4., 5.]]).to(DType::F32);
    let labels = Array::vector(&[0., 0., 1.]).to(DType::U8);
    let direction = trial.array(args![activations: &activations, labels: &labels])?;
    let expected = Array::vector(&[0.6, 0.8]).to(DType::F32);
    trial.close("direction", &direction, &expected, TOLERANCE)
}

fn difference(trial: &mut Trial, rows: &Classes) -> std::result::Result<Array, crate::Stop> {
    trial.array(args![activations: &rows.activations, labels: &rows.labels])
}

fn other_labels_turn_it(trial: &mut Trial) -> Outcome {
    let rows = Classes::random(&mut trial.rng, 11, 5).to(DType::F32);
    let labels = rows.labels.map(|label| 1.0 - label);
    let before = difference(trial, &rows)?;
    let after = difference(trial, &Classes { labels, ..rows.clone() })?;
    let turned = before.map(|x| -x);
    trial.close("direction with the labels exchanged", &after, &turned, TOLERANCE)?;
    trial.close("direction", &before, &plain(&rows), TOLERANCE)
}

fn unit_of_difference(trial: &mut Trial) -> Outcome {
    let rows = Classes::random(&mut trial.rng, 11, 5).to(DType::F32);
    for (times, plus) in [(1e-4, 0.0), (1e3, 0.0), (1.0, 3.0)] {
        let direction = difference(trial, &rows.with(|x| times * x + plus))?;
        let name = format!("direction of activations times {times} plus {plus}");
        trial.close(&name, &direction, &plain(&rows), TOLERANCE)?;
    }
    Ok(())
}

fn difference_matches(trial: &mut Trial) -> Outcome {
    for (n, d_model, dtype) in
        [(12, 7, DType::F64), (9, 4, DType::F32), (2, 1, DType::F64), (5, 3, DType::F32)]
    {
        let rows = Classes::random(&mut trial.rng, n, d_model).to(dtype);
        let direction = difference(trial, &rows)?;
        trial.close("direction", &direction, &plain(&rows), TOLERANCE)?;
    }
    Ok(())
}

fn gradient_reaches_activations(trial: &mut Trial) -> Outcome {
    let rows = Classes::random(&mut trial.rng, 6, 3);
    let labels = rows.labels.clone();
    let args = args![activations: &rows.activations, labels: &labels];
    trial.gradient_matches(args, |at| {
        plain(&Classes { activations: at.get("activations").clone(), labels: labels.clone() })
    })
}

fn missing_class_of_difference(trial: &mut Trial) -> Outcome {
    let rows = Classes::random(&mut trial.rng, 6, 3);
    for (case, labels) in wrong_labels(&rows) {
        trial.refuses(case, args![activations: &rows.activations, labels: &labels])?;
    }
    Ok(())
}

pub(super) fn wrong_labels(rows: &Classes) -> [(&'static str, Array); 3] {
    [
        ("no row has label 1", rows.labels.map(|_| 0.0)),
        ("no row has label 0", rows.labels.map(|_| 1.0)),
        ("`labels` has one entry too few", rows.labels.narrow(0, 0, 5)),
    ]
}

pub(super) fn plain(rows: &Classes) -> Array {
    PLAIN.direction(rows, 0.0).expect("invariant: drawn rows have both classes")
}

pub(super) fn with(
    ways: &Ways,
    activations: &Tensor,
    labels: &Tensor,
    ridge: f64,
) -> anyhow::Result<Tensor> {
    let rows = Classes { activations: array(activations)?, labels: array(labels)? };
    tensor(&ways.direction(&rows, ridge)?)?.sent_to(activations)
}

/// A right answer whose means are products with a row of weights.
fn by_matmul(activations: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (n, n_ones) = (activations.dim(0)?, labels.sum_all()?.to_scalar::<u8>()? as usize);
    if labels.dims() != [n] || n_ones == 0 || n_ones == n {
        bail!("a class has no row, or labels do not fit");
    }
    let one = labels.to_dtype(activations.dtype())?;
    unit_between(activations, &(one.neg()? + 1.0)?, &one)
}

/// From the mean of the rows that `zero` weighs to that of those that `one` does.
fn unit_between(activations: &Tensor, zero: &Tensor, one: &Tensor) -> Result<Tensor> {
    let share = (one.broadcast_div(&one.sum_all()?)? - zero.broadcast_div(&zero.sum_all()?)?)?;
    let apart = share.unsqueeze(0)?.matmul(&activations.contiguous()?)?.squeeze(0)?;
    apart.broadcast_div(&apart.sqr()?.sum_all()?.sqrt()?)
}
