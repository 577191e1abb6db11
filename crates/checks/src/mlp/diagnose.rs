//! `diagnose`: networks with planted faults, to be measured and named.

mod answers;
mod doctor;
mod faults;
mod patient;

use answer::{Weights, answer};
use candle_core::Tensor;
use protocol::{DType, Value};

use self::{
    doctor::RIGHT,
    faults::{BROKEN, Fault, draw},
    patient::{Finding, Patient, Sizes, Verdict, bias, weight},
};
use crate::{Alternative, Array, Check, Kind, Named, Outcome, Part, Stop, Tolerance, Trial, named};

pub(super) const DIAGNOSE: Part = Part {
    name: "diagnose",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "measurements_are_exact",
            promise: "Silent units, gradients and losses are what the contract says, in `f32` and \
                      `f64`.",
            kind: Kind::Reference,
            run: measurements_are_exact,
        },
        Check {
            name: "order_changes_nothing",
            promise: "Hidden units and examples in another order give the same word, layer and \
                      numbers.",
            kind: Kind::Property,
            run: order_changes_nothing,
        },
        Check {
            name: "healthy_networks_are_let_be",
            promise: "Networks that learn are healthy: with a silent unit, many classes, many \
                      layers.",
            kind: Kind::Property,
            run: healthy_networks_are_let_be,
        },
        Check {
            name: "broken_networks_are_named",
            promise: "Eleven broken networks get the right word and the right layer.",
            kind: Kind::Property,
            run: broken_networks_are_named,
        },
        Check {
            name: "first_of_two_faults_is_named",
            promise: "Of two faults, the one that comes first in the list is named.",
            kind: Kind::Property,
            run: first_of_two_faults_is_named,
        },
        Check {
            name: "bad_input_is_refused",
            promise: "Data that are no numbers, no steps and missing targets give an error.",
            kind: Kind::Errors,
            run: bad_input_is_refused,
        },
    ],
    impostors: answers::IMPOSTORS,
    alternatives: &[Alternative {
        name: "backward_by_hand",
        answer: answer!(|weights: &Weights,
                         x: &Tensor,
                         targets: &Tensor,
                         lr: f64,
                         steps: usize| {
            RIGHT.examine(weights, x, targets, lr, steps)
        }),
    }],
};

/// Some steps of descent through some layers.
const TOLERANCE: Tolerance = Tolerance::roundings(2048.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let zeros = Array::vector(&[0., 0.]);
    let weights = [
        (weight(0), Array::matrix(&[[-1.], [-2.]])),
        (bias(0), zeros.clone()),
        (weight(1), Array::matrix(&[[1., 2.], [3., 4.]])),
        (bias(1), zeros),
    ];
    let patient = Patient {
        weights: weights.into(),
        x: Array::matrix(&[[1.], [2.]]),
        targets: Array::vector(&[0., 1.]).to(DType::U32),
        lr: 0.5,
        steps: 1,
    };
    let patient = patient.to(DType::F32);
    let (verdict, measured) = ask(trial, &patient)?;
    let expected = [
        ("silent", Array::vector(&[1.])),
        ("gradients", Array::vector(&[0., 0.5])),
        ("losses", Array::full(&[2], 2f64.ln())),
    ];
    let tolerance = TOLERANCE.at_scale(1.0);
    let expected = expected.map(|(name, array)| (name, array.to(DType::F32), tolerance));
    trial.close_each("measurement", &measured, &expected)?;
    is_named(trial, &verdict, ("dead", Some(0)), "both units of layer 0 are 0 on both examples")
}

fn measurements_are_exact(trial: &mut Trial) -> Outcome {
    let deep = Sizes { batch: 5, d_in: 3, hidden: vec![7; 11], n_classes: 2 };
    let single = Sizes { batch: 1, d_in: 2, hidden: vec![3], n_classes: 5 };
    let usual = Sizes { batch: 7, ..Sizes::usual() };
    for (sizes, dtype) in
        [(&usual, DType::F64), (&single, DType::F32), (&deep, DType::F64), (&usual, DType::F32)]
    {
        let mut patient = Patient::healthy(&mut trial.rng, sizes);
        if sizes.batch > 5 {
            Fault::OneSilent.plant(&mut patient, &mut trial.rng, 1);
        }
        (patient.lr, patient.steps) = (0.2, 3);
        let patient = patient.to(dtype);
        let (_, measured) = ask(trial, &patient)?;
        same_numbers(trial, &measured, patient.measured())?;
    }
    Ok(())
}

