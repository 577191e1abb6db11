//! `one_hot`: labels against class numbers.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor};
use protocol::DType;

use super::{inputs::labels, rules::PUZZLE};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const ONE_HOT: Part = Part {
    name: "one_hot",
    rule: Some(PUZZLE),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "each_row_holds_one",
            promise: "However many classes there are, each row holds a single 1.",
            kind: Kind::Property,
            run: each_row_holds_one,
        },
        Check {
            name: "labels_outside_give_zeros",
            promise: "A label that is no class gives a row of zeros.",
            kind: Kind::Property,
            run: labels_outside_give_zeros,
        },
        Check {
            name: "matches_definition",
            promise: "It is 1 where the column is the label, for labels of every integer dtype.",
            kind: Kind::Reference,
            run: matches_definition,
        },
    ],
    impostors: &[
        Impostor {
            name: "transposed",
            diagnosis: "the classes run down and the labels across; each label needs a row",
            caught_by: "documented_example",
            answer: answer!(|labels: &Tensor, n_classes: usize| hot(labels, n_classes)?.t()),
        },
        Impostor {
            name: "classes_from_one",
            diagnosis: "the classes are counted from 1; they start at 0",
            caught_by: "documented_example",
            answer: answer!(|labels: &Tensor, n_classes: usize| {
                let classes = Tensor::arange(1, n_classes as i64 + 1, labels.device())?;
                upright(labels)?.broadcast_eq(&classes)
            }),
        },
        Impostor {
            name: "filled_up_to_the_label",
            diagnosis: "every column up to the label is 1 (a thermometer); only the label's own is",
            caught_by: "documented_example",
            answer: answer!(|labels: &Tensor, n_classes: usize| {
                upright(labels)?.broadcast_ge(&classes(labels, n_classes)?)
            }),
        },
        Impostor {
            name: "returned_as_f32",
            diagnosis: "the result is `f32`; a comparison gives `u8`, and it is asked for as that",
            caught_by: "documented_example",
            answer: answer!(|labels: &Tensor, n_classes: usize| {
                hot(labels, n_classes)?.to_dtype(CandleDType::F32)
            }),
        },
        Impostor {
            name: "classes_in_u8",
            diagnosis: "labels and classes are counted in `u8`, so class 256 is taken for class 0",
            caught_by: "each_row_holds_one",
            answer: answer!(|labels: &Tensor, n_classes: usize| {
                let classes = classes(labels, n_classes)?.to_dtype(CandleDType::U8)?;
                labels.to_dtype(CandleDType::U8)?.unsqueeze(1)?.broadcast_eq(&classes)
            }),
        },
        Impostor {
            name: "labels_clamped",
            diagnosis: "a label past the last class is taken for the last class",
            caught_by: "labels_outside_give_zeros",
            answer: answer!(|labels: &Tensor, n_classes: usize| {
                let last = n_classes as i64 - 1;
                hot(&labels.to_dtype(CandleDType::I64)?.clamp(i64::MIN, last)?, n_classes)
            }),
        },
        Impostor {
            name: "labels_wrap_around",
            diagnosis: "a negative label counts from the end, as an index of Python does",
            caught_by: "labels_outside_give_zeros",
            answer: answer!(|labels: &Tensor, n_classes: usize| {
                let shifted = (labels.to_dtype(CandleDType::I64)? + n_classes as f64)?;
                hot(labels, n_classes)? + hot(&shifted, n_classes)?
            }),
        },
        Impostor {
            name: "u32_only",
            diagnosis: "labels must be `u32` for it; any integer dtype may come",
            caught_by: "matches_definition",
            answer: answer!(|labels: &Tensor, n_classes: usize| {
                match labels.dtype() {
                    // `i64` passes the checks before; a `u8` against `u32` is an error in candle.
                    CandleDType::U8 => labels.unsqueeze(1)?.broadcast_eq(&Tensor::arange(
                        0,
                        n_classes as u32,
                        labels.device(),
                    )?),
                    _ => hot(labels, n_classes),
                }
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "row_by_row",
        answer: answer!(|labels: &Tensor, n_classes: usize| row_by_row(labels, n_classes)),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let got = trial.array(args![labels: &labels(&[2, 0], DType::U32), n_classes: 3usize])?;
    let expected = Array::matrix(&[[0., 0., 1.], [1., 0., 0.]]).to(DType::U8);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn each_row_holds_one(trial: &mut Trial) -> Outcome {
    asks(trial, &[0, 255, 256, 299, 44], DType::U32, 300)
}

fn labels_outside_give_zeros(trial: &mut Trial) -> Outcome {
    asks(trial, &[3, 1, 7, 4], DType::U32, 4)?;
    asks(trial, &[-1, 2, -100, 5], DType::I64, 4)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for dtype in [DType::U32, DType::I64, DType::U8] {
        for (count, n_classes) in [(1, 1), (1, 4), (7, 3), (2, 5)] {
            let drawn: Vec<i32> = (0..count).map(|_| trial.rng.below(n_classes) as i32).collect();
            asks(trial, &drawn, dtype, n_classes)?;
        }
    }
    Ok(())
}

fn asks(trial: &mut Trial, drawn: &[i32], dtype: DType, n_classes: usize) -> Outcome {
    let got = trial.array(args![labels: &labels(drawn, dtype), n_classes: n_classes])?;
    let is_hot = |at: &[usize]| f64::from(i64::from(drawn[at[0]]) == at[1] as i64);
    let expected = Array::from_fn(&[drawn.len(), n_classes], is_hot).to(DType::U8);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn hot(labels: &Tensor, n_classes: usize) -> Result<Tensor> {
    upright(labels)?.broadcast_eq(&classes(labels, n_classes)?)
}

fn upright(labels: &Tensor) -> Result<Tensor> {
    labels.to_dtype(CandleDType::I64)?.unsqueeze(1)
}

fn classes(labels: &Tensor, n_classes: usize) -> Result<Tensor> {
    Tensor::arange(0, n_classes as i64, labels.device())
}

fn row_by_row(labels: &Tensor, n_classes: usize) -> Result<Tensor> {
    let rows: Vec<i64> = labels.to_dtype(CandleDType::I64)?.to_vec1()?;
    let mut hot = vec![0u8; rows.len() * n_classes];
    for (row, &label) in rows.iter().enumerate() {
        if let Some(class) = usize::try_from(label).ok().filter(|&class| class < n_classes) {
            hot[row * n_classes + class] = 1;
        }
    }
    Tensor::from_vec(hot, (rows.len(), n_classes), labels.device())
}
