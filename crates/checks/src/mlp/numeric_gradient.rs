//! `numeric_gradient`: measured slopes, and which claimed ones hold.

use answer::{Program, Step, answer};
use candle_core::{Device, Result, Tensor, bail};
use protocol::DType;

use super::dual::{self, Rule, WRONG};
use crate::{
    Alternative, Array, Check, Homebound, Impostor, Kind, Outcome, Part, Tolerance, Trial, args,
};

/// Makes an answer that measures or judges in another way.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        answer!(|f: &Program, point: &Tensor, claimed: &Tensor| {
            Way { $($field: $value,)* ..RIGHT }.answer(f, point, claimed)
        })
    };
}

pub(super) const NUMERIC_GRADIENT: Part = Part {
    name: "numeric_gradient",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "slopes_are_exact",
            promise: "Measured slopes of smooth functions are the exact ones, to six digits.",
            kind: Kind::Reference,
            run: slopes_are_exact,
        },
        Check {
            name: "right_gradients_hold",
            promise: "Of eight gradients that are right, all hold: large ones, and slopes of 0.",
            kind: Kind::Property,
            run: right_gradients_hold,
        },
        Check {
            name: "wrong_gradients_are_flagged",
            promise: "Of eight gradients derived by a wrong rule, none holds.",
            kind: Kind::Property,
            run: wrong_gradients_are_flagged,
        },
        Check {
            name: "kinks_allow_what_is_between",
            promise: "At a kink any slope between left and right holds, and none outside.",
            kind: Kind::Property,
            run: kinks_allow_what_is_between,
        },
        Check {
            name: "other_lengths_are_refused",
            promise: "More or fewer claims than inputs give an error.",
            kind: Kind::Errors,
            run: other_lengths_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "flags_inverted",
            diagnosis: "1 stands for a claim that does not hold; it means that it does",
            caught_by: "documented_example",
            answer: slip!(judge: |claim, left, right| 1 - between(claim, left, right)),
        },
        Impostor {
            name: "point_not_put_back",
            diagnosis: "an input stays moved while the next one is measured",
            caught_by: "slopes_are_exact",
            answer: slip!(puts_back: false, step: |_| 1e-4),
        },
        Impostor {
            name: "forward_difference",
            diagnosis: "only a step forward is taken, whose error is as large as the step; one \
                        each way cancels it",
            caught_by: "documented_example",
            answer: slip!(left: 0.0, step: |_| 1e-4),
        },
        Impostor {
            name: "step_too_small",
            diagnosis: "the step is so small that the two values differ by little more than their \
                        rounding",
            caught_by: "documented_example",
            answer: slip!(step: |_| 1e-13),
        },
        Impostor {
            name: "step_in_single",
            diagnosis: "the moved input is rounded to `f32`, which is coarser than the step",
            caught_by: "documented_example",
            answer: slip!(moved: |x| f64::from(x as f32)),
        },
        Impostor {
            name: "step_too_large",
            diagnosis: "the step is so large that the function bends on the way",
            caught_by: "slopes_are_exact",
            answer: slip!(step: |_| 0.03),
        },
        Impostor {
            name: "slope_halved",
            diagnosis: "the difference is divided by four steps; there are two between the points",
            caught_by: "documented_example",
            answer: slip!(scale: 0.5),
        },
        Impostor {
            name: "absolute_tolerance",
            diagnosis: "claims are compared with the same tolerance whatever their size, so large \
                        ones fail by rounding",
            caught_by: "right_gradients_hold",
            answer: slip!(judge: |claim, left, right| {
                let slope = f64::midpoint(left, right);
                u8::from(between(claim, left, right) == 1 && (claim - slope).abs() < 1e-4)
                    .max(u8::from((left - right).abs() > 0.1) * between(claim, left, right))
            }),
        },
        Impostor {
            name: "relative_only",
            diagnosis: "the difference is divided by the slope, which is 0/0 where the slope is 0",
            caught_by: "right_gradients_hold",
            answer: slip!(judge: |claim, left, right| {
                let slope = f64::midpoint(left, right);
                let relative = (claim - slope).abs() / slope.abs().max(claim.abs());
                let is_kink = (left - right).abs() > 0.1;
                u8::from(relative <= 1e-4 || is_kink && between(claim, left, right) == 1)
            }),
        },
        Impostor {
            name: "signs_ignored",
            diagnosis: "only the sizes of claim and slope are compared, not their signs",
            caught_by: "wrong_gradients_are_flagged",
            answer: slip!(judge: |claim, left, right| {
                between(claim, left, right).max(between(-claim, left, right))
            }),
        },
        Impostor {
            name: "nan_holds",
            diagnosis: "a claim is refused if it is too far away, and nothing is far from NaN; ask \
                        whether it is near instead",
            caught_by: "wrong_gradients_are_flagged",
            answer: slip!(judge: |claim, left, right| {
                between(claim, left, right).max(u8::from(claim.is_nan()))
            }),
        },
        Impostor {
            name: "too_lenient",
            diagnosis: "claims hold that are off by a tenth",
            caught_by: "wrong_gradients_are_flagged",
            answer: slip!(judge: |claim, left, right| {
                let slack = 0.1 * f64::midpoint(left, right).abs().max(1.0);
                between(claim, left - slack, right).max(between(claim, left, right + slack))
            }),
        },
        Impostor {
            name: "no_kinks",
            diagnosis: "only the mean of both sides holds, so no subgradient but ½ does at the \
                        kink of a ReLU",
            caught_by: "kinks_allow_what_is_between",
            answer: slip!(judge: |claim, left, right| {
                let slope = f64::midpoint(left, right);
                between(claim, slope, slope)
            }),
        },
        Impostor {
            name: "anything_at_kinks",
            diagnosis: "where left and right differ, every claim holds",
            caught_by: "kinks_allow_what_is_between",
            answer: slip!(judge: |claim, left, right| {
                let is_kink = (left - right).abs() > 0.1 && claim < right.max(left) + 0.9;
                between(claim, left, right).max(u8::from(is_kink))
            }),
        },
        Impostor {
            name: "lengths_believed",
            diagnosis: "claims beyond the inputs are dropped without a word",
            caught_by: "other_lengths_are_refused",
            answer: answer!(|f: &Program, point: &Tensor, claimed: &Tensor| {
                let n = point.dim(0)?.min(claimed.dim(0)?);
                RIGHT.answer(f, &point.narrow(0, 0, n)?, &claimed.narrow(0, 0, n)?)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_richardson",
        answer: answer!(|f: &Program, point: &Tensor, claimed: &Tensor| {
            by_richardson(f, point, claimed)
        }),
    }],
};

