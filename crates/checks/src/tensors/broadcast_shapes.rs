//! `broadcast_shapes`: the shape that two shapes stretch to.

use answer::answer;
use candle_core::{Result, Shape, bail};

use super::rules::NO_READY_SHAPES;
use crate::{Alternative, Check, Impostor, Kind, Outcome, Part, Trial, args};

pub(super) const BROADCAST_SHAPES: Part = Part {
    name: "broadcast_shapes",
    rule: Some(NO_READY_SHAPES),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "matches_definition",
            promise: "Right-aligned, each axis takes the length that is not 1.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "order_does_not_matter",
            promise: "Swapping the two shapes changes nothing.",
            kind: Kind::Property,
            run: order_does_not_matter,
        },
        Check {
            name: "one_becomes_zero_against_zero",
            promise: "An axis of length 1 takes the other's length, even if that is 0.",
            kind: Kind::Property,
            run: one_becomes_zero_against_zero,
        },
        Check {
            name: "misfits_are_refused",
            promise: "Shapes that do not fit get an error that names both.",
            kind: Kind::Errors,
            run: misfits_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "aligned_from_the_left",
            diagnosis: "the shapes are aligned at their first axes; they meet at their last",
            caught_by: "documented_example",
            answer: answer!(|left: &[usize], right: &[usize]| {
                let rank = left.len().max(right.len());
                let at = |shape: &[usize], axis: usize| shape.get(axis).copied().unwrap_or(1);
                let meet = |axis| meet(at(left, axis), at(right, axis));
                (0..rank).map(meet).collect::<Result<Vec<_>>>()
            }),
        },
        Impostor {
            name: "longer_shape_kept",
            diagnosis: "the shape with more axes comes back as it is; its axes of length 1 must \
                        stretch too",
            caught_by: "documented_example",
            answer: answer!(|left: &[usize], right: &[usize]| {
                (if left.len() >= right.len() { left } else { right }).to_vec()
            }),
        },
        Impostor {
            name: "only_left_stretches",
            diagnosis: "only the left shape's axes of length 1 stretch; the right one's must too",
            caught_by: "matches_definition",
            answer: answer!(|left: &[usize], right: &[usize]| {
                let mut shape = stretch(left, right)?;
                shape.iter_mut().rev().zip(right.iter().rev()).for_each(|(to, &from)| *to = from);
                shape
            }),
        },
        Impostor {
            name: "left_is_taken_as_longer",
            diagnosis: "the left shape is taken to have at least as many axes as the right one",
            caught_by: "order_does_not_matter",
            answer: answer!(|left: &[usize], right: &[usize]| {
                let mut shape = left.to_vec();
                for (to, &other) in shape.iter_mut().rev().zip(right.iter().rev()) {
                    *to = meet(*to, other)?;
                }
                shape
            }),
        },
        Impostor {
            name: "larger_length_taken",
            diagnosis: "the larger of two lengths is taken; 1 against 0 must give 0, and 2 against \
                        3 an error",
            caught_by: "one_becomes_zero_against_zero",
            answer: answer!(|left: &[usize], right: &[usize]| {
                aligned(left, right).map(|(a, b)| a.max(b)).collect::<Vec<_>>()
            }),
        },
        Impostor {
            name: "nothing_refused",
            diagnosis: "lengths that do not fit are never noticed: if one is not 1, it wins",
            caught_by: "misfits_are_refused",
            answer: answer!(|left: &[usize], right: &[usize]| {
                aligned(left, right).map(|(a, b)| if a == 1 { b } else { a }).collect::<Vec<_>>()
            }),
        },
        Impostor {
            name: "multiples_accepted",
            diagnosis: "a length that divides the other is accepted; only 1 stretches",
            caught_by: "misfits_are_refused",
            answer: answer!(|left: &[usize], right: &[usize]| {
                let fit = |(a, b): (usize, usize)| match (a, b) {
                    (a, b) if a > 1 && b > 1 && (a % b == 0 || b % a == 0) => Ok(a.max(b)),
                    (a, b) => meet(a, b),
                };
                aligned(left, right).map(fit).collect::<Result<Vec<_>>>()
            }),
        },
        Impostor {
            name: "only_lengths_named",
            diagnosis: "the error names the two lengths, but not the two shapes",
            caught_by: "misfits_are_refused",
            answer: answer!(|left: &[usize], right: &[usize]| {
                aligned(left, right).map(|(a, b)| meet(a, b)).collect::<Result<Vec<_>>>()
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_candle",
        answer: answer!(|left: &[usize], right: &[usize]| {
            let shape =
                Shape::from(left).broadcast_shape_binary_op(&Shape::from(right), "answer")?;
            shape.into_dims()
        }),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    asks(trial, &[2, 3, 1], &[4], &[2, 3, 4])
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    asks(trial, &[4], &[1], &[4])?;
    asks(trial, &[5, 3, 1], &[1, 2], &[5, 3, 2])?;
    asks(trial, &[7, 1, 6, 1], &[8, 1, 5], &[7, 8, 6, 5])?;
    for _ in 0..8 {
        // The left shape has at least as many axes; `order_does_not_matter` looks at the rest.
        let (left, right, shape) = fitting(trial);
        asks(trial, &left, &right, &shape)?;
    }
    Ok(())
}

fn order_does_not_matter(trial: &mut Trial) -> Outcome {
    asks(trial, &[4], &[2, 3, 1], &[2, 3, 4])?;
    asks(trial, &[], &[3, 2], &[3, 2])?;
    for _ in 0..6 {
        let (left, right, shape) = fitting(trial);
        asks(trial, &right, &left, &shape)?;
    }
    Ok(())
}

fn one_becomes_zero_against_zero(trial: &mut Trial) -> Outcome {
    asks(trial, &[1, 3], &[0, 3], &[0, 3])?;
    asks(trial, &[2, 0], &[1], &[2, 0])
}

fn misfits_are_refused(trial: &mut Trial) -> Outcome {
    let cases: [(&[usize], &[usize]); 5] =
        [(&[2, 3], &[4, 3]), (&[2, 6], &[3]), (&[3], &[5, 2]), (&[4, 2, 1], &[3, 7]), (&[0], &[2])];
    for (left, right) in cases {
        let case = format!("{left:?} and {right:?} do not fit");
        let said = trial.refuses(&case, args![left: left, right: right])?;
        let (first, second) = (format!("{left:?}"), format!("{right:?}"));
        trial.ensure(said.contains(&first) && said.contains(&second), || {
            format!("{case}, but the error does not name both shapes: {said}")
        })?;
    }
    Ok(())
}

fn asks(trial: &mut Trial, left: &[usize], right: &[usize], expected: &[usize]) -> Outcome {
    let got = trial.ints(args![left: left, right: right])?;
    let expected: Vec<i64> = expected.iter().map(|&length| length as i64).collect();
    trial.equal("shape", &got, &expected)
}

/// Draws the shape first, and then makes axes of either side 1, or leaves leading ones away.
fn fitting(trial: &mut Trial) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let rng = &mut trial.rng;
    let rank = rng.between(1, 4);
    let shape: Vec<usize> = (0..rank).map(|_| rng.between(1, 6)).collect();
    let (mut left, mut right) = (shape.clone(), shape.clone());
    for axis in 0..rank {
        match rng.below(3) {
            0 => left[axis] = 1,
            1 => right[axis] = 1,
            _ => {}
        }
    }
    // Only where nothing is lost may an axis go.
    let lost = (0..rng.below(rank + 1)).take_while(|&axis| left[axis] == shape[axis]).count();
    (left, right.split_off(lost), shape)
}

/// The lengths that meet, from the first axis to the last; missing ones are 1.
fn aligned(left: &[usize], right: &[usize]) -> impl DoubleEndedIterator<Item = (usize, usize)> {
    let rank = left.len().max(right.len());
    let padded = |shape: &[usize]| {
        let mut padded = vec![1; rank - shape.len()];
        padded.extend(shape);
        padded
    };
    padded(left).into_iter().zip(padded(right))
}

fn stretch(left: &[usize], right: &[usize]) -> Result<Vec<usize>> {
    aligned(left, right).map(|(a, b)| meet(a, b)).collect()
}

fn meet(a: usize, b: usize) -> Result<usize> {
    match (a, b) {
        (a, b) if a == b => Ok(a),
        (1, b) => Ok(b),
        (a, 1) => Ok(a),
        _ => bail!("lengths {a} and {b} do not fit"),
    }
}
