//! A verification as people read it.

use anstyle::{AnsiColor, Style};
use report::{PartProof, Rule, Stage};

use super::{
    Complaint,
    proofs::Proved,
    strength::{Row, number},
};
use crate::{
    render::Dress,
    text::{count, wrap},
};

/// Widths of the table's columns after the first.
const COLUMNS: [(&str, usize); 9] = [
    ("parts", 5),
    ("checks", 6),
    ("killed", 7),
    ("alarms", 6),
    ("lazy", 5),
    ("noise", 5),
    ("nearest", 7),
    ("judge", 7),
    ("verdict", 7),
];

const LEGEND: &str = "killed: impostors that fail first where they should. alarms: right answers \
    that fail. lazy: lazy answers that pass. noise: the most that a right answer uses of a \
    tolerance. nearest: tolerances that the nearest impostor is off by. judge: its time for the \
    solution. verdict: from a saved file to the verdict.";

/// One line when a stage is done.
pub(crate) fn stage(stage: Stage, n_complaints: usize, seconds: f64, dress: Dress) -> String {
    let rules = Rule::ALL.iter().filter(|rule| rule.stage() == stage).count();
    let what = match n_complaints {
        0 => String::new(),
        n => format!("  {}", count(n, "complaint")),
    };
    format!(
        "{} {:<8} {:>8} {seconds:>7.2} s{what}",
        symbol(n_complaints == 0, dress),
        stage.name(),
        count(rules, "rule")
    )
}

fn symbol(is_good: bool, dress: Dress) -> String {
    let (colour, symbol) =
        if is_good { (AnsiColor::Green, "✓") } else { (AnsiColor::Red, "✗") };
    match (dress.is_plain, is_good) {
        (true, true) => "ok    ".to_owned(),
        (true, false) => "FAILED".to_owned(),
        (false, _) => paint(dress, colour.on_default().bold(), symbol),
    }
}

fn paint(dress: Dress, style: Style, text: &str) -> String {
    if dress.is_plain { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

/// What was proved, a line each exercise, with the wait for its verdict in milliseconds.
pub(crate) fn table(proofs: &[Proved], waits: &[Option<f64>], dress: Dress) -> String {
    let width = proofs.iter().map(|proved| proved.exercise.len()).max().unwrap_or(0).max(8);
    let dim = Style::new().dimmed();
    let heads: String = COLUMNS.iter().map(|(head, width)| format!("  {head:>width$}")).collect();
    let mut out = paint(dress, dim, &format!("{:width$}{heads}", "exercise")) + "\n";
    for (proved, wait) in proofs.iter().zip(waits) {
        let row = Row::of(proved);
        let run = proved.programs.as_ref().map(|programs| programs.run_millis);
        let cells = [
            row.parts.to_string(),
            row.checks.to_string(),
            format!("{}/{}", row.killed, row.impostors),
            format!("{}/{}", row.false_alarms, row.right_answers),
            format!("{}/{}", row.lazy_passed, row.lazy_answers),
            number(row.noise),
            row.nearest.map_or("–".to_owned(), number),
            run.map_or("–".to_owned(), |millis| format!("{millis:.0} ms")),
            wait.map_or("–".to_owned(), |millis| format!("{:.2} s", millis / 1e3)),
        ];
        out += &format!("{:width$}", row.name);
        for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
            out += &format!("  {cell:>width$}");
        }
        out.push('\n');
    }
    for line in wrap(LEGEND, dress.width.min(88), "").lines() {
        out += &format!("{}\n", paint(dress, dim, line));
    }
    out
}

/// A complaint, with its place first.
pub(crate) fn complaint(complaint: &Complaint, dress: Dress) -> String {
    let red = AnsiColor::Red.on_default().bold();
    let place = format!("{}:{}", complaint.file, complaint.line);
    let head = format!("{}  {place}", paint(dress, red, complaint.rule.id()));
    let fix = complaint.fix.as_ref().and(complaint.rule.fix());
    let fix = fix.map_or(String::new(), |fix| format!(" (`--fix` {fix}.)"));
    let text = format!("  {}{fix}", complaint.sentence);
    format!("{head}\n{}\n", wrap(&text, dress.width, "  "))
}

/// What each check of a part does to each impostor.
pub(crate) fn matrix(exercise: &str, part: &PartProof, dress: Dress) -> String {
    let name = format!("{exercise}::{}", part.part);
    let mut out = paint(dress, Style::new().bold(), &name) + "\n";
    let numbers: String = (1..=part.checks.len()).map(|n| format!("{n:>3}")).collect();
    let width = part.impostors.iter().map(|impostor| impostor.name.len()).max().unwrap_or(0);
    out += &format!("  {:width$} {numbers}\n", "");
    for impostor in &part.impostors {
        out += &format!("  {:width$} ", impostor.name);
        for (check, fails) in part.checks.iter().zip(&impostor.fails) {
            let is_first = impostor.first.as_ref() == Some(check);
            out += &format!("  {}", cell(is_first, *fails, dress));
        }
        out.push('\n');
    }
    let checks: Vec<String> =
        part.checks.iter().enumerate().map(|(n, check)| format!("{} {check}", n + 1)).collect();
    out + &wrap(&format!("  {}", checks.join("   ")), dress.width, "  ") + "\n"
}

/// What stands before all matrices.
pub(crate) fn key(dress: Dress) -> String {
    let [first, also, holds, left_out] =
        [(true, Some(true)), (false, Some(true)), (false, Some(false)), (false, None)]
            .map(|(is_first, fails)| cell(is_first, fails, dress));
    format!(
        "{first} the first check that the impostor fails   {also} fails as well   {holds} holds   \
         {left_out} a training that it need not be put to"
    )
}

fn cell(is_first: bool, fails: Option<bool>, dress: Dress) -> String {
    let (symbol, letter, style) = match (is_first, fails) {
        (true, _) => ("■", "F", AnsiColor::Green.on_default().bold()),
        (false, Some(true)) => ("×", "x", Style::new()),
        (false, Some(false)) => ("·", ".", Style::new().dimmed()),
        (false, None) => ("–", "-", Style::new().dimmed()),
    };
    if dress.is_plain { letter.to_owned() } else { paint(dress, style, symbol) }
}

/// The last line.
pub(crate) fn end(
    complaints: &[Complaint],
    n_exercises: usize,
    not_run: &[String],
    seconds: f64,
    dress: Dress,
) -> String {
    let mut out = String::new();
    for what in not_run {
        out += &wrap(&format!("Not looked at: {what}."), dress.width, "  ");
        out.push('\n');
    }
    let exercises = count(n_exercises, "exercise");
    if complaints.is_empty() {
        let style = AnsiColor::Green.on_default().bold();
        let holds =
            if not_run.is_empty() { "Everything holds" } else { "What was looked at holds" };
        return out + &format!("{}: {exercises}, {seconds:.1} s.", paint(dress, style, holds));
    }
    let fixable = complaints.iter().filter(|complaint| complaint.fix.is_some()).count();
    let n = paint(dress, Style::new().bold(), &count(complaints.len(), "complaint"));
    let mends = match fixable {
        0 => String::new(),
        n => format!(" `--fix` mends {n}."),
    };
    let rules = "crates/VERIFY.md lists the rules.";
    out + &wrap(&format!("{n} about {exercises}, {seconds:.1} s.{mends} {rules}"), dress.width, "")
}
