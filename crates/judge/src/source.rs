//! Rules about an answer's source: which calls a part may make.
//!
//! The rule is about learning, not about safety: it reads names, and whoever sets out to deceive
//! it can. A part is judged together with the private helpers that it calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use checks::SourceRule;
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprCall, ExprMethodCall, ExprPath, Item, ItemFn, ItemUse, LitStr, Macro,
    Path as SynPath, UseTree, punctuated::Punctuated, spanned::Spanned as _, token::Comma,
    visit::Visit,
};

/// The module of `wick` that has many parts ready made.
const READY_MADE: &str = "fused";

/// The texts of an answer; parsing them takes a while, and few rules need it.
#[derive(Default)]
pub struct Sources {
    texts: Vec<(PathBuf, String)>,
    parsed: OnceLock<Parsed>,
}

/// The parsed functions of an answer, by name.
#[derive(Default)]
struct Parsed {
    functions: BTreeMap<String, Function>,
    /// What `use … as …` renamed: the new name, and the old.
    renamed: BTreeMap<String, String>,
    /// What `use` took out of [`READY_MADE`], itself included, by the names that it has here.
    ready_made: BTreeSet<String>,
}

struct Function {
    item: ItemFn,
    file: PathBuf,
    is_part: bool,
    /// The broken version that its stub shows: `#[part(bug = "…")]`.
    bug: Option<String>,
}

/// A call that a rule forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// What is called.
    pub name: String,
    /// `file:line:column`.
    pub location: String,
}

impl Sources {
    /// Reads every Rust file under `folder/src`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut sources = Self::default();
        let mut folders = vec![folder.join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                    sources.texts.push((entry.path(), fs::read_to_string(entry.path())?));
                }
            }
        }
        Ok(sources)
    }

    /// The broken version that the stub of `part` shows, if it shows one, by its impostor's name.
    #[must_use]
    pub fn bug(&self, part: &str) -> Option<&str> {
        self.parsed().functions.get(part)?.bug.as_deref()
    }

    /// Finds the first call in `part`, or in the helpers that it calls, that `rule` forbids.
    #[must_use]
    pub fn offence(&self, part: &str, rule: &SourceRule) -> Option<Offence> {
        let may_offend = !rule.only.is_empty() || rule.never.iter().any(|name| self.has(name));
        let find = || self.parsed().find(part, |_, name| is_forbidden(name, rule));
        may_offend.then(find).flatten()
    }

    /// Finds the first call in `part`, or in the helpers that it calls, of what is ready made in
    /// `wick::fused`.
    #[must_use]
    pub fn ready_made(&self, part: &str) -> Option<Offence> {
        let find = || self.parsed().find_ready_made(part);
        self.has(READY_MADE).then(find).flatten()
    }

    /// Whether the name stands anywhere, be it in a comment.
    fn has(&self, name: &str) -> bool {
        self.texts.iter().any(|(_, text)| text.contains(name))
    }

    /// A text that does not parse is left to the compiler.
    fn parsed(&self) -> &Parsed {
        self.parsed.get_or_init(|| {
            let mut parsed = Parsed::default();
            for (file, text) in &self.texts {
                if let Ok(items) = syn::parse_file(text).map(|file| file.items) {
                    parsed.add_items(items, file);
                }
            }
            parsed
        })
    }
}

impl Parsed {
    fn add_items(&mut self, items: Vec<Item>, file: &Path) {
        for item in items {
            match item {
                Item::Fn(item) => {
                    let is_part = item.attrs.iter().any(|a| last(a.path()) == "part");
                    let bug = item.attrs.iter().find_map(bug);
                    let function = Function { is_part, bug, file: file.to_owned(), item };
                    self.functions.insert(function.item.sig.ident.to_string(), function);
                }
                Item::Mod(module) => {
                    self.add_items(
                        module.content.map(|(_, items)| items).unwrap_or_default(),
                        file,
                    );
                }
                Item::Use(ItemUse { tree, .. }) => self.add_names(&tree, false),
                _ => {}
            }
        }
    }

