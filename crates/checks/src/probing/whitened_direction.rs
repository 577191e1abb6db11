//! `whitened_direction`: from one class to the other, in units of the spread.

use answer::answer;
use candle_core::{DType as CandleDType, Tensor};
use protocol::DType;

use super::{
    border::array,
    difference_of_means::{plain, with, wrong_labels},
    direction_oracle::{Classes, RIGHT, Spread, Ways, dot},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

/// Makes an answer to `whitened_direction` that has one slip.
macro_rules! whitened {
    ($($field:ident: $value:expr),*) => {
        answer!(|activations: &Tensor, labels: &Tensor, ridge: f64| {
            with(&Ways { $($field: $value,)* ..RIGHT }, activations, labels, ridge)
        })
    };
}

pub(super) const WHITENED_DIRECTION: Part = Part {
    name: "whitened_direction",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_whitened,
        },
        Check {
            name: "distractor_is_ignored",
            promise: "A distractor that varies within the classes, and whose mean differs between \
                      them, gets no weight; the planted feature gets it all.",
            kind: Kind::Property,
            run: distractor_is_ignored,
        },
        Check {
            name: "unit_does_not_matter",
            promise: "Activations in another unit give the same direction if the ridge is in that \
                      unit too, and a huge ridge the difference of the means.",
            kind: Kind::Property,
            run: unit_of_whitened,
        },
        Check {
            name: "matches_definition",
            promise: "It solves the equation of the contract, and has length 1.",
            kind: Kind::Reference,
            run: whitened_matches,
        },
        Check {
            name: "missing_class_is_refused",
            promise: "A class without rows, or fewer than three rows, give an error.",
            kind: Kind::Errors,
            run: missing_class_of_whitened,
        },
    ],
    impostors: &[
        Impostor {
            name: "not_whitened",
            diagnosis: "this is the difference of the means; no spread is divided out",
            caught_by: "documented_example",
            answer: whitened!(spread: Spread::None),
        },
        Impostor {
            name: "variances_alone",
            diagnosis: "only variances are divided out; a distractor lies along no single feature, \
                        so covariances count",
            caught_by: "documented_example",
            answer: whitened!(spread: Spread::Diagonal),
        },
        Impostor {
            name: "divided_by_n",
            diagnosis: "the covariance is divided by n; two means were estimated, so n − 2",
            caught_by: "documented_example",
            answer: whitened!(less: 0.0),
        },
        Impostor {
            name: "multiplied_by_covariance",
            diagnosis: "the difference is multiplied by the covariance, which makes the distractor \
                        larger; solve for it",
            caught_by: "documented_example",
            answer: whitened!(multiplies: true),
        },
        Impostor {
            name: "not_unit",
            diagnosis: "the direction does not have length 1",
            caught_by: "documented_example",
            answer: whitened!(is_unit: false),
        },
        Impostor {
            name: "wrong_sign",
            diagnosis: "it points from label 1 to label 0; it must point to label 1",
            caught_by: "documented_example",
            answer: whitened!(sign: -1.0),
        },
        Impostor {
            name: "solved_in_two_steps",
            diagnosis: "the equation is solved by two steps of an iteration, which is enough for \
                        two features and no more",
            caught_by: "distractor_is_ignored",
            answer: whitened!(steps: Some(2)),
        },
        Impostor {
            name: "jitter_on_the_diagonal",
            diagnosis: "a small number is added to the diagonal beside `ridge`, which is not small \
                        for activations in another unit",
            caught_by: "unit_does_not_matter",
            answer: whitened!(jitter: 1e-7),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the direction is rounded to `f32` whatever the activations are",
            caught_by: "matches_definition",
            answer: answer!(|activations: &Tensor, labels: &Tensor, ridge: f64| {
                let direction = with(&RIGHT, activations, labels, ridge)?;
                direction.to_dtype(CandleDType::F32)?.to_dtype(activations.dtype())
            }),
        },
        Impostor {
            name: "rows_believed",
            diagnosis: "a class without rows, or a covariance of two rows, is not refused",
            caught_by: "missing_class_is_refused",
            answer: whitened!(checks: false),
        },
    ],
    alternatives: &[
        Alternative {
            name: "by_inverse",
            answer: answer!(|activations: &Tensor, labels: &Tensor, ridge: f64| {
                by_inverse(activations, labels, ridge)
            }),
        },
        // The spread between the classes lies along the difference itself: it changes the length of
        // the solution and not its direction (Sherman and Morrison).
        Alternative { name: "by_total_covariance", answer: whitened!(spread: Spread::Total) },
    ],
};

