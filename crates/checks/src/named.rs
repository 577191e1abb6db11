//! Trials of parts that return tensors by name: weights, gradients, an optimiser's state.

use std::collections::BTreeMap;

use protocol::Value;

use crate::{Array, Outcome, Stop, Tolerance, Trial, compare::compare, compare::number};

/// Arrays by name.
pub type Named = BTreeMap<String, Array>;

/// Writes arrays by name for the border.
pub(crate) fn to_value(arrays: &Named) -> Value {
    Value::Named(arrays.iter().map(|(name, array)| (name.clone(), array.to_raw())).collect())
}

/// Reads named arrays, if it is those that crossed the border.
pub(crate) fn from_value(value: &Value) -> Option<Named> {
    let Value::Named(set) = value else { return None };
    set.iter().map(|(name, raw)| Some((name.clone(), Array::from_raw(raw).ok()?))).collect()
}

impl Trial<'_> {
    /// Calls a part that returns `N` sets of named tensors.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::values`] does, or if something else came.
    pub fn sets<const N: usize>(
        &mut self,
        args: Vec<(&'static str, Value)>,
    ) -> Result<[Named; N], Stop> {
        let values = self.values(args)?;
        let sets = values.iter().map(from_value).collect::<Option<Vec<_>>>().unwrap_or_default();
        sets.try_into().map_err(|_| {
            let sets = if N == 1 { "one set".to_owned() } else { format!("{N} sets") };
            self.wrong(format!("It did not return {sets} of named tensors."))
        })
    }

    /// Proves that each named result is the expected one, in the order given.
    ///
    /// If one is not, the finding is about the first, and says of every name whether it is exact,
    /// approximate (within the tolerance) or wrong, and by how much it differs at most.
    /// Names that came beyond those expected do not matter.
    ///
    /// # Errors
    ///
    /// Stops if a name is missing, or dtype, shape or any element differs.
    pub fn close_each(
        &mut self,
        of: &str,
        got: &Named,
        expected: &[(&str, Array, Tolerance)],
    ) -> Outcome {
        let missing = expected.iter().find(|(name, ..)| !got.contains_key(*name));
        if let Some((name, ..)) = missing {
            // The names that came are the answer's own, as many and as long as it likes.
            let short = |name: &String| format!("`{}`", name.chars().take(32).collect::<String>());
            let came: Vec<_> = got.keys().take(16).map(short).collect();
            let sentence =
                format!("There is no {of} `{name}`; those that came are [{}].", came.join(", "));
            return Err(self.wrong(sentence));
        }
        for (name, expected_here, tolerance) in expected {
            let label = format!("{of} {name}");
            let Err(stop) = self.close(&label, &got[*name], expected_here, *tolerance) else {
                continue;
            };
            let Stop::Wrong(mut finding) = stop else { return Err(stop) };
            let width = expected.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
            let line = |(name, expected, tolerance): &(&str, Array, Tolerance)| {
                format!("{name:width$}  {}", standing(&got[*name], expected, *tolerance))
            };
            if expected.len() > 1 {
                finding.each = expected.iter().map(line).collect();
            }
            return Err(Stop::Wrong(finding));
        }
        Ok(())
    }
}

/// How near one result is to the expected one, in words.
fn standing(got: &Array, expected: &Array, tolerance: Tolerance) -> String {
    if got.shape() != expected.shape() || got.dtype() != expected.dtype() {
        return format!("WRONG, {}; expected {}", got.describe(), expected.describe());
    }
    let differences = got.values().iter().zip(expected.values()).map(|(got, expected)| {
        // The comparison below is for the largest, and a NaN has to count as one.
        let difference = (got - expected).abs();
        if difference.is_nan() { f64::INFINITY } else { difference }
    });
    let largest = differences.fold(0.0, f64::max);
    let standing = match compare("", got, expected, tolerance) {
        Ok(_) if largest == 0.0 => return "exact".to_owned(),
        Ok(_) => "approximate",
        Err(_) => "WRONG",
    };
    format!("{standing}, differs by up to {}", number(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: &[f64], expected: &[f64], said: &str) {
        let (got, expected) = (Array::vector(got), Array::vector(expected));
        assert_eq!(standing(&got, &expected, Tolerance::relative(1e-3)), said);
    }

    #[test]
    fn a_result_is_exact_or_near_or_wrong() {
        check(&[1.0, 2.0], &[1.0, 2.0], "exact");
        check(&[1.0, 2.0015], &[1.0, 2.0], "approximate, differs by up to 0.0015");
        check(&[1.5, 2.0], &[1.0, 2.0], "WRONG, differs by up to 0.5");
        check(&[f64::NAN, 2.0], &[1.0, 2.0], "WRONG, differs by up to inf");
        check(&[1.0], &[1.0, 2.0], "WRONG, f64 [1]; expected f64 [2]");
    }
}
