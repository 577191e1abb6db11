//! Gathers the items of a file into [`Nodes`], saying of each what decides over it.

use quote::ToTokens as _;
use syn::{
    ImplItem, Item, ItemFn, Signature, Visibility, spanned::Spanned as _, visit::Visit as _,
};

use super::{
    cut, imports,
    nodes::{At, Bug, Kind, Node, Nodes},
    plan::{self, Part, Shows},
    refs::Refs,
};

/// Where items are being gathered.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: usize,
    text: &'a str,
    parent: Option<usize>,
    /// The items of the file or module that is being gathered.
    siblings: &'a [Item],
}

impl Nodes {
    /// Adds the items of one file.
    pub(crate) fn gather(&mut self, file: usize, text: &str, ast: &syn::File) -> Result<(), At> {
        let place = Place { file, text, parent: None, siblings: &ast.items };
        ast.items.iter().try_for_each(|item| self.item(place, item))
    }

    fn item(&mut self, place: Place<'_>, item: &Item) -> Result<(), At> {
        let node = place.node(item);
        let attributes = attributes(item);
        let line = item.span().start().line;
        let given = is_given(place.text, node.range.start);
        if attributes.iter().any(is_test) {
            self.all.push(Node { kind: Kind::Test, ..node });
        } else if given && attributes.iter().any(plan::is_planned) {
            return Err(At::new(line, "what is given has no plan; remove one of the two marks"));
        } else if given {
            let refs = Refs::of(|refs| refs.visit_item(item));
            let names = names(item);
            self.all.push(Node { names, refs, kind: Kind::Root { body: true }, ..node });
        } else {
            match item {
                Item::Fn(function) => self.function(place, node, function)?,
                Item::Use(item) => self.import(place, node, item),
                Item::Impl(item) => self.implementation(place, node, item)?,
                Item::Mod(module) => self.module(place, node, module)?,
                _ => self.other(node, item),
            }
        }
        Ok(())
    }

    /// A constant, a type, a trait, a macro.
    fn other(&mut self, node: Node, item: &Item) {
        let refs = Refs::of(|refs| refs.visit_item(item));
        let kind = if is_public(item) { Kind::Root { body: false } } else { Kind::Named };
        self.all.push(Node { names: names(item), refs, kind, ..node });
    }

    fn function(&mut self, place: Place<'_>, node: Node, function: &ItemFn) -> Result<(), At> {
        let names = vec![function.sig.ident.to_string()];
        if let Some(part) = plan::part(&function.attrs, place.text)? {
            let broken = match &part.shows {
                Shows::Bug(name) => Some(place.broken(function, name, part.line)?),
                Shows::Plan(_) => None,
            };
            let refs = Refs::of(|refs| {
                function.attrs.iter().for_each(|attribute| refs.visit_attribute(attribute));
                refs.visit_signature(&function.sig);
                if let Some(broken) = broken {
                    refs.visit_block(&broken.block);
                }
            });
            let bug =
                broken.map(|broken| Bug { name: broken.sig.ident.to_string(), line: part.line });
            let changes = part_changes(place.text, &function.sig, &function.block, part, broken);
            self.all.push(Node { names, refs, kind: Kind::Part { changes, bug }, ..node });
            return Ok(());
        }
        if matches!(function.vis, Visibility::Public(_)) {
            let message = "this public function is no #[part]; write `// given` above it if \
                           learners may see its body, or make it private";
            return Err(At::new(function.sig.span().start().line, message));
        }
        let refs = Refs::of(|refs| refs.visit_item_fn(function));
        self.all.push(Node { names, refs, kind: Kind::Named, ..node });
        Ok(())
    }

    fn import(&mut self, place: Place<'_>, node: Node, item: &syn::ItemUse) {
        if matches!(item.vis, Visibility::Public(_)) {
            let refs = Refs::of(|refs| {
                for leaf in imports::leaves(&item.tree) {
                    refs.add_path(leaf.path);
                }
            });
            self.all.push(Node { refs, kind: Kind::Root { body: false }, ..node });
            return;
        }
        let parent = Some(self.all.len());
        let indent = cut::indent(place.text, item.use_token.span.byte_range().start);
        let range = node.range.clone();
        self.all.push(Node { kind: Kind::Use { item: Box::new(item.clone()), indent }, ..node });
        for leaf in imports::leaves(&item.tree) {
            let named = !matches!(&*leaf.name, "*" | "_");
            self.all.push(Node {
                parent,
                range: range.clone(),
                names: if named { vec![leaf.name] } else { Vec::new() },
                refs: Refs::of(|refs| refs.add_path(leaf.path)),
                kind: Kind::Leaf,
                ..place.blank()
            });
        }
    }

