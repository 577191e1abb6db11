//! The lists that name every exercise, and how a new one is entered in each.
//!
//! A list stands between two marks, or at the end of its file. If its marks are gone, nothing is
//! guessed: a sentence says which line to bring back.

use std::{fs, path::Path};

use crate::{
    exit::{Exit, problem},
    manifest::Manifest,
};

use super::{Entry, NewExercise};

const COURSE: &str = "exercises/course.toml";
const CHECKS: &str = "crates/checks/src/lib.rs";
const FEATURES: &str = "crates/checks/Cargo.toml";
const README: &str = "README.md";

/// Every list, with the exercise entered.
pub(super) fn all(root: &Path, new: &NewExercise) -> anyhow::Result<Vec<Entry>> {
    let name = &new.names.exercise;
    let course = format!("{}\n\n[[exercise]]\nname = \"{name}\"\n", read(root, COURSE)?.trim_end());
    let features = List { file: FEATURES, begin: "# exercises:begin", end: "# exercises:end" }
        .insert(&read(root, FEATURES)?, &[&format!("{name} = []")], Order::ByName)?;
    let chosen = format!("#[cfg(any(feature = \"every\", feature = \"{name}\"))]");
    let checks = List { file: CHECKS, begin: "// exercises:begin", end: "// exercises:end" }
        .insert(&read(root, CHECKS)?, &[&chosen, &format!("pub mod {name};")], Order::ByName)?;
    let checks = List { file: CHECKS, begin: "// suites:begin", end: "// suites:end" }.insert(
        &checks,
        &[&chosen, &format!("&{name}::SUITE,")],
        Order::ByName,
    )?;
    let marks = ("<!-- exercises:begin -->", "<!-- exercises:end -->");
    let readme = List { file: README, begin: marks.0, end: marks.1 }.insert(
        &read(root, README)?,
        &[&row(name, new.manifest())?],
        Order::AsTheyCome,
    )?;
    let entry = |file: &str, text| Entry { file: file.to_owned(), text };
    Ok(vec![
        entry(COURSE, course),
        entry(FEATURES, features),
        entry(CHECKS, checks),
        entry(README, readme),
    ])
}

fn read(root: &Path, file: &str) -> anyhow::Result<String> {
    fs::read_to_string(root.join(file)).map_err(|error| {
        let mend = format!("Bring it back with `git restore {file}`.");
        problem(Exit::Usage, format!("{file} cannot be read ({error}). {mend}"))
    })
}

/// A row of the README's table.
fn row(name: &str, manifest: &str) -> anyhow::Result<String> {
    let Manifest { title, summary, minutes, part, .. } = toml::from_str(manifest)?;
    let parts = part.len();
    Ok(format!(
        "| [`{name}`](exercises/{name}/README.md): {title} | {parts} | {summary} | {minutes} |"
    ))
}

/// A list between two lines of a file.
struct List<'a> {
    file: &'a str,
    begin: &'a str,
    end: &'a str,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    ByName,
    AsTheyCome,
}

impl List<'_> {
    /// Puts an item in, its attributes before it, each line indented as the marks are.
    fn insert(&self, text: &str, item: &[&str], order: Order) -> anyhow::Result<String> {
        let mut lines: Vec<&str> = text.lines().collect();
        let begin = self.find(&lines, self.begin)?;
        let end = self.find(&lines, self.end)?;
        if end < begin {
            let sentence = format!(
                "{}:{}: `{}` stands above `{}`; turn the two around and try again.",
                self.file,
                end + 1,
                self.end,
                self.begin
            );
            return Err(problem(Exit::Usage, sentence));
        }
        let name = sort_key(item[item.len() - 1]);
        let later =
            |other: &&str| order == Order::ByName && !is_attribute(other) && sort_key(other) > name;
        let at = lines[begin + 1..end].iter().position(later);
        let mut at = at.map_or(end, |n| begin + 1 + n);
        while at < end && is_attribute(lines[at - 1]) {
            at -= 1;
        }
        let indent = " ".repeat(lines[begin].len() - lines[begin].trim_start().len());
        let item: Vec<String> = item.iter().map(|line| format!("{indent}{line}")).collect();
        lines.splice(at..at, item.iter().map(String::as_str));
        Ok(lines.join("\n") + "\n")
    }

    fn find(&self, lines: &[&str], mark: &str) -> anyhow::Result<usize> {
        lines.iter().position(|line| line.trim() == mark).ok_or_else(|| {
            let sentence = format!(
                "{} has no line `{mark}`, so nothing can be entered there; bring that line back \
                 (`git diff {}` may show it) and try again.",
                self.file, self.file
            );
            problem(Exit::Usage, sentence)
        })
    }
}

fn is_attribute(line: &str) -> bool {
    line.trim_start().starts_with("#[")
}

/// Orders lines as rustfmt does: `_` first, then numbers by their size, then letters.
fn sort_key(line: &str) -> Vec<(u8, u64)> {
    let mut key = Vec::new();
    let mut number: Option<u64> = None;
    for c in line.trim().chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit.into()));
            continue;
        }
        key.extend(number.take().map(|number| (2, number)));
        key.push(match c {
            // The end of the name, in either list.
            ';' | ':' | ' ' => (0, 0),
            '_' => (1, 0),
            other => (3, u64::from(u32::from(other))),
        });
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List<'static> = List { file: "lib.rs", begin: "// b", end: "// e" };

    #[track_caller]
    fn check(before: &str, line: &str, after: &str) {
        assert_eq!(LIST.insert(before, &[line], Order::ByName).unwrap(), after);
    }

    #[test]
    fn a_line_finds_its_place() {
        check("// b\n// e\n", "mod m;", "// b\nmod m;\n// e\n");
        check(
            "x\n    // b\n    a,\n    z,\n    // e\ny\n",
            "m,",
            "x\n    // b\n    a,\n    m,\n    z,\n    // e\ny\n",
        );
        check("// b\na;\n// e\n", "z;", "// b\na;\nz;\n// e\n");
    }

    #[test]
    fn attributes_stay_with_their_items() {
        let text = "// b\n#[a]\na;\n#[z]\nz;\n// e\n";
        let entered = LIST.insert(text, &["#[m]", "m;"], Order::ByName).unwrap();
        assert_eq!(entered, "// b\n#[a]\na;\n#[m]\nm;\n#[z]\nz;\n// e\n");
    }

    #[test]
    fn names_are_ordered_as_rustfmt_does() {
        let sorted = ["adam;", "adam_w;", "adam2;", "adam10;", "adamw;"];
        assert!(sorted.is_sorted_by_key(|line| sort_key(line)));
    }

    #[test]
    fn lost_marks_are_named() {
        let said = |text: &str| LIST.insert(text, &["m"], Order::ByName).unwrap_err().to_string();
        assert!(said("// b\n").starts_with("lib.rs has no line `// e`"), "{}", said("// b\n"));
        assert!(said("// e\n// b\n").starts_with("lib.rs:1: `// e` stands above"));
    }
}
