//! What an exercise and its parts may be called, on every system and beside every crate.

use std::{fs, path::Path};

use crate::{
    course::Course,
    exit::{Exit, problem},
};

/// The longest name: it stands twice in some paths, and on Windows a path has 260 characters.
const LONGEST: usize = 32;

/// Crates of Rust itself.
const RUST: [&str; 5] = ["std", "core", "alloc", "proc_macro", "test"];

/// Names that cargo, git or the house rules keep for something else.
const KEPT: [&str; 15] = [
    "build",
    "deps",
    "examples",
    "incremental",
    "target",
    "shared",
    "src",
    "tests",
    "benches",
    "fuzz",
    "utils",
    "common",
    "misc",
    "gen",
    "host",
];

/// Devices on Windows, where no file or folder can be called so; `com` and `lpt` have numbers.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Names that were found to be free and fit.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) exercise: String,
    pub(crate) part: String,
}

impl Names {
    /// Takes the names, or says in a sentence why one will not do.
    pub(crate) fn new(course: &Course, exercise: &str, part: &str) -> anyhow::Result<Self> {
        let refused = refuse(exercise)
            .or_else(|| refuse_exercise(exercise))
            .or_else(|| taken(course, exercise))
            .or_else(|| refuse(part))
            .or_else(|| (part == exercise).then(|| same_name(part)));
        match refused {
            Some(sentence) => Err(problem(Exit::Usage, sentence)),
            None => Ok(Self { exercise: exercise.to_owned(), part: part.to_owned() }),
        }
    }

    /// `layer_norm_by_hand` as a heading: `Layer norm by hand`.
    pub(crate) fn title(&self) -> String {
        let words = self.exercise.replace('_', " ");
        words[..1].to_uppercase() + &words[1..]
    }
}

fn same_name(part: &str) -> String {
    format!(
        "Exercise and part are both called `{part}`, and one module would hold another of its own \
         name; give the part another one with `--part`."
    )
}

/// Why a name will do for neither an exercise nor a part.
fn refuse(name: &str) -> Option<String> {
    let snake = snake_case(name);
    if snake != name || name.is_empty() {
        let mend = if snake.is_empty() {
            "choose a name of letters, digits and `_`".to_owned()
        } else {
            format!("say `{snake}`")
        };
        return Some(format!("`{name}` is not in snake case, as Rust's names are; {mend}."));
    }
    if name.len() > LONGEST {
        return Some(format!(
            "`{name}` has {} characters; use at most {LONGEST}, for it stands twice in some paths.",
            name.len()
        ));
    }
    if syn::parse_str::<syn::Ident>(name).is_err() {
        return Some(format!("`{name}` is a word of Rust's own; choose another name."));
    }
    let numbered = |device: &str| {
        let number = name.strip_prefix(device);
        number.is_some_and(|rest| rest.len() == 1 && rest.starts_with(|c: char| c.is_numeric()))
    };
    if DEVICES.contains(&name) || ["com", "lpt"].into_iter().any(numbered) {
        return Some(format!(
            "`{name}` is a device on Windows, where no file can be called so; choose another name."
        ));
    }
    None
}

/// Why a name will not do for an exercise, which is a package and a folder.
fn refuse_exercise(name: &str) -> Option<String> {
    if RUST.contains(&name) {
        return Some(format!(
            "`{name}` is a crate that comes with Rust, and would be hidden; choose another name."
        ));
    }
    if KEPT.contains(&name) {
        return Some(format!(
            "`{name}` is kept for something else by cargo, git or the house rules; choose another \
             name."
        ));
    }
    name.ends_with("_solution").then(|| {
        format!("`{name}` ends as the crates of solutions do; leave `_solution` out of the name.")
    })
}

/// Who has the name already.
fn taken(course: &Course, name: &str) -> Option<String> {
    if course.exercises.iter().any(|exercise| exercise.name == name) {
        return Some(format!(
            "There is an exercise `{name}` already, in exercises/{name}; choose another name."
        ));
    }
    let places = [
        format!("exercises/{name}"),
        format!("solutions/{name}"),
        format!("crates/checks/src/{name}"),
        format!("crates/checks/src/{name}.rs"),
    ];
    if let Some(place) = places.iter().find(|place| course.root.join(place).exists()) {
        return Some(format!(
            "{place} is there already, though no exercise `{name}` is in exercises/course.toml; \
             choose another name, or remove {place} if you do not need it."
        ));
    }
    packages(&course.root).iter().any(|package| package.replace('-', "_") == name).then(|| {
        format!(
            "`{name}` is a package that Wick is built from, and cargo could not tell the two \
             apart; choose another name."
        )
    })
}

/// Names in the lock file; none if it cannot be read, for cargo then says so itself.
fn packages(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.map(str::to_owned).collect()
}

/// The nearest name in snake case, empty if there is none.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut previous = '_';
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && (previous.is_ascii_lowercase() || previous.is_numeric()) {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        } else {
            snake.push('_');
        }
        previous = c;
    }
    let words: Vec<&str> = snake.split('_').filter(|word| !word.is_empty()).collect();
    words.join("_").trim_start_matches(|c: char| c.is_numeric() || c == '_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Empty for a name that will do.
    #[track_caller]
    fn check(name: &str, says: &str) {
        let sentence = refuse(name).or_else(|| refuse_exercise(name)).unwrap_or_default();
        assert!(sentence.contains(says) && sentence.is_empty() == says.is_empty(), "{sentence}");
        assert!(sentence.is_empty() || sentence.ends_with('.'), "{sentence}");
    }

    #[test]
    fn plain_names_will_do() {
        check("layer_norm_by_hand", "");
        check("adam2", "");
        check("comet", "");
        check("com10", "");
    }

    #[test]
    fn other_cases_get_the_snake() {
        check("LayerNorm", "say `layer_norm`");
        check("layer-norm", "say `layer_norm`");
        check("_private_", "say `private`");
        check("2d_conv", "say `d_conv`");
        check("../up", "say `up`");
        check("größe", "say `gr_e`");
        check("", "choose a name of letters");
        check("---", "choose a name of letters");
    }

    #[test]
    fn long_names_are_counted() {
        check(&"a".repeat(33), "has 33 characters");
        check(&"a".repeat(32), "");
    }

    #[test]
    fn words_that_mean_something_else_are_refused() {
        check("match", "Rust's own");
        check("async", "Rust's own");
        check("self", "Rust's own");
        check("core", "comes with Rust");
        check("aux", "Windows");
        check("com1", "Windows");
        check("target", "kept for something else");
        check("misc", "kept for something else");
        check("mlp_solution", "leave `_solution` out");
    }
}
