//! Accuracy of probes layer by layer, with the controls that it has to beat.

use crate::page::{escape, number, page};

/// One probe, or one control, over all layers.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Its accuracy at each layer, from 0 to 1.
    pub values: Vec<f64>,
    /// Whether it is a control, which is dashed.
    pub is_control: bool,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 54.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 34.0;

/// The colours and marks that lines have in turn; no two of the first four share either.
const HUES: [&str; 4] = ["--first", "--second", "--third", "--fourth"];

/// Shows one line a probe and control over the layers, and the same numbers as a table.
#[must_use]
pub fn probe_accuracy(title: &str, layers: &[String], lines: &[Line]) -> String {
    let body = format!(
        "<ul class=\"key\">{}</ul>\n<figure>{}</figure>\n{}\n<style>{STYLE}</style>",
        lines.iter().enumerate().map(|(n, line)| key(n, line)).collect::<String>(),
        chart(layers, lines),
        table(layers, lines)
    );
    let about = "Accuracy on held-out examples, after each layer. A probe says something about the \
                 model only by as much as it is above its controls, which are dashed.";
    page(title, about, &body)
}

fn chart(layers: &[String], lines: &[Line]) -> String {
    let x = |n: usize| {
        let share = if layers.len() > 1 { n as f64 / (layers.len() - 1) as f64 } else { 0.5 };
        LEFT + 18.0 + share * (WIDTH - LEFT - RIGHT - 36.0)
    };
    let y = |value: f64| TOP + (1.0 - value.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM);
    let mut marks = String::new();
    for tenth in [0, 2, 4, 6, 8, 10] {
        let (at, value) = (y(f64::from(tenth) / 10.0), number(f64::from(tenth) / 10.0, 1));
        marks.push_str(&format!(
            "<line class=\"rule\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"end\" x=\"{}\" y=\"{:.1}\">{value}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 5.0
        ));
    }
    for (n, layer) in layers.iter().enumerate() {
        let (at, name) = (x(n), escape(layer));
        let under = HEIGHT - BOTTOM + 36.0;
        marks
            .push_str(&format!("<text class=\"middle\" x=\"{at:.1}\" y=\"{under}\">{name}</text>"));
    }
    for (n, line) in lines.iter().enumerate() {
        let points = || line.values.iter().enumerate().filter(|(_, value)| value.is_finite());
        let path: Vec<String> =
            points().map(|(at, &value)| format!("{:.1},{:.1}", x(at), y(value))).collect();
        let dots: String = points().map(|(at, &value)| mark(n, x(at), y(value))).collect();
        marks.push_str(&format!(
            "<g style=\"--hue:var({})\"><polyline class=\"{}\" points=\"{}\"/>{dots}</g>",
            HUES[n % 4],
            if line.is_control { "control" } else { "probe" },
            path.join(" ")
        ));
    }
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Accuracy by layer; the \
         table below has the numbers\">{marks}</svg>"
    )
}

/// A mark of a shape of its own for each line.
fn mark(n: usize, x: f64, y: f64) -> String {
    match n % 4 {
        0 => format!("<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
        1 => format!(
            "<rect class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\"/>",
            x - 4.5,
            y - 4.5
        ),
        2 => format!("<path class=\"mark\" d=\"M{x:.1} {:.1}l6 10.5h-12z\"/>", y - 6.5),
        _ => format!("<path class=\"mark\" d=\"M{x:.1} {:.1}l6 6-6 6-6-6z\"/>", y - 6.0),
    }
}

fn key(n: usize, line: &Line) -> String {
    let class = if line.is_control { "control" } else { "probe" };
    format!(
        "<li><svg viewBox=\"0 0 44 14\" aria-hidden=\"true\" style=\"--hue:var({})\">\
         <polyline class=\"{class}\" points=\"2,7 42,7\"/>{}</svg> {}{}</li>",
        HUES[n % 4],
        mark(n, 22.0, 7.0),
        escape(&line.name),
        if line.is_control { " (control)" } else { "" }
    )
}

fn table(layers: &[String], lines: &[Line]) -> String {
    let head: String =
        layers.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
    let row = |line: &Line| {
        let cells: String =
            line.values.iter().map(|&value| format!("<td>{}</td>", number(value, 3))).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(&line.name))
    };
    let rows: String = lines.iter().map(row).collect();
    format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>\n\
         <thead><tr><th></th>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>"
    )
}

const STYLE: &str = "
figure { margin-bottom: 16px; }
.rule { stroke: var(--rule); }
svg text { font-size: 14px; fill: var(--faint); }
.end { text-anchor: end; } .middle { text-anchor: middle; }
polyline { fill: none; stroke: var(--hue); stroke-width: 2.5; }
polyline.control { stroke-dasharray: 7 5; stroke-width: 2; }
.mark { fill: var(--hue); stroke: var(--card); stroke-width: 1.5; }
ul.key .mark { stroke: none; }
@media (max-width: 500px) { svg text { font-size: 22px; } figure { padding: 8px; } }
";
