//! The logit lens: what a model would say at each layer, if it stopped there.

use crate::page::{escape, number, page, share, token};

/// What a model would say at one place.
#[derive(Clone, Debug)]
pub struct Guess {
    /// The token that it has first.
    pub token: String,
    /// The chance that it gives it.
    pub chance: f64,
    /// Whether that is what really follows.
    pub is_right: bool,
}

/// Shows the first guess for each layer (rows, the last one on top) and position (columns).
///
/// `rows` are named from the first layer to the last.
#[must_use]
pub fn logit_lens(title: &str, tokens: &[String], rows: &[(String, Vec<Guess>)]) -> String {
    let head: String =
        tokens.iter().map(|text| format!("<th scope=\"col\">{}</th>", token(text))).collect();
    let row = |(name, guesses): &(String, Vec<Guess>)| {
        let cells: String = guesses.iter().map(cell).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(name))
    };
    let rows: String = rows.iter().rev().map(row).collect();
    let body = format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>\n\
         <thead><tr><th scope=\"col\">after</th>{head}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>"
    );
    let about = "Each cell has the token that the residual stream there would give, and its \
                 chance. A tick marks the token that really follows; more colour is more chance.";
    page(title, about, &body)
}

fn cell(guess: &Guess) -> String {
    let strong = if guess.chance > 0.7 { " class=\"strong\"" } else { "" };
    let tick = if guess.is_right { " ✓" } else { "" };
    format!(
        "<td{strong} style=\"--p:{}\">{}{tick}<small>{}</small></td>",
        share(guess.chance),
        token(&guess.token),
        number(guess.chance, 2)
    )
}
