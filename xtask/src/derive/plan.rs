//! Reads the plan out of `#[part(plan = "…")]`, and what the attribute is without it.

use syn::{Meta, Token, punctuated::Punctuated, spanned::Spanned as _};

use super::nodes::At;

/// The fewest and the most words that a plan may have.
const WORDS: std::ops::RangeInclusive<usize> = 2..=6;

/// A `#[part]` of a solution.
#[derive(Debug)]
pub(crate) struct Part {
    /// What the stub's `todo!` says.
    pub(crate) plan: String,
    /// What the attribute becomes, without `#[` and `]`.
    pub(crate) meta: String,
    /// Where the old one stands.
    pub(crate) range: std::ops::Range<usize>,
}

/// The part attribute among `attributes`, if there is one.
///
/// # Errors
///
/// Fails if it has no plan, or one that has not two to six words.
pub(crate) fn part(attributes: &[syn::Attribute], text: &str) -> Result<Option<Part>, At> {
    let Some(attribute) = attributes.iter().find(|attribute| is_part(attribute)) else {
        return Ok(None);
    };
    let line = attribute.span().start().line;
    let missing = || At::new(line, "this part has no plan; write #[part(plan = \"two words\")]");
    let list = attribute.meta.require_list().map_err(|_| missing())?;
    let arguments = list
        .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .map_err(|error| At::new(line, format!("cannot read this attribute: {error}")))?;
    let plan = arguments.iter().find_map(plan_text).ok_or_else(missing)?;
    let n_words = plan.split_whitespace().count();
    if !WORDS.contains(&n_words) || plan.contains(['{', '}', '"', '\\']) {
        let message = "a plan has two to six plain words, without braces or quotes";
        return Err(At::new(line, format!("{message}; this one is {plan:?}")));
    }
    let kept: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.path().is_ident("plan"))
        .map(|argument| &text[argument.span().byte_range()])
        .collect();
    let path = &text[list.path.span().byte_range()];
    let meta =
        if kept.is_empty() { path.to_owned() } else { format!("{path}({})", kept.join(", ")) };
    Ok(Some(Part { plan, meta, range: attribute.meta.span().byte_range() }))
}

/// Whether this is `#[part]` or `#[wick::part]`, with or without arguments.
pub(crate) fn is_part(attribute: &syn::Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "part")
}

fn plan_text(argument: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = argument else { return None };
    if !pair.path.is_ident("plan") {
        return None;
    }
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}
