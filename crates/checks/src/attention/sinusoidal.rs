//! `sinusoidal`: positions as points on circles.

use answer::answer;
use candle_core::{D, Tensor, bail};
use protocol::DType;

use super::pieces::{count_from, in_single};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

pub(super) const SINUSOIDAL: Part = Part {
    name: "sinusoidal",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "matches_definition",
            promise: "Pair i is sine and cosine of position / 10000^(2i / d_model).",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "dot_products_depend_on_distance",
            promise: "Far from the start, dot products are those of positions near the start.",
            kind: Kind::Property,
            run: dot_products_depend_on_distance,
        },
        Check {
            name: "a_shift_rotates_each_pair",
            promise: "Moving every position, be it by a fraction, rotates each pair by one angle.",
            kind: Kind::Property,
            run: a_shift_rotates_each_pair,
        },
        Check {
            name: "gradient_reaches_positions",
            promise: "The gradient reaches `positions`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_positions,
        },
        Check {
            name: "odd_width_is_refused",
            promise: "An odd `d_model` gets an error.",
            kind: Kind::Errors,
            run: odd_width_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "cosine_before_sine",
            diagnosis: "each pair holds its cosine first; the sine comes first",
            caught_by: "documented_example",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                let angles = angles(positions, d_model)?;
                interleave(&angles.cos()?, &angles.sin()?)
            }),
        },
        Impostor {
            name: "all_sines_then_all_cosines",
            diagnosis: "all sines stand before all cosines; each cosine belongs beside its sine",
            caught_by: "documented_example",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                let angles = angles(positions, d_model)?;
                Tensor::cat(&[angles.sin()?, angles.cos()?], D::Minus1)
            }),
        },
        Impostor {
            name: "exponent_not_doubled",
            diagnosis: "the exponent of pair i is i / d_model; it must be 2i / d_model",
            caught_by: "documented_example",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                sines_and_cosines(&turned(positions, even(d_model)?, |pair, width| pair / width)?)
            }),
        },
        Impostor {
            name: "exponent_by_coordinate",
            diagnosis: "sine and cosine of a pair turn at different speeds: the exponent uses the \
                        coordinate instead of the pair",
            caught_by: "documented_example",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                let sines = angles(positions, d_model)?;
                let cosines = turned(positions, d_model, |i, width| (2.0 * i + 1.0) / width)?;
                interleave(&sines.sin()?, &cosines.cos()?)
            }),
        },
        Impostor {
            name: "slowest_speed_too_slow",
            diagnosis: "the exponents run to 1 in d_model / 2 − 1 steps, as in one old library; \
                        they are 2i / d_model",
            caught_by: "documented_example",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                sines_and_cosines(&turned(positions, even(d_model)?, |pair, width| {
                    pair / (width / 2.0 - 1.0).max(1.0)
                })?)
            }),
        },
        Impostor {
            name: "index_for_position",
            diagnosis: "the tokens are counted 0, 1, 2, …; the values in `positions` are not read",
            caught_by: "matches_definition",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                let counted = count_from(0, positions.dim(1)?, positions)?;
                let counted = counted.broadcast_as(positions.shape())?.contiguous()?;
                sines_and_cosines(&angles(&counted, d_model)?)
            }),
        },
        Impostor {
            name: "first_row_for_all",
            diagnosis: "every row of the batch gets the positions of the first one",
            caught_by: "matches_definition",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                let first = positions.narrow(0, 0, 1)?.broadcast_as(positions.shape())?;
                sines_and_cosines(&angles(&first.contiguous()?, d_model)?)
            }),
        },
        Impostor {
            name: "always_f32",
            diagnosis: "the angles are computed in f32 whatever the dtype of `positions`",
            caught_by: "matches_definition",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                in_single(|t| sines_and_cosines(&angles(&t[0], d_model)?), &[positions])
            }),
        },
        Impostor {
            name: "table_of_5000_positions",
            diagnosis: "the result is read from a table of the first 5,000 positions; later ones \
                        all get its last row",
            caught_by: "dot_products_depend_on_distance",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                sines_and_cosines(&angles(&positions.clamp(0.0, 4999.0)?, d_model)?)
            }),
        },
        Impostor {
            name: "positions_cut_to_whole_numbers",
            diagnosis: "the positions are cut to whole numbers on the way",
            caught_by: "a_shift_rotates_each_pair",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                let whole = positions.to_dtype(candle_core::DType::I64)?;
                sines_and_cosines(&angles(&whole.to_dtype(positions.dtype())?, d_model)?)
            }),
        },
        Impostor {
            name: "loops_outside_the_graph",
            diagnosis: "the positions are read into a Vec and the result is built from numbers, \
                        so no gradient can flow back",
            caught_by: "gradient_reaches_positions",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                sines_and_cosines(&angles(&positions.detach(), d_model)?)
            }),
        },
        Impostor {
            name: "last_coordinate_dropped",
            diagnosis: "an odd `d_model` is rounded down in silence",
            caught_by: "odd_width_is_refused",
            answer: answer!(|positions: &Tensor, d_model: usize| {
                let doubled = |pair, _| 2.0 * pair / d_model as f64;
                sines_and_cosines(&turned(positions, d_model, doubled)?)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_shifted_sines",
        answer: answer!(|positions: &Tensor, d_model: usize| by_shifted_sines(positions, d_model)),
    }],
};

