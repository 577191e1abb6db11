//! `sample_part`: a line fitted by gradient descent.

use std::collections::BTreeMap;

use answer::{Weights, answer};
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

/// An answer with this part's parameters, which says how one run of training goes.
macro_rules! trained {
    (|$run:ident| $body:expr) => {
        answer!(|x: &Tensor, y: &Tensor, noise: &Tensor, learning_rate: f64, steps: usize| {
            let $run = Run { x, y, noise, learning_rate, steps };
            let line: Result<Line> = $body;
            line.map(Line::into_weights)
        })
    };
}

pub(super) const SAMPLE_PART: Part = Part {
    name: "sample_part",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "no_step_returns_the_start",
            promise: "With 0 steps, `weight` is the noise and `bias` is 0.",
            kind: Kind::Property,
            run: no_step_returns_the_start,
        },
        Check {
            name: "rows_come_in_any_order",
            promise: "The rows in another order give the same line.",
            kind: Kind::Property,
            run: rows_come_in_any_order,
        },
        Check {
            name: "follows_gradient_descent",
            promise: "After each number of steps, weight and bias are those of gradient descent.",
            kind: Kind::Reference,
            run: follows_gradient_descent,
        },
        Check {
            name: "finds_the_line",
            promise: "Enough steps find the line that the data lie on.",
            kind: Kind::Property,
            run: finds_the_line,
        },
        Check {
            name: "bad_shapes_are_refused",
            promise: "Data or noise of another length give an error.",
            kind: Kind::Errors,
            run: bad_shapes_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "climbs",
            diagnosis: "the steps go with the gradient, not against it",
            caught_by: "documented_example",
            answer: trained!(|run| run.descend(|run, line, _| run.step(line, -1.0))),
        },
        Impostor {
            name: "error_not_averaged",
            diagnosis: "the squared errors are added up; the loss is their mean",
            caught_by: "documented_example",
            answer: trained!(|run| {
                let n_rows = run.x.dim(0)? as f64;
                run.descend(|run, line, _| run.step(line, n_rows))
            }),
        },
        Impostor {
            name: "two_forgotten",
            diagnosis: "the 2 from the square is missing in the gradient",
            caught_by: "documented_example",
            answer: trained!(|run| run.descend(|run, line, _| run.step(line, 0.5))),
        },
        Impostor {
            name: "bias_stays",
            diagnosis: "the bias is never moved",
            caught_by: "documented_example",
            answer: trained!(|run| run.descend(|run, line, _| {
                Ok(Line { bias: line.bias.clone(), ..run.step(line, 1.0)? })
            })),
        },
        Impostor {
            name: "bias_sees_the_new_weight",
            diagnosis: "the bias is moved by a gradient that is taken after the weight has moved",
            caught_by: "documented_example",
            answer: trained!(|run| run.descend(|run, line, _| {
                let weight = run.step(line, 1.0)?.weight;
                let halfway = Line { weight: weight.clone(), bias: line.bias.clone() };
                Ok(Line { weight, ..run.step(&halfway, 1.0)? })
            })),
        },
        Impostor {
            name: "noise_ignored",
            diagnosis: "training starts at 0, not at the noise",
            caught_by: "no_step_returns_the_start",
            answer: trained!(|run| {
                let zero = run.noise.zeros_like()?;
                Run { noise: &zero, ..run }.descend(|run, line, _| run.step(line, 1.0))
            }),
        },
        Impostor {
            name: "one_step_at_least",
            diagnosis: "a step is taken even if none is asked for",
            caught_by: "no_step_returns_the_start",
            answer: trained!(|run| {
                let steps = run.steps.max(1);
                Run { steps, ..run }.descend(|run, line, _| run.step(line, 1.0))
            }),
        },
        Impostor {
            name: "two_rows_a_step",
            diagnosis: "each step takes two rows only; here a step takes them all",
            caught_by: "rows_come_in_any_order",
            answer: trained!(|run| run.descend(|run, line, n| {
                let start = 2 * (n % (run.x.dim(0)? / 2).max(1));
                let (x, y) = (run.x.narrow(0, start, 2)?, run.y.narrow(0, start, 2)?);
                Run { x: &x, y: &y, ..*run }.step(line, 1.0)
            })),
        },
        Impostor {
            name: "learning_rate_falls",
            diagnosis: "the learning rate falls from step to step; it stays the same",
            caught_by: "follows_gradient_descent",
            answer: trained!(|run| {
                let pace = |n: usize| 1.0 / (1.0 + n as f64);
                run.descend(|run, line, n| run.step(line, pace(n)))
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the work is done in `f32` whatever the dtype of `x` is",
            caught_by: "follows_gradient_descent",
            answer: trained!(|run| {
                let single = |t: &Tensor| t.to_dtype(CandleDType::F32);
                let (x, y, noise) = (single(run.x)?, single(run.y)?, single(run.noise)?);
                let line = Run { x: &x, y: &y, noise: &noise, ..run }
                    .descend(|run, line, _| run.step(line, 1.0))?;
                let back = |t: &Tensor| t.to_dtype(run.x.dtype());
                Ok(Line { weight: back(&line.weight)?, bias: back(&line.bias)? })
            }),
        },
        Impostor {
            name: "stops_after_ten_steps",
            diagnosis: "training ends after ten steps, however many are asked for",
            caught_by: "finds_the_line",
            answer: trained!(|run| {
                let steps = run.steps.min(10);
                Run { steps, ..run }.descend(|run, line, _| run.step(line, 1.0))
            }),
        },
        Impostor {
            name: "shapes_believed",
            diagnosis: "a `y` of length 1 is stretched over all rows without an error",
            caught_by: "bad_shapes_are_refused",
            answer: trained!(|run| {
                let y = run.y.broadcast_as(run.x.dim(0)?)?.contiguous()?;
                Run { y: &y, ..run }.descend(|run, line, _| run.step(line, 1.0))
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "gradient_by_hand",
        answer: trained!(|run| {
            run.fits()?;
            run.descend(|run, line, _| run.step(line, 1.0))
        }),
    }],
};

/// Roundings of an honest `f32` answer: a few short sums a step, seven steps.
const TOLERANCE: Tolerance = Tolerance::roundings(256.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1.], [3.]]).to(DType::F32);
    let (y, noise) = (Array::vector(&[2., 6.]), Array::vector(&[0.]));
    let data = [x, y.to(DType::F32), noise.to(DType::F32)];
    let found = train(trial, &data, 0.05, 1)?;
    close(trial, &found, &[vec![1.0], vec![0.4]])
}

