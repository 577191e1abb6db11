//! Curves of what was measured, as an SVG that needs nothing else.
//!
//! Drawn for 400 pixels, so that its letters are still read there; wider screens show it larger.
//!
//! **Invariant:** whatever the numbers are, the picture is well-formed and holds no text that an
//! answer chose but the plain names of its metrics, escaped.

use std::{collections::BTreeMap, fmt::Write as _};

/// Size of the picture in its own units.
const WIDTH: f64 = 480.0;
/// Room to the left for numbers, and to the right for nothing.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 16.0;
/// What is larger is drawn as this.
const LARGEST: f64 = 1e30;
/// Height of a panel, of what stands above and below all of them, and of a line of names.
const PANEL: f64 = 120.0;
const HEAD: f64 = 38.0;
const FOOT: f64 = 34.0;
const NAMES: f64 = 20.0;
/// Names to a line, and letters of a name that are shown.
const PER_LINE: usize = 2;
const LETTERS: usize = 20;

// Without variables, which some viewers do not know; those show the light colours.
const STYLE: &str = "\
svg { max-width: 960px; font: 13px system-ui, sans-serif } .title { font-size: 15px; font-weight: \
600 } .paper { fill: #ffffff } text { fill: #1f2328 } .faint { fill: #57606a; font-size: 12px } \
.grid { stroke: #e3e6ea } .line { fill: none; stroke-width: 2; stroke-linejoin: round } \
.a { stroke: #0b62c4 } .b { stroke: #b3480a; stroke-dasharray: 6 3 } \
text.a { fill: #0b62c4; stroke: none } text.b { fill: #b3480a; stroke: none }
@media (prefers-color-scheme: dark) { .paper { fill: #15181c } text { fill: #e6e9ec } \
.faint { fill: #9aa4ae } .grid { stroke: #2d333b } .a { stroke: #6cb2ff } .b { stroke: #ff9e64 } \
text.a { fill: #6cb2ff } text.b { fill: #ff9e64 } }";

/// What one run measured, by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curve {
    n_points: usize,
    /// Metrics in order of appearance.
    names: Vec<String>,
    points: BTreeMap<String, Vec<(u64, Option<f64>)>>,
}

/// Curves that share an axis.
struct Panel<'a> {
    names: Vec<&'a str>,
    low: f64,
    high: f64,
    top: f64,
}

impl Curve {
    /// How many steps were told of.
    pub(crate) fn len(&self) -> usize {
        self.n_points
    }

    /// Adds what was measured at a step; `None` is not finite.
    pub(crate) fn add(&mut self, step: u64, metrics: &[(String, Option<f64>)]) {
        self.n_points += 1;
        for (name, value) in metrics {
            if !self.names.contains(name) {
                self.names.push(name.clone());
            }
            let value = value.map(|value| value.clamp(-LARGEST, LARGEST));
            self.points.entry(name.clone()).or_default().push((step, value));
        }
    }

    /// Draws everything.
    pub(crate) fn draw(&self, title: &str) -> String {
        let panels = self.panels();
        let last = panels.last().map_or(HEAD, |panel| panel.top + PANEL);
        let height = last + FOOT;
        let (title, said) = (escape(title), self.said());
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"100%\" role=\"img\">\n<title>{title}</title>\n<desc>{said}</desc>\n\
             <style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
             <text class=\"title\" x=\"14\" y=\"24\">{title}</text>\n"
        );
        for panel in &panels {
            self.draw_panel(&mut svg, panel);
        }
        let (first, end) = self.steps();
        let right = WIDTH - RIGHT;
        let _ = write!(
            svg,
            "<text class=\"faint\" x=\"{LEFT}\" y=\"{y}\">step {first}</text>\n\
             <text class=\"faint\" x=\"{right}\" y=\"{y}\" text-anchor=\"end\">step {end}</text>\n\
             </svg>\n",
            y = last + 20.0
        );
        svg
    }

    /// Losses above, what lies between 0 and 1 by its nature below.
    fn panels(&self) -> Vec<Panel<'_>> {
        let is_share = |name: &&str| name.contains("acc");
        let names = self.names.iter().map(String::as_str);
        let (shares, losses): (Vec<_>, Vec<_>) = names.partition(is_share);
        let mut panels = Vec::new();
        for names in [losses, shares].into_iter().filter(|names| !names.is_empty()) {
            let values = names.iter().flat_map(|name| &self.points[*name]);
            let finite: Vec<f64> = values.filter_map(|(_, value)| *value).collect();
            let (low, high) = range(&finite, names.iter().all(is_share));
            let above = panels.last().map_or(HEAD, |panel: &Panel| panel.top + PANEL + 12.0);
            let top = above + NAMES * names.len().div_ceil(PER_LINE) as f64;
            panels.push(Panel { names, low, high, top });
        }
        panels
    }

    fn steps(&self) -> (u64, u64) {
        let steps = || self.points.values().flatten().map(|(step, _)| *step);
        (steps().min().unwrap_or(0), steps().max().unwrap_or(0))
    }

    fn draw_panel(&self, svg: &mut String, panel: &Panel<'_>) {
        for share in [0.0, 0.5, 1.0] {
            let (value, y) = (panel.low + share * (panel.high - panel.low), panel.top);
            let y = y + (1.0 - share) * PANEL;
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/><text \
                 class=\"faint\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                short(value)
            );
        }
        let n_lines = panel.names.len().div_ceil(PER_LINE);
        for (n, name) in panel.names.iter().enumerate() {
            let x = LEFT + (n % PER_LINE) as f64 * (WIDTH - LEFT) / PER_LINE as f64;
            let y = panel.top - 8.0 - NAMES * (n_lines - 1 - n / PER_LINE) as f64;
            self.draw_name(svg, name, class(n), [x, y]);
            self.draw_line(svg, panel, name, class(n));
        }
    }

    fn draw_line(&self, svg: &mut String, panel: &Panel<'_>, name: &str, class: &str) {
        let (first, end) = self.steps();
        let width = WIDTH - RIGHT - LEFT;
        let x = |step: u64| LEFT + width * (step - first) as f64 / ((end - first).max(1)) as f64;
        let mut path = String::new();
        let mut is_open = false;
        for (step, value) in &self.points[name] {
            let Some(value) = value else {
                is_open = false;
                continue;
            };
            let letter = if is_open { 'L' } else { 'M' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x(*step), panel.y(*value));
            is_open = true;
        }
        let _ = writeln!(svg, "<path class=\"line {class}\" d=\"{path}\"/>");
        if let Some((step, _)) = self.points[name].iter().find(|(_, value)| value.is_none()) {
            let _ = writeln!(
                svg,
                "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">✗ not \
                 finite from step {step}</text>",
                x(*step).clamp(LEFT + 80.0, WIDTH - RIGHT - 80.0),
                panel.top + 14.0
            );
        }
    }

    /// A piece of the line, the name, and where it ended.
    fn draw_name(&self, svg: &mut String, name: &str, class: &str, [x, y]: [f64; 2]) {
        let last = self.points[name].last().and_then(|(_, value)| *value);
        let last = last.map_or_else(|| "not finite".to_owned(), short);
        let shown: String = name.chars().take(LETTERS).collect();
        let _ = writeln!(
            svg,
            "<path class=\"line {class}\" d=\"M{x:.1} {:.1}h22\"/><text class=\"{class}\" \
             x=\"{:.1}\" y=\"{y:.1}\">{} {last}</text>",
            y - 4.0,
            x + 28.0,
            escape(&shown)
        );
    }

    /// The same in words, for those who do not see it.
    fn said(&self) -> String {
        let said = |name: &String| {
            let points = &self.points[name];
            let value = |point: Option<&(u64, Option<f64>)>| {
                point.and_then(|(_, value)| *value).map_or("not finite".to_owned(), short)
            };
            format!("{} from {} to {}", escape(name), value(points.first()), value(points.last()))
        };
        format!("{}.", self.names.iter().map(said).collect::<Vec<_>>().join("; "))
    }
}

