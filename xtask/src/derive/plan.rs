//! Reads `#[part(plan = "…")]` or `#[part(bug = "…")]`, and what the attribute is without it.

use syn::{Meta, Token, punctuated::Punctuated, spanned::Spanned as _};

use super::nodes::At;

/// The arguments that a stub's attribute goes without.
const PLAN: &str = "plan";
const BUG: &str = "bug";

/// The fewest and the most words that a plan may have.
const WORDS: std::ops::RangeInclusive<usize> = 2..=6;

/// A `#[part]` of a solution.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) shows: Shows,
    /// What the attribute becomes, without `#[` and `]`.
    pub(crate) meta: String,
    /// Where the old one stands.
    pub(crate) range: std::ops::Range<usize>,
    /// Its line.
    pub(crate) line: usize,
}

/// What a stub shows in place of a part's body.
#[derive(Debug)]
pub(crate) enum Shows {
    /// A `todo!` with this text.
    Plan(String),
    /// The body of this private function: a broken version, for the learner to mend.
    Bug(String),
}

/// The part attribute among `attributes`, if there is one.
///
/// # Errors
///
/// Fails if it has neither plan nor bug, or both, or a plan that has not two to six words.
pub(crate) fn part(attributes: &[syn::Attribute], text: &str) -> Result<Option<Part>, At> {
    let Some(attribute) = attributes.iter().find(|attribute| is_marked(attribute)) else {
        return Ok(None);
    };
    let line = attribute.span().start().line;
    let missing = || At::new(line, "this part has no plan; write #[part(plan = \"two words\")]");
    let list = attribute.meta.require_list().map_err(|_| missing())?;
    let arguments = list
        .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .map_err(|error| At::new(line, format!("cannot read this attribute: {error}")))?;
    let find = |name: &str| arguments.iter().find_map(|argument| text_of(argument, name));
    let shows = match (find(PLAN), find(BUG)) {
        (Some(plan), None) => Shows::Plan(well_worded(plan, line)?),
        (None, Some(bug)) => Shows::Bug(bug),
        (None, None) => return Err(missing()),
        (Some(_), Some(_)) => {
            let message = "a stub shows either a plan or a broken version; give `plan` or `bug`";
            return Err(At::new(line, message));
        }
    };
    let kept: Vec<_> = arguments
        .iter()
        .filter(|argument| ![PLAN, BUG].iter().any(|ours| argument.path().is_ident(ours)))
        .map(|argument| &text[argument.span().byte_range()])
        .collect();
    let path = &text[list.path.span().byte_range()];
    let meta =
        if kept.is_empty() { path.to_owned() } else { format!("{path}({})", kept.join(", ")) };
    Ok(Some(Part { shows, meta, range: attribute.meta.span().byte_range(), line }))
}

fn well_worded(plan: String, line: usize) -> Result<String, At> {
    let n_words = plan.split_whitespace().count();
    if !WORDS.contains(&n_words) || plan.contains(['{', '}', '"', '\\']) {
        let message = "a plan has two to six plain words, without braces or quotes";
        return Err(At::new(line, format!("{message}; this one is {plan:?}")));
    }
    Ok(plan)
}

/// Whether this is `#[part]`, with or without arguments or `wick::`.
pub(crate) fn is_part(attribute: &syn::Attribute) -> bool {
    is_called(attribute, "part")
}

/// Whether this is `#[piece]`: what the learner writes and the judge reaches by a part.
fn is_piece(attribute: &syn::Attribute) -> bool {
    is_called(attribute, "piece")
}

/// Whether this is a `#[part]` or `#[piece]` with a plan.
pub(crate) fn is_planned(attribute: &syn::Attribute) -> bool {
    is_marked(attribute) && matches!(attribute.meta, Meta::List(_))
}

/// Whether this marks what the learner writes, or what is asked.
fn is_marked(attribute: &syn::Attribute) -> bool {
    is_part(attribute) || is_piece(attribute)
}

fn is_called(attribute: &syn::Attribute, name: &str) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == name)
}

fn text_of(argument: &Meta, name: &str) -> Option<String> {
    let Meta::NameValue(pair) = argument else { return None };
    if !pair.path.is_ident(name) {
        return None;
    }
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}
