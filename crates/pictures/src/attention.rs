//! Attention patterns: one small picture a head, with tokens and shares where one points.

use crate::page::{escape, number, page, share, token};

/// The pattern of one head on one sequence.
#[derive(Clone, Debug)]
pub struct HeadPattern {
    /// What the head is called, such as `block 0, head 3`.
    pub name: String,
    /// A row for each query: its share for each key, `seq` by `seq`.
    pub pattern: Vec<Vec<f64>>,
}

/// The most tokens that are written beside a picture.
const WRITTEN: usize = 26;

/// Shows where each head looks: rows are queries, columns keys.
///
/// Whoever points at a cell, or walks there with the arrow keys, reads both tokens and the share.
#[must_use]
pub fn attention_patterns(title: &str, tokens: &[String], heads: &[HeadPattern]) -> String {
    let cards: String = heads.iter().map(|head| card(tokens, head)).collect();
    let body = format!(
        "<output aria-live=\"polite\">Point at a cell, or choose a picture and use the arrow keys.\
         </output>\n<div class=\"cards\">\n{cards}</div>\n<style>{STYLE}</style>\n\
         <script>{SCRIPT}</script>"
    );
    let about = "Rows are queries, from the first token down; columns are keys. The \
                 stronger the colour of a cell, the more the query attends to that key.";
    page(title, about, &body)
}

fn card(tokens: &[String], head: &HeadPattern) -> String {
    let seq = head.pattern.len();
    let is_written = seq <= WRITTEN;
    let room = if is_written { 3.2 } else { 0.6 };
    let word = |n: usize| tokens.get(n).map_or_else(|| "?".to_owned(), |text| token(text));
    let mut marks = String::new();
    for (q, row) in head.pattern.iter().enumerate() {
        for (k, &p) in row.iter().enumerate().take(q + 1) {
            marks.push_str(&format!(
                "<rect x=\"{k}\" y=\"{q}\" width=\".94\" height=\".94\" style=\"--p:{}\" \
                 data-q=\"{q}\" data-k=\"{k}\" data-p=\"{}\"/>",
                share(p),
                number(p, 3)
            ));
        }
        if is_written {
            let short: String = word(q).chars().take(24).collect();
            let at = q as f64 + 0.68;
            marks.push_str(&format!("<text class=\"q\" x=\"-.25\" y=\"{at}\">{short}</text>"));
        }
    }
    let (name, strongest) = (escape(&head.name), strongest(&word, head));
    let words: Vec<String> = (0..seq).map(&word).collect();
    let (width, height) = (seq as f64 + room + 0.3, seq as f64 + 0.6);
    format!(
        "<figure><h2>{name}</h2><svg viewBox=\"-{room} -.3 {width} {height}\" tabindex=\"0\" \
         role=\"img\" aria-label=\"{name}. {strongest}\" data-words=\"{}\">{marks}</svg>\
         <figcaption>{strongest}</figcaption></figure>\n",
        words.join("\u{1f}")
    )
}

/// The clearest look of a head in words: what no colour has to tell.
fn strongest(word: &dyn Fn(usize) -> String, head: &HeadPattern) -> String {
    let cells = head
        .pattern
        .iter()
        .enumerate()
        .skip(1)
        .flat_map(|(q, row)| row.iter().take(q + 1).enumerate().map(move |(k, &p)| (p, q, k)));
    let best = cells.filter(|cell| cell.0.is_finite()).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(
        || "It has one position only.".to_owned(),
        |(p, q, k)| {
            format!("Clearest: {} at {q} attends {} to {} at {k}.", word(q), number(p, 2), word(k))
        },
    )
}

const STYLE: &str = "
figure svg rect { fill: color-mix(in oklab, var(--hot) calc(var(--p) * 100%), var(--none)); }
figure svg rect.here { stroke: var(--ink); stroke-width: .14; }
figure svg text.q { font: .62px ui-monospace, 'DejaVu Sans Mono', monospace; text-anchor: end;
  fill: var(--faint); }
output { position: sticky; top: 0; background: var(--paper); padding: 6px 0; z-index: 1; }
figure svg:focus { outline: 2px solid var(--second); outline-offset: 2px; }
";

const SCRIPT: &str = "
const said = document.querySelector('output');
let last = null;
function tell(svg, rect) {
  if (!rect) return;
  if (last) last.classList.remove('here');
  (last = rect).classList.add('here');
  const words = svg.dataset.words.split('\\u001f'), d = rect.dataset;
  const name = svg.parentNode.querySelector('h2').textContent;
  said.textContent = `${name}: ${words[d.q]} at ${d.q} attends ${d.p} to ${words[d.k]} at ${d.k}`;
}
for (const svg of document.querySelectorAll('figure svg')) {
  svg.addEventListener('pointerover', e => tell(svg, e.target.closest('rect')));
  svg.addEventListener('keydown', e => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!step[e.key]) return;
    e.preventDefault();
    const own = last && svg.contains(last), [dq, dk] = step[e.key];
    const q = own ? +last.dataset.q + dq : 0, k = own ? +last.dataset.k + dk : 0;
    tell(svg, svg.querySelector(`rect[data-q='${q}'][data-k='${k}']`));
  });
}
";
