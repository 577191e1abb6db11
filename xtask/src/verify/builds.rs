//! Stub and solution compile, and rustc has nothing to say about them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::ensure;
use report::Rule;

use super::Complaint;
use crate::{
    cargo::{self, Diagnostic, Span},
    course::Exercise,
};

/// Builds everything that is needed for proofs; gives the programs by package.
///
/// # Errors
///
/// Fails if something of ours does not compile, or cargo cannot work at all.
pub(crate) fn build(
    root: &Path,
    exercises: &[&Exercise],
    complaints: &mut Vec<Complaint>,
) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let solutions: Vec<String> =
        exercises.iter().map(|exercise| format!("{}-solution", exercise.name)).collect();
    let stubs = exercises.iter().map(|exercise| exercise.name.as_str());
    let packages: Vec<&str> =
        stubs.chain(solutions.iter().map(String::as_str)).chain(["judge"]).collect();
    let survey = cargo::survey(root, &packages)?;
    for diagnostic in &survey.diagnostics {
        complaints.extend(complaint(diagnostic));
    }
    ensure!(
        survey.programs.contains_key("judge"),
        "the judge does not compile; see `cargo build -p judge`"
    );
    Ok(survey.programs)
}

fn complaint(said: &Diagnostic) -> Option<Complaint> {
    let Span { file_name, line_start, .. } = said.spans.iter().find(|span| span.is_primary)?;
    let file = file_name.replace('\\', "/");
    let rule = match file.split('/').next()? {
        "exercises" => Rule::StubCompiles,
        "solutions" => Rule::SolutionCompiles,
        _ => return None,
    };
    let (level, message) = (&said.level, said.message.replace('\n', " "));
    let sentence =
        format!("Rustc has a {level}: {message}. Mend the solution, and derive the stub.");
    Some(Complaint::new(rule, file, *line_start, sentence))
}