    fn module(&mut self, place: Place<'_>, node: Node, module: &syn::ItemMod) -> Result<(), At> {
        let names = vec![module.ident.to_string()];
        let Some((_, items)) = &module.content else {
            // Its file is one of the others, or the learner's own.
            self.all.push(Node { names, kind: Kind::Root { body: false }, ..node });
            return Ok(());
        };
        let public = matches!(module.vis, Visibility::Public(_));
        let kind = if public { Kind::Root { body: false } } else { Kind::Module };
        let parent = Some(self.all.len());
        self.all.push(Node { names, kind, ..node });
        let place = Place { parent, siblings: items, ..place };
        items.iter().try_for_each(|item| self.item(place, item))
    }

    fn implementation(
        &mut self,
        place: Place<'_>,
        node: Node,
        block: &syn::ItemImpl,
    ) -> Result<(), At> {
        let refs = Refs::of(|refs| {
            block.attrs.iter().for_each(|attribute| refs.visit_attribute(attribute));
            refs.visit_generics(&block.generics);
            refs.visit_type(&block.self_ty);
            block.trait_.iter().for_each(|(_, path, _)| refs.visit_path(path));
        });
        let parent = Some(self.all.len());
        self.all.push(Node { refs, kind: Kind::Impl { needs: needs(block) }, ..node });
        let place = Place { parent, ..place };
        block.items.iter().try_for_each(|member| {
            self.all.push(place.member(member, block.trait_.is_some())?);
            Ok(())
        })
    }
}

impl<'a> Place<'a> {
    /// The broken version of a part, which must look the same from outside.
    fn broken(self, part: &ItemFn, name: &str, line: usize) -> Result<&'a ItemFn, At> {
        let named = |item: &'a Item| match item {
            Item::Fn(function) if function.sig.ident == name => Some(function),
            _ => None,
        };
        let broken = self.siblings.iter().find_map(named).ok_or_else(|| {
            let message = format!(
                "there is no function `{name}` beside this part; write the broken version under \
                 that name, private, in the same file"
            );
            At::new(line, message)
        })?;
        let line = broken.sig.span().start().line;
        if !matches!(broken.vis, Visibility::Inherited)
            || plan::part(&broken.attrs, self.text)?.is_some()
        {
            return Err(At::new(
                line,
                "a broken version is private and no part; learners see its body only",
            ));
        }
        let renamed = Signature { ident: part.sig.ident.clone(), ..broken.sig.clone() };
        if tokens(&renamed) != tokens(&part.sig) {
            let message = format!(
                "`{name}` has other parameters or another result than `{}`; make them the same",
                part.sig.ident
            );
            return Err(At::new(line, message));
        }
        Ok(broken)
    }

    fn blank(self) -> Node {
        Node {
            file: self.file,
            parent: self.parent,
            range: 0..0,
            names: Vec::new(),
            refs: Refs::default(),
            kind: Kind::Named,
            stays: false,
            is_module: false,
        }
    }

    fn node(self, item: &Item) -> Node {
        Node {
            range: item.span().byte_range(),
            is_module: matches!(item, Item::Mod(_)),
            ..self.blank()
        }
    }

    /// A method that the learner writes.
    fn piece(self, method: &syn::ImplItemFn) -> Result<Option<Node>, At> {
        if method.attrs.iter().any(plan::is_part) {
            let line = method.sig.span().start().line;
            return Err(At::new(line, "a part is a free function; a method is a #[piece] of one"));
        }
        let Some(part) = plan::part(&method.attrs, self.text)? else { return Ok(None) };
        let refs = Refs::of(|refs| {
            method.attrs.iter().for_each(|attribute| refs.visit_attribute(attribute));
            refs.visit_signature(&method.sig);
        });
        let changes = part_changes(self.text, &method.sig, &method.block, part, None);
        let names = vec![method.sig.ident.to_string()];
        let kind = Kind::Part { changes, bug: None };
        let range = method.span().byte_range();
        Ok(Some(Node { range, names, refs, kind, ..self.blank() }))
    }

    fn member(self, member: &ImplItem, of_trait: bool) -> Result<Node, At> {
        let range = member.span().byte_range();
        let (name, visibility) = match member {
            ImplItem::Fn(method) => {
                if let Some(node) = self.piece(method)? {
                    return Ok(node);
                }
                (Some(&method.sig.ident), Some(&method.vis))
            }
            ImplItem::Const(constant) => (Some(&constant.ident), Some(&constant.vis)),
            _ => (None, None),
        };
        let private = visibility.is_some_and(|seen| !matches!(seen, Visibility::Public(_)));
        let named = private && !of_trait && !is_given(self.text, range.start);
        Ok(Node {
            range,
            names: name.iter().map(ToString::to_string).collect(),
            refs: Refs::of(|refs| refs.visit_impl_item(member)),
            kind: if named { Kind::Named } else { Kind::Member },
            ..self.blank()
        })
    }
}

