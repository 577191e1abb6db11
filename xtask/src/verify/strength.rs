//! The published report: how strong the checks are, as tables.
//!
//! **Invariant:** what is published was measured; a test holds it, the last digits of errors
//! aside, which differ between processors.

use std::{fs, path::Path};

use report::{PartProof, Rule};

use super::{Complaint, Fix, lines::line_of, proofs::Proved};
use crate::store;

/// Where the report is.
pub(crate) const REPORT: &str = "crates/checks/STRENGTH.md";

/// Files that hold it: tables between marks, by name.
const HOLDERS: &[(&str, &[Table])] =
    &[(REPORT, &[Table::Exercises, Table::Parts]), ("README.md", &[Table::Exercises])];

/// How far a published error may be from the measured one, as a factor.
const NEAR: f64 = 2.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Exercises,
    Parts,
}

impl Table {
    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::Exercises => ("<!-- strength:begin -->\n", "<!-- strength:end -->"),
            Self::Parts => ("<!-- strength-of-parts:begin -->\n", "<!-- strength-of-parts:end -->"),
        }
    }

    fn rows(self, proofs: &[Proved]) -> Vec<Row> {
        match self {
            Self::Exercises if proofs.len() > 1 => {
                let rows: Vec<Row> = proofs.iter().map(Row::of).collect();
                let all = rows.iter().cloned().reduce(|all, row| all.and(&row));
                rows.into_iter().chain(all.map(|all| Row { name: "all".into(), ..all })).collect()
            }
            Self::Exercises => proofs.iter().map(Row::of).collect(),
            Self::Parts => {
                let of = |proved: &Proved| -> Vec<Row> {
                    let row = |part: &PartProof| Row {
                        name: format!("{}::{}", proved.exercise, part.part),
                        ..Row::of_part(part)
                    };
                    proved.parts.iter().map(row).collect()
                };
                proofs.iter().flat_map(of).collect()
            }
        }
    }
}

/// One row of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) parts: usize,
    pub(crate) checks: usize,
    pub(crate) impostors: usize,
    pub(crate) killed: usize,
    pub(crate) right_answers: usize,
    pub(crate) false_alarms: usize,
    pub(crate) lazy_answers: usize,
    pub(crate) lazy_passed: usize,
    pub(crate) noise: f64,
    pub(crate) nearest: Option<f64>,
}

impl Row {
    /// What was proved of an exercise; its solution counts among the right answers.
    pub(crate) fn of(proved: &Proved) -> Self {
        let rows = proved.parts.iter().map(Self::of_part);
        let sum = rows.reduce(|sum, row| sum.and(&row));
        let mut row = sum.unwrap_or_else(Self::nothing);
        row.name.clone_from(&proved.exercise);
        if let Some(programs) = &proved.programs {
            row.right_answers += programs.millis.len();
            let failed = |fault: &&report::Fault| fault.rule == Rule::SolutionPasses;
            row.false_alarms += programs.faults.iter().filter(failed).count();
            row.noise = row.noise.max(programs.noise);
        }
        row
    }

    fn nothing() -> Self {
        Self {
            name: String::new(),
            parts: 0,
            checks: 0,
            impostors: 0,
            killed: 0,
            right_answers: 0,
            false_alarms: 0,
            lazy_answers: 0,
            lazy_passed: 0,
            noise: 0.0,
            nearest: None,
        }
    }

    fn of_part(part: &PartProof) -> Self {
        Self {
            name: part.part.clone(),
            parts: 1,
            checks: part.checks.len(),
            impostors: part.impostors.len(),
            killed: part.killed,
            right_answers: part.right_answers,
            false_alarms: part.false_alarms,
            lazy_answers: part.lazy_answers,
            lazy_passed: part.lazy_passed,
            noise: part.noise,
            nearest: part.nearest,
        }
    }

    fn and(self, other: &Self) -> Self {
        Self {
            name: self.name,
            parts: self.parts + other.parts,
            checks: self.checks + other.checks,
            impostors: self.impostors + other.impostors,
            killed: self.killed + other.killed,
            right_answers: self.right_answers + other.right_answers,
            false_alarms: self.false_alarms + other.false_alarms,
            lazy_answers: self.lazy_answers + other.lazy_answers,
            lazy_passed: self.lazy_passed + other.lazy_passed,
            noise: self.noise.max(other.noise),
            nearest: match (self.nearest, other.nearest) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        }
    }

    fn cells(&self, table: Table) -> Vec<String> {
        let name = if self.name == "all" { "all".to_owned() } else { format!("`{}`", self.name) };
        let mut cells = vec![name];
        if table == Table::Exercises {
            cells.push(self.parts.to_string());
        }
        cells.extend([
            self.checks.to_string(),
            format!("{} of {}", self.killed, self.impostors),
            format!("{} of {}", self.false_alarms, self.right_answers),
            format!("{} of {}", self.lazy_passed, self.lazy_answers),
            number(self.noise),
            self.nearest.map_or("–".to_owned(), number),
        ]);
        cells
    }
}

