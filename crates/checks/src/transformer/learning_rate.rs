//! `learning_rate`: a warm-up, then half a cosine.

use answer::answer;
use candle_core::{Result, bail};
use protocol::{DType, Value};

use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

/// An answer that differs from the honest one between its errors.
macro_rules! rate {
    (|$run:ident| $rate:expr) => {
        answer!(|step: usize, warmup: usize, total: usize, peak: f64, floor: f64| {
            let $run = Run::new([step, warmup, total], peak, floor)?;
            Ok::<f64, candle_core::Error>($rate)
        })
    };
}

pub(super) const LEARNING_RATE: Part = Part {
    name: "learning_rate",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "floor_is_the_end",
            promise: "From the last step on, however far, the rate is `floor`.",
            kind: Kind::Property,
            run: floor_is_the_end,
        },
        Check {
            name: "it_lets_go_slowly",
            promise: "The rate falls slowly after the peak and before the floor, and fast between, \
                      the same way on both sides of the middle.",
            kind: Kind::Property,
            run: it_lets_go_slowly,
        },
        Check {
            name: "matches_definition",
            promise: "The rate is what its definition says, also without a warm-up and for a \
                      hundred thousand steps.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "impossible_runs_are_refused",
            promise: "A warm-up that leaves nothing, and rates that are negative, infinite or in \
                      the wrong order, give an error.",
            kind: Kind::Errors,
            run: impossible_runs_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "first_step_is_nothing",
            diagnosis: "the warm-up starts at a rate of 0, so the first step moves nothing",
            caught_by: "documented_example",
            answer: rate!(|run| if run.step < run.warmup {
                run.peak * run.step / run.warmup
            } else {
                run.rate()
            }),
        },
        Impostor {
            name: "peak_one_step_early",
            diagnosis: "off by one: the warm-up reaches the peak one step early",
            caught_by: "documented_example",
            answer: rate!(|run| if run.step < run.warmup {
                run.peak * (run.step + 1.0) / run.warmup
            } else {
                run.rate()
            }),
        },
        Impostor {
            name: "no_warmup",
            diagnosis: "the warm-up is left out, and the first steps are the largest",
            caught_by: "documented_example",
            answer: rate!(|run| if run.step < run.warmup { run.peak } else { run.rate() }),
        },
        Impostor {
            name: "warmup_from_the_floor",
            diagnosis: "the warm-up starts at the floor; it starts near 0",
            caught_by: "documented_example",
            answer: rate!(|run| if run.step < run.warmup {
                run.floor + (run.peak - run.floor) * (run.step + 1.0) / (run.warmup + 1.0)
            } else {
                run.rate()
            }),
        },
        Impostor {
            name: "cosine_from_the_first_step",
            diagnosis: "the cosine counts the steps of the warm-up, so it never starts at the peak",
            caught_by: "documented_example",
            answer: rate!(|run| if run.step < run.warmup {
                run.rate()
            } else {
                run.cosine((run.step / run.total).min(1.0))
            }),
        },
        Impostor {
            name: "no_floor",
            diagnosis: "the rate falls to 0; it has to end at `floor`",
            caught_by: "documented_example",
            answer: rate!(|run| {
                if run.step < run.warmup { run.rate() } else { run.without_floor() }
            }),
        },
        Impostor {
            name: "whole_cosine",
            diagnosis: "a whole turn of the cosine comes back to the peak; half of one ends below",
            caught_by: "documented_example",
            answer: rate!(|run| {
                if run.step < run.warmup { run.rate() } else { run.cosine(2.0 * run.progress()) }
            }),
        },
        Impostor {
            name: "rises_again",
            diagnosis: "behind the last step the cosine goes on, and the rate rises again",
            caught_by: "floor_is_the_end",
            answer: rate!(|run| {
                if run.step < run.warmup { run.rate() } else { run.cosine(run.unbounded()) }
            }),
        },
        Impostor {
            name: "straight_line",
            diagnosis: "the rate falls along a straight line; it follows half a cosine",
            caught_by: "it_lets_go_slowly",
            answer: rate!(|run| if run.step < run.warmup {
                run.rate()
            } else {
                run.peak + (run.floor - run.peak) * run.progress()
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the rate is computed in `f32`, though it is asked for in `f64`",
            caught_by: "matches_definition",
            answer: rate!(|run| f64::from(run.rate() as f32)),
        },
        Impostor {
            name: "peak_before_a_warmup_of_none",
            diagnosis: "without a warm-up, the first step is one down from the peak; step `warmup` \
                        has the peak",
            caught_by: "matches_definition",
            answer: rate!(|run| if run.warmup > 0.0 {
                run.rate()
            } else {
                run.cosine(((run.step + 1.0) / run.total).min(1.0))
            }),
        },
        Impostor {
            name: "rates_not_compared",
            diagnosis: "a floor above the peak passes, and the rate rises to it",
            caught_by: "impossible_runs_are_refused",
            answer: answer!(|step: usize, warmup: usize, total: usize, peak: f64, floor: f64| {
                let run = Run::new([step, warmup, total], peak.max(floor), floor.min(peak));
                run.map(|run| run.rate())
            }),
        },
        Impostor {
            name: "steps_not_compared",
            diagnosis: "a warm-up as long as the whole run passes, and never comes to an end",
            caught_by: "impossible_runs_are_refused",
            answer: answer!(|step: usize, warmup: usize, total: usize, peak: f64, floor: f64| {
                let total = total.max(warmup + 1);
                Run::new([step, warmup, total], peak, floor).map(|run| run.rate())
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_the_square_of_a_sine",
        answer: rate!(|run| if run.step < run.warmup {
            run.peak / (run.warmup + 1.0) * (run.step + 1.0)
        } else {
            let away = (0.5 * std::f64::consts::PI * run.progress()).sin().powi(2);
            run.peak - (run.peak - run.floor) * away
        }),
    }],
};

/// A few roundings in `f64`.
const TOLERANCE: Tolerance = Tolerance::roundings(8.0).in_double(1e-12);

fn documented_example(trial: &mut Trial) -> Outcome {
    for (step, expected) in [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (5, 2.5), (7, 1.0)] {
        let found = rate(trial, [step, 3, 7], 4.0, 1.0)?;
        close(trial, step, found, expected, 4.0)?;
    }
    Ok(())
}

fn floor_is_the_end(trial: &mut Trial) -> Outcome {
    let total = trial.rng.between(20, 40);
    for step in [total, total + 1, 2 * total, 1000 * total + 7] {
        let found = rate(trial, [step, 5, total], 1.0, 0.125)?;
        close(trial, step, found, 0.125, 1.0)?;
    }
    Ok(())
}

fn it_lets_go_slowly(trial: &mut Trial) -> Outcome {
    let (warmup, half) = (trial.rng.between(2, 6), trial.rng.between(8, 12));
    let (peak, floor) = (1.0, 0.25);
    let steps = [warmup, warmup + 1, warmup + half - 1, warmup + half, warmup + half + 1];
    let mut rates = Vec::new();
    for step in steps {
        rates.push(rate(trial, [step, warmup, warmup + 2 * half], peak, floor)?);
    }
    let (first, middle) = (rates[0] - rates[1], rates[2] - rates[3]);
    trial.ensure(first > 0.0 && 3.0 * first < middle, || {
        format!(
            "Right after the peak the rate falls by {first:.6} a step, in the middle by \
             {middle:.6}; along half a cosine it falls much faster in the middle."
        )
    })?;
    // What is as far before the middle as behind it is as far above as below.
    close(trial, steps[4], rates[4], peak + floor - rates[2], peak)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (warmup, total, peak, floor) in
        [(0, 10, 3e-4, 0.0), (0, 1, 1.0, 1.0), (7, 50, 6e-4, 6e-5), (2000, 100_000, 2.5e-4, 2.5e-5)]
    {
        let mut steps = vec![0, warmup, total - 1, total];
        for _ in 0..4 {
            steps.push(trial.rng.below(total));
        }
        for step in steps {
            let found = rate(trial, [step, warmup, total], peak, floor)?;
            close(trial, step, found, oracle([step, warmup, total], peak, floor), peak)?;
        }
    }
    Ok(())
}

fn impossible_runs_are_refused(trial: &mut Trial) -> Outcome {
    let cases = [
        ("a warm-up of 9 steps leaves nothing of 9", [3, 9, 9], 1.0, 0.1),
        ("a warm-up of 12 steps is longer than 9", [3, 12, 9], 1.0, 0.1),
        ("the floor is above the peak", [3, 2, 9], 0.1, 1.0),
        ("the floor is negative", [3, 2, 9], 1.0, -0.1),
        ("the peak is infinite", [3, 2, 9], f64::INFINITY, 0.1),
    ];
    for (case, [step, warmup, total], peak, floor) in cases {
        let args = args![
            step: step as usize, warmup: warmup as usize, total: total as usize,
            peak: peak, floor: floor,
        ];
        trial.refuses(case, args)?;
    }
    Ok(())
}

/// Asks for one rate.
fn rate(
    trial: &mut Trial,
    [step, warmup, total]: [usize; 3],
    peak: f64,
    floor: f64,
) -> std::result::Result<f64, Stop> {
    let args = args![step: step, warmup: warmup, total: total, peak: peak, floor: floor];
    match trial.values(args)?.as_slice() {
        [Value::Float(rate)] => Ok(*rate),
        _ => Err(trial.wrong("It did not return one number.".to_owned())),
    }
}

fn close(trial: &mut Trial, step: usize, found: f64, expected: f64, peak: f64) -> Outcome {
    let scalar = |number| Array::new(&[], vec![number]).to(DType::F64);
    let name = format!("rate of step {step}");
    trial.close(&name, &scalar(found), &scalar(expected), TOLERANCE.at_scale(peak))
}

fn oracle([step, warmup, total]: [usize; 3], peak: f64, floor: f64) -> f64 {
    if step < warmup {
        return peak * (step as f64 + 1.0) / (warmup as f64 + 1.0);
    }
    if step >= total {
        return floor;
    }
    let angle = std::f64::consts::PI * (step - warmup) as f64 / (total - warmup) as f64;
    f64::midpoint(peak, floor) + 0.5 * (peak - floor) * angle.cos()
}

/// An honest run, in numbers to reckon with.
struct Run {
    step: f64,
    warmup: f64,
    total: f64,
    peak: f64,
    floor: f64,
}

impl Run {
    fn new([step, warmup, total]: [usize; 3], peak: f64, floor: f64) -> Result<Self> {
        if warmup >= total || !(floor >= 0.0 && peak >= floor && peak.is_finite()) {
            bail!("{warmup} of {total}, from {peak} to {floor}");
        }
        let [step, warmup, total] = [step, warmup, total].map(|count| count as f64);
        Ok(Self { step, warmup, total, peak, floor })
    }

    fn unbounded(&self) -> f64 {
        (self.step - self.warmup) / (self.total - self.warmup)
    }

    fn progress(&self) -> f64 {
        self.unbounded().min(1.0)
    }

    fn cosine(&self, progress: f64) -> f64 {
        self.floor
            + 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()) * (self.peak - self.floor)
    }

    fn without_floor(&self) -> f64 {
        0.5 * (1.0 + (std::f64::consts::PI * self.progress()).cos()) * self.peak
    }

    fn rate(&self) -> f64 {
        if self.step < self.warmup {
            self.peak * (self.step + 1.0) / (self.warmup + 1.0)
        } else {
            self.cosine(self.progress())
        }
    }
}