fn order_changes_nothing(trial: &mut Trial) -> Outcome {
    let sizes = Sizes::usual();
    // Two units alike are no fault, nor are units that agree on one example.
    let mut alike = Patient::healthy(&mut trial.rng, &sizes);
    for layer in 0..sizes.hidden.len() {
        for name in [weight(layer), bias(layer)] {
            let old = alike.weights[&name].clone();
            let first = |at: &[usize]| [&[0], &at[1..]].concat();
            alike.change(&name, |at, w| if at[0] == 1 { old.at(&first(at)) } else { w });
        }
    }
    let mut at_rest = Patient::healthy(&mut trial.rng, &sizes);
    at_rest.x =
        Array::from_fn(at_rest.x.shape(), |at| if at[0] == 0 { 0.0 } else { at_rest.x.at(at) });
    at_rest.change(&bias(0), |_, _| 0.05);
    for mut patient in [alike, at_rest] {
        // Few steps are enough here: what they lead to is not asked.
        patient.steps = 2;
        let patient = patient.to(DType::F64);
        let (before, measured) = ask(trial, &patient)?;
        let (after, again) = ask(trial, &patient.reordered())?;
        trial.ensure(before == after, || {
            format!(
                "It said {}; with hidden units and examples in another order, {}.",
                said(&before),
                said(&after)
            )
        })?;
        let right = patient.measured();
        let promised = right.map(|(name, right)| {
            let ours = measured.get(name).filter(|array| array.shape() == right.shape());
            (name, ours.unwrap_or(&right).to(DType::F64))
        });
        same_numbers(trial, &again, promised)?;
    }
    Ok(())
}

fn healthy_networks_are_let_be(trial: &mut Trial) -> Outcome {
    // Guessing one of 300 classes costs ln 300 = 5.7, more than twice what guessing of ten does.
    let many = Sizes { batch: 12, n_classes: 300, ..Sizes::usual() };
    let wide = Sizes { batch: 16, d_in: 5, hidden: vec![31, 33], n_classes: 3 };
    let usual = Sizes::usual();
    let one_silent = [(Fault::OneSilent, 1)];
    let cases = [
        (&usual, &one_silent[..0], DType::F32),
        (&wide, &one_silent[..0], DType::F64),
        (&usual, &one_silent[..], DType::F32),
        (&many, &one_silent[..0], DType::F32),
    ];
    for (sizes, faults, dtype) in cases {
        let (patient, finding) = draw(&mut trial.rng, sizes, faults, "healthy", dtype);
        let (verdict, _) = ask(trial, &patient)?;
        is_named(trial, &verdict, finding.verdict, &finding.why)?;
    }
    Ok(())
}

fn broken_networks_are_named(trial: &mut Trial) -> Outcome {
    let mut rounds = Vec::new();
    for (n, place) in trial.rng.permutation(BROKEN.len()).into_iter().enumerate() {
        let fault = BROKEN[place];
        let layer = match fault {
            // The last of two layers that no gradient reaches.
            Fault::Vanishing => 1,
            Fault::MinusInfinity => 1 + trial.rng.below(2),
            _ => trial.rng.below(2),
        };
        let dtype = if n % 2 == 0 { DType::F32 } else { DType::F64 };
        let sizes = Sizes::usual();
        let (patient, finding) =
            draw(&mut trial.rng, &sizes, &[(fault, layer)], fault.word(), dtype);
        let (verdict, _) = ask(trial, &patient)?;
        rounds.push((verdict, finding));
    }
    all_named(trial, &rounds)
}

fn first_of_two_faults_is_named(trial: &mut Trial) -> Outcome {
    let pairs: [([(Fault, usize); 2], &str); 6] = [
        ([(Fault::AllDead, 0), (Fault::NanWeight, 2)], "nan"),
        ([(Fault::TooSlow, 0), (Fault::AllDead, 1)], "dead"),
        ([(Fault::Twins, 2), (Fault::NearlyDead, 0)], "twins"),
        ([(Fault::Vanishing, 1), (Fault::Overconfident, 0)], "vanishing"),
        ([(Fault::Overconfident, 0), (Fault::TooFast, 0)], "overconfident"),
        ([(Fault::OneSilent, 2), (Fault::TooSlow, 0)], "too_slow"),
    ];
    let mut rounds = Vec::new();
    for (faults, word) in pairs {
        let (patient, finding) = draw(&mut trial.rng, &Sizes::usual(), &faults, word, DType::F64);
        let (verdict, _) = ask(trial, &patient)?;
        rounds.push((verdict, finding));
    }
    all_named(trial, &rounds)
}

