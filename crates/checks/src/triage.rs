//! Triage: relations that hold between what came and what was expected.
//!
//! Each relation is a fact about the two arrays, stated as a sentence; none is a guess at the
//! cause, which is the impostors' to name.

use crate::{Array, compare::number};

/// Most relations that a learner is told.
const MOST: usize = 3;

/// Most positions that a relation lists.
const SHOWN: usize = 8;

/// Relations between two shapes that differ.
pub(crate) fn shapes(got: &[usize], expected: &[usize]) -> Vec<String> {
    let sorted = |shape: &[usize]| {
        let mut sorted = shape.to_vec();
        sorted.sort_unstable();
        sorted
    };
    let squeezed = |shape: &[usize]| -> Vec<usize> {
        shape.iter().copied().filter(|&length| length != 1).collect()
    };
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let sentence = if got.len() == expected.len() && sorted(got) == sorted(expected) {
        let moved: Vec<usize> = (0..got.len()).filter(|&a| got[a] != expected[a]).collect();
        match moved[..] {
            [a, b] => format!("Axes {a} and {b} are swapped."),
            _ => "The axes are the right ones in another order.".to_owned(),
        }
    } else if squeezed(got) == squeezed(expected) {
        "Only axes of length 1 are missing or too many.".to_owned()
    } else if got.len() > expected.len() && got.ends_with(expected) {
        format!("There are {} leading axes too many.", got.len() - expected.len())
    } else if count(got) == count(expected) {
        "The number of elements is right; a reshape is wrong or missing.".to_owned()
    } else {
        return Vec::new();
    };
    vec![sentence]
}

/// Relations between two arrays of one shape whose values differ.
pub(crate) fn relations(got: &Array, expected: &Array, bound: f64) -> Vec<String> {
    if let Some(sentence) = not_finite(got, expected) {
        return vec![sentence];
    }
    let near = Near { bound: bound.max(1e-5 * expected.max_abs()) };
    let whole = [
        all_the_same(got, expected),
        near.factor(got, expected),
        near.offset(got, expected),
        near.swapped_axes(got, expected),
        near.shifted(got, expected),
        near.flipped(got, expected),
    ];
    let partial =
        [near.leak(got, expected), near.row_sums(got, expected), near.first_slice(got, expected)];
    // A relation that explains every element makes those that explain some of them noise.
    let whole: Vec<String> = whole.into_iter().flatten().take(1).collect();
    let partial = partial.into_iter().flatten().take(MOST);
    if whole.is_empty() { partial.collect() } else { whole }
}

fn not_finite(got: &Array, expected: &Array) -> Option<String> {
    let pairs = got.values().iter().zip(expected.values());
    let is_bad = |(&got, &expected): (&f64, &f64)| !got.is_finite() && expected.is_finite();
    let bad: Vec<usize> =
        pairs.enumerate().filter(|&(_, pair)| is_bad(pair)).map(|(n, _)| n).collect();
    let &first = bad.first()?;
    Some(format!(
        "The first value that is not finite is {} at {:?}; there are {} of them.",
        got.values()[first],
        got.position(first),
        bad.len()
    ))
}

fn all_the_same(got: &Array, expected: &Array) -> Option<String> {
    let (&first, rest) = got.values().split_first()?;
    let varies = |values: &[f64]| values.iter().any(|value| value.to_bits() != values[0].to_bits());
    let same = rest.iter().all(|value| value.to_bits() == first.to_bits());
    (same && !rest.is_empty() && varies(expected.values()))
        .then(|| format!("Every value that came is {}.", number(first)))
}

/// Compares up to a bound.
struct Near {
    bound: f64,
}

impl Near {
    fn equal(&self, got: f64, expected: f64) -> bool {
        (got - expected).abs() <= self.bound
    }

    fn all(&self, got: &Array, expected: impl Fn(&[usize]) -> f64) -> bool {
        (0..got.values().len()).all(|n| self.equal(got.values()[n], expected(&got.position(n))))
    }