pub(super) const HOMEBOUND: Homebound = Homebound {
    part: "numeric_gradient",
    diagnosis: "the slopes are put on the processor, wherever `point` is",
    answer: answer!(|f: &Program, point: &Tensor, claimed: &Tensor| {
        let (slopes, holds) = by_richardson(f, point, claimed)?;
        let home = |tensor: Tensor| tensor.to_device(&Device::Cpu);
        Ok::<_, candle_core::Error>((home(slopes)?, home(holds)?))
    }),
};

/// The contract's own bound.
const TOLERANCE: Tolerance = Tolerance::relative(1e-6);

/// How to measure, and how to judge a claim.
#[derive(Clone, Copy)]
struct Way {
    step: fn(f64) -> f64,
    /// How many steps are taken to the left, and what a moved input becomes.
    left: f64,
    moved: fn(f64) -> f64,
    puts_back: bool,
    scale: f64,
    judge: fn(f64, f64, f64) -> u8,
}

const RIGHT: Way = Way {
    step: |x| 1e-5 * x.abs().max(1.0),
    left: 1.0,
    moved: |x| x,
    puts_back: true,
    scale: 1.0,
    judge: between,
};

/// Whether a claim is between two slopes, or nearly.
fn between(claim: f64, left: f64, right: f64) -> u8 {
    let slack = 1e-4 * f64::midpoint(left, right).abs().max(1.0);
    u8::from(claim >= left.min(right) - slack && claim <= left.max(right) + slack)
}

