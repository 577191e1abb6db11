//! A check as people read it.
//!
//! **Invariant:** every verdict is a word; colour and symbols only repeat it.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use report::{Finding, Parity, PartReport, Prints, Shown};

use crate::{
    outcome::{Class, Outcome, class, word},
    text::{count, sentence, wrap},
};

/// How wide labels before a finding's lines are, with what stands before them.
const LABEL: usize = 18;

/// How a page is dressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dress {
    /// Without symbols and colour.
    pub(crate) is_plain: bool,
    /// Characters to a line.
    pub(crate) width: usize,
}

/// What a page says beside the judge's findings.
pub(crate) struct Page<'a> {
    pub(crate) title: String,
    /// Judged files, each with the start of its hash.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) outcome: &'a Outcome,
    /// Why it was judged where it was; empty if that was asked for.
    pub(crate) device_reason: &'a str,
    /// `file:line` of a part.
    pub(crate) place_of: &'a dyn Fn(&str) -> String,
    /// What to do next, in whole sentences.
    pub(crate) next: String,
    pub(crate) seconds: f64,
}

impl Dress {
    fn paint(self, style: Style, text: &str) -> String {
        if self.is_plain { text.to_owned() } else { format!("{style}{text}{style:#}") }
    }

    fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    fn symbol(self, of: Class) -> String {
        let (symbol, colour) = match of {
            Class::Passed => ("✓", AnsiColor::Green),
            Class::NotStarted => ("○", AnsiColor::Blue),
            Class::Wrong => ("✗", AnsiColor::Red),
            Class::Crashed => ("‼", AnsiColor::Magenta),
            Class::Fault => ("?", AnsiColor::Yellow),
        };
        if self.is_plain { "-".to_owned() } else { self.paint(colour.on_default().bold(), symbol) }
    }
}

/// Writes the whole page.
pub(crate) fn page(page: &Page<'_>, dress: Dress) -> String {
    let mut out = header(page, dress);
    out.push('\n');
    let first_failure = page.outcome.first_failure().map(|part| part.part.as_str());
    let width = page.outcome.parts.iter().map(|part| part.part.len()).max().unwrap_or(0);
    for part in page.outcome.parts.iter().filter(|part| class(part.verdict) != Class::NotStarted) {
        part_line(&mut out, part, width, dress);
        prints(&mut out, &part.prints, dress);
        if let Some(path) = page.outcome.curves.get(&part.part) {
            let _ = writeln!(out, "    {}{path}", dress.dim("curves        "));
        }
        exhibits(&mut out, page.outcome, part, dress);
        if let Some(finding) = &part.finding {
            let is_first = first_failure == Some(&part.part);
            if is_first {
                whole(&mut out, page, part, finding, dress);
            } else {
                short(&mut out, finding, dress);
            }
        }
    }
    not_started(&mut out, page.outcome, dress);
    footer(&mut out, page, dress);
    out
}

fn header(page: &Page<'_>, dress: Dress) -> String {
    let mut out = format!("{}\n", dress.bold(&page.title));
    for (file, hash) in &page.files {
        let _ = writeln!(out, "{}", dress.dim(&format!("{file}  {hash}")));
    }
    if let Some(started) = &page.outcome.started {
        let mut facts = format!("seed {}, on {}", started.seed, started.device);
        if !page.device_reason.is_empty() {
            let _ = write!(facts, ": {}", page.device_reason);
        }
        let _ = writeln!(out, "{}", dress.dim(&wrap(&facts, dress.width, "")));
        if !started.isolation.weakness.is_empty() {
            let _ = writeln!(out, "{}", wrap(&started.isolation.weakness, dress.width, ""));
        }
    }
    out
}

fn part_line(out: &mut String, part: &PartReport, width: usize, dress: Dress) {
    let checks = if part.checks_run == part.checks_declared {
        count(part.checks_declared, "check")
    } else {
        format!("{} of {} checks run", part.checks_run, part.checks_declared)
    };
    // Of what fails at once, nothing was found equal or near.
    let is_told = |parity: &Parity| parity.compared > 0 || class(part.verdict) == Class::Passed;
    let parity = parity(part.parity.filter(is_told));
    let _ = writeln!(
        out,
        "{} {:width$}  {:<8} {}",
        dress.symbol(class(part.verdict)),
        part.part,
        word(part.verdict),
        dress.dim(&format!("{checks}{parity}"))
    );
}

