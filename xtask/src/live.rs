//! Progress while a part computes: a bar with what was measured, and the curve that is kept of it.
//!
//! **Invariant:** without a terminal nothing moves; a run that told nothing leaves no curve.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, stderr},
    path::Path,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use report::Progress;

use crate::{curve::Curve, store};

/// Where curves are kept, below the root.
const FOLDER: &str = ".wick/curves";

/// Follows the progress of all parts; several may compute at a time.
pub(crate) struct Live {
    bars: MultiProgress,
    /// Whether a bar may be shown at all.
    moves: bool,
    runs: BTreeMap<String, Run>,
}

/// What one part told.
#[derive(Default)]
struct Run {
    bar: Option<ProgressBar>,
    /// The question that is answered now: check, number.
    at: (String, usize),
    now: Curve,
    /// The longest of its curves so far.
    kept: Curve,
}

impl Run {
    fn take(&mut self, progress: &Progress) {
        let at = (progress.check.clone(), progress.question);
        if at != self.at {
            self.keep();
            self.at = at;
        }
        self.now.add(progress.step, &progress.metrics);
    }

    /// Keeps the curve that ended, if it is the longest.
    fn keep(&mut self) {
        let ended = std::mem::take(&mut self.now);
        if ended.len() > self.kept.len() {
            self.kept = ended;
        }
    }
}

impl Live {
    /// Starts; `moves` says whether bars are wanted, where there is a terminal.
    pub(crate) fn new(moves: bool) -> Self {
        let moves = moves && stderr().is_terminal();
        Self { bars: MultiProgress::new(), moves, runs: BTreeMap::new() }
    }

    /// Takes one report.
    pub(crate) fn take(&mut self, progress: &Progress) {
        let run = self.runs.entry(progress.part.clone()).or_default();
        run.take(progress);
        if !self.moves {
            return;
        }
        let bar = run.bar.get_or_insert_with(|| start_bar(&self.bars));
        bar.set_length(progress.total.max(progress.step));
        bar.set_position(progress.step);
        bar.set_prefix(progress.part.clone());
        bar.set_message(measured(progress));
    }

    /// Takes the bar of `part` away, since it is judged.
    pub(crate) fn end(&mut self, part: &str) {
        let Some(run) = self.runs.get_mut(part) else { return };
        run.keep();
        if let Some(bar) = run.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Saves a curve for each part that told of its progress; returns their paths, by part.
    ///
    /// # Errors
    ///
    /// Fails if the disk does not take one.
    pub(crate) fn save(
        mut self,
        root: &Path,
        exercise: &str,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let mut paths = BTreeMap::new();
        let parts: Vec<String> = self.runs.keys().cloned().collect();
        for part in &parts {
            self.end(part);
        }
        // A single point is no curve.
        for (part, run) in self.runs.iter().filter(|(_, run)| run.kept.len() > 1) {
            let path = format!("{FOLDER}/{exercise}-{part}.svg");
            let title = format!("{exercise}::{part}");
            store::save(&root.join(&path), run.kept.draw(&title).as_bytes())?;
            paths.insert(part.clone(), path);
        }
        Ok(paths)
    }
}

/// What was measured, in a few words.
fn measured(progress: &Progress) -> String {
    let word = |(name, value): &(String, Option<f64>)| match value {
        Some(value) => format!("{name} {value:.3}"),
        None => format!("{name} is not finite"),
    };
    progress.metrics.iter().map(word).collect::<Vec<_>>().join("  ")
}

fn start_bar(bars: &MultiProgress) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(0));
    let template = "  {prefix}  {bar:24} {pos}/{len}  {msg}  {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(part: &str, question: usize, step: u64) -> Progress {
        let metrics = vec![("loss".to_owned(), Some(1.0 / step as f64)), ("x".to_owned(), None)];
        let (part, check) = (part.to_owned(), "learns".to_owned());
        Progress { part, check, question, step, total: 9, metrics }
    }

    #[test]
    fn the_longest_run_of_a_part_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let mut live = Live::new(false);
        for (question, n_steps) in [(0, 2), (1, 9), (2, 3)] {
            for step in 1..=n_steps {
                live.take(&told("train", question, step));
                live.take(&told("beside", question, step));
            }
        }
        live.take(&told("other", 0, 1));
        let paths = live.save(folder.path(), "mlp").unwrap();
        assert_eq!(
            paths.into_iter().collect::<Vec<_>>(),
            ["beside", "train"]
                .map(|part| (part.to_owned(), format!(".wick/curves/mlp-{part}.svg")))
        );
        let svg = std::fs::read_to_string(folder.path().join(".wick/curves/mlp-train.svg"));
        assert!(svg.unwrap().contains("step 9"));
    }

    #[test]
    fn what_is_measured_is_said_in_words() {
        assert_eq!(measured(&told("train", 0, 4)), "loss 0.250  x is not finite");
    }
}
