//! Wrong diagnoses: each measures or judges in one way that it should not.

use answer::{Weights, answer};
use candle_core::{DType, Tensor};

use super::{
    doctor::{
        Chart, Doctor, RIGHT, Test, dead, exploding, hidden, highest, nan, norm, overconfident,
        share, too_fast, too_slow, twins, vanishing,
    },
    patient::Verdict,
};
use crate::Impostor;

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        answer!(|weights: &Weights, x: &Tensor, targets: &Tensor, lr: f64, steps: usize| {
            Doctor { $($field: $value,)* ..RIGHT }.examine(weights, x, targets, lr, steps)
        })
    };
}

pub(super) const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "loss_alone_watched",
        diagnosis: "only the loss is judged; layers that are dead or do not get a gradient are \
                    taken for a wrong learning rate",
        caught_by: "documented_example",
        answer: slip!(list: &[nan_in_the_loss, overconfident, too_fast, too_slow]),
    },
    Impostor {
        name: "dead_called_vanishing",
        diagnosis: "dead units are not looked for; no gradient passes them, so they are taken for \
                    vanishing gradients",
        caught_by: "documented_example",
        answer: slip!(list: &[
            nan, twins, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "silence_called_twins",
        diagnosis: "units that are all 0 are taken for twins; they are equal because they are dead",
        caught_by: "documented_example",
        answer: slip!(list: &[
            nan, twins_of_silence, dead, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "norm_not_rooted",
        diagnosis: "the norm of a gradient is the sum of the squares, without its root",
        caught_by: "documented_example",
        answer: slip!(size: |gradient, _| Ok(norm(gradient)?.powi(2))),
    },
    Impostor {
        name: "gradients_of_weights",
        diagnosis: "the gradients are those of the weights; what the layer gives is asked for, \
                    which does not depend on how large its inputs are",
        caught_by: "documented_example",
        answer: slip!(size: |_, of_weight| norm(of_weight)),
    },
    Impostor {
        name: "silent_on_some_example",
        diagnosis: "a unit counts as silent as soon as it is 0 on one example; every unit is \
                    sometimes",
        caught_by: "measurements_are_exact",
        answer: slip!(silent: |units| share(units, |unit| unit.iter().any(|y| *y <= 0.0))),
    },
    Impostor {
        name: "silent_numbers_counted",
        diagnosis: "the share of zeros among all numbers is taken, not that of units which are \
                    never anything else",
        caught_by: "measurements_are_exact",
        answer: slip!(silent: |units| {
            let shares = units.iter().map(|unit| {
                unit.iter().filter(|y| **y <= 0.0).count() as f64 / unit.len() as f64
            });
            shares.sum::<f64>() / units.len() as f64
        }),
    },
    Impostor {
        name: "steps_start_over",
        diagnosis: "every step starts from the weights that came, so the loss stays that of the \
                    first step",
        caught_by: "measurements_are_exact",
        answer: slip!(goes_on: false),
    },
    Impostor {
        name: "layers_by_name",
        diagnosis: "the layers are taken in the order of their names, in which `layers.10` comes \
                    before `layers.2`",
        caught_by: "measurements_are_exact",
        answer: slip!(layers: |n| {
            let mut layers: Vec<usize> = (0..n).collect();
            layers.sort_by_key(usize::to_string);
            // Widths fit where the order is wrong only between layers of one width.
            layers.retain(|&layer| layer < n - 1);
            layers.push(n - 1);
            layers
        }),
    },
    Impostor {
        name: "single_precision",
        diagnosis: "everything is computed in `f32`, whatever came",
        caught_by: "measurements_are_exact",
        answer: slip!(dtype: |_| DType::F32),
    },
    Impostor {
        name: "first_two_units_compared",
        diagnosis: "a layer counts as twins if its first two units are alike; all must be",
        caught_by: "order_changes_nothing",
        answer: slip!(list: &[
            nan, first_two_alike, dead, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "first_example_asked",
        diagnosis: "units are compared on the first example only, on which they may agree by \
                    chance",
        caught_by: "order_changes_nothing",
        answer: slip!(list: &[
            nan, alike_at_first, dead, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "one_dead_unit_is_enough",
        diagnosis: "a layer is called dead for one silent unit; the others do its work",
        caught_by: "healthy_networks_are_let_be",
        answer: slip!(list: &[
            nan, twins, any_dead, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "ten_classes_assumed",
        diagnosis: "the first loss is compared with ln 10, whatever the number of classes",
        caught_by: "healthy_networks_are_let_be",
        answer: slip!(list: &[
            nan, twins, dead, vanishing, exploding, above_ten_classes, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "nan_in_the_loss",
        diagnosis: "only the loss is asked whether it is a number, so the layer where it began is \
                    not known",
        caught_by: "broken_networks_are_named",
        answer: slip!(list: &[
            nan_in_the_loss, twins, dead, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "infinity_overlooked",
        diagnosis: "an infinity below 0 is not seen: only NaN is looked for, or only what `relu` \
                    leaves, which is 0",
        caught_by: "broken_networks_are_named",
        answer: slip!(list: &[
            nan_not_infinite, twins, dead, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "weights_alone_judged",
        diagnosis: "vanishing and exploding are told from the size of the weights, not from the \
                    gradient that arrives",
        caught_by: "broken_networks_are_named",
        answer: slip!(list: &[
            nan, twins, dead, weights_too_small, weights_too_large, overconfident, too_fast,
            too_slow
        ]),
    },
    Impostor {
        name: "all_must_be_dead",
        diagnosis: "a layer is dead only if every unit is silent; half of them are enough",
        caught_by: "broken_networks_are_named",
        answer: slip!(list: &[
            nan, twins, all_dead, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "neighbours_compared",
        diagnosis: "a gradient is compared with that of the next layer, not with the last one's, \
                    so one that fades slowly is not seen",
        caught_by: "broken_networks_are_named",
        answer: slip!(list: &[
            nan, twins, dead, vanishing_at_once, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "first_layer_blamed",
        diagnosis: "of the layers with too small a gradient the first is named; the last is next \
                    to where it is lost",
        caught_by: "broken_networks_are_named",
        answer: slip!(list: &[
            nan, twins, dead, vanishing_first, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "loss_before_gradients",
        diagnosis: "the first loss is judged before the gradients; exploding ones make it large",
        caught_by: "broken_networks_are_named",
        answer: slip!(list: &[
            nan, twins, dead, overconfident, vanishing, exploding, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "last_loss_alone",
        diagnosis: "too small and too large a rate are told apart by the last loss alone: whatever \
                    does not fall counts as too slow",
        caught_by: "broken_networks_are_named",
        answer: slip!(list: &[
            nan, twins, dead, vanishing, exploding, overconfident, too_slow_or_worse, too_fast
        ]),
    },
    Impostor {
        name: "layer_by_layer",
        diagnosis: "one layer after the other is asked for every fault; a fault is to be looked \
                    for in all layers before the next one is",
        caught_by: "first_of_two_faults_is_named",
        answer: slip!(list: &[
            lowest_layer, vanishing, exploding, overconfident, too_fast, too_slow
        ]),
    },
    Impostor {
        name: "rate_before_start",
        diagnosis: "the learning rate is judged before the first loss",
        caught_by: "first_of_two_faults_is_named",
        answer: slip!(list: &[
            nan, twins, dead, vanishing, exploding, too_fast, overconfident, too_slow
        ]),
    },
    Impostor {
        name: "data_believed",
        diagnosis: "numbers of `x` that are not finite are not refused, and a layer is blamed",
        caught_by: "bad_input_is_refused",
        answer: slip!(refuses_data: false),
    },
    Impostor {
        name: "lengths_believed",
        diagnosis: "no steps, or too few targets, are not refused",
        caught_by: "bad_input_is_refused",
        answer: slip!(refuses_lengths: false),
    },
];

const NAN_TWINS_DEAD: [Test; 3] = [nan, twins, dead];

fn lowest_layer(chart: &Chart) -> Option<Verdict> {
    let found = NAN_TWINS_DEAD.iter().filter_map(|test| test(chart));
    found.min_by_key(|(_, layer)| *layer)
}

fn nan_in_the_loss(chart: &Chart) -> Option<Verdict> {
    (!chart.losses[0].is_finite()).then_some(("nan", Some(chart.given.len() - 1)))
}

fn nan_not_infinite(chart: &Chart) -> Option<Verdict> {
    let layer = chart.given.iter().position(|units| units.iter().flatten().any(|y| y.is_nan()))?;
    Some(("nan", Some(layer)))
}

fn twins_of_silence(chart: &Chart) -> Option<Verdict> {
    let silent = chart.silent.iter().position(|&share| share >= 1.0);
    silent.map(|layer| ("twins", Some(layer))).or_else(|| twins(chart))
}

fn first_two_alike(chart: &Chart) -> Option<Verdict> {
    let is_alike = |units: &Vec<Vec<f64>>| {
        let pairs = units[0].iter().zip(&units[1]);
        let largest = pairs.map(|(a, b)| (a.max(0.0) - b.max(0.0)).abs()).fold(0.0, f64::max);
        highest(units) > 0.0 && largest <= 1e-3 * highest(units)
    };
    hidden(chart).position(is_alike).map(|layer| ("twins", Some(layer)))
}

fn alike_at_first(chart: &Chart) -> Option<Verdict> {
    let is_alike = |units: &Vec<Vec<f64>>| {
        let same = |unit: &Vec<f64>| (unit[0] - units[0][0]).abs() <= 1e-3 * highest(units);
        highest(units) > 0.0 && units.iter().all(same)
    };
    hidden(chart).position(is_alike).map(|layer| ("twins", Some(layer)))
}

fn any_dead(chart: &Chart) -> Option<Verdict> {
    chart.silent.iter().position(|&share| share > 0.0).map(|layer| ("dead", Some(layer)))
}

fn all_dead(chart: &Chart) -> Option<Verdict> {
    chart.silent.iter().position(|&share| share >= 1.0).map(|layer| ("dead", Some(layer)))
}

fn vanishing_at_once(chart: &Chart) -> Option<Verdict> {
    let layer = chart.gradients.windows(2).rposition(|pair| pair[0] < 1e-3 * pair[1])?;
    Some(("vanishing", Some(layer)))
}

fn vanishing_first(chart: &Chart) -> Option<Verdict> {
    vanishing(chart).map(|(word, _)| (word, Some(0)))
}

/// A weight's usual size is between 0.01 and 1.
fn weights_too_small(chart: &Chart) -> Option<Verdict> {
    let layer = chart.spreads.iter().rposition(|&spread| spread < 1e-3)?;
    Some(("vanishing", Some(layer)))
}

fn weights_too_large(chart: &Chart) -> Option<Verdict> {
    let layer = chart.spreads.iter().rposition(|&spread| spread > 1e3)?;
    Some(("exploding", Some(layer)))
}

fn above_ten_classes(chart: &Chart) -> Option<Verdict> {
    (chart.losses[0] > 2.0 * 10f64.ln()).then_some(("overconfident", None))
}

fn too_slow_or_worse(chart: &Chart) -> Option<Verdict> {
    let fell = chart.losses.last().is_some_and(|last| *last < 0.95 * chart.losses[0]);
    (!fell).then_some(("too_slow", None))
}