    /// `got = c · expected` everywhere.
    fn factor(&self, got: &Array, expected: &Array) -> Option<String> {
        let norm = expected.dot(expected);
        let factor = got.dot(expected) / norm;
        let holds = norm > 0.0
            && factor.is_finite()
            && factor.abs() > 1e-6
            && (factor - 1.0).abs() > 1e-4
            && self.all(got, |at| factor * expected.at(at));
        if !holds || expected.values().len() < 2 {
            return None;
        }
        if (factor + 1.0).abs() < 1e-4 {
            return Some("Every value has the wrong sign.".to_owned());
        }
        Some(format!("Every value is {} times the expected one.", number(factor)))
    }

    /// `got = expected + c` everywhere.
    fn offset(&self, got: &Array, expected: &Array) -> Option<String> {
        let (first_got, first_expected) = (got.values().first()?, expected.values().first()?);
        let offset = first_got - first_expected;
        (got.values().len() > 1 && self.all(got, |at| expected.at(at) + offset))
            .then(|| format!("Every value is {} above the expected one.", number(offset)))
    }

    /// `got` is `expected` with two axes of one length swapped.
    fn swapped_axes(&self, got: &Array, expected: &Array) -> Option<String> {
        for first in 0..got.rank() {
            for second in first + 1..got.rank() {
                if got.dim(first) != got.dim(second) || got.dim(first) < 2 {
                    continue;
                }
                let swapped = |at: &[usize]| {
                    let mut at = at.to_vec();
                    at.swap(first, second);
                    expected.at(&at)
                };
                if self.all(got, swapped) {
                    return Some(format!(
                        "The values are right with axes {first} and {second} swapped: a transpose \
                         is missing or too many."
                    ));
                }
            }
        }
        None
    }

    /// `got` is `expected` moved by one along an axis, as far as both exist.
    fn shifted(&self, got: &Array, expected: &Array) -> Option<String> {
        for axis in (0..got.rank()).filter(|&axis| got.dim(axis) > 2) {
            let length = got.dim(axis);
            for (from, to, sentence) in [(0, 1, "later"), (1, 0, "earlier")] {
                let moved = got.narrow(axis, to, length - 1);
                let original = expected.narrow(axis, from, length - 1);
                if self.all(&moved, |at| original.at(at)) && original.max_abs() > self.bound {
                    return Some(format!(
                        "Along axis {axis} every value stands one position {sentence} than \
                         expected."
                    ));
                }
            }
        }
        None
    }

    /// `got` is `expected` in reverse along an axis.
    fn flipped(&self, got: &Array, expected: &Array) -> Option<String> {
        (0..got.rank()).filter(|&axis| got.dim(axis) > 1).find_map(|axis| {
            let reversed = |at: &[usize]| {
                let mut at = at.to_vec();
                at[axis] = got.dim(axis) - 1 - at[axis];
                expected.at(&at)
            };
            self.all(got, reversed).then(|| format!("Axis {axis} is in reverse order."))
        })
    }

    /// Something stands above the diagonal of the last two axes, where nothing should.
    fn leak(&self, got: &Array, expected: &Array) -> Option<String> {
        let rank = got.rank();
        // On anything but a square of queries and keys, the diagonal has no meaning.
        if rank < 2 || got.dim(rank - 1) != got.dim(rank - 2) {
            return None;
        }
        let above = |at: &[usize]| at[rank - 1] > at[rank - 2];
        let positions = || (0..got.values().len()).map(|n| got.position(n));
        let empty = positions().filter(|at| above(at)).all(|at| self.equal(expected.at(&at), 0.0));
        let full = positions().any(|at| !above(&at) && !self.equal(expected.at(&at), 0.0));
        let leaks = positions().filter(|at| above(at) && !self.equal(got.at(at), 0.0)).count();
        (empty && full && leaks > 0).then(|| {
            format!("{leaks} values above the diagonal are not 0: later positions leak in.")
        })
    }

    /// Rows of the last axis should sum to one, and do not.
    fn row_sums(&self, got: &Array, expected: &Array) -> Option<String> {
        let length = *got.shape().last().filter(|&&length| length > 1)?;
        let bound = self.bound * length as f64;
        let sums_to_one = |row: &[f64]| (row.iter().sum::<f64>() - 1.0).abs() <= bound;
        let all_expected = expected.values().chunks(length).all(sums_to_one);
        let (n, row) =
            got.values().chunks(length).enumerate().find(|(_, row)| !sums_to_one(row))?;
        all_expected.then(|| {
            let position = got.position(n * length);
            format!(
                "Rows should sum to 1; the row at {:?} sums to {}.",
                &position[..position.len() - 1],
                number(row.iter().sum())
            )
        })
    }