impl Way {
    fn answer(&self, f: &Program, point: &Tensor, claimed: &Tensor) -> Result<(Tensor, Tensor)> {
        if point.dims() != claimed.dims() {
            bail!("they differ");
        }
        let value = |at: &[f64]| f.at(at).map_err(candle_core::Error::msg);
        let mut at = point.to_vec1::<f64>()?;
        let (mut slopes, mut holds) = (Vec::new(), Vec::new());
        for (n, claim) in claimed.to_vec1::<f64>()?.into_iter().enumerate() {
            let (x, here) = (at[n], value(&at)?);
            let step = (self.step)(x);
            at[n] = (self.moved)(x + step);
            let right = (value(&at)? - here) / step;
            at[n] = (self.moved)(x - step);
            let left = if self.left > 0.0 { (here - value(&at)?) / step } else { right };
            if self.puts_back {
                at[n] = x;
            }
            slopes.push(self.scale * f64::midpoint(left, right));
            holds.push((self.judge)(claim, left, right));
        }
        Ok((Tensor::new(slopes, point.device())?, Tensor::new(holds, point.device())?))
    }
}

/// Two steps, of which the error of the one cancels that of the other.
fn by_richardson(f: &Program, point: &Tensor, claimed: &Tensor) -> Result<(Tensor, Tensor)> {
    let (start, claims) = (point.to_vec1::<f64>()?, claimed.to_vec1::<f64>()?);
    if start.len() != claims.len() {
        bail!("{} inputs, {} claims", start.len(), claims.len());
    }
    let value = |n: usize, by: f64| {
        let moved = start.iter().enumerate().map(|(m, &x)| if m == n { x + by } else { x });
        f.at(&moved.collect::<Vec<_>>()).map_err(candle_core::Error::msg)
    };
    let mut answers = Vec::new();
    for (n, &claim) in claims.iter().enumerate() {
        let step = 2e-4 * start[n].abs().max(1.0);
        let mean = |h: f64| Ok::<_, candle_core::Error>((value(n, h)? - value(n, -h)?) / (2.0 * h));
        let slope = (4.0 * mean(step / 2.0)? - mean(step)?) / 3.0;
        let near = 1e-6 * start[n].abs().max(1.0);
        let left = (value(n, 0.0)? - value(n, -near)?) / near;
        let right = (value(n, near)? - value(n, 0.0)?) / near;
        answers.push((slope, between(claim, left, right)));
    }
    let (slopes, holds): (Vec<f64>, Vec<u8>) = answers.into_iter().unzip();
    let n = slopes.len();
    Ok((Tensor::from_vec(slopes, n, point.device())?, Tensor::from_vec(holds, n, point.device())?))
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let f = program(vec![
        Step::Input(0),
        Step::Pow(0, 2.0),
        Step::Input(1),
        Step::Relu(2),
        Step::Add(1, 3),
    ]);
    judges(trial, &f, &[3.0, 0.0], &[6.0, 2.0], &[6.0, 0.5], &[true, false])
}

fn slopes_are_exact(trial: &mut Trial) -> Outcome {
    for n_inputs in [1, 3, 4] {
        let f = dual::program(&mut trial.rng, n_inputs);
        let point = dual::point(&mut trial.rng, n_inputs);
        let (_, exact) = dual::gradient(&f, &point, Rule::Right);
        measures(trial, &f, &point, &exact)?;
    }
    Ok(())
}

fn right_gradients_hold(trial: &mut Trial) -> Outcome {
    for n in 0..6 {
        let mut f = dual::program(&mut trial.rng, 3);
        if n % 2 == 0 {
            // A large function, whose slopes are measured to fewer digits behind the point.
            let last = f.steps().len() - 1;
            let more = [Step::Constant(1e7), Step::Mul(last, last + 1)];
            f = program(f.steps().iter().copied().chain(more).collect());
        }
        let point = dual::point(&mut trial.rng, 3);
        let (_, exact) = dual::gradient(&f, &point, Rule::Right);
        // As far off as an honest derivation in `f32` is.
        let claimed: Vec<f64> = exact.iter().map(|slope| slope * (1.0 + 2e-5)).collect();
        judges(trial, &f, &point, &claimed, &exact, &[true; 3])?;
    }
    let flat = program(vec![Step::Input(0), Step::Input(1), Step::Pow(0, 2.0)]);
    judges(trial, &flat, &[0.0, 5.0], &[0.0, 0.0], &[0.0, 0.0], &[true; 2])?;
    let dead = program(vec![Step::Input(0), Step::Relu(0)]);
    judges(trial, &dead, &[-2.0], &[0.0], &[0.0], &[true])
}

