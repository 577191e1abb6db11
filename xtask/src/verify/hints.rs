//! Rules about hints: enough of them, short, and none the solution.

use std::{collections::BTreeSet, fs, path::Path};

use report::Rule;
use syn::{spanned::Spanned as _, visit::Visit};

use super::{
    Complaint, Scene,
    leak::Held,
    lines::{
        Lines,
        Step::{At, Key},
    },
};
use crate::{course::Exercise, manifest::Part, text::count};

const FEWEST: usize = 3;
const WORDS: usize = 60;

pub(super) fn look(scene: &Scene, complaints: &mut Vec<Complaint>) {
    for exercise in scene.asked() {
        let file = exercise.manifest_file();
        let text = fs::read_to_string(scene.root.join(&file)).unwrap_or_default();
        let lines = Lines::of(&text);
        let bodies = Bodies::read(scene.root, exercise);
        for (at, part) in exercise.manifest.part.iter().enumerate() {
            let line =
                |way: &[_]| lines.line(&[&[Key("part"), At(at), Key("hints")], way].concat());
            let mut add = |rule, line, sentence: String| {
                complaints.push(Complaint::new(rule, &file, line, sentence));
            };
            if part.hints.len() < FEWEST {
                let n = count(part.hints.len(), "hint");
                let name = &part.name;
                let sentence =
                    format!("`{name}` has {n}; write {FEWEST} or more, each more of a giveaway.");
                add(Rule::HintsEnough, line(&[]), sentence);
            }
            for n in 0..part.hints.len() {
                if let Some(sentence) = unfit(part, n) {
                    add(Rule::HintsEnough, line(&[At(n)]), sentence);
                }
                if let Some(sentence) = leaks(part, n, &bodies) {
                    add(Rule::HintKeepsSecret, line(&[At(n)]), sentence);
                }
            }
        }
    }
}

fn unfit(part: &Part, n: usize) -> Option<String> {
    let (name, hint) = (&part.name, &part.hints[n]);
    let words = hint.split_whitespace().count();
    if words == 0 {
        return Some(format!("Hint {} of `{name}` is empty; write it.", n + 1));
    }
    if words > WORDS {
        let n = n + 1;
        return Some(format!("Hint {n} of `{name}` has {words} words; say it in {WORDS}."));
    }
    let twin = part.hints[..n].iter().position(|other| other == hint)?;
    let (n, twin) = (n + 1, twin + 1);
    Some(format!("Hint {n} of `{name}` is hint {twin} again; let it give more away."))
}

fn leaks(part: &Part, n: usize, bodies: &Bodies) -> Option<String> {
    let body = bodies.of(&part.name)?;
    let held = Held::of(&part.hints[n], &body);
    held.is_leak().then(|| {
        format!(
            "Hint {} of `{}` holds {:.0} % of the solution, such as `{}`; give the idea instead.",
            n + 1,
            part.name,
            100.0 * held.share,
            held.piece
        )
    })
}

/// The functions of a solution.
struct Bodies {
    all: Vec<Function>,
}

struct Function {
    name: String,
    body: String,
    is_part: bool,
    calls: BTreeSet<String>,
}

impl Bodies {
    fn read(root: &Path, exercise: &Exercise) -> Self {
        let mut all = Vec::new();
        for path in exercise.solution_files() {
            let text = fs::read_to_string(root.join(path)).unwrap_or_default();
            // What is not Rust is the compiler's to say.
            let Ok(parsed) = syn::parse_file(&text) else { continue };
            let mut found = Functions { text: &text, all: Vec::new() };
            found.visit_file(&parsed);
            all.extend(found.all);
        }
        Self { all }
    }

    /// The body of a part, and of the helpers that it calls and the learner does not get.
    fn of(&self, part: &str) -> Option<String> {
        let function = self.all.iter().find(|function| function.name == part)?;
        let mut text = function.body.clone();
        let mut seen = BTreeSet::from([part]);
        let mut waiting = vec![function];
        while let Some(function) = waiting.pop() {
            for helper in self.all.iter().filter(|other| function.calls.contains(&other.name)) {
                if !helper.is_part && seen.insert(&helper.name) {
                    text.push_str(&helper.body);
                    waiting.push(helper);
                }
            }
        }
        Some(text)
    }
}

struct Functions<'t> {
    text: &'t str,
    all: Vec<Function>,
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let mut calls = Calls::default();
        calls.visit_block(&function.block);
        self.all.push(Function {
            name: function.sig.ident.to_string(),
            body: self.text[function.block.span().byte_range()].to_owned(),
            is_part: function.attrs.iter().any(crate::derive::is_part),
            calls: calls.names,
        });
    }
}

#[derive(Default)]
struct Calls {
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.names.extend(path.segments.last().map(|segment| segment.ident.to_string()));
        syn::visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{course::Course, verify::leak};

    /// The measure parts our own hints, all of them, from the solutions that they lead to.
    #[test]
    fn our_hints_are_far_from_leaks_and_our_solutions_are_leaks() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the clone");
        let course = Course::read(root).unwrap();
        let (mut most, mut longest) = (0.0_f64, 0);
        for exercise in &course.exercises {
            let bodies = Bodies::read(root, exercise);
            for part in &exercise.manifest.part {
                let body = bodies.of(&part.name).expect("every part has a body");
                let whole = Held::of(&leak::code(&body), &body);
                assert!(whole.is_leak() && whole.share > 0.999, "{}: {whole:?}", part.name);
                for hint in &part.hints {
                    let held = Held::of(hint, &body);
                    (most, longest) = (most.max(held.share), longest.max(held.length));
                }
            }
        }
        println!("our hints hold {most:.2} at most, and {longest} tokens in a row");
        assert!(4.0 * most < 3.0 * leak::TOO_MUCH && longest < leak::TOO_LONG);
    }
}