/// A signature without its layout.
fn tokens(signature: &Signature) -> String {
    signature.to_token_stream().to_string()
}

/// What changes in the text of a part: its attribute and its body.
fn part_changes(
    text: &str,
    signature: &syn::Signature,
    block: &syn::Block,
    part: Part,
    broken: Option<&ItemFn>,
) -> [(std::ops::Range<usize>, String); 2] {
    let body = block.span().byte_range();
    let pad = " ".repeat(cut::indent(text, signature.span().byte_range().start));
    let shown = match (part.shows, broken) {
        (Shows::Plan(plan), _) => format!("{{\n{pad}    todo!(\"{plan}\")\n{pad}}}"),
        (Shows::Bug(_), broken) => {
            let broken = broken.map(|broken| &text[broken.block.span().byte_range()]);
            broken.unwrap_or_default().to_owned()
        }
    };
    [(part.range, part.meta), (body, shown)]
}

/// Whether a line above says `// given` or `// given: why`.
fn is_given(text: &str, start: usize) -> bool {
    let (_, comments) = cut::comments_above(text, start);
    comments.lines().any(|line| {
        let line = line.trim().trim_start_matches('/').trim();
        line == "given" || line.starts_with("given:")
    })
}

fn is_test(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && list.tokens.to_string() == "test"
}

fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_public(item: &Item) -> bool {
    let visibility = match item {
        Item::Const(item) => &item.vis,
        Item::Enum(item) => &item.vis,
        Item::Static(item) => &item.vis,
        Item::Struct(item) => &item.vis,
        Item::Trait(item) => &item.vis,
        Item::Type(item) => &item.vis,
        Item::Union(item) => &item.vis,
        _ => return false,
    };
    matches!(visibility, Visibility::Public(_))
}

/// What an item is called; a trait also by its methods, which is how it is mostly used.
fn names(item: &Item) -> Vec<String> {
    let one = |ident: &syn::Ident| vec![ident.to_string()];
    match item {
        Item::Const(item) => one(&item.ident),
        Item::Enum(item) => one(&item.ident),
        Item::Fn(item) => one(&item.sig.ident),
        Item::Macro(item) => item.ident.iter().map(ToString::to_string).collect(),
        Item::Mod(item) => one(&item.ident),
        Item::Static(item) => one(&item.ident),
        Item::Struct(item) => one(&item.ident),
        Item::Trait(item) => trait_names(item),
        Item::Type(item) => one(&item.ident),
        Item::Union(item) => one(&item.ident),
        _ => Vec::new(),
    }
}

fn trait_names(item: &syn::ItemTrait) -> Vec<String> {
    let methods = item.items.iter().filter_map(|member| match member {
        syn::TraitItem::Fn(method) => Some(method.sig.ident.to_string()),
        _ => None,
    });
    std::iter::once(item.ident.to_string()).chain(methods).collect()
}

/// The type and the trait of an `impl`, by their last names.
fn needs(block: &syn::ItemImpl) -> Vec<String> {
    let of_type = match &*block.self_ty {
        syn::Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    let of_trait = block.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
    of_type.into_iter().chain(of_trait).map(|segment| segment.ident.to_string()).collect()
}
