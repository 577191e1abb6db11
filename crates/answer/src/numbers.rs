//! Real numbers by name.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

/// Named numbers: the settings of a training run, or what was measured in one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers(BTreeMap<String, f64>);

/// The largest number that counts something: from there on, not every whole number exists.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

impl Numbers {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks up a number that must be there.
    ///
    /// # Errors
    ///
    /// Fails if it is not, naming what is.
    pub fn get(&self, name: &str) -> anyhow::Result<f64> {
        let found = self.0.get(name).copied();
        found.with_context(|| format!("there is no number `{name}`; there are {:?}", self.0.keys()))
    }

    /// Looks up a number that may be absent.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Looks up a number that counts something.
    ///
    /// # Errors
    ///
    /// Fails if it is not there, or is negative or no whole number.
    pub fn count(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.get(name)?;
        let is_count = (0.0..MAX_COUNT).contains(&found) && found.fract() == 0.0;
        ensure!(is_count, "`{name}` is {found}, which counts nothing");
        Ok(found as usize)
    }

    /// Adds or replaces a number.
    pub fn insert(&mut self, name: &str, number: f64) {
        self.0.insert(name.to_owned(), number);
    }

    /// Goes through the numbers in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, number)| (name.as_str(), *number))
    }
}

impl From<BTreeMap<String, f64>> for Numbers {
    fn from(numbers: BTreeMap<String, f64>) -> Self {
        Self(numbers)
    }
}

impl From<Numbers> for BTreeMap<String, f64> {
    fn from(numbers: Numbers) -> Self {
        numbers.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: f64, said: &str) {
        let mut numbers = Numbers::new();
        numbers.insert("batch", number);
        let found = numbers.count("batch").map_or_else(|e| e.to_string(), |n| n.to_string());
        assert_eq!(found, said);
    }

    #[test]
    fn only_whole_numbers_count() {
        check(32.0, "32");
        check(0.5, "`batch` is 0.5, which counts nothing");
        check(-1.0, "`batch` is -1, which counts nothing");
        check(f64::NAN, "`batch` is NaN, which counts nothing");
        check(f64::INFINITY, "`batch` is inf, which counts nothing");
    }

    #[test]
    fn a_missing_number_is_named_beside_those_that_are_there() {
        let numbers = Numbers::from(BTreeMap::from([("lr".to_owned(), 0.1)]));
        let said = numbers.get("batch").unwrap_err().to_string();
        assert_eq!(said, "there is no number `batch`; there are [\"lr\"]");
    }
}
