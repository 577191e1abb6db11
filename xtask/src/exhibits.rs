//! What checks have to show: pages that are kept in files, and the text beside a verdict.
//!
//! **Invariant:** nothing here says whether an answer is right.

use std::path::Path;

use report::{PartReport, Shown};

use crate::store;

/// Where pages are kept, below the root.
const FOLDER: &str = ".wick/pictures";

/// A page that was kept.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Picture {
    /// The part that it is of.
    pub(crate) part: String,
    /// What it is.
    pub(crate) title: String,
    /// Where it is, below the root.
    pub(crate) path: String,
}

/// Keeps the pages of one part.
///
/// # Errors
///
/// Fails if the disk does not take one.
pub(crate) fn keep(root: &Path, exercise: &str, part: &PartReport) -> anyhow::Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for exhibit in &part.exhibits {
        let Shown::Page(html) = &exhibit.shown else { continue };
        let (part, title) = (part.part.clone(), exhibit.title.clone());
        let path = format!("{FOLDER}/{exercise}-{part}-{}.html", slug(&title));
        store::save(&root.join(&path), html.as_bytes())?;
        pictures.push(Picture { part, title, path });
    }
    Ok(pictures)
}

/// A title as a file's name that every system takes.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use report::{Exhibit, Prints, Verdict};

    use super::*;

    #[test]
    fn pages_are_kept_and_texts_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let exhibit = |title: &str, shown| Exhibit { title: title.to_owned(), shown };
        let part = PartReport {
            part: "head_scores".to_owned(),
            verdict: Verdict::Passed,
            checks_run: 1,
            checks_declared: 1,
            finding: None,
            prints: Prints::default(),
            exhibits: vec![
                exhibit("Patterns: layer 0/1", Shown::Page("<html>".to_owned())),
                exhibit("a sample", Shown::Text("To be".to_owned())),
            ],
            parity: None,
            millis: 1.0,
        };
        let pictures = keep(folder.path(), "probing", &part).unwrap();
        let path = ".wick/pictures/probing-head_scores-patterns-layer-0-1.html";
        assert_eq!(pictures.iter().map(|p| p.path.as_str()).collect::<Vec<_>>(), [path]);
        assert_eq!(std::fs::read_to_string(folder.path().join(path)).unwrap(), "<html>");
    }
}