fn no_step_returns_the_start(trial: &mut Trial) -> Outcome {
    let data = random_data(trial, 5, 3, DType::F32);
    let found = train(trial, &data, 0.1, 0)?;
    close(trial, &found, &[data[2].values().to_vec(), vec![0.0]])
}

fn rows_come_in_any_order(trial: &mut Trial) -> Outcome {
    let [x, y, noise] = random_data(trial, 5, 2, DType::F32);
    // The other way round, so that no row stands where it stood but the one in the middle.
    let order = [4, 3, 2, 1, 0];
    let turned = [x.select(0, &order), y.select(0, &order), noise.clone()];
    let before = train(trial, &[x, y, noise], 0.1, 3)?;
    let after = train(trial, &turned, 0.1, 3)?;
    close(trial, &after, &before.map(|array| array.values().to_vec()))
}

fn follows_gradient_descent(trial: &mut Trial) -> Outcome {
    for (n, d_in, steps) in [(9, 2, 7), (1, 1, 2), (4, 3, 1)] {
        for dtype in [DType::F64, DType::F32] {
            let [x, y, noise] = random_data(trial, n, d_in, dtype);
            let data = [x.laid_out(&[1, 0]), y, noise];
            let found = train(trial, &data, 0.1, steps)?;
            close(trial, &found, &definition(&data, 0.1, steps))?;
        }
    }
    Ok(())
}

fn finds_the_line(trial: &mut Trial) -> Outcome {
    // Columns at right angles: each step leaves four fifths of every error, whatever the line.
    let x = Array::matrix(&[[1., 1.], [1., -1.], [-1., 1.], [-1., -1.]]).to(DType::F32);
    let line = trial.rng.normal_array(&[3]);
    let height = |at: &[usize]| {
        line.at(&[0]) * x.at(&[at[0], 0]) + line.at(&[1]) * x.at(&[at[0], 1]) + line.at(&[2])
    };
    let y = Array::from_fn(&[4], height).to(DType::F32);
    // A start that is far from every line, so that stopping early shows.
    let noise = line.narrow(0, 0, 2).map(|x| x + 3.0);
    let [weight, bias] = train(trial, &[x, y, noise], 0.1, 60)?;
    let (slopes, height) = (line.narrow(0, 0, 2), line.narrow(0, 2, 1));
    let tolerance = Tolerance::relative(1e-3).at_scale(3.0);
    trial.close("weight", &weight, &slopes, tolerance)?;
    trial.close("bias", &bias, &height, tolerance)
}

fn bad_shapes_are_refused(trial: &mut Trial) -> Outcome {
    let [x, y, noise] = random_data(trial, 5, 3, DType::F32);
    let cases = [
        ("`x` has 5 rows and `y` only 1", [x.clone(), y.narrow(0, 0, 1), noise.clone()]),
        ("`x` has 3 columns and `noise` only 2", [x, y, noise.narrow(0, 0, 2)]),
    ];
    for (case, [x, y, noise]) in cases {
        let args = args![x: &x, y: &y, noise: &noise, learning_rate: 0.1, steps: 1usize];
        trial.refuses(case, args)?;
    }
    Ok(())
}