/// Roundings of an honest `f32` answer: the angle takes three, and moves the sine by its own error,
/// which grows with the position; 16 of them at positions up to 20.
const TOLERANCE: Tolerance = Tolerance::roundings(16.0).at_scale(20.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let positions = Array::matrix(&[[0.0, 1.0]]).to(DType::F32);
    let result = trial.array(args![positions: &positions, d_model: 4usize])?;
    let (one, hundredth) = (1f64.sin_cos(), 0.01f64.sin_cos());
    let rows = [[0.0, 1.0, 0.0, 1.0], [one.0, one.1, hundredth.0, hundredth.1]];
    let expected = Array::matrix(&rows).reshape(&[1, 2, 4]).to(DType::F32);
    trial.close("result", &result, &expected, Tolerance::roundings(16.0))
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (batch, seq, d_model) in [(2, 3, 8), (3, 1, 2), (1, 5, 6)] {
        for dtype in [DType::F64, DType::F32] {
            let mut draw = |_: &[usize]| trial.rng.below(20) as f64;
            let positions = Array::from_fn(&[batch, seq], &mut draw).to(dtype);
            let args = args![positions: &positions.laid_out(&[1, 0]), d_model: d_model];
            let result = trial.array(args)?;
            let expected = circles(&positions, d_model).to(dtype);
            trial.close("result", &result, &expected, TOLERANCE.in_double(1e-11))?;
        }
    }
    Ok(())
}

fn dot_products_depend_on_distance(trial: &mut Trial) -> Outcome {
    let near = Array::matrix(&[[0.0, 1.0, 3.0, 4.0]]);
    let start = trial.rng.between(10_000, 20_000) as f64;
    let far = near.map(|x| x + start);
    let near = dot_products(trial, &near)?;
    let far = dot_products(trial, &far)?;
    let name = format!("dot products from position {start} on");
    trial.close(&name, &far, &near, Tolerance::roundings(1.0))
}

fn a_shift_rotates_each_pair(trial: &mut Trial) -> Outcome {
    let (d_model, shift) = (6, 0.25 + 0.5 * trial.rng.uniform());
    let positions = Array::matrix(&[[2.0, 7.0, 3.0], [0.0, 5.0, 4.0]]);
    let before = trial.array(args![positions: &positions, d_model: d_model])?;
    let moved = positions.map(|x| x + shift);
    let after = trial.array(args![positions: &moved, d_model: d_model])?;
    trial.has_shape("result", &before, &[2, 3, d_model])?;
    let expected = Array::from_fn(before.shape(), |at| {
        let (pair, is_cosine) = (at[2] / 2, at[2] % 2 == 1);
        let coordinate = |which| before.at(&[at[0], at[1], 2 * pair + which]);
        let (sin, cos) = (shift * speed(pair, d_model)).sin_cos();
        let (old_sin, old_cos) = (coordinate(0), coordinate(1));
        if is_cosine { old_cos * cos - old_sin * sin } else { old_sin * cos + old_cos * sin }
    });
    let name = format!("result {shift:.3} positions later");
    trial.close(&name, &after, &expected, Tolerance::roundings(1.0))
}

