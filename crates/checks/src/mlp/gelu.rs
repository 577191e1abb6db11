//! `gelu`: both forms.

use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

use answer::answer;
use candle_core::{Result, Tensor};
use protocol::DType;

use super::steps::in_single;
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, SourceRule, Tolerance, Trial, args,
};

pub(super) const GELU: Part = Part {
    name: "gelu",
    rule: Some(SourceRule {
        only: &[],
        never: &["gelu", "gelu_erf"],
        reason: "The two formulas are the exercise; candle's ready functions may not be called.",
    }),
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says, in both forms.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "both_sides_make_x",
            promise: "gelu(x) − gelu(−x) is `x`, in both forms.",
            kind: Kind::Property,
            run: both_sides_make_x,
        },
        Check {
            name: "far_from_zero_is_relu",
            promise: "Far from 0, up to ±10⁴, the result is that of `relu`, in both forms.",
            kind: Kind::Property,
            run: far_from_zero_is_relu,
        },
        Check {
            name: "matches_definition",
            promise: "Both forms are what their formulas say, in every shape, layout and dtype.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_x",
            promise: "The gradient reaches `x`, and is the right one, in both forms.",
            kind: Kind::Gradient,
            run: gradient_reaches_x,
        },
    ],
    impostors: &[
        Impostor {
            name: "tanh_for_erf",
            diagnosis: "one form is computed by the formula of the other: the exact form has \
                        erf, the approximate one tanh",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, _approximate: bool| by_tanh(x, 3)),
        },
        Impostor {
            name: "erf_of_x",
            diagnosis: "erf is asked at x; Φ needs it at x / √2",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, approximate: bool| {
                if approximate { by_tanh(x, 3) } else { by_erf(x, 1.0) }
            }),
        },
        Impostor {
            name: "cube_left_out",
            diagnosis: "the term 0.044715 x³ is missing inside tanh",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, approximate: bool| {
                if approximate {
                    weigh(x, &(x * (2.0 / PI).sqrt())?.tanh()?)
                } else {
                    right(x, false)
                }
            }),
        },
        Impostor {
            name: "sigmoid_form",
            diagnosis: "x · sigmoid(1.702 x) is a third form, coarser than the one with tanh",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, approximate: bool| {
                // sigmoid(a) = ½ (1 + tanh(a / 2))
                if approximate { weigh(x, &(x * 0.851)?.tanh()?) } else { right(x, false) }
            }),
        },
        Impostor {
            name: "half_left_out",
            diagnosis: "the factor ½ is missing: 1 + erf goes up to 2",
            caught_by: "documented_example",
            answer: answer!(|x: &Tensor, approximate: bool| right(x, approximate)? * 2.0),
        },
        Impostor {
            name: "square_for_cube",
            diagnosis: "x is squared inside tanh, where it is cubed, so negative numbers come out \
                        wrong",
            caught_by: "both_sides_make_x",
            answer: answer!(|x: &Tensor, approximate: bool| {
                if approximate { by_tanh(x, 2) } else { right(x, false) }
            }),
        },
        Impostor {
            name: "tanh_by_exponentials",
            diagnosis: "tanh is computed as (e²ᵘ − 1) / (e²ᵘ + 1), which is ∞ / ∞ for large x; \
                        call `tanh`",
            caught_by: "far_from_zero_is_relu",
            answer: answer!(|x: &Tensor, approximate: bool| {
                let exps = (inner(x, 3)? * 2.0)?.exp()?;
                let tanh = ((&exps - 1.0)? / (&exps + 1.0)?)?;
                if approximate { weigh(x, &tanh) } else { right(x, false) }
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever `x` is",
            caught_by: "matches_definition",
            answer: answer!(|x: &Tensor, approximate: bool| {
                in_single(|t| right(&t[0], approximate), &[x])
            }),
        },
        Impostor {
            name: "number_by_number",
            diagnosis: "the numbers are read out of `x` and put into a new tensor, which is \
                        outside the graph",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor, approximate: bool| {
                let form = if approximate { tanh_form } else { erf_form };
                let wide = x.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
                let numbers = wide.into_iter().map(form).collect::<Vec<_>>();
                Tensor::from_vec(numbers, x.shape(), x.device())?.to_dtype(x.dtype())
            }),
        },
        Impostor {
            name: "weight_detached",
            diagnosis: "what weighs `x` is detached, so only half of the product rule is left in \
                        the gradient",
            caught_by: "gradient_reaches_x",
            answer: answer!(|x: &Tensor, approximate: bool| {
                let bend = if approximate { inner(x, 3)?.tanh()? } else { (x / SQRT_2)?.erf()? };
                weigh(x, &bend.detach())
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "multiplied_out",
        answer: answer!(|x: &Tensor, approximate: bool| {
            // ½ x + ½ x · bend, the cube by a power of integers.
            let bend = if approximate {
                let cubic = (x.powf(3.0)? * 0.044_715)?;
                ((x + cubic)? * (2.0 / PI).sqrt())?.tanh()?
            } else {
                (x * 0.5f64.sqrt())?.erf()?
            };
            ((x * bend)? + x)? * 0.5
        }),
    }],
};

/// Roundings of an honest `f32` answer: a cube, a tanh or erf, two products.
const TOLERANCE: Tolerance = Tolerance::roundings(16.0).in_double(1e-11);

/// Whether it is the approximate form, the form itself, and what to call its result.
type Form = (bool, fn(f64) -> f64, &'static str);

const FORMS: [Form; 2] =
    [(false, erf_form, "exact result"), (true, tanh_form, "approximate result")];

fn documented_example(trial: &mut Trial) -> Outcome {
    let x = Array::vector(&[0., 1.]).to(DType::F32);
    // Both are asked before either is compared, so that what each is tells mistakes apart.
    let mut outs = Vec::new();
    for (approximate, ..) in FORMS {
        outs.push(trial.array(args![x: &x, approximate: approximate])?);
    }
    for ((_, form, name), out) in FORMS.into_iter().zip(&outs) {
        trial.close(name, out, &x.map(form), TOLERANCE)?;
    }
    Ok(())
}

fn both_sides_make_x(trial: &mut Trial) -> Outcome {
    let x = trial.rng.normal_array(&[3, 4]);
    for (approximate, _, name) in FORMS {
        let right = trial.array(args![x: &x, approximate: approximate])?;
        let left = trial.array(args![x: &x.map(|x| -x), approximate: approximate])?;
        trial.has_shape(name, &right, &[3, 4])?;
        trial.has_shape(name, &left, &[3, 4])?;
        let difference = right.zip_map(&left, |right, left| right - left);
        trial.close(&format!("{name} for x, less that for −x"), &difference, &x, TOLERANCE)?;
    }
    Ok(())
}

fn far_from_zero_is_relu(trial: &mut Trial) -> Outcome {
    let x = Array::vector(&[-1e4, -300., -20., 20., 300., 1e4]).to(DType::F32);
    for (approximate, _, name) in FORMS {
        let out = trial.array(args![x: &x, approximate: approximate])?;
        trial.close(name, &out, &x.map(|x| x.max(0.0)), TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for shape in [vec![], vec![9], vec![2, 1, 3], vec![3, 5]] {
        let order: Vec<usize> = (0..shape.len()).rev().collect();
        let values = Array::from_fn(&shape, |_| 2.0 * trial.rng.normal());
        for dtype in [DType::F64, DType::F32] {
            let x = values.to(dtype).laid_out(&order);
            for (approximate, form, name) in FORMS {
                let out = trial.array(args![x: &x, approximate: approximate])?;
                let expected = Array::from_fn(&shape, |at| form(x.at(at))).to(dtype);
                trial.close(name, &out, &expected, TOLERANCE.at_scale(4.0))?;
            }
        }
    }
    Ok(())
}

fn gradient_reaches_x(trial: &mut Trial) -> Outcome {
    let x = trial.rng.uniform_array(&[2, 5], -3.0, 3.0);
    for (approximate, form, _) in FORMS {
        trial
            .gradient_matches(args![x: &x, approximate: approximate], |at| at.get("x").map(form))?;
    }
    Ok(())
}

fn erf_form(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / SQRT_2))
}

fn tanh_form(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

/// The error function, by its power series with positive terms only, which loses no digits:
/// `erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1))`.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

fn right(x: &Tensor, approximate: bool) -> Result<Tensor> {
    if approximate { by_tanh(x, 3) } else { by_erf(x, SQRT_2) }
}

fn by_erf(x: &Tensor, divisor: f64) -> Result<Tensor> {
    weigh(x, &(x / divisor)?.erf()?)
}

fn by_tanh(x: &Tensor, power: i32) -> Result<Tensor> {
    weigh(x, &inner(x, power)?.tanh()?)
}

/// `√(2/π) (x + 0.044715 x³)`, or with another power.
fn inner(x: &Tensor, power: i32) -> Result<Tensor> {
    let raised = if power == 3 { (x.sqr()? * x)? } else { x.sqr()? };
    (x + (raised * 0.044_715)?)? * (2.0 / PI).sqrt()
}

/// `½ x (1 + bend)`.
fn weigh(x: &Tensor, bend: &Tensor) -> Result<Tensor> {
    (x * 0.5)? * (bend + 1.0)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(x: f64, expected: f64) {
        assert!((erf(x) - expected).abs() < 1e-14, "erf({x}) is {}", erf(x));
        assert!((erf(-x) + expected).abs() < 1e-14, "erf(-{x}) is {}", erf(-x));
    }

    #[test]
    fn erf_has_the_tabulated_values() {
        check(0.0, 0.0);
        check(0.5, 0.520_499_877_813_046_5);
        check(1.0, 0.842_700_792_949_714_9);
        check(3.0, 0.999_977_909_503_001_4);
        check(5.9, 1.0);
        check(7.0, 1.0);
    }
}
