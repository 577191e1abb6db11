//! A 6×6 Othello board as it is, and as a probe reads it out of a model.

use crate::page::{escape, number, page, share};

/// What is on a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disc {
    /// Nothing.
    Empty,
    /// A black disc.
    Black,
    /// A white disc.
    White,
}

/// What a probe says of one square.
#[derive(Clone, Copy, Debug)]
pub struct Belief {
    /// What it has first.
    pub disc: Disc,
    /// The chance that it gives that.
    pub chance: f64,
}

/// Squares in a row.
const SIDE: usize = 6;

/// Shows the true board beside the probe's belief; where they differ, the square is crossed out.
///
/// Squares are given row by row; those beyond the thirty-six are left out.
#[must_use]
pub fn othello_board(title: &str, truth: &[Disc], belief: &[Belief]) -> String {
    let n = SIDE * SIDE;
    let pairs = || truth.iter().zip(belief).take(n);
    let wrong: Vec<String> = pairs()
        .enumerate()
        .filter(|(_, (disc, belief))| **disc != belief.disc)
        .map(|(at, (disc, belief))| {
            let (disc, belief_disc) = (word(*disc), word(belief.disc));
            format!("{}: it is {disc}, the probe says {belief_disc}", square(at))
        })
        .collect();
    let right = pairs().count() - wrong.len();
    let truth_cells: String =
        truth.iter().take(n).enumerate().map(|(at, &d)| cell(at, d)).collect();
    let belief_cells: String = belief
        .iter()
        .take(n)
        .enumerate()
        .map(|(at, belief)| {
            let is_wrong = truth.get(at).is_some_and(|disc| *disc != belief.disc);
            believed(at, belief, is_wrong)
        })
        .collect();
    let faults = if wrong.is_empty() {
        "The probe has every square right.".to_owned()
    } else {
        format!("The probe has {right} of {} squares right. {}.", pairs().count(), wrong.join("; "))
    };
    let body = format!(
        "<div class=\"cards boards\">\n{}{}</div>\n<p class=\"key\">{}</p>\n<style>{STYLE}</style>",
        board("The board", "Black has the dark discs, white the light ones.", &truth_cells),
        board(
            "The probe's belief",
            "The number is its chance in per cent, the fainter the less; a cross marks an error.",
            &belief_cells
        ),
        escape(&faults)
    );
    page(title, "What is true, and what a probe reads from the residual stream.", &body)
}

fn board(name: &str, about: &str, cells: &str) -> String {
    let columns: String = ["a", "b", "c", "d", "e", "f"]
        .iter()
        .enumerate()
        .map(|(n, letter)| format!("<text x=\"{}\" y=\"-.14\">{letter}</text>", n as f64 + 0.5))
        .collect();
    let rows: String = (0..SIDE)
        .map(|n| format!("<text x=\"-.22\" y=\"{}\">{}</text>", n as f64 + 0.6, n + 1))
        .collect();
    format!(
        "<figure><h2>{name}</h2><svg viewBox=\"-.5 -.5 6.6 6.6\" role=\"img\" \
         aria-label=\"{name}\"><g class=\"edge\">{columns}{rows}</g>{cells}</svg>\
         <figcaption>{about}</figcaption></figure>\n"
    )
}

/// A square's name: its column's letter and its row's number.
fn square(at: usize) -> String {
    format!("{}{}", char::from(b'a' + (at % SIDE) as u8), at / SIDE + 1)
}

fn word(disc: Disc) -> &'static str {
    match disc {
        Disc::Empty => "empty",
        Disc::Black => "black",
        Disc::White => "white",
    }
}

fn cell(at: usize, disc: Disc) -> String {
    let (x, y) = ((at % SIDE) as f64, (at / SIDE) as f64);
    let title = format!("<title>{}: {}</title>", square(at), word(disc));
    format!(
        "<g>{title}<rect class=\"felt\" x=\"{x}\" y=\"{y}\" width=\"1\" height=\"1\"/>{}</g>",
        drawn(x, y, disc)
    )
}

fn believed(at: usize, belief: &Belief, is_wrong: bool) -> String {
    let (x, y) = ((at % SIDE) as f64, (at / SIDE) as f64);
    let per_cent = number(100.0 * belief.chance, 0);
    let cross = if is_wrong {
        let (left, top, right, bottom) = (x + 0.06, y + 0.06, x + 0.94, y + 0.94);
        format!(
            "<path class=\"wrong\" d=\"M{left} {top}L{right} {bottom}M{left} {bottom}L{right} \
             {top}\"/>"
        )
    } else {
        String::new()
    };
    format!(
        "<g><title>{}: {} with {per_cent} per cent</title>\
         <rect class=\"felt\" x=\"{x}\" y=\"{y}\" width=\"1\" height=\"1\"/>\
         <g style=\"opacity:{}\">{}</g>{cross}\
         <text class=\"chance {}\" x=\"{}\" y=\"{}\">{per_cent}</text></g>",
        square(at),
        word(belief.disc),
        share(0.25 + 0.75 * belief.chance),
        drawn(x, y, belief.disc),
        word(belief.disc),
        x + 0.5,
        y + 0.6
    )
}

fn drawn(x: f64, y: f64, disc: Disc) -> String {
    if disc == Disc::Empty {
        return String::new();
    }
    let (cx, cy, class) = (x + 0.5, y + 0.5, word(disc));
    format!("<circle class=\"{class}\" cx=\"{cx}\" cy=\"{cy}\" r=\".37\"/>")
}

const STYLE: &str = "
.boards { grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); max-width: 900px;
  margin-bottom: 16px; }
.felt { fill: var(--felt); stroke: var(--felt-rule); stroke-width: .025; }
circle.black { fill: var(--black); stroke: var(--black); stroke-width: .05; }
circle.white { fill: var(--white); stroke: var(--black); stroke-width: .05; }
.wrong { stroke: var(--hot); stroke-width: .11; fill: none; }
svg text { font-size: .3px; text-anchor: middle; }
.edge text { fill: var(--faint); font-size: .26px; }
text.chance.black { fill: #ffffff; } text.chance.white { fill: #17191d; }
text.chance.empty { fill: var(--ink); opacity: .75; }
.wrong + text.chance { font-weight: 700; paint-order: stroke; stroke: var(--felt);
  stroke-width: .12; fill: var(--ink); }
";
