//! The strict comparison: dtype, shape, then every element in `f64`.
//!
//! **Invariant:** an element passes only if it equals the expected one or `|difference| <= bound`
//! is true; a NaN makes every comparison false, and nothing is ever broadcast.

use report::Finding;

use crate::{Array, Tolerance, triage};

/// Compares a result with what was expected, and returns the largest error in units of the bound.
///
/// # Errors
///
/// Fails with what a learner is told, if dtype, shape or any element differs.
pub(crate) fn compare(
    name: &str,
    got: &Array,
    expected: &Array,
    tolerance: Tolerance,
) -> Result<f64, Box<Finding>> {
    if got.shape() != expected.shape() {
        return Err(wrong_shape(name, got, expected));
    }
    if got.dtype() != expected.dtype() {
        let what = format!(
            "`{name}` has dtype {}; expected {}, the dtype that follows from the inputs.",
            got.dtype().name(),
            expected.dtype().name()
        );
        return Err(Box::new(Finding { what: vec![what], ..Finding::default() }));
    }
    let bound = tolerance.bound(expected);
    let pairs = || got.values().iter().zip(expected.values());
    let wrong: Vec<usize> = pairs()
        .enumerate()
        .filter(|&(_, (&got, &expected))| !passes(got, expected, bound))
        .map(|(n, _)| n)
        .collect();
    let Some(&first) = wrong.first() else {
        let error = |(&got, &expected): (&f64, &f64)| {
            if got.to_bits() == expected.to_bits() { 0.0 } else { (got - expected).abs() / bound }
        };
        return Ok(pairs().map(error).filter(|error| error.is_finite()).fold(0.0, f64::max));
    };
    Err(Box::new(Finding {
        place: Some(format!("`{name}` at {:?}", expected.position(first))),
        what: vec![wrong_value(got, expected, first, wrong.len(), bound)],
        triage: triage::relations(got, expected, bound),
        ..Finding::default()
    }))
}

/// How far beyond the bound the worst element is, in units of the bound.
///
/// Infinite where no distance can be given: another shape or dtype, a NaN, a bound of zero.
pub(crate) fn excess(got: &Array, expected: &Array, tolerance: Tolerance) -> f64 {
    if got.shape() != expected.shape() || got.dtype() != expected.dtype() {
        return f64::INFINITY;
    }
    let bound = tolerance.bound(expected);
    let wrong = got.values().iter().zip(expected.values());
    let wrong = wrong.filter(|&(&got, &expected)| !passes(got, expected, bound));
    let distance = wrong.map(|(got, expected)| (got - expected).abs() / bound);
    distance.fold(
        0.0,
        |worst, distance| {
            if distance.is_nan() { f64::INFINITY } else { distance.max(worst) }
        },
    )
}

/// Written so that a NaN on either side fails.
#[expect(clippy::float_cmp, reason = "an exact value, such as infinity, is right as it is")]
fn passes(got: f64, expected: f64, bound: f64) -> bool {
    got == expected || (got - expected).abs() <= bound
}

fn wrong_shape(name: &str, got: &Array, expected: &Array) -> Box<Finding> {
    let what = format!("`{name}` has shape {:?}; expected {:?}.", got.shape(), expected.shape());
    let triage = triage::shapes(got.shape(), expected.shape());
    Box::new(Finding { what: vec![what], triage, ..Finding::default() })
}

fn wrong_value(got: &Array, expected: &Array, first: usize, wrong: usize, bound: f64) -> String {
    let (got, wanted) = (got.values()[first], expected.values()[first]);
    let allowed = if bound > 0.0 { format!(" within {bound:.1e}") } else { " exactly".to_owned() };
    let count = expected.values().len();
    let how_many = match (wrong, count) {
        (_, 1) => String::new(),
        (wrong, count) if wrong == count => format!("; all {count} positions differ"),
        (wrong, count) => format!("; {wrong} of {count} positions differ"),
    };
    format!("Got {}, expected {}{allowed}{how_many}.", number(got), number(wanted))
}