    /// Notes what a `use` brings; `is_ready_made` says whether its path led through [`READY_MADE`].
    fn add_names(&mut self, tree: &UseTree, is_ready_made: bool) {
        match tree {
            UseTree::Path(path) => {
                self.add_names(&path.tree, is_ready_made || path.ident == READY_MADE);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_names(tree, is_ready_made));
            }
            UseTree::Rename(rename) => {
                self.renamed.insert(rename.rename.to_string(), rename.ident.to_string());
                if is_ready_made || rename.ident == READY_MADE {
                    self.ready_made.insert(rename.rename.to_string());
                }
            }
            UseTree::Name(name) if is_ready_made => {
                self.ready_made.insert(name.ident.to_string());
            }
            UseTree::Name(_) | UseTree::Glob(_) => {}
        }
    }

    fn find_ready_made(&self, part: &str) -> Option<Offence> {
        self.find(part, |call, _| call.through.iter().any(|name| self.is_ready_made(name)))
    }

    /// Whether the answer means `wick::fused`, or something in it, by this name.
    fn is_ready_made(&self, name: &str) -> bool {
        name == READY_MADE || self.ready_made.contains(name)
    }

    fn find(&self, part: &str, offends: impl Fn(&Call, &str) -> bool) -> Option<Offence> {
        let mut seen = BTreeSet::from([part.to_owned()]);
        let mut waiting = vec![self.functions.get(part)?];
        while let Some(function) = waiting.pop() {
            let mut calls = Calls::default();
            calls.visit_block(&function.item.block);
            for call in calls.found {
                let name = self.renamed.get(&call.name).unwrap_or(&call.name);
                if let Some(own) = self.functions.get(name).filter(|_| call.is_local) {
                    if !own.is_part && seen.insert(name.clone()) {
                        waiting.push(own);
                    }
                } else if offends(&call, name) {
                    let at = call.span.start();
                    let file = function.file.display();
                    let location = format!("{file}:{}:{}", at.line, at.column + 1);
                    return Some(Offence { name: name.clone(), location });
                }
            }
        }
        None
    }
}

fn is_forbidden(name: &str, rule: &SourceRule) -> bool {
    // Names like `Ok` and `Some` build values; they compute nothing.
    let builds = name.starts_with(char::is_uppercase);
    let unlisted = !rule.only.is_empty() && !rule.only.contains(&name) && !builds;
    rule.never.contains(&name) || unlisted
}

/// What `#[part(bug = "…")]` names.
fn bug(attribute: &Attribute) -> Option<String> {
    let mut bug = None;
    let read = attribute.parse_nested_meta(|meta| {
        let text: LitStr = meta.value()?.parse()?;
        if meta.path.is_ident("bug") {
            bug = Some(text.value());
        }
        Ok(())
    });
    read.ok().and(bug).filter(|_| last(attribute.path()) == "part")
}

fn last(path: &SynPath) -> String {
    path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
}

struct Call {
    name: String,
    /// The whole path, `name` included.
    through: Vec<String>,
    span: Span,
    /// Whether it may be a function of the answer's own crate.
    is_local: bool,
}

/// Everything that a body calls, or names in order to hand it on.
#[derive(Default)]
struct Calls {
    found: Vec<Call>,
}

impl Calls {
    fn add_path(&mut self, path: &SynPath) {
        let through: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let is_own = |first: &String| ["crate", "self", "super"].contains(&first.as_str());
        let is_local = through.len() == 1 || through.first().is_some_and(is_own);
        self.found.push(Call { name: last(path), through, span: path.span(), is_local });
    }