/// Solving multiplies errors by the covariance's condition, some dozens here.
const SOLVED: Tolerance = Tolerance::roundings(4096.0).at_scale(1.0);

fn exact(rows: &Classes, ridge: f64) -> Array {
    RIGHT.direction(rows, ridge).expect("invariant: drawn rows have both classes")
}

fn documented_whitened(trial: &mut Trial) -> Outcome {
    let activations = Array::matrix(&[[0., 0.], [4., 2.], [2., 2.], [6., 4.]]).to(DType::F32);
    let labels = Array::vector(&[0., 0., 1., 1.]).to(DType::U8);
    let direction = trial.array(args![activations: &activations, labels: &labels, ridge: 1.0])?;
    let root = 104f64.sqrt();
    let expected = Array::vector(&[-2.0 / root, 10.0 / root]).to(DType::F32);
    trial.close("direction", &direction, &expected, SOLVED)
}

/// Rows whose spread is planted exactly: for every basis vector one row up and one down.
struct Planted {
    rows: Classes,
    feature: Vec<f64>,
    distractor: Vec<f64>,
}

fn plant(trial: &mut Trial, d_model: usize) -> Planted {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    while basis.len() < d_model {
        let mut next: Vec<f64> = (0..d_model).map(|_| trial.rng.normal()).collect();
        for known in &basis {
            let along = dot(&next, known);
            next.iter_mut().zip(known).for_each(|(x, k)| *x -= along * k);
        }
        let length = dot(&next, &next).sqrt();
        if length > 0.3 {
            basis.push(next.iter().map(|x| x / length).collect());
        }
    }
    // The feature is narrow, the distractor very wide, the others in between.
    let spread = |k: usize| [1.0, 400.0].get(k).copied().unwrap_or(2.0 + k as f64);
    // Both means differ: by the feature, twice as much by the distractor, by others a little.
    let apart = |k: usize| [2.0, 4.0].get(k).copied().unwrap_or(0.5);
    let mut values = Vec::new();
    let mut labels = Vec::new();
    for class in [0.0, 1.0] {
        for (k, vector) in basis.iter().enumerate() {
            for sign in [-1.0, 1.0] {
                values.extend((0..d_model).map(|at| {
                    sign * spread(k) * vector[at]
                        + class * (0..d_model).map(|k| apart(k) * basis[k][at]).sum::<f64>()
                }));
                labels.push(class);
            }
        }
    }
    let activations = Array::new(&[labels.len(), d_model], values);
    let rows = Classes { activations, labels: Array::vector(&labels).to(DType::U8) };
    Planted { rows, feature: basis[0].clone(), distractor: basis[1].clone() }
}

fn distractor_is_ignored(trial: &mut Trial) -> Outcome {
    let planted = plant(trial, 6);
    let args = args![
        activations: &planted.rows.activations, labels: &planted.rows.labels, ridge: 0.0
    ];
    let direction = trial.array(args)?;
    trial.has_shape("direction", &direction, &[6])?;
    let along = |vector: &[f64]| dot(direction.values(), vector);
    let (feature, distractor) = (along(&planted.feature), along(&planted.distractor));
    trial.ensure(distractor.abs() < 0.01 && feature > 0.99, || {
        format!(
            "Planted were a narrow feature, and a distractor whose mean differs twice as much but \
             which varies 400 times as much within the classes. The cosine of your direction with \
             the feature is {feature:.3}, with the distractor {distractor:.3}; expected about 1 \
             and 0. That of the difference of the means is 0.44 and 0.87."
        )
    })
}

fn whitened(
    trial: &mut Trial,
    rows: &Classes,
    ridge: f64,
) -> std::result::Result<Array, crate::Stop> {
    trial.array(args![activations: &rows.activations, labels: &rows.labels, ridge: ridge])
}

