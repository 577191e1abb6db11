//! What a rule says: where, what is wrong, what to do.

use report::Rule;

use crate::text;

/// Something to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) rule: Rule,
    /// Below the root.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// What is wrong and what to do, in whole sentences.
    pub(crate) sentence: String,
    /// What `--fix` does about it.
    pub(crate) fix: Option<Fix>,
}

/// A mend that loses nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fix {
    /// Writes a file of ours.
    Write { file: String, text: String },
    /// Writes the stub of an exercise, after a snapshot of what is there.
    Stub { exercise: String },
    /// Writes what was measured.
    Report,
}

impl Complaint {
    pub(crate) fn new(
        rule: Rule,
        file: impl Into<String>,
        line: usize,
        sentence: impl AsRef<str>,
    ) -> Self {
        let sentence = text::sentence(sentence.as_ref());
        Self { rule, file: file.into(), line: line.max(1), sentence, fix: None }
    }

    pub(crate) fn with_fix(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }

    /// As a line of JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "event": "complaint",
            "rule": self.rule,
            "file": self.file,
            "line": self.line,
            "sentence": self.sentence,
            "fix": self.fix.as_ref().and(self.rule.fix()),
        })
    }
}