    /// Only the first position of some axis is right: the rest got lost on the way.
    fn first_slice(&self, got: &Array, expected: &Array) -> Option<String> {
        (0..got.rank()).filter(|&axis| got.dim(axis) > 1).find_map(|axis| {
            let right = |at: usize| {
                let expected = expected.narrow(axis, at, 1);
                self.all(&got.narrow(axis, at, 1), |position| expected.at(position))
            };
            let wrong: Vec<usize> = (0..got.dim(axis)).filter(|&at| !right(at)).collect();
            (wrong.len() < got.dim(axis)).then(|| {
                let shown: Vec<_> = wrong.iter().take(SHOWN).map(ToString::to_string).collect();
                let more = if wrong.len() > SHOWN { ", …" } else { "" };
                let positions = shown.join(", ");
                format!(
                    "Along axis {axis}, only [{positions}{more}] of 0..{} differ.",
                    got.dim(axis)
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what relation holds between an array and a change of it.
    #[track_caller]
    fn check(got: &Array, expected: &Array, sentence: &str) {
        assert_eq!(relations(got, expected, 1e-9).join(" "), sentence);
    }

    fn square() -> Array {
        Array::matrix(&[[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.25, 0.25, 0.5]])
    }

    #[test]
    fn a_factor_is_named() {
        check(&square().map(|x| 2.5 * x), &square(), "Every value is 2.5 times the expected one.");
        check(&square().map(|x| -x), &square(), "Every value has the wrong sign.");
    }

    #[test]
    fn an_offset_is_named() {
        check(&square().map(|x| x + 1.0), &square(), "Every value is 1 above the expected one.");
    }

    #[test]
    fn a_transpose_is_named() {
        let sentence = "The values are right with axes 0 and 1 swapped: a transpose is missing or \
                        too many.";
        check(&square().transpose(&[1, 0]), &square(), sentence);
    }

    #[test]
    fn a_shift_is_named() {
        let got = Array::vector(&[9.0, 1.0, 2.0, 3.0]);
        let sentence = "Along axis 0 every value stands one position later than expected.";
        check(&got, &Array::vector(&[1.0, 2.0, 3.0, 4.0]), sentence);
    }

    #[test]
    fn reverse_order_is_named() {
        let got = Array::vector(&[4.0, 2.0, 7.0]);
        check(&got, &Array::vector(&[7.0, 2.0, 4.0]), "Axis 0 is in reverse order.");
    }

    #[test]
    fn a_nan_is_placed() {
        let mut got = square();
        got.set(&[1, 2], f64::NAN);
        let sentence = "The first value that is not finite is NaN at [1, 2]; there are 1 of them.";
        check(&got, &square(), sentence);
    }

    #[test]
    fn a_leak_and_row_sums_are_told_together() {
        let expected = Array::matrix(&[[1.0, 0.0], [0.5, 0.5]]);
        let got = Array::matrix(&[[0.75, 0.5], [0.5, 0.5]]);
        let sentence = "1 values above the diagonal are not 0: later positions leak in. \
                        Rows should sum to 1; the row at [0] sums to 1.25. \
                        Along axis 0, only [0] of 0..2 differ.";
        check(&got, &expected, sentence);
    }

    #[test]
    fn a_constant_is_named() {
        check(&square().map(|_| 0.0), &square(), "Every value that came is 0.");
    }

    #[test]
    fn swapped_axes_of_a_shape_are_named() {
        assert_eq!(shapes(&[2, 4, 3], &[2, 3, 4]), ["Axes 1 and 2 are swapped."]);
    }

    #[test]
    fn lost_axes_of_length_one_are_named() {
        let sentence = "Only axes of length 1 are missing or too many.";
        assert_eq!(shapes(&[2, 3], &[2, 1, 3]), [sentence]);
    }
}