/// Random `x`, `y` and `noise`.
fn random_data(trial: &mut Trial, n: usize, d_in: usize, dtype: DType) -> [Array; 3] {
    [&[n, d_in][..], &[n], &[d_in]].map(|shape| trial.rng.normal_array(shape).to(dtype))
}

/// Asks for a line: its weight and its bias.
fn train(
    trial: &mut Trial,
    [x, y, noise]: &[Array; 3],
    learning_rate: f64,
    steps: usize,
) -> std::result::Result<[Array; 2], crate::Stop> {
    let args = args![x: x, y: y, noise: noise, learning_rate: learning_rate, steps: steps];
    let mut found: BTreeMap<String, Array> = trial.named(args)?;
    match (found.remove("weight"), found.remove("bias")) {
        (Some(weight), Some(bias)) if found.is_empty() => Ok([weight, bias]),
        _ => Err(trial.wrong("The result must hold `weight` and `bias`, and no more.".to_owned())),
    }
}

fn close(trial: &mut Trial, found: &[Array; 2], expected: &[Vec<f64>; 2]) -> Outcome {
    for ((name, found), expected) in ["weight", "bias"].iter().zip(found).zip(expected) {
        let expected = Array::vector(expected).to(found.dtype());
        // Data of about 1 are added up on the way, however small the result is.
        let tolerance = TOLERANCE.at_scale(expected.max_abs().max(1.0)).in_double(1e-11);
        trial.close(name, found, &expected, tolerance)?;
    }
    Ok(())
}

/// The exact answer, in `f64`: the gradient of the mean squared error, written out.
fn definition([x, y, noise]: &[Array; 3], learning_rate: f64, steps: usize) -> [Vec<f64>; 2] {
    let (n, mut weight, mut bias) = (x.dim(0), noise.values().to_vec(), 0.0);
    for _ in 0..steps {
        let predict = |i: usize| -> f64 {
            bias + weight.iter().enumerate().map(|(d, w)| w * x.at(&[i, d])).sum::<f64>()
        };
        let errors: Vec<f64> = (0..n).map(|i| predict(i) - y.at(&[i])).collect();
        let pace = 2.0 * learning_rate / n as f64;
        for (d, weight) in weight.iter_mut().enumerate() {
            *weight -= pace * (0..n).map(|i| errors[i] * x.at(&[i, d])).sum::<f64>();
        }
        bias -= pace * errors.iter().sum::<f64>();
    }
    [weight, vec![bias]]
}

/// What a run of training is given.
#[derive(Clone, Copy)]
struct Run<'a> {
    x: &'a Tensor,
    y: &'a Tensor,
    noise: &'a Tensor,
    learning_rate: f64,
    steps: usize,
}

/// What a run trains.
struct Line {
    weight: Tensor,
    bias: Tensor,
}

impl Line {
    fn into_weights(self) -> Weights {
        [("weight".to_owned(), self.weight), ("bias".to_owned(), self.bias)].into_iter().collect()
    }
}

impl Run<'_> {
    fn fits(&self) -> Result<()> {
        let (n, d_in) = self.x.dims2()?;
        if self.y.dims() != [n] || self.noise.dims() != [d_in] {
            bail!("`y` {:?} or `noise` {:?} does not fit", self.y.dims(), self.noise.dims());
        }
        Ok(())
    }

    /// Trains, where `step` says how one step goes, for impostors to go another way.
    fn descend(&self, step: impl Fn(&Self, &Line, usize) -> Result<Line>) -> Result<Line> {
        let bias = Tensor::zeros(1, self.x.dtype(), self.x.device())?;
        let mut line = Line { weight: self.noise.clone(), bias };
        for n in 0..self.steps {
            line = step(self, &line, n)?;
        }
        Ok(line)
    }

    /// One step against the gradient, times `pace`; the gradient is written out.
    fn step(&self, line: &Line, pace: f64) -> Result<Line> {
        let predictions = self.x.broadcast_mul(&line.weight)?.sum(1)?;
        let errors = (predictions.broadcast_add(&line.bias)? - self.y)?; // (n)
        let pace = 2.0 * pace * self.learning_rate;
        let by_row = self.x.broadcast_mul(&errors.unsqueeze(1)?)?;
        let weight = (&line.weight - (by_row.mean(0)? * pace)?)?;
        let bias = (&line.bias - (errors.mean_keepdim(0)? * pace)?)?;
        Ok(Line { weight, bias })
    }
}
