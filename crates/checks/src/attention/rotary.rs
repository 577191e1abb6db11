//! `rotary`: queries and keys turned by their position.

use answer::answer;
use candle_core::{D, Result, Tensor, bail};
use candle_nn::rotary_emb;
use protocol::DType;

use super::pieces::{count_from, in_single};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const ROTARY: Part = Part {
    name: "rotary",
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
            promise: "Pair i of token s turns by s · base^(-2i / d_head).",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "offset_continues_a_sequence",
            promise: "The rest of a sequence, with an offset, is what it is in the whole.",
            kind: Kind::Property,
            run: offset_continues_a_sequence,
        },
        Check {
            name: "far_away_scores_are_the_same",
            promise: "Moving queries and keys together, however far, changes no score or length.",
            kind: Kind::Property,
            run: far_away_scores_are_the_same,
        },
        Check {
            name: "gradient_reaches_x",
            promise: "The gradient reaches `x`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_x,
        },
        Check {
            name: "odd_width_is_refused",
            promise: "An odd `d_head` gets an error.",
            kind: Kind::Errors,
            run: odd_width_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "turned_backwards",
            diagnosis: "the pairs turn the other way: the signs of the two sines are swapped",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                let angles = angles(x, offset, base)?;
                turn(x, &angles.cos()?, &angles.neg()?.sin()?, interleaved)
            }),
        },
        Impostor {
            name: "layouts_swapped",
            diagnosis: "the two layouts are swapped: neighbours are paired where halves should be, \
                        and the other way round",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                rotate(x, &angles(x, offset, base)?, !interleaved)
            }),
        },
        Impostor {
            name: "always_interleaved",
            diagnosis: "neighbours are paired whatever `interleaved` says",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, _interleaved: bool| {
                rotate(x, &angles(x, offset, base)?, true)
            }),
        },
        Impostor {
            name: "halves_left_apart",
            diagnosis: "the coordinates are regrouped into halves and never put back where they \
                        were",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                let x = if interleaved { to_halves(x)? } else { x.clone() };
                rotate(&x, &angles(&x, offset, base)?, false)
            }),
        },
        Impostor {
            name: "positions_from_one",
            diagnosis: "the first token stands at position 1; positions count from 0",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                rotate(x, &angles(x, offset + 1, base)?, interleaved)
            }),
        },
        Impostor {
            name: "base_hard_coded",
            diagnosis: "the base is always 10,000; the argument `base` is not read",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, offset: usize, _base: f64, interleaved: bool| {
                rotate(x, &angles(x, offset, 1e4)?, interleaved)
            }),
        },
        Impostor {
            name: "exponent_not_doubled",
            diagnosis: "the exponent of pair i is i / d_head; it must be 2i / d_head",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                rotate(x, &angles(x, offset, base.sqrt())?, interleaved)
            }),
        },
        Impostor {
            name: "positions_along_heads",
            diagnosis: "the position is counted along the axis of heads; it is counted along seq",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                let x = x.transpose(1, 2)?.contiguous()?;
                rotate(&x, &angles(&x, offset, base)?, interleaved)?.transpose(1, 2)
            }),
        },
        Impostor {
            name: "always_f32",
            diagnosis: "the angles are computed in f32 whatever the dtype of `x`",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                in_single(|t| rotate(&t[0], &angles(&t[0], offset, base)?, interleaved), &[x])
            }),
        },
        Impostor {
            name: "offset_ignored",
            diagnosis: "`offset` is not read: with a cache, every new token stands at position 0",
            caught_by: "offset_continues_a_sequence",
            answer: answer!(|x: &Tensor, _offset: usize, base: f64, interleaved: bool| {
                rotate(x, &angles(x, 0, base)?, interleaved)
            }),
        },
        Impostor {
            name: "every_token_at_the_offset",
            diagnosis: "with an offset, all tokens of a chunk stand at one position",
            caught_by: "offset_continues_a_sequence",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                let angles = angles(x, offset, base)?;
                let first = angles.narrow(0, 0, 1)?.broadcast_as(angles.shape())?;
                rotate(x, if offset > 0 { &first } else { &angles }, interleaved)
            }),
        },
        Impostor {
            name: "table_of_2048_positions",
            diagnosis: "the angles come from a table of 2,048 positions; later tokens all get its \
                        last row",
            caught_by: "far_away_scores_are_the_same",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                let positions = count_from(offset, x.dim(2)?, x)?.clamp(0.0, 2047.0)?;
                rotate(x, &angles_at(&positions, x, base)?, interleaved)
            }),
        },
        Impostor {
            name: "rope_without_backward",
            diagnosis: "candle's ready `rope` passes no gradient back; write it from plain \
                        operations",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                let angles = angles(x, offset, base)?;
                let (x, cos, sin) = (x.contiguous()?, angles.cos()?, angles.sin()?);
                if interleaved {
                    rotary_emb::rope_i(&x, &cos, &sin)
                } else {
                    rotary_emb::rope(&x, &cos, &sin)
                }
            }),
        },
        Impostor {
            name: "last_coordinate_left_alone",
            diagnosis: "the last coordinate of an odd `d_head` is passed through in silence",
            caught_by: "odd_width_is_refused",
            answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
                let even = x.dim(3)? / 2 * 2;
                let turned = x.narrow(3, 0, even)?;
                let turned = rotate(&turned, &angles(&turned, offset, base)?, interleaved)?;
                Tensor::cat(&[turned, x.narrow(3, even, x.dim(3)? - even)?], 3)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_rotate_half",
        answer: answer!(|x: &Tensor, offset: usize, base: f64, interleaved: bool| {
            by_rotate_half(x, offset, base, interleaved)
        }),
    }],
};

