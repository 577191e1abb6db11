//! `control_task`: a probe beside random labels, an untrained model, and the commoner label.

use answer::{Weights, answer};
use anyhow::Result;
use candle_core::Tensor;
use protocol::DType;

use super::{
    border::{Sent as _, array, tensor},
    control_oracle::{Lot, RIGHT, Slips, Task, lots},
    probe_oracle::{Config, RIGHT as PROBE, mean},
};
use crate::{
    Alternative, Array, Check, Generator, Impostor, Kind, Outcome, Part, Tolerance, Trial,
};

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        slip!(|task| Slips { $($field: $value,)* ..RIGHT }.control(&task)?.results())
    };
    (|$task:ident| $body:expr) => {
        answer!(|activations: &Tensor, untrained: &Tensor, labels: &Tensor, tokens: &Tensor,
                 games: &Tensor, noise: &Weights, config: Config| {
            let $task = Task::read([activations, untrained, labels, tokens, games], noise, config)?;
            $body?.sent_to(activations)
        })
    };
}

pub(super) const CONTROL_TASK: Part = Part {
    name: "control_task",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "a_type_has_one_label",
            promise: "All rows of a type have one control label, drawn from the real ones.",
            kind: Kind::Property,
            run: a_type_has_one_label,
        },
        Check {
            name: "types_by_heart_have_no_selectivity",
            promise: "Where activations tell types alone, the control task is read as well as one \
                      that depends on the type.",
            kind: Kind::Property,
            run: types_by_heart_have_no_selectivity,
        },
        Check {
            name: "matches_definition",
            promise: "The accuracies of all four are those of the contract.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "bad_tokens_are_refused",
            promise: "Tokens that are missing, or have no noise, give an error.",
            kind: Kind::Errors,
            run: bad_tokens_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "labels_flipped_by_noise",
            diagnosis: "a type's noise is taken for its label (below 1/2 or not); draw from the \
                        real labels, so that the control has as many ones",
            caught_by: "documented_example",
            answer: slip!(lot: Lot::Coin),
        },
        Impostor {
            name: "selectivity_turned",
            diagnosis: "selectivity has the wrong sign: it is the task less the control",
            caught_by: "matches_definition",
            answer: slip!(selectivity: [-1.0, 1.0, 0.0, 0.0]),
        },
        Impostor {
            name: "majority_of_held_out",
            diagnosis: "the commoner label is that of the rows held out; who answers does not know \
                        them",
            caught_by: "matches_definition",
            answer: slip!(majority_of_held_out: true),
        },
        Impostor {
            name: "lot_for_each_row",
            diagnosis: "every row draws its own label, so there is nothing to learn by heart \
                        either; a control task has one label for each type",
            caught_by: "documented_example",
            answer: slip!(lot: Lot::Row),
        },
        Impostor {
            name: "types_by_first_row",
            diagnosis: "a type's label is that of its first row, which is no lot: a control task \
                        must have nothing to do with the real one",
            caught_by: "documented_example",
            answer: slip!(lot: Lot::FirstRow),
        },
        Impostor {
            name: "types_in_order_of_appearance",
            diagnosis: "the first type that comes gets the first noise; type `t` has noise `t`, \
                        whenever it comes",
            caught_by: "a_type_has_one_label",
            answer: slip!(lot: Lot::Appearance),
        },
        Impostor {
            name: "rounded_to_a_row",
            diagnosis: "`types[t] · n` is rounded to the nearest row, which may be one behind the \
                        last; cut the fraction off",
            caught_by: "a_type_has_one_label",
            answer: slip!(lot: Lot::Nearest),
        },
        Impostor {
            name: "control_scored_by_truth",
            diagnosis: "the control is trained on the real labels: it is the same probe again",
            caught_by: "matches_definition",
            answer: slip!(control_learns_truth: true),
        },
        Impostor {
            name: "selectivity_of_untrained",
            diagnosis: "selectivity compares with the untrained model; it compares with the \
                        control task",
            caught_by: "types_by_heart_have_no_selectivity",
            answer: slip!(selectivity: [1.0, 0.0, -1.0, 0.0]),
        },
        Impostor {
            name: "selectivity_over_majority",
            diagnosis: "selectivity compares with the commoner label; it compares with the \
                        control task",
            caught_by: "documented_example",
            answer: slip!(selectivity: [1.0, 0.0, 0.0, -1.0]),
        },
        Impostor {
            name: "untrained_reads_control",
            diagnosis: "the probe of the untrained model is trained on the control labels; it \
                        must read the real ones",
            caught_by: "matches_definition",
            answer: slip!(untrained_reads_control: true),
        },
        Impostor {
            name: "no_untrained_model",
            diagnosis: "row 2 is read from the trained model's activations again",
            caught_by: "matches_definition",
            answer: slip!(untrained_is_trained: true),
        },
        Impostor {
            name: "tokens_believed",
            diagnosis: "tokens that are too few are taken as they are, and one without noise gets \
                        the last type's label",
            caught_by: "bad_tokens_are_refused",
            answer: slip!(checks: false),
        },
    ],
    alternatives: &[Alternative {
        name: "by_one_hot_types",
        answer: slip!(|task| by_one_hot(&task)),
    }],
};