/// Two digits of a number, from a thousandth to ten thousand.
pub(crate) fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        // What differs between processors, and tells nothing.
        _ if value < 0.001 => "0.001".to_owned(),
        _ if value < 0.995 => {
            let digits = (1.0 - value.log10().floor()) as usize;
            format!("{value:.digits$}")
        }
        _ if value < 10.0 => format!("{value:.1}"),
        _ if value < 100.0 => format!("{value:.0}"),
        _ if value < 10_000.0 => format!("{:.0}", (value / 10.0).round() * 10.0),
        _ => "10000".to_owned(),
    }
}

fn head(table: Table) -> String {
    let what = match table {
        Table::Exercises => "exercise | parts",
        Table::Parts => "part",
    };
    let rule = if table == Table::Exercises { "|---|---:" } else { "|---" };
    format!(
        "| {what} | checks | impostors killed | false alarms | lazy answers passed | right answers \
         err at most | impostors err at least |\n{rule}|---:|---:|---:|---:|---:|---:|\n"
    )
}

fn text(table: Table, proofs: &[Proved]) -> String {
    let row = |row: &Row| format!("| {} |\n", row.cells(table).join(" | "));
    head(table) + &table.rows(proofs).iter().map(row).collect::<String>()
}

/// Writes what was measured into every file that publishes it.
pub(crate) fn publish(root: &Path, proofs: &[Proved]) -> anyhow::Result<Vec<&'static str>> {
    let mut written = Vec::new();
    for (file, tables) in HOLDERS {
        let mut page = fs::read_to_string(root.join(file)).unwrap_or_default();
        let before = page.clone();
        for table in *tables {
            if let Some((head, _, tail)) = split(&page, *table) {
                let (begin, end) = table.marks();
                page = format!("{head}{begin}{}{end}{tail}", text(*table, proofs));
            }
        }
        if page != before {
            store::save(&root.join(file), page.as_bytes())?;
            written.push(*file);
        }
    }
    Ok(written)
}

/// What stands before, between and behind a table's marks.
fn split(page: &str, table: Table) -> Option<(String, String, String)> {
    let (begin, end) = table.marks();
    let (head, rest) = page.split_once(begin)?;
    let (there, tail) = rest.split_once(end)?;
    Some((head.to_owned(), there.to_owned(), tail.to_owned()))
}

/// Whether what is published is what was measured.
pub(crate) fn look(root: &Path, proofs: &[Proved]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, tables) in HOLDERS {
        let page = fs::read_to_string(root.join(file)).unwrap_or_default();
        for table in *tables {
            complaints.extend(outdated(file, &page, *table, proofs));
        }
    }
    complaints
}

fn outdated(file: &str, page: &str, table: Table, proofs: &[Proved]) -> Option<Complaint> {
    let rule = Rule::ReportCurrent;
    let (begin, end) = table.marks();
    let Some((_, there, _)) = split(page, table) else {
        let sentence = format!("Mark where the table goes: `{}` and `{end}`.", begin.trim());
        return Some(Complaint::new(rule, file, 1, sentence));
    };
    let measured = text(table, proofs);
    let n = measured.lines().count().max(there.lines().count());
    let differs = (0..n).find(|&n| {
        let (published, measured) = (there.lines().nth(n), measured.lines().nth(n));
        !published.zip(measured).is_some_and(|(a, b)| same(a, b))
    })?;
    let sentence = match measured.lines().nth(differs) {
        Some(row) => format!("Measured is another row: `{row}`; write that one."),
        None => "No such row was measured; take it out.".to_owned(),
    };
    let line = line_of(page, begin) + 1 + differs;
    Some(Complaint::new(rule, file, line, sentence).with_fix(Fix::Report))
}

/// Whether two rows say the same; their last two cells are measured errors.
fn same(published: &str, measured: &str) -> bool {
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let (published, measured) = (cells(published), cells(measured));
    let exact = measured.len().saturating_sub(2);
    let near = |(a, b): (&String, &String)| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a <= NEAR * b && b <= NEAR * a,
        _ => a == b,
    };
    published.len() == measured.len()
        && published[..exact] == measured[..exact]
        && published[exact..].iter().zip(&measured[exact..]).all(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_and_errors_are_near() {
        let row = "| `a` | 1 | 4 | 9 of 9 | 0 of 2 | 0 of 6 | 0.04 | 26 |";
        assert!(same(row, row));
        assert!(same(row, &row.replace("0.04", "0.06").replace("26", "20")));
        assert!(!same(row, &row.replace("0.04", "0.09")));
        assert!(!same(row, &row.replace("9 of 9", "8 of 9")));
        assert!(!same(row, &row.replace("| 26 |", "| – |")));
        assert!(!same(row, "| `a` |"));
    }

    #[test]
    fn numbers_have_two_digits() {
        let said = [0.0, 1e-9, 0.0416, 0.25, 26.2, 149.0, 40_550.0].map(number);
        assert_eq!(said, ["0", "0.001", "0.042", "0.25", "26", "150", "10000"]);
    }
}