/// Roundings of an honest `f32` answer: the angle takes three, and moves a coordinate by its own
/// error, which grows with the position; 16 of them at positions below 8 on coordinates below 4.
const TOLERANCE: Tolerance = Tolerance::roundings(16.0).at_scale(32.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::matrix(&[[1., 0., 0., 0.], [1., 0., 0., 0.]]).reshape(&[1, 1, 2, 4]);
    let x = x.to(DType::F32);
    let (sin, cos) = 1f64.sin_cos();
    // Both layouts are asked before either is judged: swapping them differs from losing one.
    let mut ask = |interleaved: bool| {
        trial.array(args![x: &x, offset: 0usize, base: 10_000f64, interleaved: interleaved])
    };
    let (neighbours, halves) = (ask(true)?, ask(false)?);
    let cases = [
        ("result if interleaved", neighbours, [cos, sin, 0., 0.]),
        ("result if not interleaved", halves, [cos, 0., sin, 0.]),
    ];
    for (name, result, turned) in cases {
        let expected = Array::matrix(&[[1., 0., 0., 0.], turned]).reshape(&[1, 1, 2, 4]);
        trial.close(name, &result, &expected.to(DType::F32), Tolerance::roundings(16.0))?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    let cases = [([2, 3, 4, 6], 100.0), ([1, 1, 1, 2], 10_000.0), ([3, 1, 5, 8], 500_000.0)];
    for (shape, base) in cases {
        for (dtype, interleaved) in
            [(DType::F64, true), (DType::F64, false), (DType::F32, true), (DType::F32, false)]
        {
            let x = heads(trial, shape).to(dtype);
            let args = args![x: &x, offset: 0usize, base: base, interleaved: interleaved];
            let result = trial.array(args)?;
            let expected = rotated(&x, 0, base, interleaved).to(dtype);
            trial.close("result", &result, &expected, TOLERANCE.in_double(1e-11))?;
        }
    }
    Ok(())
}

fn offset_continues_a_sequence(trial: &mut Trial) -> Outcome {
    for interleaved in [true, false] {
        let x = heads(trial, [2, 3, 7, 4]);
        let start = trial.rng.between(1, 4);
        let mut ask = |x: &Array, offset: usize| {
            trial.array(args![x: x, offset: offset, base: 100f64, interleaved: interleaved])
        };
        let whole = ask(&x, 0)?;
        let rest = ask(&x.narrow(2, start, 7 - start), start)?;
        trial.has_shape("result", &whole, x.shape())?;
        let name = format!("result of tokens {start} to 6 with offset {start}");
        trial.close(&name, &rest, &whole.narrow(2, start, 7 - start), TOLERANCE)?;
    }
    Ok(())
}

fn far_away_scores_are_the_same(trial: &mut Trial) -> Outcome {
    for interleaved in [true, false] {
        let x = heads(trial, [1, 2, 4, 6]).to(DType::F64);
        let offset = trial.rng.between(20_000, 30_000);
        let mut products = |offset: usize| {
            let args = args![x: &x, offset: offset, base: 100f64, interleaved: interleaved];
            let turned = trial.array(args)?;
            trial.has_shape("result", &turned, x.shape())?;
            Ok(dot_products(&turned))
        };
        let (near, far) = (products(0)?, products(offset)?);
        let name = format!("scores and squared lengths with offset {offset}");
        trial.close(&name, &far, &near, Tolerance::roundings(1.0))?;
    }
    Ok(())
}

fn gradient_reaches_x(trial: &mut Trial) -> Outcome {
    for interleaved in [true, false] {
        let x = heads(trial, [2, 1, 3, 4]);
        let args = args![x: &x, offset: 5usize, base: 100f64, interleaved: interleaved];
        trial.gradient_matches(args, |at| rotated(at.get("x"), 5, 100.0, interleaved))?;
    }
    Ok(())
}

fn odd_width_is_refused(trial: &mut Trial) -> Outcome {
    let x = heads(trial, [1, 2, 3, 5]);
    for interleaved in [true, false] {
        let args = args![x: &x, offset: 0usize, base: 100f64, interleaved: interleaved];
        trial.refuses("`d_head` is 5", args)?;
    }
    Ok(())
}

/// Random queries or keys, laid out as splitting the heads of a projection leaves them.
fn heads(trial: &mut Trial, shape: [usize; 4]) -> Array {
    trial.rng.normal_array(&shape).laid_out(&[0, 2, 1, 3])
}

/// The definition by index.
fn rotated(x: &Array, offset: usize, base: f64, interleaved: bool) -> Array {
    let d_head = x.dim(3);
    Array::from_fn(x.shape(), |at| {
        let (pair, is_second) = if interleaved {
            (at[3] / 2, at[3] % 2 == 1)
        } else {
            (at[3] % (d_head / 2), at[3] >= d_head / 2)
        };
        let places = if interleaved { [2 * pair, 2 * pair + 1] } else { [pair, pair + d_head / 2] };
        let [a, b] = places.map(|d| x.at(&[at[0], at[1], at[2], d]));
        let angle = (offset + at[2]) as f64 * base.powf(-((2 * pair) as f64) / d_head as f64);
        let (sin, cos) = angle.sin_cos();
        if is_second { a * sin + b * cos } else { a * cos - b * sin }
    })
}

/// Dot products of all pairs of tokens, in each head of the first row of the batch.
fn dot_products(x: &Array) -> Array {
    let (n_heads, seq, d_head) = (x.dim(1), x.dim(2), x.dim(3));
    Array::from_fn(&[n_heads, seq, seq], |at| {
        (0..d_head).map(|d| x.at(&[0, at[0], at[1], d]) * x.at(&[0, at[0], at[2], d])).sum()
    })
}

/// The form that many models use: `x · cos + rotate_half(x) · sin`, on coordinates in halves.
fn by_rotate_half(x: &Tensor, offset: usize, base: f64, interleaved: bool) -> Result<Tensor> {
    let halves = if interleaved { to_halves(x)? } else { x.contiguous()? };
    let angles = angles(x, offset, base)?;
    let angles = Tensor::cat(&[&angles, &angles], 1)?;
    let half = x.dim(3)? / 2;
    let turned =
        Tensor::cat(&[halves.narrow(3, half, half)?.neg()?, halves.narrow(3, 0, half)?], 3)?;
    let along = halves.broadcast_mul(&angles.cos()?)?;
    let joined = (along + turned.broadcast_mul(&angles.sin()?)?)?;
    if !interleaved {
        return Ok(joined);
    }
    Tensor::stack(&[joined.narrow(3, 0, half)?, joined.narrow(3, half, half)?], 4)?.flatten_from(3)
}

/// Puts all first coordinates of pairs of neighbours before all second ones.
fn to_halves(x: &Tensor) -> Result<Tensor> {
    let (batch, n_heads, seq, d_head) = x.dims4()?;
    x.reshape((batch, n_heads, seq, d_head / 2, 2))?.transpose(3, 4)?.reshape(x.dims())
}

/// Angles `(seq, pair)`.
fn angles(x: &Tensor, offset: usize, base: f64) -> Result<Tensor> {
    angles_at(&count_from(offset, x.dim(2)?, x)?, x, base)
}

fn angles_at(positions: &Tensor, x: &Tensor, base: f64) -> Result<Tensor> {
    let d_head = x.dim(3)?;
    if d_head % 2 != 0 {
        bail!("`d_head` {d_head} is odd");
    }
    let speed = |pair: usize| base.powf(-2.0 * pair as f64 / d_head as f64);
    let speeds: Vec<f64> = (0..d_head / 2).map(speed).collect();
    let speeds = Tensor::from_vec(speeds, d_head / 2, x.device())?.to_dtype(x.dtype())?;
    positions.unsqueeze(1)?.broadcast_mul(&speeds)
}

fn rotate(x: &Tensor, angles: &Tensor, interleaved: bool) -> Result<Tensor> {
    turn(x, &angles.cos()?, &angles.sin()?, interleaved)
}

fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Tensor> {
    let halves = if interleaved { to_halves(x)? } else { x.contiguous()? };
    let halves = halves.chunk(2, D::Minus1)?;
    let (a, b) = (&halves[0], &halves[1]);
    let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let second = (a.broadcast_mul(sin)? + b.broadcast_mul(cos)?)?;
    if interleaved {
        return Tensor::stack(&[first, second], 4)?.flatten_from(3);
    }
    Tensor::cat(&[first, second], 3)
}
