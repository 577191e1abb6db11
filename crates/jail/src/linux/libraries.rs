//! The only files that a subject may open: the shared libraries that this program runs with.
//!
//! Judge and subjects are built by the same compiler against the same dependencies, so what the
//! judge has mapped, and what comes with every C library, is what a subject needs.
//!
//! **Invariant:** no name that a subject chose is ever trusted.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::FileExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open};

/// The loader's index of libraries; only needed where they lie in unusual folders.
const INDEX: &str = "/etc/ld.so.cache";
/// What may lie beside a mapped library and be needed, even if the judge itself needs none of it.
const COMPANIONS: [&str; 5] =
    ["libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"];
const PROGRAM_HEADER_BYTES: usize = 56;
const MAX_PATH_BYTES: usize = 4096;

/// What the loader needs.
pub(super) struct Libraries {
    /// The libraries, the loader among them, opened by path only.
    pub(super) files: Vec<OwnedFd>,
    /// The folders that the system's lie in, none within another.
    pub(super) folders: Vec<PathBuf>,
    /// Those that lie elsewhere; their folders have other files, which are none of a subject's.
    pub(super) own: Vec<PathBuf>,
    /// The loader, as programs name it; none if they are linked statically.
    pub(super) loader: Option<PathBuf>,
    /// [`INDEX`], if there is one.
    pub(super) index: Option<(PathBuf, OwnedFd)>,
}

impl Libraries {
    /// Finds and opens what this very program runs with, and what is `asked` for beside it.
    pub(super) fn find(asked: &[Vec<u8>]) -> io::Result<Self> {
        let program = fs::read_link("/proc/self/exe")?;
        let maps = fs::read_to_string("/proc/self/maps")?;
        let mut paths = mapped_code(&maps, &program);
        let loader = loader_of(&File::open("/proc/self/exe")?)?;
        let mut folders: BTreeSet<PathBuf> =
            paths.iter().filter_map(|path| path.parent()).map(Path::to_owned).collect();
        if let Some(folder) = loader.as_deref().and_then(Path::parent) {
            folders.insert(folder.canonicalize()?);
        }
        let folders = outermost(&folders);
        let beside = |folder: &PathBuf| COMPANIONS.map(|name| folder.join(name).canonicalize());
        paths.extend(folders.iter().flat_map(beside).flatten());
        let own: Vec<_> = asked.iter().map(|path| PathBuf::from(OsStr::from_bytes(path))).collect();
        paths.extend(own.iter().cloned());
        let index = open_path(Path::new(INDEX)).ok().map(|index| (PathBuf::from(INDEX), index));
        Ok(Self {
            files: paths.iter().map(|path| open_path(path)).collect::<io::Result<_>>()?,
            folders,
            own,
            loader,
            index,
        })
    }
}

/// Paths of executable mappings in `maps`, but for `program` itself.
fn mapped_code(maps: &str, program: &Path) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let mut fields = line.splitn(6, ' ');
        let executable = fields.nth(1)?.contains('x');
        let path = PathBuf::from(fields.nth(3)?.trim_start());
        (executable && path.is_absolute() && path != program).then_some(path)
    };
    maps.lines().filter_map(path).collect()
}

/// The loader that a 64-bit little-endian ELF file names.
fn loader_of(program: &File) -> io::Result<Option<PathBuf>> {
    const LOADER: u32 = 3;
    let mut header = [0; 64];
    program.read_exact_at(&mut header, 0)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(io::Error::other("this program is not a 64-bit little-endian ELF file"));
    }
    let count = usize::from(u16::from_le_bytes([header[56], header[57]]));
    let mut table = vec![0; count * PROGRAM_HEADER_BYTES];
    program.read_exact_at(&mut table, u64_at(&header, 32))?;
    let mut entries = table.chunks_exact(PROGRAM_HEADER_BYTES);
    let Some(entry) = entries.find(|entry| entry.starts_with(&LOADER.to_le_bytes())) else {
        return Ok(None);
    };
    let length = usize::try_from(u64_at(entry, 32)).unwrap_or(usize::MAX);
    let mut path = vec![0; length.min(MAX_PATH_BYTES)];
    program.read_exact_at(&mut path, u64_at(entry, 8))?;
    let path = String::from_utf8_lossy(&path);
    Ok(Some(PathBuf::from(path.trim_end_matches('\0'))))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

/// Leaves out folders that lie within others.
fn outermost(folders: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let is_within =
        |inner: &&PathBuf| folders.iter().any(|other| other != *inner && inner.starts_with(other));
    folders.iter().filter(|folder| !is_within(folder)).cloned().collect()
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let refused = |error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{} cannot be opened: {error}", path.display()))
    };
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, path: Option<&str>) {
        let found = mapped_code(line, Path::new("/opt/judge"));
        assert_eq!(found.first().and_then(|path| path.to_str()), path);
    }

    #[test]
    fn code_of_libraries_is_found() {
        let line = "7f0000000000-7f0000001000 r-xp 00001000 fe:00 12345    /usr/lib/libc.so.6";
        check(line, Some("/usr/lib/libc.so.6"));
    }

    #[test]
    fn data_and_nameless_mappings_are_not() {
        check("7f0000000000-7f0000001000 r--p 00001000 fe:00 12345    /usr/lib/libc.so.6", None);
        check("7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0        [vdso]", None);
        check("7f0000000000-7f0000001000 rwxp 00000000 00:00 0 ", None);
    }

    #[test]
    fn the_program_itself_is_not_a_library() {
        check("550000000000-550000001000 r-xp 00001000 fe:00 12345      /opt/judge", None);
    }

    #[test]
    fn folders_within_others_are_left_out() {
        let folders = ["/usr/lib", "/usr/lib/x", "/usr/lib64"].map(PathBuf::from).into();
        assert_eq!(outermost(&folders), ["/usr/lib", "/usr/lib64"].map(PathBuf::from));
    }

    #[test]
    fn this_program_runs_with_libraries_that_can_be_opened() {
        let libraries = Libraries::find(&[]).unwrap();
        assert_eq!(libraries.loader.is_some(), !libraries.files.is_empty());
    }
}