/// Accuracies are means of a few zeros and ones; selectivity of a few of those.
const TOLERANCE: Tolerance = Tolerance::roundings(64.0).at_scale(1.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1.], [-1.], [1.], [-1.]]).to(DType::F32);
    let task = Task {
        activations: x.clone(),
        untrained: x.map(|x| 2.0 * x),
        labels: Array::vector(&[1., 0., 1., 0.]).to(DType::U8),
        tokens: Array::vector(&[0., 1., 0., 1.]).to(DType::U32),
        games: Array::vector(&[0., 0., 1., 1.]).to(DType::U32),
        split: Array::vector(&[0.9, 0.9, 0.1, 0.1]).to(DType::F32),
        types: Array::vector(&[0.3, 0.1]).to(DType::F32),
        config: Config { held_out: 0.5, steps: 2, lr: 1.0, l2: 0.0 },
    };
    let [control, accuracies, selectivity] = trial.arrays(task.args())?;
    let expected = Array::vector(&[0., 1., 0., 1.]).to(DType::U8);
    trial.close("control labels", &control, &expected, Tolerance::EXACT)?;
    let expected = Array::matrix(&[[1.], [1.], [1.], [0.5]]).to(DType::F32);
    trial.close("accuracies", &accuracies, &expected, TOLERANCE)?;
    let expected = Array::new(&[], vec![0.0]).to(DType::F32);
    trial.close("selectivity", &selectivity, &expected, TOLERANCE)
}

fn a_type_has_one_label(trial: &mut Trial) -> Outcome {
    let is_telling = |task: &Task| {
        [Lot::Appearance, Lot::Nearest].iter().all(|&lot| lots(task, lot) != lots(task, Lot::Type))
    };
    let task = draw(trial, |rng| contextual(rng, DType::F32), is_telling);
    let [control, ..]: [Array; 3] = trial.arrays(task.args())?;
    let n = task.labels.dim(0);
    trial.has_shape("control labels", &control, &[n])?;
    for row in 0..n {
        let kind = task.tokens.at(&[row]);
        let first = (0..row).find(|&other| (task.tokens.at(&[other]) - kind).abs() < 0.5);
        let Some(first) = first else { continue };
        let (here, there) = (control.at(&[row]), control.at(&[first]));
        trial.ensure((here - there).abs() < 0.5, || {
            format!(
                "Rows {first} and {row} are of type {kind}, but their control labels are {there} \
                 and {here}: a type has one label wherever it stands."
            )
        })?;
    }
    trial.close("control labels", &control, &lots(&task, Lot::Type), Tolerance::EXACT)
}

fn types_by_heart_have_no_selectivity(trial: &mut Trial) -> Outcome {
    let is_telling = |task: &Task| {
        let found = right(task);
        let row = |k| mean(&found.accuracies.narrow(0, k, 1));
        let (of_task, of_control, of_untrained, of_majority) = (row(0), row(1), row(2), row(3));
        of_task > 0.99 && of_control > 0.99 && of_untrained < 0.9 && of_majority < 0.9
    };
    let task = draw(trial, memorised, is_telling);
    let [_, accuracies, selectivity] = trial.arrays(task.args())?;
    let exact = right(&task);
    trial.has_shape("accuracies", &accuracies, exact.accuracies.shape())?;
    trial.has_shape("selectivity", &selectivity, &[])?;
    let found = selectivity.values()[0];
    trial.ensure(found.abs() <= 0.02, || {
        format!(
            "Here the label depends on the type alone, and activations tell the type: the control \
             task is read as well as the real one ({:.0} % and {:.0} %), so selectivity is 0. \
             Yours is {found:.2}.",
            100.0 * mean(&exact.accuracies.narrow(0, 1, 1)),
            100.0 * mean(&exact.accuracies.narrow(0, 0, 1))
        )
    })
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for dtype in [DType::F64, DType::F32] {
        let task = draw(trial, |rng| contextual(rng, dtype), tells_rows_apart);
        let exact = right(&task);
        let [control, accuracies, selectivity] = trial.arrays(task.args())?;
        trial.close("control labels", &control, &exact.control, Tolerance::EXACT)?;
        trial.close("accuracies", &accuracies, &exact.accuracies, TOLERANCE)?;
        trial.close("selectivity", &selectivity, &exact.selectivity, TOLERANCE)?;
    }
    Ok(())
}

fn bad_tokens_are_refused(trial: &mut Trial) -> Outcome {
    let task = draw(trial, |rng| contextual(rng, DType::F32), |_| true);
    let fewer = Task { tokens: task.tokens.narrow(0, 0, N - 1), ..task.clone() };
    trial.refuses("`tokens` has one entry too few", fewer.args())?;
    let types = task.types.narrow(0, 0, N_TYPES - 1);
    let case = format!("token {} has no noise", N_TYPES - 1);
    trial.refuses(&case, Task { types, ..task }.args()).map(|_| ())
}