fn unit_of_whitened(trial: &mut Trial) -> Outcome {
    let rows = Classes::random(&mut trial.rng, 20, 4).to(DType::F32);
    for unit in [1e-3, 1e2] {
        let direction = whitened(trial, &rows.with(|x| unit * x), 0.1 * unit * unit)?;
        let name = format!("direction of activations times {unit}");
        trial.close(&name, &direction, &exact(&rows, 0.1), SOLVED)?;
    }
    let direction = whitened(trial, &rows, 1e12)?;
    trial.close("direction with a huge ridge", &direction, &plain(&rows), SOLVED)
}

fn whitened_matches(trial: &mut Trial) -> Outcome {
    for (n, d_model, ridge, dtype) in [
        (30, 5, 0.0, DType::F64),
        (24, 3, 0.2, DType::F32),
        (3, 4, 0.5, DType::F64),
        (5, 1, 0.1, DType::F32),
    ] {
        let rows = Classes::random(&mut trial.rng, n, d_model).to(dtype);
        let direction = whitened(trial, &rows, ridge)?;
        trial.close("direction", &direction, &exact(&rows, ridge), SOLVED)?;
    }
    Ok(())
}

fn missing_class_of_whitened(trial: &mut Trial) -> Outcome {
    let rows = Classes::random(&mut trial.rng, 6, 3);
    for (case, labels) in wrong_labels(&rows) {
        trial.refuses(case, args![activations: &rows.activations, labels: &labels, ridge: 0.1])?;
    }
    let two = Classes::random(&mut trial.rng, 2, 3);
    let args = args![activations: &two.activations, labels: &two.labels, ridge: 0.1];
    trial.refuses("there are two rows", args).map(|_| ())
}

/// A right answer by the inverse: Sherman and Morrison's update, one row at a time.
fn by_inverse(activations: &Tensor, labels: &Tensor, ridge: f64) -> anyhow::Result<Tensor> {
    let rows = Classes { activations: array(activations)?, labels: array(labels)? };
    // Refuses what is to be refused, and nothing else.
    RIGHT.direction(&rows, ridge)?;
    let double = activations.to_dtype(CandleDType::F64)?;
    let (n, d_model) = double.dims2()?;
    let device = activations.device();
    let one = labels.to_dtype(CandleDType::F64)?.unsqueeze(1)?;
    let zero = (one.neg()? + 1.0)?;
    let mean = |weigh: &Tensor| {
        double.broadcast_mul(weigh)?.sum_keepdim(0)?.broadcast_div(&weigh.sum_keepdim(0)?)
    };
    let (of_zero, of_one) = (mean(&zero)?, mean(&one)?); // (1, d_model)
    let own = (zero.matmul(&of_zero)? + one.matmul(&of_one)?)?;
    let centred = ((double - own)? / ((n - 2) as f64).sqrt())?;
    // Starts from a ridge far below all spreads if there is none; two corrections remove it.
    let start = if ridge > 0.0 { ridge } else { 1e-5 };
    let mut inverse = (Tensor::eye(d_model, CandleDType::F64, device)? / start)?;
    for row in 0..n {
        let x = centred.narrow(0, row, 1)?.t()?; // (d_model, 1)
        let image = inverse.matmul(&x)?;
        let size = (x.t()?.contiguous()?.matmul(&image)? + 1.0)?;
        inverse = (&inverse - image.matmul(&image.t()?)?.broadcast_div(&size)?)?;
    }
    let apart = (of_one - of_zero)?.t()?.contiguous()?;
    let mut direction = inverse.matmul(&apart)?;
    for _ in 0..4 {
        let image = centred.t()?.matmul(&centred.matmul(&direction)?)?;
        let left = (&apart - (image + (&direction * ridge)?)?)?;
        direction = (direction + inverse.matmul(&left)?)?;
    }
    let direction = direction.squeeze(1)?;
    let length = direction.sqr()?.sum_all()?.sqrt()?;
    Ok(direction.broadcast_div(&length)?.to_dtype(activations.dtype())?)
}