/// How far a device is from the CPU, behind the number of checks; nothing on the CPU itself.
fn parity(parity: Option<Parity>) -> String {
    parity.map_or_else(String::new, |Parity { difference, used, compared }| {
        let share = if used < 0.01 { "under 1".to_owned() } else { format!("{:.0}", used * 100.0) };
        if compared == 0 {
            return ", no tensor to compare with the CPU".to_owned();
        }
        let compared = count(compared, "tensor");
        match difference {
            0.0 => format!(", {compared} equal to the CPU's"),
            _ => format!(
                ", largest difference from the CPU {difference:.1e} in {compared}, {share} % of \
                 what is allowed"
            ),
        }
    })
}

fn prints(out: &mut String, prints: &Prints, dress: Dress) {
    for (stream, text) in [("stdout", &prints.stdout), ("stderr", &prints.stderr)] {
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(12) {
            let _ = writeln!(out, "    {} {line}", dress.dim(&format!("{stream} |")));
        }
        if lines.len() > 12 || (prints.cut && !lines.is_empty()) {
            let _ = writeln!(out, "    {}", dress.dim(&format!("{stream} | (more was printed)")));
        }
    }
}

/// What checks have to show of a part: texts here, pictures by the path of their file.
fn exhibits(out: &mut String, outcome: &Outcome, part: &PartReport, dress: Dress) {
    for exhibit in &part.exhibits {
        let Shown::Text(text) = &exhibit.shown else { continue };
        let _ = writeln!(out, "    {}", dress.dim(&format!("{}:", exhibit.title)));
        for line in text.lines() {
            let line = wrap(line, dress.width.saturating_sub(6), "    | ");
            let _ = writeln!(out, "    {} {line}", dress.dim("|"));
        }
    }
    for picture in outcome.pictures.iter().filter(|picture| picture.part == part.part) {
        let label = dress.dim("picture       ");
        let _ = writeln!(out, "    {label}{}  {}", picture.path, dress.dim(&picture.title));
    }
}

/// A finding with everything that it says.
fn whole(out: &mut String, page: &Page<'_>, part: &PartReport, finding: &Finding, dress: Dress) {
    let mut line = |label: &str, text: &str| {
        if text.is_empty() {
            return;
        }
        let indent = " ".repeat(LABEL);
        let text = wrap(text, dress.width.saturating_sub(LABEL), "");
        let text = text.lines().collect::<Vec<_>>().join(&format!("\n{indent}"));
        let _ = writeln!(out, "    {}{text}", dress.dim(&format!("{label:<14}")));
    };
    line("", "");
    if !finding.check.is_empty() {
        line("check", &format!("{}: {}", finding.check, finding.promise));
    }
    line("where", finding.place.as_deref().unwrap_or_default());
    line("at", finding.location.as_deref().unwrap_or_default());
    line("what", &finding.what.join(" "));
    for (n, each) in finding.each.iter().enumerate() {
        line(if n == 0 { "each" } else { "" }, each);
    }
    line("triage", &finding.triage.join(" "));
    if let Some(recognised) = &finding.recognised {
        line("recognised as", &dress.bold(&sentence(&recognised.diagnosis)));
    }
    let inputs =
        finding.inputs.iter().map(|input| format!("{}: {}", input.name, input.description));
    line("inputs", &inputs.collect::<Vec<_>>().join("; "));
    let exercise = page.outcome.started.as_ref().map_or("", |started| started.exercise.as_str());
    let hint = format!("cargo xtask hint {exercise}::{}", part.part);
    line("next", &format!("edit {}, or ask: {hint}", (page.place_of)(&part.part)));
    out.push('\n');
}

/// A finding in a line or two, below another that is told in full.
fn short(out: &mut String, finding: &Finding, dress: Dress) {
    let recognised = finding.recognised.as_ref().map(|known| sentence(&known.diagnosis));
    let what = recognised.or_else(|| finding.what.first().cloned()).unwrap_or_default();
    let what = if finding.check.is_empty() { what } else { format!("{}: {what}", finding.check) };
    let _ = writeln!(out, "    {}", wrap(&what, dress.width.saturating_sub(4), "    "));
}

fn not_started(out: &mut String, outcome: &Outcome, dress: Dress) {
    let open: Vec<&str> = outcome
        .parts
        .iter()
        .filter(|part| class(part.verdict) == Class::NotStarted)
        .map(|part| part.part.as_str())
        .collect();
    if open.is_empty() {
        return;
    }
    let text = format!("not started: {}", open.join(", "));
    let text = wrap(&text, dress.width.saturating_sub(2), "  ");
    let _ = writeln!(out, "{} {text}", dress.symbol(Class::NotStarted));
}

fn footer(out: &mut String, page: &Page<'_>, dress: Dress) {
    let outcome = page.outcome;
    let checks = format!("{} of {} checks run", outcome.checks_run(), outcome.checks_declared());
    let summary = outcome.summary();
    let summary = if dress.is_plain { summary.replace(" · ", ", ") } else { summary };
    let _ = writeln!(
        out,
        "\n{}  {}",
        dress.bold(&summary),
        dress.dim(&format!("({checks}, {:.2} s)", page.seconds))
    );
    let _ = writeln!(out, "{}", wrap(&page.next, dress.width, ""));
}