impl Panel<'_> {
    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - (value - self.low) / (self.high - self.low))
    }
}

/// Solid blue and dashed orange by turns, so that colour is not the only difference.
fn class(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "a" } else { "b" }
}

/// What an axis spans.
fn range(finite: &[f64], is_share: bool) -> (f64, f64) {
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match (is_share, low <= high) {
        (true, true) if low >= 0.0 && high <= 1.0 => (0.0, 1.0),
        (_, true) => {
            // Losses start at 0, where a better one could still go.
            let low = low.min(0.0);
            (low, high.max(low + 1e-9))
        }
        _ => (0.0, 1.0),
    }
}

/// A number in at most seven characters.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.0e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws curves of `loss` and `accuracy`, and proves what the picture says.
    #[track_caller]
    fn check(losses: &[Option<f64>], says: &[&str]) {
        let mut curve = Curve::default();
        for (n, loss) in losses.iter().enumerate() {
            let metrics = [("loss <b>".to_owned(), *loss), ("accuracy".to_owned(), Some(0.5))];
            curve.add(n as u64 + 1, &metrics);
        }
        let svg = curve.draw("mlp::train");
        for text in says {
            assert!(svg.contains(text), "{text:?} is not in {svg}");
        }
        assert!(!svg.contains("<b>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn a_falling_loss_is_said_in_words_too() {
        check(
            &[Some(2.3), Some(0.25)],
            &["loss &lt;b&gt; from 2.30 to 0.250", "step 2", "M46.0 58"],
        );
    }

    #[test]
    fn what_is_not_finite_is_marked() {
        check(&[Some(2.0), None, None], &["not finite from step 2", "from 2.00 to not finite"]);
        check(&[None], &["not finite from step 1"]);
    }

    #[test]
    fn absurd_numbers_stay_in_the_picture() {
        check(&[Some(f64::MAX), Some(-f64::MAX)], &["1e30", "from 1e30 to -1e30"]);
        check(&[Some(0.0), Some(0.0)], &["from 0 to 0"]);
    }
}