fn gradient_reaches_positions(trial: &mut Trial) -> Outcome {
    let positions = trial.rng.uniform_array(&[2, 3], 0.0, 9.0);
    let args = args![positions: &positions.laid_out(&[1, 0]), d_model: 4usize];
    trial.gradient_matches(args, |at| circles(at.get("positions"), 4))
}

fn odd_width_is_refused(trial: &mut Trial) -> Outcome {
    let positions = Array::matrix(&[[0.0, 1.0, 2.0]]);
    trial.refuses("`d_model` is 5", args![positions: &positions, d_model: 5usize]).map(drop)
}

/// The definition by index.
fn circles(positions: &Array, d_model: usize) -> Array {
    Array::from_fn(&[positions.dim(0), positions.dim(1), d_model], |at| {
        let angle = positions.at(&at[..2]) * speed(at[2] / 2, d_model);
        if at[2] % 2 == 0 { angle.sin() } else { angle.cos() }
    })
}

fn speed(pair: usize, d_model: usize) -> f64 {
    10_000f64.powf(-((2 * pair) as f64) / d_model as f64)
}

/// Asks for the positions, and takes the dot products of all pairs of tokens in the first row.
fn dot_products(trial: &mut Trial, positions: &Array) -> Result<Array, Stop> {
    let (seq, d_model) = (positions.dim(1), 6);
    let result = trial.array(args![positions: positions, d_model: d_model])?;
    trial.has_shape("result", &result, &[1, seq, d_model])?;
    let product = |i, j, d| result.at(&[0, i, d]) * result.at(&[0, j, d]);
    let dot = |at: &[usize]| (0..d_model).map(|d| product(at[0], at[1], d)).sum();
    Ok(Array::from_fn(&[seq, seq], dot))
}

/// One sine: a cosine is a sine a quarter turn ahead.
fn by_shifted_sines(positions: &Tensor, d_model: usize) -> candle_core::Result<Tensor> {
    even(d_model)?;
    let (batch, seq) = positions.dims2()?;
    let coordinate = count_from(0, d_model, positions)?;
    let quarter = (coordinate.clone() - (coordinate.clone() * 0.5)?.floor()? * 2.0)?;
    let pair = ((coordinate - &quarter)? * (-(1e4f64.ln()) / d_model as f64))?;
    let angles = positions.reshape((batch, seq, 1))?.broadcast_mul(&pair.exp()?)?;
    angles.broadcast_add(&(quarter * std::f64::consts::FRAC_PI_2)?)?.sin()
}

/// Angles `(batch, seq, pair)` with the speed 10000^(-exponent(pair, width)).
fn turned(
    positions: &Tensor,
    width: usize,
    exponent: impl Fn(f64, f64) -> f64,
) -> candle_core::Result<Tensor> {
    let speed = |pair| 1e4f64.powf(-exponent(pair as f64, width as f64));
    let speeds: Vec<f64> = (0..width / 2).map(speed).collect();
    let speeds = Tensor::from_vec(speeds, width / 2, positions.device())?;
    positions.contiguous()?.unsqueeze(2)?.broadcast_mul(&speeds.to_dtype(positions.dtype())?)
}

fn angles(positions: &Tensor, d_model: usize) -> candle_core::Result<Tensor> {
    turned(positions, even(d_model)?, |pair, width| 2.0 * pair / width)
}

fn even(d_model: usize) -> candle_core::Result<usize> {
    if !d_model.is_multiple_of(2) {
        bail!("`d_model` {d_model} is odd");
    }
    Ok(d_model)
}

fn sines_and_cosines(angles: &Tensor) -> candle_core::Result<Tensor> {
    interleave(&angles.sin()?, &angles.cos()?)
}

fn interleave(first: &Tensor, second: &Tensor) -> candle_core::Result<Tensor> {
    Tensor::stack(&[first, second], 3)?.flatten_from(2)
}
