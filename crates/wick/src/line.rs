//! The line to the judge: one reply a question, and reports of progress before it.
//!
//! **Invariant:** a report carries the id of a question that waits for its reply, so none can be
//! taken for another question's; without such a question it goes nowhere.

use std::{
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use protocol::{MAX_METRIC_NAME, MAX_METRICS, Progress, Reply};

/// Into how many steps a run of known length is thinned.
const SHOWN: u64 = 500;

/// The most reports that one question sends, whatever its length.
const MOST: usize = 2_000;

static LINE: Mutex<Option<Line>> = Mutex::new(None);

struct Line {
    replies: Box<dyn Write + Send>,
    question: Option<u64>,
    /// The last step of a thinned run that was sent.
    last: Option<u64>,
    n_sent: usize,
}

/// Tells how far a long computation has come: `step` of `total`, and what was measured there.
///
/// `check` shows it as a bar, and draws the metrics as curves. It is never judged. Call it as often
/// as you like: of long runs only some 500 steps are sent.
///
/// # Example: after each epoch
///
/// ```
/// # let (epoch, epochs, loss, accuracy) = (1, 20, 0.5, 0.9);
/// wick::progress(epoch, epochs, &[("loss", loss), ("accuracy", accuracy)]);
/// ```
pub fn progress(step: usize, total: usize, metrics: &[(&str, f64)]) {
    let (step, total) = (step as u64, total as u64);
    let mut line = lock();
    let Some(line) = line.as_mut() else { return };
    let Some(id) = line.question.filter(|_| line.is_due(step, total)) else { return };
    let metrics = metrics.iter().take(MAX_METRICS);
    let metrics = metrics.map(|&(name, value)| (plain(name), value)).collect();
    // If the judge is gone, sending the reply will find out.
    let _ =
        protocol::send(&mut line.replies, id, &Reply::Progress(Progress { step, total, metrics }));
}

/// Opens the line.
pub(crate) fn open(replies: Box<dyn Write + Send>) {
    *lock() = Some(Line { replies, question: None, last: None, n_sent: 0 });
}

/// Starts to take reports for the question `id`.
pub(crate) fn begin(id: u64) {
    if let Some(line) = lock().as_mut() {
        (line.question, line.last, line.n_sent) = (Some(id), None, 0);
    }
}

/// Sends the reply to the question `id`, after which no report is taken; says whether it went out.
pub(crate) fn reply(id: u64, reply: &Reply) -> bool {
    let mut line = lock();
    let Some(line) = line.as_mut() else { return false };
    line.question = None;
    protocol::send(&mut line.replies, id, reply).is_ok()
}

fn lock() -> MutexGuard<'static, Option<Line>> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Whether a step is worth a report; by steps and not by time, so that runs repeat.
    fn is_due(&mut self, step: u64, total: u64) -> bool {
        let thinned = if total > SHOWN { step.saturating_mul(SHOWN) / total } else { step };
        let is_due = self.n_sent < MOST && self.last != Some(thinned);
        if is_due {
            (self.last, self.n_sent) = (Some(thinned), self.n_sent + 1);
        }
        is_due
    }
}

/// Makes a name that the judge takes.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic();
    let plain: String =
        name.chars().take(MAX_METRIC_NAME).map(|c| if is_plain(c) { c } else { '?' }).collect();
    if plain.is_empty() { "?".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line { replies: Box::new(Vec::new()), question: None, last: None, n_sent: 0 }
    }

    #[track_caller]
    fn check(total: u64, n_steps: u64, n_sent: usize) {
        let mut line = line();
        let sent = (1..=n_steps).filter(|&step| line.is_due(step, total)).count();
        assert_eq!(sent, n_sent);
    }

    #[test]
    fn short_runs_are_sent_whole() {
        check(30, 30, 30);
        check(500, 500, 500);
    }

    #[test]
    fn long_runs_are_thinned() {
        check(50_000, 50_000, 501);
    }

    #[test]
    fn runs_without_an_end_are_cut() {
        check(0, 50_000, MOST);
    }

    #[test]
    fn odd_names_become_plain() {
        let long = "x".repeat(99);
        let names = ["loss", "", "λ\n", long.as_str()].map(plain);
        assert_eq!(names, ["loss", "?", "??", &"x".repeat(MAX_METRIC_NAME)]);
    }
}
