//! What a run on an NVIDIA card needs: to run, the driver, a card and two libraries; to build, a
//! C++ compiler and the kit.
//!
//! **Invariant:** [`Cuda::is_usable`] only if every need is met.

use std::path::{Path, PathBuf};

use crate::{Card, Driver, Kit, Libraries, Need, System, system::files};

/// The library of the driver.
const DRIVER: &str = "libcuda.so.1";
/// The oldest CUDA that a driver may know: that of the oldest libraries that candle can use.
const OLDEST_DRIVER: i32 = 12_000;
/// CUDA 13's libraries need a driver that knows it.
const DRIVER_OF_13: i32 = 13_000;
/// Candle's kernels are built for cards of this compute capability and newer ones.
const OLDEST_CARD: (i32, i32) = (8, 0);
/// Runs `--fix`.
const FIX: &str = "cargo xtask doctor --device cuda --fix";

/// Folders that hold the driver or CUDA's libraries on some system.
const FOLDERS: [&str; 10] = [
    "/usr/lib/wsl/lib",
    "/usr/local/cuda/lib64",
    "/usr/local/nvidia/lib64",
    "/opt/cuda/lib64",
    "/run/opengl-driver/lib",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];

/// What was found of CUDA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuda {
    /// What a run needs, in the order in which to mend it.
    pub needs: Vec<Need>,
    /// The card that a run uses.
    pub card: Option<Card>,
    /// The newest CUDA that the driver knows; 13000 is 13.0.
    pub driver: Option<i32>,
    /// Folders in which a run finds its libraries.
    pub folders: Vec<PathBuf>,
    /// Folders in which libraries were looked for, beside those that the loader knows.
    pub searched: Vec<PathBuf>,
    /// Where the kit is, or would be; none if this user has no home.
    pub kit: Option<Kit>,
}

impl Cuda {
    /// Whether a run can be built and can use a card.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.needs.iter().all(Need::is_met)
    }

    /// The libraries that [`Kit::set_up`] has to bring beside the compiler: none without a driver,
    /// which alone says which they are.
    #[must_use]
    pub fn missing_libraries(&self) -> Option<Libraries> {
        let is_missing = |name| self.needs.iter().any(|need| need.name == name && !need.is_met());
        let driver = self.driver.filter(|&driver| driver >= OLDEST_DRIVER)?;
        let libraries = if driver >= DRIVER_OF_13 { Libraries::Of13 } else { Libraries::Of12 };
        (is_missing("cuBLAS") || is_missing("cuRAND")).then_some(libraries)
    }
}

/// Looks for all that a run on an NVIDIA card needs.
#[must_use]
pub fn cuda(system: &System) -> Cuda {
    let kit = Kit::of(system);
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let mend = "use the CPU: --device cpu; on Windows, WSL 2 is a Linux that has CUDA";
        let needs = vec![Need::lacking("system", "CUDA runs are for Linux on x86-64", mend)];
        let (folders, searched) = (vec![], vec![]);
        return Cuda { needs, card: None, driver: None, folders, searched, kit };
    }
    let folders = folders(system, kit.as_ref());
    let asked = ask(system, &folders);
    let driver = asked.as_ref().ok().map(|(_, driver)| driver.clone());
    let version = driver.as_ref().map(|driver| driver.version);
    let of_13 = version.is_none_or(|version| version >= DRIVER_OF_13);
    let cublas: &[&str] =
        if of_13 { &["libcublas.so.13", "libcublas.so.12"] } else { &["libcublas.so.12"] };
    let found = [
        ("cuBLAS", library(&folders, cublas)),
        ("cuRAND", library(&folders, &["libcurand.so.10"])),
    ];
    let mut needs = vec![driver_need(&asked), card_need(driver.as_ref())];
    let mut used: Vec<PathBuf> = Vec::new();
    if let Ok((path, _)) = &asked {
        used.extend(path.parent().filter(|folder| folder.is_absolute()).map(Path::to_owned));
    }
    for (name, library) in found {
        used.extend(library.as_ref().ok().and_then(|path| path.parent()).map(Path::to_owned));
        needs.push(match library {
            Ok(path) => Need::met(name, path.display().to_string()),
            // The driver says which of them it can use.
            Err(what) if version.is_none() => {
                Need::lacking(name, what, format!("first the driver, then: {FIX}"))
            }
            Err(what) => Need::lacking(name, what, FIX),
        });
    }
    used.dedup();
    needs.push(compiler_need(system));
    needs.push(kit_need(kit.as_ref()));
    let card = driver.and_then(|driver| driver.cards.into_iter().next());
    Cuda { needs, card, driver: version, folders: used, searched: folders, kit }
}

