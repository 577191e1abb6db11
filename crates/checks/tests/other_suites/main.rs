//! The standing proof that our checks see more than the tests that people use.
//!
//! Three kinds of test stand for three known suites, in our own words. Each asks the one question
//! that such a test asks, and has its expected result from a right answer, as such tests have
//! theirs from the author's. Every impostor of `attention` is put to each; how many go unnoticed
//! is a table that the README quotes.
//!
//! `cargo test -p checks --test other_suites -- --nocapture` prints it.

mod questions;

use std::{fs, path::Path, sync::LazyLock};

use answer::Call;
use checks::{Array, Local, Part, Subject as _, Trial, attention};
use protocol::{Question, RawTensor, Reply, Value};
use questions::question;

/// How much larger than usual the queries of a saturated input are.
const SATURATION: f64 = 100.0;

/// How far from a snapshot a result may be, at any place.
const ATOL: f64 = 1e-2;

/// One kind of test.
struct Rival {
    kind: &'static str,
    saturation: f64,
    agree: fn(&[Array], &[Array]) -> bool,
}

const RIVALS: [Rival; 3] = [
    Rival {
        kind: "printed text, four decimals, saturated inputs",
        saturation: SATURATION,
        agree: |got, expected| print(got) == print(expected),
    },
    Rival {
        kind: "shapes only",
        saturation: 1.0,
        agree: |got, expected| got.iter().map(Array::shape).eq(expected.iter().map(Array::shape)),
    },
    Rival { kind: "snapshot, `atol = 1e-2`", saturation: 1.0, agree: is_close },
];

/// How one kind of test did.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    kind: &'static str,
    /// Parts that it has a question for.
    parts: usize,
    /// Wrong answers to these parts.
    impostors: usize,
    /// Those that it lets pass.
    missed: usize,
    /// Those that our own checks let pass.
    missed_by_ours: usize,
}

/// Every impostor put to every kind of test, once.
fn table() -> &'static [Row] {
    static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| RIVALS.iter().map(row).collect());
    &TABLE
}

fn row(rival: &Rival) -> Row {
    let mut row = Row { kind: rival.kind, parts: 0, impostors: 0, missed: 0, missed_by_ours: 0 };
    for part in attention::SUITE.parts {
        let Some(args) = question(part.name, rival.saturation) else { continue };
        let expected = results(part.alternatives[0].answer, part.name, &args);
        let expected = expected.unwrap_or_else(|| panic!("{} has no right answer", part.name));
        row.parts += 1;
        for impostor in part.impostors {
            let got = results(impostor.answer, part.name, &args);
            row.impostors += 1;
            row.missed += usize::from(got.is_some_and(|got| (rival.agree)(&got, &expected)));
            row.missed_by_ours += usize::from(passes_ours(part, impostor.answer));
        }
    }
    row
}

/// The table in Markdown.
fn markdown(rows: &[Row]) -> String {
    let head = "| kind of test | parts it has a question for | wrong answers | it misses | our \
                checks miss |\n|---|---:|---:|---:|---:|\n";
    let line = |row: &Row| {
        let Row { kind, parts, impostors, missed, missed_by_ours } = row;
        let percent = (100.0 * *missed as f64 / *impostors as f64).round();
        format!("| {kind} | {parts} | {impostors} | {missed} ({percent} %) | {missed_by_ours} |\n")
    };
    head.to_owned() + &rows.iter().map(line).collect::<String>()
}

/// What an answer gives; nothing if it returns an error or panics, which any test sees.
fn results(answer: Call, part: &str, args: &[Value]) -> Option<Vec<Array>> {
    let question = Question::Call { part: part.to_owned(), args: args.to_vec() };
    let Ok(Reply::Values(values, _)) = Local::new(answer).ask(&question) else { return None };
    let read = |raw: &RawTensor| Array::from_raw(raw).expect("a tensor");
    let tensor = |value: &Value| match value {
        Value::Tensor(raw) => read(raw),
        other => panic!("{part} gives {other:?}, which no question here asks for"),
    };
    Some(values.iter().map(tensor).collect())
}

fn passes_ours(part: &Part, answer: Call) -> bool {
    part.checks.iter().all(|check| {
        let mut subject = Local::new(answer);
        let mut trial = Trial::new(&mut subject, "attention", part.name, check.name, 1);
        (check.run)(&mut trial).is_ok()
    })
}

/// What a person would print and compare.
fn print(results: &[Array]) -> Vec<String> {
    // Zero has one sign on paper.
    let number = |value: &f64| format!("{value:.4}").replace("-0.0000", "0.0000");
    let line = |array: &Array| {
        let numbers: Vec<String> = array.values().iter().map(number).collect();
        format!("{:?} {}", array.shape(), numbers.join(" "))
    };
    results.iter().map(line).collect()
}

fn is_close(got: &[Array], expected: &[Array]) -> bool {
    let pairs = || got.iter().zip(expected);
    got.len() == expected.len()
        && pairs().all(|(got, expected)| got.shape() == expected.shape())
        && pairs().all(|(got, expected)| {
            let mut values = got.values().iter().zip(expected.values());
            values.all(|(got, expected)| (got - expected).abs() <= ATOL)
        })
}

/// Holds that a page of the repository shows the table.
#[track_caller]
fn check_page(page: &str) {
    let table = markdown(table());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let text = fs::read_to_string(path).expect("the page is there");
    let shown = text
        .split_once("<!-- other-suites:begin -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- other-suites:end -->"))
        .map(|(shown, _)| shown);
    assert_eq!(shown, Some(&*table), "put this table into {page}:\n{table}");
}

#[test]
fn the_readme_shows_the_table() {
    check_page("README.md");
}

#[test]
fn the_strength_report_shows_the_table() {
    check_page("crates/checks/STRENGTH.md");
}

#[test]
fn the_other_tests_pass_every_right_answer() {
    let mut complaints = Vec::new();
    for rival in &RIVALS {
        for part in attention::SUITE.parts {
            let Some(args) = question(part.name, rival.saturation) else { continue };
            let given = |answer: Call| results(answer, part.name, &args).unwrap();
            let expected = given(part.alternatives[0].answer);
            for other in part.alternatives {
                if !(rival.agree)(&given(other.answer), &expected) {
                    complaints.push(format!("{}: {}::{}", rival.kind, part.name, other.name));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "right answers fail: {complaints:?}");
}

#[test]
fn each_kind_misses_and_ours_does_not() {
    for row in table() {
        assert!(row.parts >= 7 && row.impostors >= 50, "{row:?} is too little to say something");
        assert!(row.missed > 0, "{row:?} misses nothing");
        assert_eq!(row.missed_by_ours, 0, "{row:?}");
    }
}