/// Writes a number as short as it can be told from its neighbours.
pub(crate) fn number(value: f64) -> String {
    let rounded = format!("{value:.6}");
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    match value {
        _ if !value.is_finite() => value.to_string(),
        _ if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e7) => format!("{value:.4e}"),
        _ if short == "-0" => "0".to_owned(),
        _ => short.to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use protocol::DType;

    use super::*;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    #[track_caller]
    fn check(got: &[f64], expected: &[f64], said: &str) {
        let (got, expected) = (Array::vector(got), Array::vector(expected));
        let compared = compare("out", &got, &expected, Tolerance::relative(1e-3).at_scale(1.0));
        let text = compared.map_or_else(|finding| finding.what.join(" "), |_| "ok".to_owned());
        assert_eq!(text, said);
    }

    #[test]
    fn within_the_bound_passes() {
        check(&[1.0005, -2.0], &[1.0, -2.0], "ok");
        check(&[], &[], "ok");
        check(&[INF, -INF], &[INF, -INF], "ok");
    }

    #[test]
    fn one_nan_fails() {
        let said = "Got NaN, expected 2 within 1.0e-3; 1 of 3 positions differ.";
        check(&[1.0, NAN, 3.0], &[1.0, 2.0, 3.0], said);
    }

    #[test]
    fn an_expected_nan_is_never_met() {
        check(&[NAN], &[NAN], "Got NaN, expected NaN within 1.0e-3.");
    }

    #[test]
    fn infinity_of_the_wrong_sign_fails() {
        check(&[INF], &[-INF], "Got inf, expected -inf within 1.0e-3.");
        check(
            &[INF, INF],
            &[1.0, 2.0],
            "Got inf, expected 1 within 1.0e-3; all 2 positions differ.",
        );
    }

    #[test]
    fn nothing_is_broadcast() {
        check(&[1.0], &[1.0, 1.0], "`out` has shape [1]; expected [2].");
        check(&[], &[1.0], "`out` has shape [0]; expected [1].");
    }

    #[test]
    fn a_scalar_is_not_a_vector() {
        let compared =
            compare("out", &Array::new(&[], vec![1.0]), &Array::vector(&[1.0]), Tolerance::EXACT);
        assert_eq!(compared.unwrap_err().what, ["`out` has shape []; expected [1]."]);
    }

    #[test]
    fn another_dtype_fails() {
        let one = Array::vector(&[1.0]);
        let compared = compare("out", &one.to(DType::F32), &one, Tolerance::EXACT);
        let said = "`out` has dtype f32; expected f64, the dtype that follows from the inputs.";
        assert_eq!(compared.unwrap_err().what, [said]);
    }

    #[test]
    fn the_error_comes_back_in_units_of_the_bound() {
        let tolerance = Tolerance::relative(1e-3).at_scale(1.0);
        let error = compare("out", &Array::vector(&[1.00025]), &Array::vector(&[1.0]), tolerance);
        assert!((error.unwrap() - 0.25).abs() < 1e-9);
    }

    #[track_caller]
    fn check_excess(got: &[f64], expected: &[f64], bounds: f64) {
        let (got, expected) = (Array::vector(got), Array::vector(expected));
        let found = excess(&got, &expected, Tolerance::relative(1e-3).at_scale(1.0));
        assert!(found == bounds || (found - bounds).abs() < 1e-6, "{found} bounds, not {bounds}");
    }

    #[test]
    fn the_worst_element_counts() {
        check_excess(&[1.0, 2.005, 3.5], &[1.0, 2.0, 3.0], 500.0);
        check_excess(&[1.0], &[1.0], 0.0);
    }

    #[test]
    fn what_has_no_distance_is_infinitely_far() {
        check_excess(&[NAN, 1.0], &[1.0, 1.0], INF);
        check_excess(&[INF], &[-INF], INF);
        check_excess(&[1.0], &[1.0, 1.0], INF);
        let (zero, one) = (Array::vector(&[0.0]), Array::vector(&[1.0]));
        assert_eq!(excess(&zero, &one, Tolerance::EXACT), INF);
        assert_eq!(excess(&one.to(DType::F32), &one, Tolerance::GRADIENT), INF);
    }

    #[test]
    fn numbers_are_short() {
        let said = [0.25, -0.0, 1e-7, 12_345_678.0, 1.0 / 3.0].map(number);
        assert_eq!(said, ["0.25", "0", "1.0000e-7", "1.2346e7", "0.333333"]);
    }
}