fn bad_input_is_refused(trial: &mut Trial) -> Outcome {
    let sizes = Sizes { batch: 4, d_in: 3, hidden: vec![5], n_classes: 2 };
    let patient = Patient::healthy(&mut trial.rng, &sizes).to(DType::F32);
    for odd in [f64::NAN, f64::INFINITY] {
        let mut x = patient.x.clone();
        x.set(&[2, 1], odd);
        let case = format!("`x` contains {odd}");
        trial.refuses(&case, Patient { x, ..patient.clone() }.args())?;
    }
    trial.refuses("`steps` is 0", Patient { steps: 0, ..patient.clone() }.args())?;
    let targets = patient.targets.narrow(0, 0, 3);
    let case = "`x` has batch 4 and `targets` 3";
    trial.refuses(case, Patient { targets, ..patient }.args()).map(drop)
}

/// What an answer said: a word, and a layer or none.
type Said = (String, Option<i64>);

/// Asks about a network.
fn ask(trial: &mut Trial, patient: &Patient) -> Result<(Said, Named), Stop> {
    let values = trial.values(patient.args())?;
    let [Value::Text(word), layer, measured] = values.as_slice() else {
        return Err(trial.wrong("It did not return a word, a layer and measurements.".to_owned()));
    };
    let layer = match layer {
        Value::Int(layer) => Some(*layer),
        _ => None,
    };
    let Some(measured) = named::from_value(measured) else {
        return Err(trial.wrong("Its third result is not named tensors.".to_owned()));
    };
    // The word is the answer's own, as long as it likes.
    Ok(((word.chars().take(24).collect(), layer), measured))
}

fn same_numbers(trial: &mut Trial, got: &Named, expected: [(&'static str, Array); 3]) -> Outcome {
    let expected = expected.map(|(name, array)| {
        let tolerance = TOLERANCE.at_scale(array.max_abs().max(1.0));
        (name, array, tolerance)
    });
    trial.close_each("measurement", got, &expected)
}

fn is_named(trial: &mut Trial, got: &Said, expected: Verdict, why: &str) -> Outcome {
    trial.ensure(is_right(got, expected), || {
        format!("It said {}; it is {}: {why}.", said(got), right(expected))
    })
}

fn is_right((word, layer): &Said, expected: Verdict) -> bool {
    word == expected.0 && *layer == expected.1.map(|layer| layer as i64)
}

/// Proves that every network was named rightly; if not, says of each what it was.
fn all_named(trial: &mut Trial, rounds: &[(Said, Finding)]) -> Outcome {
    let missed = rounds.iter().filter(|(got, finding)| !is_right(got, finding.verdict));
    let Some((got, finding)) = missed.clone().next() else { return Ok(()) };
    let sentence = format!(
        "It named {} of {} networks rightly. Of the first that it missed it said {}; it is {}: {}.",
        rounds.len() - missed.count(),
        rounds.len(),
        said(got),
        right(finding.verdict),
        finding.why,
    );
    let Stop::Wrong(mut wrong) = trial.wrong(sentence) else {
        unreachable!("invariant: what is wrong stops as wrong")
    };
    let line = |(got, finding): &(Said, Finding)| {
        let truth = right(finding.verdict);
        if is_right(got, finding.verdict) {
            return format!("{truth}  right");
        }
        format!("{truth}  MISSED, it said {}: {}", said(got), finding.why)
    };
    wrong.each = rounds.iter().map(line).collect();
    Err(Stop::Wrong(wrong))
}

fn said((word, layer): &Said) -> String {
    let place = layer.map_or_else(|| "no layer".to_owned(), |layer| format!("layer {layer}"));
    format!("{word:?}, {place}")
}

fn right((word, layer): Verdict) -> String {
    said(&(word.to_owned(), layer.map(|layer| layer as i64)))
}
