//! Heat maps of patching: what comes back, or is lost, by one replacement each.

use crate::page::{escape, number, page, share, token};

/// Shows one number a layer (rows, the last one on top) and position (columns).
///
/// 1 is all of the difference between the clean and the corrupted run, 0 nothing, and below 0 the
/// replacement does harm.
/// `rows` are named from the first layer to the last, each with a value for each of `columns`.
#[must_use]
pub fn patching(title: &str, columns: &[String], rows: &[(String, Vec<f64>)]) -> String {
    let head: String =
        columns.iter().map(|text| format!("<th scope=\"col\">{}</th>", token(text))).collect();
    let row = |(name, values): &(String, Vec<f64>)| {
        let cells: String = values.iter().map(|&value| cell(value)).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(name))
    };
    let rows: String = rows.iter().rev().map(row).collect();
    let body = format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>\n\
         <thead><tr><th></th>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>"
    );
    let about = "How much of the clean answer comes back when one place of the corrupted run gets \
                 its value from the clean one: 1 is all of it, 0 nothing, less than 0 is harm.";
    page(title, about, &body)
}

fn cell(value: f64) -> String {
    let hue = if value < 0.0 { "--hue:var(--cool);" } else { "" };
    let strong = if value.abs() > 0.7 { " class=\"strong\"" } else { "" };
    format!("<td{strong} style=\"{hue}--p:{}\">{}</td>", share(value.abs()), number(value, 2))
}