/// Folders to look in, in the order in which they count.
fn folders(system: &System, kit: Option<&Kit>) -> Vec<PathBuf> {
    let mut folders = system.listed("LD_LIBRARY_PATH");
    folders.extend(kit.iter().flat_map(|kit| kit.library_folders()));
    for variable in ["CUDA_HOME", "CUDA_PATH"] {
        let listed = system.listed(variable);
        folders.extend(listed.iter().flat_map(|home| [home.join("lib64"), home.join("lib")]));
    }
    folders.extend(FOLDERS.map(|folder| system.inside(Path::new(folder))));
    folders
}

/// Asks the first driver's library that can be opened.
fn ask(system: &System, folders: &[PathBuf]) -> Result<(PathBuf, Driver), String> {
    let mut complaint = None;
    for path in files(folders, DRIVER).into_iter().chain(system.by_loader(DRIVER)) {
        match (system.ask)(&path) {
            Ok(driver) => return Ok((path, driver)),
            // What a file says that is there tells more than that the loader knows no other.
            Err(error) if path.is_absolute() => {
                complaint = complaint.or(Some(format!("{}: {error}", path.display())));
            }
            Err(_) => {}
        }
    }
    Err(complaint.unwrap_or_else(|| format!("looked for {DRIVER}")))
}

fn driver_need(asked: &Result<(PathBuf, Driver), String>) -> Need {
    match asked {
        Ok((path, driver)) if driver.version < OLDEST_DRIVER => {
            let what = format!("{} is for CUDA {}", path.display(), version(driver.version));
            Need::lacking("driver", what, "update NVIDIA's driver to 525 or newer")
        }
        Ok((path, driver)) => {
            let found = format!("for CUDA {}, {}", version(driver.version), path.display());
            Need::met("driver", found)
        }
        Err(what) => {
            let mend = "with an NVIDIA card, install its driver (Ubuntu: sudo ubuntu-drivers \
                        install) and restart; without one, use the CPU";
            Need::lacking("driver", what, mend)
        }
    }
}

fn card_need(driver: Option<&Driver>) -> Need {
    let needed = format!("{}.{}", OLDEST_CARD.0, OLDEST_CARD.1);
    let Some(driver) = driver else {
        let what = format!("a compute capability of {needed} or newer is asked of the driver");
        return Need::lacking("card", what, "first the driver");
    };
    let text = |card: &Card| {
        format!("{}, compute capability {}.{}", card.name, card.capability.0, card.capability.1)
    };
    match driver.cards.first() {
        Some(card) if card.capability >= OLDEST_CARD => Need::met("card", text(card)),
        Some(card) => {
            let what = format!("{}; {needed} is needed", text(card));
            let other = driver.cards.iter().position(|other| other.capability >= OLDEST_CARD);
            let mend = other.map_or_else(
                || "a card of the series RTX 30, A100 or newer; without one, --device cpu".into(),
                |n| format!("choose your other card: export CUDA_VISIBLE_DEVICES={n}"),
            );
            Need::lacking("card", what, mend)
        }
        None => {
            let mend = "see what nvidia-smi says, and that CUDA_VISIBLE_DEVICES hides no card";
            Need::lacking("card", "the driver shows no card", mend)
        }
    }
}

/// Finds a library under one of its names.
fn library(folders: &[PathBuf], names: &[&str]) -> Result<PathBuf, String> {
    let found = names.iter().flat_map(|name| files(folders, name)).next();
    found.ok_or_else(|| format!("looked for {}", names.join(" or ")))
}

fn compiler_need(system: &System) -> Need {
    let path = system.program("g++").filter(|_| system.program("cc").is_some());
    let mend = "sudo apt install g++ (Debian, Ubuntu) or sudo dnf install gcc-c++ (Fedora)";
    let lacking = || Need::lacking("C++ compiler", "no `g++` and `cc` on the PATH", mend);
    path.map_or_else(lacking, |path| Need::met("C++ compiler", path.display().to_string()))
}

fn kit_need(kit: Option<&Kit>) -> Need {
    match kit {
        Some(kit) if kit.is_whole() => Need::met("kit", kit.folder().display().to_string()),
        Some(kit) => {
            let what = format!("no CUDA compiler in {}", kit.folder().display());
            Need::lacking("kit", what, FIX)
        }
        None => Need::lacking("kit", "no home folder", "name a folder: export WICK_CUDA_KIT=DIR"),
    }
}

/// `13.0` for 13000.
fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

#[cfg(test)]
mod tests;
