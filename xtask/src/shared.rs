//! The shared library that an answer is linked with, so that an edit links in no time.
//!
//! Candle alone is most of a program, and linking it takes longer than compiling what a learner
//! edits. It is linked once, into the crate `bundle`, and an answer finds it when it starts.
//! Where that cannot be had, answers are linked whole, and only slower.
//!
//! **Invariant:** an answer is behind the same walls either way.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::recipe::BUILT;

/// The program that serves an answer which is a library, and its package.
pub(crate) const HOST: &str = "host";
pub(crate) const HOSTS_PACKAGE: &str = "wick";
/// The feature that an answer is built with.
pub(crate) const FEATURE: &str = "wick/shared";
/// What cargo makes of the crate `bundle`, beside each program.
const BUNDLE: &str = "libbundle.so";

/// What programs that share a library need beside it.
pub(crate) struct Shared {
    /// The standard library, which is shared with it.
    std: PathBuf,
}

impl Shared {
    /// Finds out whether answers can share a library: on Linux with glibc, under `cargo run`, and
    /// where the user that an answer runs as may open it.
    pub(crate) fn find() -> Option<Self> {
        let is_for_another = env::var_os("CARGO_BUILD_TARGET").is_some();
        if is_for_another || !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return None;
        }
        let beside = env::current_exe().ok()?.parent()?.to_owned();
        let folders = env::var_os("LD_LIBRARY_PATH")?;
        let std = env::split_paths(&folders).find_map(|folder| standard_library(&folder))?;
        if !is_in_reach(&beside.join(BUNDLE)) {
            return None;
        }
        if is_in_reach(&std) {
            return Some(Self { std });
        }
        // A toolchain in root's own home, say.
        let copy = beside.join(BUILT).join(std.file_name()?);
        copied(&std, &copy).ok()?;
        Some(Self { std: copy })
    }

    /// What an answer needs that was built beside a program, as one list of paths.
    pub(crate) fn libraries(&self, program: &Path) -> Option<OsString> {
        let bundle = program.parent()?.join(BUNDLE);
        env::join_paths([&bundle, &self.std]).ok()
    }
}

/// Copies a file, if that is not done.
fn copied(from: &Path, to: &Path) -> io::Result<()> {
    if fs::metadata(to).is_ok_and(|to| fs::metadata(from).is_ok_and(|from| from.len() == to.len()))
    {
        return Ok(());
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let part = tempfile::NamedTempFile::new_in(folder)?;
    fs::copy(from, part.path())?;
    part.persist(to)?;
    Ok(())
}

fn standard_library(folder: &Path) -> Option<PathBuf> {
    // Where cargo keeps what it builds there are thousands of files, and not this one.
    if folder.ends_with("deps") {
        return None;
    }
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".so")
    };
    fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find(is_it)
}

/// Whether another user can open a file, if we are root: an answer of root's runs as another.
#[cfg(unix)]
pub(crate) fn is_in_reach(file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let lets = |path: &Path, bit: u32| fs::metadata(path).map(|path| path.mode() & bit != 0);
    // It may have to be made yet.
    let is_readable = lets(file, 0o004).unwrap_or(true);
    let is_open = |folder: &Path| lets(folder, 0o001).unwrap_or(false);
    !is_root || is_readable && file.ancestors().skip(1).all(is_open)
}

#[cfg(not(unix))]
pub(crate) fn is_in_reach(_: &Path) -> bool {
    true
}
