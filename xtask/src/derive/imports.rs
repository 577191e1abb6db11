//! Prunes a `use` leaf by leaf, and lays out what is left as rustfmt would.

use syn::UseTree;

const WIDTH: usize = 100;

/// One name that a `use` brings in.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// All segments, `use a::{b as c}` giving `["a", "b"]`.
    pub(crate) path: Vec<String>,
    /// The name in this file; `*` and `_` for those that have none.
    pub(crate) name: String,
}

/// The leaves of a tree, in order of appearance.
pub(crate) fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let mut found = Vec::new();
    walk(tree, &mut Vec::new(), &mut found);
    found
}

fn walk(tree: &UseTree, path: &mut Vec<String>, found: &mut Vec<Leaf>) {
    let mut leaf = |last: Option<String>, name: String| {
        let path = path.iter().cloned().chain(last).collect();
        found.push(Leaf { path, name });
    };
    match tree {
        UseTree::Path(step) => {
            path.push(step.ident.to_string());
            walk(&step.tree, path, found);
            path.pop();
        }
        UseTree::Name(end) if end.ident == "self" => {
            leaf(None, path.last().cloned().unwrap_or_default());
        }
        UseTree::Name(end) => leaf(Some(end.ident.to_string()), end.ident.to_string()),
        UseTree::Rename(end) => leaf(Some(end.ident.to_string()), end.rename.to_string()),
        UseTree::Glob(_) => leaf(None, "*".to_owned()),
        UseTree::Group(group) => group.items.iter().for_each(|item| walk(item, path, found)),
    }
}

/// What is left of a tree.
#[derive(Debug)]
enum Rest {
    Leaf(String),
    Step(String, Box<Rest>),
    Group(Vec<Rest>),
}

/// The text of `use` with only the leaves that `keep` says, in order; `None` if none is left.
pub(crate) fn prune(item: &syn::ItemUse, keep: &[bool], indent: usize) -> Option<String> {
    let rest = rest_of(&item.tree, &mut keep.iter().copied())?;
    let start = if item.leading_colon.is_some() { "use ::" } else { "use " };
    Some(format!("{start}{};", lay_out(&rest, indent, indent + start.len(), 1)))
}

fn rest_of(tree: &UseTree, keep: &mut impl Iterator<Item = bool>) -> Option<Rest> {
    let mut leaf = |text: String| keep.next().unwrap_or(true).then_some(Rest::Leaf(text));
    match tree {
        UseTree::Name(end) => leaf(end.ident.to_string()),
        UseTree::Rename(end) => leaf(format!("{} as {}", end.ident, end.rename)),
        UseTree::Glob(_) => leaf("*".to_owned()),
        UseTree::Path(step) => {
            Some(Rest::Step(step.ident.to_string(), Box::new(rest_of(&step.tree, keep)?)))
        }
        UseTree::Group(group) => {
            let mut items: Vec<_> =
                group.items.iter().filter_map(|item| rest_of(item, keep)).collect();
            match items.len() {
                0 => None,
                // `a::{b}` is `a::b`, but `a::{self}` is its own thing.
                1 if !matches!(&items[0], Rest::Leaf(text) if text == "self") => items.pop(),
                _ => Some(Rest::Group(items)),
            }
        }
    }
}

/// Lays a tree out; the line so far is `column` wide and `after` characters follow it.
fn lay_out(rest: &Rest, indent: usize, column: usize, after: usize) -> String {
    match rest {
        Rest::Leaf(text) => text.clone(),
        Rest::Step(name, rest) => {
            let column = column + name.len() + 2;
            format!("{name}::{}", lay_out(rest, indent, column, after))
        }
        Rest::Group(items) => {
            let flat = items.iter().map(one_line).collect::<Vec<_>>().join(", ");
            if items.iter().any(holds_group) {
                vertical(items, indent)
            } else if column + flat.len() + 2 + after <= WIDTH {
                format!("{{{flat}}}")
            } else {
                filled(items, indent)
            }
        }
    }
}

fn one_line(rest: &Rest) -> String {
    lay_out(rest, 0, 0, 0)
}

fn holds_group(rest: &Rest) -> bool {
    match rest {
        Rest::Leaf(_) => false,
        Rest::Step(_, rest) => holds_group(rest),
        Rest::Group(_) => true,
    }
}

/// One item a line.
fn vertical(items: &[Rest], indent: usize) -> String {
    let pad = " ".repeat(indent + 4);
    let lines: String = items
        .iter()
        .map(|item| format!("{pad}{},\n", lay_out(item, indent + 4, indent + 4, 1)))
        .collect();
    format!("{{\n{lines}{}}}", " ".repeat(indent))
}

/// As many items a line as fit.
fn filled(items: &[Rest], indent: usize) -> String {
    let pad = " ".repeat(indent + 4);
    let mut lines = vec![pad.clone()];
    for item in items {
        let text = format!("{},", one_line(item));
        let line = lines.last_mut().expect("invariant: starts with one line");
        if line.len() > pad.len() && line.len() + 1 + text.len() > WIDTH {
            lines.push(format!("{pad}{text}"));
        } else {
            if line.len() > pad.len() {
                line.push(' ');
            }
            line.push_str(&text);
        }
    }
    format!("{{\n{}\n{}}}", lines.join("\n"), " ".repeat(indent))
}