#[cfg(test)]
mod tests {
    use report::{Exhibit, Finished, Isolation, Recognised, Started, VERSION, Verdict};

    use super::*;
    use crate::exhibits::Picture;

    fn outcome() -> Outcome {
        let part = |name: &str, verdict, finding| PartReport {
            part: name.to_owned(),
            verdict,
            checks_run: 3,
            checks_declared: 6,
            finding,
            prints: Prints::default(),
            exhibits: vec![Exhibit {
                title: "a sample of its text".to_owned(),
                shown: Shown::Text("To be,\nor not".to_owned()),
            }],
            parity: None,
            millis: 1.0,
        };
        let finding = Finding {
            check: "masked_weight_is_zero".to_owned(),
            promise: "Rows sum to 1.".to_owned(),
            place: Some("`pattern` at [0, 0, 0, 1]".to_owned()),
            what: vec!["Got 2, expected 1.".to_owned()],
            triage: vec!["Every value is 2 times the expected one.".to_owned()],
            recognised: Some(Recognised {
                impostor: "twice".to_owned(),
                diagnosis: "the weights are doubled".to_owned(),
            }),
            ..Finding::default()
        };
        Outcome {
            curves: std::collections::BTreeMap::from([(
                "attention_pattern".to_owned(),
                ".wick/curves/attention-attention_pattern.svg".to_owned(),
            )]),
            pictures: vec![Picture {
                part: "attention_pattern".to_owned(),
                title: "the pattern".to_owned(),
                path: ".wick/pictures/attention-attention_pattern-the-pattern.html".to_owned(),
            }],
            expected: vec![],
            started: Some(Started {
                version: VERSION,
                exercise: "attention".to_owned(),
                seed: 7,
                device: "cpu".to_owned(),
                isolation: Isolation { full: true, layers: vec![], weakness: String::new() },
                parts: vec![],
            }),
            parts: vec![
                part("attention_pattern", Verdict::Wrong, Some(finding)),
                part("split_heads", Verdict::NotStarted, None),
            ],
            finished: Some(Finished {
                tally: std::collections::BTreeMap::new(),
                checks_run: 3,
                checks_declared: 12,
                millis: 1.0,
                start_millis: 1.0,
            }),
        }
    }

    #[test]
    fn a_plain_page_says_everything_without_symbols() {
        let outcome = outcome();
        let said = page(
            &Page {
                title: "attention".to_owned(),
                files: vec![("src/lib.rs".to_owned(), "12345678".to_owned())],
                outcome: &outcome,
                device_reason: "",
                place_of: &|_| "exercises/attention/src/lib.rs:37".to_owned(),
                next: "Edit on.".to_owned(),
                seconds: 0.5,
            },
            Dress { is_plain: true, width: 100 },
        );
        let expected = "\
attention
src/lib.rs  12345678
seed 7, on cpu

- attention_pattern  wrong    3 of 6 checks run
    curves        .wick/curves/attention-attention_pattern.svg
    a sample of its text:
    | To be,
    | or not
    picture       .wick/pictures/attention-attention_pattern-the-pattern.html  the pattern
    check         masked_weight_is_zero: Rows sum to 1.
    where         `pattern` at [0, 0, 0, 1]
    what          Got 2, expected 1.
    triage        Every value is 2 times the expected one.
    recognised as The weights are doubled.
    next          edit exercises/attention/src/lib.rs:37, or ask: cargo xtask hint
                  attention::attention_pattern

- not started: split_heads

0 of 2 passed, 1 wrong, 1 not started  (6 of 12 checks run, 0.50 s)
Edit on.
";
        assert_eq!(said, expected);
    }

    #[track_caller]
    fn check_parity(difference: f64, used: f64, said: &str) {
        assert_eq!(parity(Some(Parity::default().with(difference, used))), said);
    }

    #[test]
    fn parity_names_the_difference_and_its_share() {
        check_parity(
            3.14e-7,
            0.042,
            ", largest difference from the CPU 3.1e-7 in 1 tensor, 4 % of what is allowed",
        );
        check_parity(
            1e-9,
            0.001,
            ", largest difference from the CPU 1.0e-9 in 1 tensor, under 1 % of what is allowed",
        );
        check_parity(0.0, 0.0, ", 1 tensor equal to the CPU's");
        assert_eq!(parity(None), "");
        let nothing = ", no tensor to compare with the CPU";
        assert_eq!(parity(Some(Parity::default())), nothing);
    }
}
