//! The items of a solution, which of them stay, and how each is cut.
//!
//! **Invariant:** an item stays only if it is public, given, a part, or needed by one that stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    cut::{self, Change},
    imports,
    refs::Refs,
};

/// What is wrong at a line.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl At {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// All items of all files of one exercise, those that hold others before those they hold.
#[derive(Default)]
pub(crate) struct Nodes {
    pub(crate) all: Vec<Node>,
}

/// Something that stays or goes.
pub(crate) struct Node {
    pub(crate) file: usize,
    pub(crate) parent: Option<usize>,
    pub(crate) range: Range<usize>,
    /// What others call it.
    pub(crate) names: Vec<String>,
    /// What it calls others.
    pub(crate) refs: Refs,
    pub(crate) kind: Kind,
    pub(crate) stays: bool,
    /// Whether it is an inline module, in which the imports around it do not count.
    pub(crate) is_module: bool,
}

/// The broken version that a part's stub shows.
#[derive(Clone, Debug)]
pub(crate) struct Bug {
    pub(crate) name: String,
    /// Where the part says so.
    pub(crate) line: usize,
}

/// What decides over a node.
pub(crate) enum Kind {
    /// Stays, come what may; `body` says that it shows code.
    Root { body: bool },
    /// Stays with these texts in place of others.
    Part { changes: [(Range<usize>, String); 2], bug: Option<Bug> },
    /// Goes, come what may.
    Test,
    /// Stays if its name is used.
    Named,
    /// Stays with the types and traits of ours that it needs.
    Impl { needs: Vec<String> },
    /// Stays with the block that holds it.
    Member,
    /// Stays if something in it does.
    Module,
    /// The same, and what does not stay is pruned from it.
    Use { item: Box<syn::ItemUse>, indent: usize },
    /// A name in a `use`; one without a name stays if any code of the file does.
    Leaf,
}

/// What is known to stay so far.
struct Known {
    used: BTreeSet<String>,
    /// The same, by the scope in which a name is used.
    used_in: BTreeMap<Scope, BTreeSet<String>>,
    kept: BTreeSet<String>,
    local: BTreeSet<String>,
    /// Files with code that stays.
    files_with_code: BTreeSet<usize>,
}

/// A file, and the inline module in it, if one.
type Scope = (usize, Option<usize>);

impl Nodes {
    /// Decides what stays.
    pub(crate) fn settle(&mut self) {
        loop {
            let known = self.known();
            let more: Vec<usize> = (0..self.all.len())
                .filter(|&idx| !self.all[idx].stays && self.should_stay(idx, &known))
                .collect();
            if more.is_empty() {
                return;
            }
            for idx in more {
                self.raise(idx);
            }
        }
    }

    fn known(&self) -> Known {
        let is_name = |node: &&Node| !matches!(node.kind, Kind::Leaf);
        let names = |node: &Node| node.names.clone();
        let local: BTreeSet<_> = self.all.iter().filter(is_name).flat_map(names).collect();
        let staying = || self.all.iter().filter(|node| node.stays);
        let mut used_in: BTreeMap<Scope, BTreeSet<String>> = BTreeMap::new();
        for (idx, node) in self.all.iter().enumerate().filter(|(_, node)| node.stays) {
            let scope = if node.is_module { (node.file, Some(idx)) } else { self.scope(idx) };
            let names = node.refs.names(|name| local.contains(name));
            used_in.entry(scope).or_default().extend(names);
        }
        Known {
            used_in,
            used: staying().flat_map(|node| node.refs.names(|name| local.contains(name))).collect(),
            kept: staying().filter(is_name).flat_map(names).collect(),
            files_with_code: staying()
                .filter(|node| node.shows_code())
                .map(|node| node.file)
                .collect(),
            local,
        }
    }

    fn should_stay(&self, idx: usize, known: &Known) -> bool {
        let node = &self.all[idx];
        let parent = node.parent.map(|parent| &self.all[parent]);
        let lost = parent.is_some_and(|up| match up.kind {
            Kind::Impl { .. } => !up.stays,
            Kind::Test => true,
            _ => false,
        });
        !lost
            && match &node.kind {
                Kind::Root { .. } | Kind::Part { .. } | Kind::Member => true,
                Kind::Test | Kind::Module | Kind::Use { .. } => false,
                Kind::Named => node.names.iter().any(|name| known.used.contains(name)),
                Kind::Impl { needs } => needs
                    .iter()
                    .all(|name| !known.local.contains(name) || known.kept.contains(name)),
                Kind::Leaf if node.names.is_empty() => known.files_with_code.contains(&node.file),
                Kind::Leaf => {
                    let used = known.used_in.get(&self.scope(idx));
                    used.is_some_and(|used| node.names.iter().any(|name| used.contains(name)))
                }
            }
    }

    /// Where the names of a node are looked up.
    fn scope(&self, idx: usize) -> Scope {
        let mut up = self.all[idx].parent;
        while let Some(parent) = up.filter(|&parent| !self.all[parent].is_module) {
            up = self.all[parent].parent;
        }
        (self.all[idx].file, up)
    }

    /// Keeps a node and everything that holds it.
    fn raise(&mut self, idx: usize) {
        let mut next = Some(idx);
        while let Some(idx) = next {
            self.all[idx].stays = true;
            next = self.all[idx].parent;
        }
    }

    /// A broken version whose name, and so what is wrong with it, would be in a stub.
    pub(crate) fn betrayed(&self) -> Option<(usize, &Bug)> {
        self.all.iter().find_map(|node| {
            let Kind::Part { bug: Some(bug), .. } = &node.kind else { return None };
            let shown = |other: &&Node| other.stays && other.names.contains(&bug.name);
            self.all.iter().find(shown).map(|_| (node.file, bug))
        })
    }

    /// The stub of one file.
    pub(crate) fn cut(&self, file: usize, text: &str) -> String {
        let mut changes = Vec::new();
        for (idx, node) in self.all.iter().enumerate().filter(|(_, node)| node.file == file) {
            match &node.kind {
                Kind::Leaf => {}
                _ if !node.stays => changes.push(Change::Remove(node.range.clone())),
                Kind::Part { changes: both, .. } => changes.extend(
                    both.iter().map(|(range, with)| Change::Replace(range.clone(), with.clone())),
                ),
                Kind::Use { item, indent } => changes.extend(self.prune(idx, item, *indent)),
                _ => {}
            }
        }
        cut::apply(text, changes)
    }

    fn prune(&self, idx: usize, item: &syn::ItemUse, indent: usize) -> Option<Change> {
        let keep: Vec<bool> = (self.all.iter())
            .filter(|node| node.parent == Some(idx))
            .map(|node| node.stays)
            .collect();
        if keep.iter().all(|keep| *keep) {
            return None;
        }
        let start = item.use_token.span.byte_range().start;
        let end = item.semi_token.spans[0].byte_range().end;
        Some(Change::Replace(start..end, imports::prune(item, &keep, indent)?))
    }
}

impl Node {
    /// Whether it has a body that a learner sees.
    fn shows_code(&self) -> bool {
        matches!(
            self.kind,
            Kind::Root { body: true }
                | Kind::Member
                | Kind::Named
                | Kind::Part { bug: Some(_), .. }
        )
    }
}
