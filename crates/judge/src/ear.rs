//! What a subject tells of its progress, passed on.
//!
//! **Invariant:** of one part no more than a bounded number of reports is passed on, and they
//! change no verdict.

use std::io;

use protocol::Progress;
use report::Event;

use crate::run::Listener;

/// The most reports of one part that are passed on; what comes beyond them is dropped.
const MOST: usize = 4_000;

/// Hears the progress of one part.
pub(crate) struct Ear<'a> {
    part: &'a str,
    listener: Listener<'a>,
    n_passed: usize,
    /// Whether the listener has taken everything so far.
    pub(crate) heard: io::Result<()>,
}

impl<'a> Ear<'a> {
    pub(crate) fn new(part: &'a str, listener: Listener<'a>) -> Self {
        Self { part, listener, n_passed: 0, heard: Ok(()) }
    }

    /// Passes a report on.
    pub(crate) fn hear(&mut self, check: &str, question: usize, progress: &Progress) {
        if self.n_passed == MOST || self.heard.is_err() {
            return;
        }
        self.n_passed += 1;
        let finite = |(name, value): &(String, f64)| {
            (name.clone(), Some(*value).filter(|value| value.is_finite()))
        };
        self.heard = (self.listener)(&Event::Progress(report::Progress {
            part: self.part.to_owned(),
            check: check.to_owned(),
            question,
            step: progress.step,
            total: progress.total,
            metrics: progress.metrics.iter().map(finite).collect(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_dropped_and_a_nan_is_null() {
        let mut lines = Vec::new();
        let mut listen = |event: &Event| {
            lines.push(serde_json::to_string(event)?);
            Ok(())
        };
        let mut ear = Ear::new("train", &mut listen);
        for step in 0..10_000 {
            let metrics = vec![("loss".to_owned(), f64::NAN)];
            ear.hear("learns", 0, &Progress { step, total: 0, metrics });
        }
        assert!(ear.heard.is_ok());
        assert_eq!(lines.len(), MOST);
        assert!(lines[0].contains(r#"[["loss",null]]"#), "{}", lines[0]);
        let Event::Progress(read) = serde_json::from_str(&lines[7]).unwrap() else { panic!() };
        assert_eq!((read.step, read.metrics), (7, vec![("loss".to_owned(), None)]));
    }
}
