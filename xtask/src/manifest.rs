//! An exercise's `exercise.toml`: its values, and the range of each.
//!
//! **Invariant:** a value that was read is of its type and in its range.

use serde::{Deserialize, Deserializer, de::Error as _};

/// An exercise's `exercise.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Stays the same when the exercise is renamed.
    #[serde(deserialize_with = "uuid")]
    pub(crate) id: String,
    #[serde(deserialize_with = "line")]
    pub(crate) title: String,
    #[serde(deserialize_with = "line")]
    pub(crate) summary: String,
    /// 1 to 5.
    #[serde(deserialize_with = "difficulty")]
    pub(crate) difficulty: u8,
    #[serde(deserialize_with = "minutes")]
    pub(crate) minutes: u32,
    pub(crate) prerequisites: Vec<String>,
    /// The files that the learner edits, relative to the exercise.
    #[serde(deserialize_with = "sources")]
    pub(crate) edit: Vec<String>,
    #[serde(default)]
    pub(crate) hints: Vec<String>,
    /// Where a right answer must be right; `verify` looks at each.
    #[serde(default = "cpu", deserialize_with = "some")]
    pub(crate) devices: Vec<Device>,
    #[serde(deserialize_with = "some")]
    pub(crate) part: Vec<Part>,
}

/// One part in a manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    #[serde(deserialize_with = "name")]
    pub(crate) name: String,
    /// The file that it is in, relative to the exercise.
    #[serde(deserialize_with = "source")]
    pub(crate) file: String,
    #[serde(deserialize_with = "points")]
    pub(crate) points: u32,
    #[serde(deserialize_with = "difficulty")]
    #[expect(dead_code, reason = "shown nowhere yet, but its range is demanded")]
    difficulty: u8,
    #[serde(deserialize_with = "minutes")]
    #[expect(dead_code, reason = "shown nowhere yet, but its range is demanded")]
    minutes: u32,
    /// Whether a check of it trains a model, so that the judge needs more than an instant.
    #[serde(default)]
    pub(crate) trains: bool,
    pub(crate) hints: Vec<String>,
}

/// Where an answer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Device {
    Cpu,
    Cuda,
    Metal,
}

impl Device {
    /// As the judge spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }
}

fn cpu() -> Vec<Device> {
    vec![Device::Cpu]
}

/// A whole number between two others, which `what` has as its subject and verb.
fn within<'de, D: Deserializer<'de>>(
    deserializer: D,
    [least, most]: [u32; 2],
    what: &str,
) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(D::Error::custom(format!("{what} {least} to {most}, not {number}")))
}

fn difficulty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    within(deserializer, [1, 5], "a difficulty is").map(|number| number as u8)
}

fn minutes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(deserializer, [1, 10_000], "minutes are")
}

fn points<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(deserializer, [1, 100], "points are")
}

/// A text for which `is_right`, or else `what` it must be.
fn text<'de, D: Deserializer<'de>>(
    deserializer: D,
    is_right: impl Fn(&str) -> bool,
    what: &str,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_right(&text) { Ok(text) } else { Err(D::Error::custom(what)) }
}

fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    // A bar would end a cell of the table in README.md.
    let is_right = |text: &str| !text.trim().is_empty() && !text.contains(['|', '\n']);
    text(deserializer, is_right, "this needs a line of text without `|`")
}

fn uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer, is_uuid, "an id is a UUID in lower case, as `uuidgen` makes them")
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | '-'))
}

/// The name of an exercise or a part: what Rust and every file system take.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_right = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
    };
    text(deserializer, is_right, "a name is lower case, such as `causal_mask`")
}

const SOURCE: &str = "a source is named like `src/lib.rs`";

/// A Rust file below `src`, however deep.
fn is_source(text: &str) -> bool {
    let mut folders = text.split('/');
    let is_plain = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
    };
    folders.next() == Some("src")
        && text.strip_suffix(".rs").is_some_and(|stem| !stem.ends_with('/'))
        && folders.all(|name| is_plain(name) && !name.starts_with('.'))
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer, is_source, SOURCE)
}

fn sources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let files: Vec<String> = some(deserializer)?;
    if files.iter().all(|file| is_source(file)) { Ok(files) } else { Err(D::Error::custom(SOURCE)) }
}

/// A list that is not empty.
fn some<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() { Err(D::Error::custom("this list needs an entry")) } else { Ok(list) }
}
