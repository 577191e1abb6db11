//! Finds the names that a piece of code refers to.
//!
//! **Invariant:** documentation is not a reference: rustc would still call the import unused.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The names in a piece of code, gathered by walking it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refs {
    /// Paths, by segment.
    paths: BTreeSet<Vec<String>>,
    /// Methods that are called.
    methods: BTreeSet<String>,
    /// Whatever stands inside a macro call.
    loose: BTreeSet<String>,
    /// Local variables, which hide items of the same name.
    bound: BTreeSet<String>,
}

impl Refs {
    /// Gathers what `walk` visits.
    pub(crate) fn of(walk: impl FnOnce(&mut Self)) -> Self {
        let mut refs = Self::default();
        walk(&mut refs);
        refs
    }

    /// Adds a path as it is, such as that of a `use` leaf.
    pub(crate) fn add_path(&mut self, path: Vec<String>) {
        self.paths.insert(path);
    }

    /// The names meant, where `is_local` tells the names that these files define.
    ///
    /// Of `Tensor::zeros` only `Tensor` counts; of `masks::causal`, where `masks` is ours, both.
    pub(crate) fn names(&self, is_local: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut names = self.methods.clone();
        names.extend(self.loose.difference(&self.bound).cloned());
        for path in &self.paths {
            let whole = matches!(&*path[0], "crate" | "self" | "super" | "Self")
                || (path.len() > 1 && is_local(&path[0]));
            let hidden = path.len() == 1 && self.bound.contains(&path[0]);
            let count = if whole { path.len() } else { usize::from(!hidden) };
            names.extend(path.iter().take(count).cloned());
        }
        names
    }

    fn visit_tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => _ = self.loose.insert(ident.to_string()),
                TokenTree::Group(group) => self.visit_tokens(group.stream()),
                TokenTree::Literal(text) => self.loose.extend(captures(&text.to_string())),
                TokenTree::Punct(_) => {}
            }
        }
    }
}

/// The names that a format string captures: `{seq}` and `{seq:>4}`.
fn captures(literal: &str) -> impl Iterator<Item = String> {
    literal.split('{').skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        (end > 0).then(|| rest[..end].to_owned())
    })
}

impl<'ast> Visit<'ast> for Refs {
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        if let syn::Meta::List(list) = &attribute.meta {
            self.visit_tokens(list.tokens.clone());
        }
        self.visit_path(attribute.path());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.methods.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.visit_tokens(call.tokens.clone());
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        let name = pattern.ident.to_string();
        if name.starts_with(|c: char| c.is_lowercase() || c == '_') {
            self.bound.insert(name);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        self.visit_macro(&item.mac);
        visit::visit_item_macro(self, item);
    }
}