    /// Goes through what a macro was given: as expressions if it parses, else token by token.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let parser = Punctuated::<Expr, Comma>::parse_terminated;
        if let Ok(expressions) = syn::parse::Parser::parse2(parser, tokens.clone()) {
            expressions.iter().for_each(|expression| self.visit_expr(expression));
            return;
        }
        let mut previous = None;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => previous = Some(ident),
                TokenTree::Group(group) => {
                    if let Some(ident) = previous.take() {
                        let (name, span) = (ident.to_string(), ident.span());
                        let through = vec![name.clone()];
                        self.found.push(Call { name, through, span, is_local: true });
                    }
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => previous = None,
            }
        }
    }
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        // In the order in which a reader meets them.
        self.visit_expr(&call.receiver);
        let (name, span) = (call.method.to_string(), call.method.span());
        self.found.push(Call { name, through: Vec::new(), span, is_local: false });
        call.args.iter().for_each(|argument| self.visit_expr(argument));
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(function) = &*call.func {
            self.add_path(&function.path);
        } else {
            self.visit_expr(&call.func);
        }
        call.args.iter().for_each(|argument| self.visit_expr(argument));
    }

    fn visit_expr_path(&mut self, expression: &'ast ExprPath) {
        // `Tensor::cumsum` handed on is a call as well; a lone name is most likely a variable.
        let names_function = last(&expression.path).starts_with(char::is_lowercase);
        if expression.path.segments.len() > 1 && names_function {
            self.add_path(&expression.path);
        }
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.add_tokens(called.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONLY: SourceRule =
        SourceRule { only: &["arange", "matmul", "le"], never: &[], reason: "" };
    const NEVER: SourceRule = SourceRule { only: &[], never: &["softmax"], reason: "" };

    fn sources(text: &str) -> Sources {
        let texts = vec![(PathBuf::from("lib.rs"), text.to_owned())];
        Sources { texts, ..Sources::default() }
    }

    #[track_caller]
    fn check(rule: &SourceRule, text: &str, offence: &str) {
        let sources = sources(text);
        let found = sources.offence("answer", rule);
        let said = found.map_or_else(String::new, |o| format!("{} {}", o.name, o.location));
        assert_eq!(said, offence);
    }

    #[track_caller]
    fn check_ready_made(text: &str, offence: &str) {
        let sources = sources(text);
        let found = sources.ready_made("answer");
        let said = found.map_or_else(String::new, |o| format!("{} {}", o.name, o.location));
        assert_eq!(said, offence);
    }

    #[test]
    fn what_is_ready_made_is_found_by_path_import_and_rename() {
        check_ready_made(
            "#[part]\nfn answer() { wick::fused::gelu_tanh(x) }",
            "gelu_tanh lib.rs:2:15",
        );
        check_ready_made(
            "use wick::fused::{Gpt, silu};\n#[part]\nfn answer() { Gpt::new(w, 1) }",
            "new lib.rs:3:15",
        );
        check_ready_made(
            "use wick::fused as fast;\n#[part]\nfn answer() { help() }\n\
             fn help() { fast::silu(x) }",
            "silu lib.rs:4:13",
        );
        check_ready_made("use wick::Weights;\n#[part]\nfn answer() { Weights::new() }", "");
        check_ready_made(
            "use wick::fused::Gpt;\n#[part]\nfn answer() { x.exp() }\n\
             fn other() { Gpt::new(w, 1) }",
            "",
        );
    }

    #[test]
    fn a_parts_bug_is_known() {
        let text = "#[part(bug = \"late\")]\nfn a() {}\n#[part(plan = \"two words\")]\nfn b() {}";
        let sources = sources(text);
        assert_eq!((sources.bug("a"), sources.bug("b")), (Some("late"), None));
    }

    #[test]
    fn listed_calls_are_fine() {
        check(&ONLY, "fn answer() { Ok(Tensor::arange(0, n)?.le(&x)?.matmul(&y)?) }", "");
    }

    #[test]
    fn unlisted_calls_are_not() {
        check(&ONLY, "fn answer() { x.matmul(&y)?.cumsum(0) }", "cumsum lib.rs:1:29");
    }

    #[test]
    fn a_name_that_is_not_called_is_fine() {
        let text = "/// No `softmax`.\nfn answer() { x.exp() }\nfn other() { softmax(&x, 1) }";
        check(&NEVER, text, "");
        check_ready_made("// Not `fused`.\n#[part]\nfn answer() { x.exp() }", "");
    }

    #[test]
    fn a_helper_counts() {
        let text = "fn answer() { helper(x) }\nfn helper(x: T) { x.cumsum(0) }";
        check(&ONLY, text, "cumsum lib.rs:2:21");
    }

    #[test]
    fn another_part_does_not() {
        let text = "fn answer() { other(x) }\n#[part] fn other(x: T) { x.cumsum(0) }";
        check(&ONLY, text, "");
    }

    #[test]
    fn a_new_name_does_not_help() {
        let text = "use candle_nn::ops::softmax as s;\nfn answer() { s(&x, 1) }";
        check(&NEVER, text, "softmax lib.rs:2:15");
    }

    #[test]
    fn handing_it_on_does_not_help() {
        check(&NEVER, "fn answer() { x.map(ops::softmax) }", "softmax lib.rs:1:21");
    }

    #[test]
    fn a_macro_does_not_help() {
        check(&NEVER, "fn answer() { dbg!(ops::softmax(&x, 1)?) }", "softmax lib.rs:1:20");
        check(&NEVER, "fn answer() { if_ok!(x => softmax(&x, 1)) }", "softmax lib.rs:1:27");
    }

    #[test]
    fn an_own_part_of_that_name_may_be_called() {
        let text = "#[part] fn softmax() {}\nfn answer() { softmax(&x)?; crate::softmax(&x) }";
        check(&NEVER, text, "");
    }
}
