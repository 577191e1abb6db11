//! Whether the machine does other work while something is measured.
//!
//! Linux says so in `/proc`; elsewhere nothing is known, and every measurement counts.

use std::{fs, thread, time::Duration};

/// Other work beyond this share of the machine disturbs a measurement.
const QUIET: f64 = 0.15;

/// Clock ticks to a second, which Linux keeps at this for programs.
const TICKS: f64 = 100.0;

/// Processor time since the machine and this program were started, in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    all: f64,
    own: f64,
}

impl Load {
    pub(super) fn now() -> Option<Self> {
        let (all, own) =
            (fs::read_to_string("/proc/stat").ok()?, fs::read_to_string("/proc/self/stat").ok()?);
        Self::parse(&all, &own)
    }

    fn parse(all: &str, own: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal
        let all = numbers(all.lines().next()?.strip_prefix("cpu ")?);
        let busy = [0, 1, 2, 5, 6, 7].iter().map(|&n| all.get(n).copied().unwrap_or(0.0)).sum();
        // What stands behind the name, which may hold anything; our children's time included.
        let own = numbers(own.rsplit_once(") ")?.1.split_once(' ')?.1);
        Some(Self { all: busy, own: own.get(10..14)?.iter().sum() })
    }

    /// Whether others were at work since, for `wall`.
    pub(super) fn was_disturbed(self, wall: Duration) -> bool {
        let Some(now) = Self::now() else { return false };
        let cores = thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        self.others(now) > QUIET * wall.as_secs_f64() * cores
    }

    /// Processor time of all others, in seconds.
    fn others(self, now: Self) -> f64 {
        ((now.all - self.all) - (now.own - self.own)) / TICKS
    }
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_all_but_us_and_our_children() {
        let stat = |user: u32| format!("cpu  {user} 0 100 9000 50 1 2 0 0 0\ncpu0 1 2 3\n");
        let own = |ticks: u32| {
            format!("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 {ticks} 20 30 40 20 0 1 0 99 1000\n")
        };
        let before = Load::parse(&stat(1000), &own(10)).unwrap();
        let after = Load::parse(&stat(1300), &own(110)).unwrap();
        assert!((before.others(after) - 2.0).abs() < 1e-9, "{before:?} {after:?}");
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        assert!(Load::parse("", "").is_none() && Load::parse("cpu 1", "x").is_none());
    }
}