const N_GAMES: usize = 12;
const SEQ: usize = 6;
const N: usize = N_GAMES * SEQ;
const N_TYPES: usize = 5;
const CONFIG: Config = Config { held_out: 0.5, steps: 12, lr: 1.0, l2: 0.01 };

/// Whether each row of the accuracies and each lot is told from the others.
fn tells_rows_apart(task: &Task) -> bool {
    let exact = right(task);
    let slips = [
        Slips { majority_of_held_out: true, ..RIGHT },
        Slips { untrained_reads_control: true, ..RIGHT },
        Slips { untrained_is_trained: true, ..RIGHT },
        Slips { control_learns_truth: true, ..RIGHT },
    ];
    slips
        .iter()
        .all(|slips| slips.control(task).is_ok_and(|found| found.accuracies != exact.accuracies))
}

fn right(task: &Task) -> super::control_oracle::Controlled {
    RIGHT.control(task).expect("invariant: tasks that a check draws can be controlled")
}

/// Draws until no row is too near to be told, every type comes, and the check can tell.
fn draw(
    trial: &mut Trial,
    mut make: impl FnMut(&mut Generator) -> Task,
    is_telling: impl Fn(&Task) -> bool,
) -> Task {
    let mut task = make(&mut trial.rng);
    for _ in 0..500 {
        let clear = RIGHT.control(&task).is_ok_and(|found| found.nearest > 1e-3);
        if clear && task.has_both_lots() && is_telling(&task) {
            break;
        }
        task = make(&mut trial.rng);
    }
    task
}

/// The label depends on the context alone, and so, less clearly, do the activations.
fn contextual(rng: &mut Generator, dtype: DType) -> Task {
    let labels = Array::from_fn(&[N], |_| f64::from(u8::from(rng.uniform() < 0.4)));
    let activations = Array::from_fn(&[N, 3], |at| {
        rng.normal() + if at[1] == 1 { 2.0 * labels.at(&at[..1]) } else { 0.0 }
    });
    task(rng, &activations, &labels, dtype)
}

/// The label depends on the type alone, and the activations are the type.
fn memorised(rng: &mut Generator) -> Task {
    let of_type = |kind: f64| f64::from(u8::from(kind < 2.0));
    let drawn = task(rng, &Array::full(&[N, 1], 0.0), &Array::full(&[N], 0.0), DType::F64);
    let activations = Array::from_fn(&[N, N_TYPES], |at| {
        let is_kind = (drawn.tokens.at(&at[..1]) - at[1] as f64).abs() < 0.5;
        2.0 * f64::from(u8::from(is_kind)) + 0.1 * rng.normal()
    });
    let labels = drawn.tokens.map(of_type).to(DType::U8);
    Task { activations, labels, ..drawn }
}

fn task(rng: &mut Generator, activations: &Array, labels: &Array, dtype: DType) -> Task {
    let names = rng.permutation(N_GAMES);
    let uniform = |rng: &mut Generator, n| Array::from_fn(&[n], |_| rng.uniform()).to(dtype);
    Task {
        activations: activations.to(dtype).laid_out(&[1, 0]),
        untrained: rng.normal_array(&[N, 4]).to(dtype),
        labels: labels.to(DType::U8),
        tokens: Array::from_fn(&[N], |_| rng.below(N_TYPES) as f64).to(DType::U32),
        games: Array::from_fn(&[N], |at| names[at[0] / SEQ] as f64).to(DType::U32),
        split: uniform(rng, N),
        types: uniform(rng, N_TYPES),
        config: CONFIG,
    }
}

/// A right answer that multiplies rows by types with the types' labels.
fn by_one_hot(task: &Task) -> Result<(Tensor, Tensor, Tensor)> {
    let found = RIGHT.control(task)?;
    let dtype = task.activations.dtype();
    let one_hot = Array::from_fn(&[task.labels.dim(0), task.types.dim(0)], |at| {
        f64::from(u8::from((task.tokens.at(&at[..1]) - at[1] as f64).abs() < 0.5))
    });
    let n = task.labels.dim(0) as f64;
    let rows = task.types.map(|noise| (noise * n).floor().min(n - 1.0));
    let of_type =
        task.labels.select(0, &rows.values().iter().map(|&r| r as usize).collect::<Vec<_>>());
    let control = tensor(&one_hot.to(dtype))?.matmul(&tensor(&of_type.to(dtype))?.unsqueeze(1)?)?;
    let control = control.squeeze(1)?.to_dtype(candle_core::DType::U8)?;
    let rows = array(&control)?;
    let on = |activations: &Array, labels: &Array| {
        anyhow::Ok(PROBE.train(&task.rows(activations, labels))?.accuracies)
    };
    let each: Vec<Array> = vec![
        on(&task.activations, &task.labels)?,
        on(&task.activations, &rows)?,
        on(&task.untrained, &task.labels)?,
        found.accuracies.narrow(0, 3, 1).reshape(&[found.accuracies.dim(1)]),
    ];
    let each = each.iter().map(tensor).collect::<Result<Vec<_>>>()?;
    let selectivity = (&each[0] - &each[1])?.mean_all()?;
    Ok((control, Tensor::stack(&each, 0)?, selectivity))
}
