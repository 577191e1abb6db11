//! The machine as it is looked at: its folders, its variables, and its driver.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use crate::driver::{self, Driver};

/// What is looked at: this machine, or a folder that stands for one.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
    variables: BTreeMap<OsString, OsString>,
    /// Asks the driver's library at a path what it has.
    pub(crate) ask: fn(&Path) -> Result<Driver, String>,
    /// Whether the loader knows libraries beside those in the usual folders.
    has_loader: bool,
}

impl System {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        let variables = env::vars_os().collect();
        Self { root: PathBuf::from("/"), variables, ask: driver::ask, has_loader: true }
    }

    /// A folder that stands for a machine, with the driver that `ask` makes up.
    #[cfg(test)]
    pub(crate) fn at(
        root: &Path,
        variables: &[(&str, &str)],
        ask: fn(&Path) -> Result<Driver, String>,
    ) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Self { root: root.to_owned(), variables: variables.collect(), ask, has_loader: false }
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        let value = self.variables.get(OsStr::new(name))?;
        (!value.is_empty()).then_some(value)
    }

    /// Folders that a variable lists, seen from here.
    pub(crate) fn listed(&self, name: &str) -> Vec<PathBuf> {
        let folders = self.variable(name).map(env::split_paths).into_iter().flatten();
        folders.filter(|folder| folder.is_absolute()).map(|folder| self.inside(&folder)).collect()
    }

    /// Where a path of the system is, seen from here.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A program that the shell would find.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        files(&self.listed("PATH"), name).into_iter().next()
    }

    /// A name for the loader alone, if it may know a library that lies in no usual folder.
    pub(crate) fn by_loader(&self, name: &str) -> Option<PathBuf> {
        self.has_loader.then(|| PathBuf::from(name))
    }
}

/// Every file of this name in `folders`, in their order.
pub(crate) fn files(folders: &[PathBuf], name: &str) -> Vec<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).filter(|path| path.is_file()).collect()
}
