//! Derives the stub of an exercise from its solution, by source positions.
//!
//! What a learner gets is the solution's own text with pieces cut out, never printed anew, so
//! docs and signatures stay byte for byte. The rules:
//!
//! - `#[part(plan = "scores, scale, mask, softmax")]` becomes `#[part]`, and the body of its
//!   function `todo!("scores, scale, mask, softmax")`. A plan has two to six words.
//! - `#[part(bug = "scores_not_scaled")]` becomes `#[part]`, and the body that of the private
//!   function `scores_not_scaled` beside it, for the learner to mend; that function goes. Name it
//!   as the impostor that makes the same mistake: the stub must fail as that one does.
//! - `#[piece(plan = "…")]` on a function or method does the same for what the learner writes and
//!   the judge reaches by a part; that part is then `// given`, its `#[part]` without a plan.
//! - Public items stay as they are, and so does everything under a line `// given` (or
//!   `// given: why`). A public function that is no part must say `// given`: its body is shown.
//! - Private items stay only if something that stays refers to them; `impl` blocks stay with their
//!   type and their trait, and private methods only if called by what stays.
//! - `use` leaves that nothing left refers to go, one by one. A `use` under `// given` stays whole.
//! - `#[cfg(test)]` items go.
//!
//! **Invariant:** a rustfmt-clean solution gives a rustfmt-clean stub.

mod cut;
mod gather;
mod imports;
mod nodes;
mod plan;
mod refs;

use std::fmt;

pub(crate) use plan::is_part;

#[cfg(test)]
mod tests;

/// One file of a solution.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Where it is, for messages.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

/// Why no stub could be derived.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The file.
    pub(crate) path: String,
    /// The line in it, from 1.
    pub(crate) line: usize,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// The stubs of all files of one exercise, in the order given.
///
/// # Errors
///
/// Fails if a file is not Rust, or breaks one of the rules above.
pub(crate) fn derive(sources: &[Source]) -> Result<Vec<String>, Fault> {
    let parsed = sources.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let mut nodes = nodes::Nodes::default();
    for (file_idx, file) in parsed.iter().enumerate() {
        nodes
            .gather(file_idx, &sources[file_idx].text, file)
            .map_err(|at| fault(&sources[file_idx], at.line, at.message))?;
    }
    nodes.settle();
    if let Some((file_idx, bug)) = nodes.betrayed() {
        let message = format!(
            "code that learners see calls `{}`, whose name tells them the mistake; call the part",
            bug.name
        );
        return Err(fault(&sources[file_idx], bug.line, message));
    }
    Ok(sources.iter().enumerate().map(|(idx, source)| nodes.cut(idx, &source.text)).collect())
}

/// Parses one file; the positions in it are its own.
fn parse(source: &Source) -> Result<syn::File, Fault> {
    if source.text.starts_with('\u{feff}') || source.text.starts_with("#!/") {
        let message = "the file starts with a byte order mark or `#!`; remove it".to_owned();
        return Err(fault(source, 1, message));
    }
    syn::parse_str(&source.text).map_err(|error| {
        fault(source, error.span().start().line, format!("this is not Rust: {error}"))
    })
}

fn fault(source: &Source, line: usize, message: String) -> Fault {
    Fault { path: source.path.clone(), line, message }
}
