//! Rows as data: each folder's `expect.toml`.

use std::{fs, path::PathBuf, sync::OnceLock};

use libtest_mimic::{Failed, Trial};
use report::Verdict;
use serde::Deserialize;

use crate::PROBES;

/// One hostile answer.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) expect: Expect,
}

/// What must come of it; `README.md` tells what each field means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) does: String,
    pub(crate) stage: Stage,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) bystander: Option<Vec<Verdict>>,
    #[serde(default)]
    pub(crate) unconfined: Vec<String>,
    #[serde(default)]
    pub(crate) must_contain: Vec<String>,
    #[serde(default)]
    pub(crate) must_not_contain: Vec<String>,
    #[serde(default)]
    pub(crate) must_not_exist: Vec<PathBuf>,
    #[serde(default = "ten")]
    pub(crate) max_seconds: u64,
    #[serde(default)]
    pub(crate) needs: Vec<String>,
}

/// Where the answer is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// By a rule about its source, before it runs.
    Source,
    /// By the judge, while it runs.
    Judge,
}

fn ten() -> u64 {
    10
}

/// The folder of the row `id`.
pub(crate) fn folder(id: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile")).join(id)
}

/// Every row.
pub(crate) fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| PROBES.iter().map(|(id, _)| Row { id, expect: read(id) }).collect())
}

fn read(id: &str) -> Expect {
    let file = folder(id).join("expect.toml");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{id}: {error}"));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{id}: {error}"))
}

impl Row {
    /// A trial, shown as ignored where a wall that the row needs does not stand.
    pub(crate) fn trial(
        &'static self,
        side: &str,
        confined: bool,
        run: fn(&'static Self) -> Result<(), Failed>,
    ) -> Trial {
        static WALLS: OnceLock<Vec<String>> = OnceLock::new();
        let standing = WALLS.get_or_init(|| jail::isolation().layers);
        let lacks = |wall: &String| !standing.contains(wall);
        let name = format!("{side}::{}", self.id);
        Trial::test(name, move || run(self).map_err(|failed| self.explain(&failed)))
            .with_ignored_flag(confined && self.expect.needs.iter().any(lacks))
    }

    fn explain(&self, failed: &Failed) -> Failed {
        let why = failed.message().unwrap_or("no reason given");
        format!("an answer that {}: {why}", self.expect.does).into()
    }
}
