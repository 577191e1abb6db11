//! How far a part has come, told while it still computes.
//!
//! **Invariant:** what [`Progress::validate`] lets through is short, whoever sent it.

use serde::{Deserialize, Serialize};

use crate::few;

/// The most reports of progress that one question may get.
pub const MAX_PROGRESS: usize = 10_000;

/// The most metrics that one report may name.
pub const MAX_METRICS: usize = 8;

/// The longest name of a metric, in bytes.
pub const MAX_METRIC_NAME: usize = 32;

/// One report of progress: `step` of `total`, and what was measured there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken so far.
    pub step: u64,
    /// Steps in all, as far as known; 0 if not.
    pub total: u64,
    /// What was measured, by name: `loss`, `accuracy`. A NaN is a measurement like another.
    #[serde(deserialize_with = "few::deserialize")]
    pub metrics: Vec<(String, f64)>,
}

/// Why a [`Progress`] is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgressError {
    /// More metrics than [`MAX_METRICS`].
    #[error("a report of progress has {0} metrics; at most {MAX_METRICS} are taken")]
    Metrics(usize),
    /// A name that is empty, longer than [`MAX_METRIC_NAME`], or not printable ASCII.
    #[error(
        "a metric's name has {0} bytes or odd characters; 1 to {MAX_METRIC_NAME} letters, digits, \
         spaces and signs are taken"
    )]
    Name(usize),
}

impl Progress {
    /// Proves that the report is short and its names are plain.
    ///
    /// # Errors
    ///
    /// Fails if there are too many metrics, or a name is empty, too long, or has other characters
    /// than printable ASCII.
    pub fn validate(&self) -> Result<(), ProgressError> {
        if self.metrics.len() > MAX_METRICS {
            return Err(ProgressError::Metrics(self.metrics.len()));
        }
        let is_plain = |name: &str| {
            (1..=MAX_METRIC_NAME).contains(&name.len())
                && name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        };
        match self.metrics.iter().find(|(name, _)| !is_plain(name)) {
            Some((name, _)) => Err(ProgressError::Name(name.len())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], sound: bool) {
        let metrics = names.iter().map(|name| ((*name).to_owned(), f64::NAN)).collect();
        assert_eq!(Progress { step: 1, total: 0, metrics }.validate().is_ok(), sound);
    }

    #[test]
    fn short_plain_names_are_taken() {
        check(&[], true);
        check(&["loss", "accuracy (valid)", &"x".repeat(MAX_METRIC_NAME)], true);
    }

    #[test]
    fn other_names_are_not() {
        check(&[""], false);
        check(&[&"x".repeat(MAX_METRIC_NAME + 1)], false);
        check(&["loss\u{1b}[2J"], false);
        check(&["ĺoss"], false);
    }

    #[test]
    fn many_metrics_are_not() {
        check(&["x"; MAX_METRICS], true);
        check(&["x"; MAX_METRICS + 1], false);
    }
}