fn wrong_gradients_are_flagged(trial: &mut Trial) -> Outcome {
    for rule in WRONG {
        let (f, point, exact, claimed) = planted(trial, rule);
        let holds: Vec<bool> =
            exact.iter().zip(&claimed).map(|(a, b)| (a - b).abs() < 1e-9).collect();
        judges(trial, &f, &point, &claimed, &exact, &holds)?;
    }
    let f = program(vec![Step::Input(0), Step::Exp(0)]);
    judges(trial, &f, &[0.0], &[f64::NAN], &[1.0], &[false])?;
    judges(trial, &f, &[0.0], &[1.05], &[1.0], &[false])
}

/// A function with a gradient that a wrong rule gives, each slope clearly right or clearly wrong.
fn planted(trial: &mut Trial, rule: Rule) -> (Program, Vec<f64>, Vec<f64>, Vec<f64>) {
    loop {
        let f = dual::program(&mut trial.rng, 3);
        let point = dual::point(&mut trial.rng, 3);
        let (_, exact) = dual::gradient(&f, &point, Rule::Right);
        let (_, claimed) = dual::gradient(&f, &point, rule);
        let off = |(a, b): (&f64, &f64)| (a - b).abs() / a.abs().max(1.0);
        let errors: Vec<f64> = exact.iter().zip(&claimed).map(off).collect();
        let is_clear = errors.iter().all(|&error| !(1e-9..0.02).contains(&error));
        if is_clear && errors.iter().any(|&error| error > 0.2) {
            return (f, point, exact, claimed);
        }
    }
}

fn kinks_allow_what_is_between(trial: &mut Trial) -> Outcome {
    let weight = 0.5 + trial.rng.uniform();
    // weight · relu(x₀) + x₁², at the kink of the ReLU.
    let f = program(vec![
        Step::Input(0),
        Step::Relu(0),
        Step::Constant(weight),
        Step::Mul(1, 2),
        Step::Input(1),
        Step::Pow(4, 2.0),
        Step::Add(3, 5),
    ]);
    let measured = [weight / 2.0, 2.0];
    for (claim, holds) in
        [(0.0, true), (1.0, true), (0.5, true), (0.8, true), (-0.2, false), (1.3, false)]
    {
        judges(trial, &f, &[0.0, 1.0], &[claim * weight, 2.0], &measured, &[holds, true])?;
    }
    Ok(())
}

fn other_lengths_are_refused(trial: &mut Trial) -> Outcome {
    let f = program(vec![Step::Input(0), Step::Exp(0)]);
    let (point, claimed) = (Array::vector(&[1.0]), Array::vector(&[1.0, 2.0]));
    let case = "there are two claims for one input";
    trial.refuses(case, args![f: &f, point: &point, claimed: &claimed])?;
    let case = "there is no claim for the second input";
    trial.refuses(case, args![f: &f, point: &claimed, claimed: &point]).map(drop)
}

fn program(steps: Vec<Step>) -> Program {
    Program::new(steps).expect("invariant: every step refers to earlier ones")
}

/// Asks about true claims, and compares the slopes only.
fn measures(trial: &mut Trial, f: &Program, point: &[f64], exact: &[f64]) -> Outcome {
    let (at, claimed) = (Array::vector(point), Array::vector(exact));
    let [slopes, _] = trial.arrays(args![f: f, point: &at, claimed: &claimed])?;
    trial.close("measured slopes", &slopes, &claimed, TOLERANCE.at_scale(scale(exact)))
}

fn scale(exact: &[f64]) -> f64 {
    exact.iter().fold(1.0, |scale: f64, slope| scale.max(slope.abs()))
}

/// Asks about claims, and compares slopes and judgements.
fn judges(
    trial: &mut Trial,
    f: &Program,
    point: &[f64],
    claimed: &[f64],
    exact: &[f64],
    holds: &[bool],
) -> Outcome {
    let args = args![f: f, point: &Array::vector(point), claimed: &Array::vector(claimed)];
    let [slopes, found] = trial.arrays(args)?;
    let exact = Array::vector(exact);
    trial.close("measured slopes", &slopes, &exact, TOLERANCE.at_scale(scale(exact.values())))?;
    let holds: Vec<f64> = holds.iter().map(|&holds| f64::from(u8::from(holds))).collect();
    let holds = Array::vector(&holds).to(DType::U8);
    trial.close("holds", &found, &holds, Tolerance::EXACT)
}
