//! The kit: NVIDIA's compiler and headers as Python wheels, below the user's cache folder.
//!
//! **Invariant:** a kit is whole only once its compiler has compiled something here.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::System;

/// The script that brings the kit.
const SET_UP: &str = include_str!("../kit/setup-cuda.sh");
/// What stands for NVIDIA's compiler while candle is built; it leaves out what nobody calls.
const NVCC_LITE: &str = include_str!("../kit/nvcc-lite");

/// A kit, or the folder where it would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kit {
    folder: PathBuf,
}

/// Which cuBLAS and cuRAND a driver can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libraries {
    /// Those of CUDA 12, for drivers from 525 on.
    Of12,
    /// Those of CUDA 13, for drivers from 580 on.
    Of13,
}

/// Why there is no kit now.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// There is no Python that could fetch wheels.
    #[error(
        "the kit comes as Python packages, and there is no python3 with pip: install them (sudo \
         apt install python3-pip, or sudo dnf install python3-pip), then run this again"
    )]
    NoPython,
    /// The script failed and has said why.
    #[error(
        "the kit is not whole; what pip or the compiler said is above: if there was no network, \
         run this again with one; what was fetched whole is kept"
    )]
    Failed,
    /// A file cannot be written, or bash not be started.
    #[error("the kit cannot be set up in {0}: {1}; mend that, or name a folder by WICK_CUDA_KIT")]
    Io(PathBuf, io::Error),
}

impl Kit {
    /// Where the kit is: the folder that `WICK_CUDA_KIT` names, else one in the user's cache.
    pub(crate) fn of(system: &System) -> Option<Self> {
        let absolute = |name: &str| {
            let path = PathBuf::from(system.variable(name)?);
            path.is_absolute().then_some(path)
        };
        let cache =
            || absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        let folder = absolute("WICK_CUDA_KIT").or_else(|| Some(cache()?.join("wick/cuda-13.0")));
        Some(Self { folder: system.inside(&folder?) })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether its compiler has compiled something here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.folder.join("whole").is_file() && self.folder.join("cuda/bin/nvcc-lite").is_file()
    }

    /// Folders where it has CUDA's libraries, if any were brought.
    pub(crate) fn library_folders(&self) -> Vec<PathBuf> {
        let packages = self.folder.join("libraries/nvidia");
        ["cu13/lib", "cublas/lib", "curand/lib"].map(|name| packages.join(name)).to_vec()
    }

    /// What [`Self::set_up`] will fetch, each with its size on the disk.
    #[must_use]
    pub fn to_fetch(&self, libraries: Option<Libraries>) -> Vec<&'static str> {
        let compiler = "NVIDIA's compiler and headers, five Python packages (270 MB unpacked)";
        let mut list = if self.is_whole() { vec![] } else { vec![compiler] };
        list.extend(libraries.map(|libraries| match libraries {
            Libraries::Of12 => "cuBLAS and cuRAND of CUDA 12 (about 1 GB unpacked)",
            Libraries::Of13 => "cuBLAS and cuRAND of CUDA 13 (about 730 MB unpacked)",
        }));
        list
    }

    /// Brings what is missing; pip and the compiler speak on standard error.
    ///
    /// # Errors
    ///
    /// Fails without Python and pip, without a network, or if the folder cannot be written.
    pub fn set_up(&self, libraries: Option<Libraries>) -> Result<(), KitError> {
        let quiet = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
        };
        let has_pip = quiet(Command::new("python3").args(["-m", "pip", "--version"]));
        if !has_pip.is_ok_and(|status| status.success()) {
            return Err(KitError::NoPython);
        }
        let scripts = self.folder.join("scripts");
        let failed = |error| KitError::Io(self.folder.clone(), error);
        fs::create_dir_all(&scripts).map_err(failed)?;
        for (name, text) in [("setup-cuda.sh", SET_UP), ("nvcc-lite", NVCC_LITE)] {
            fs::write(scripts.join(name), text).map_err(failed)?;
        }
        let mut command = Command::new("bash");
        command.arg(scripts.join("setup-cuda.sh")).env("WICK_CUDA_KIT", &self.folder);
        command.env(
            "WICK_CUDA_KIT_LIBRARIES",
            match libraries {
                None => "",
                Some(Libraries::Of12) => "12",
                Some(Libraries::Of13) => "13",
            },
        );
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().map_err(failed)?;
        if status.success() && self.is_whole() { Ok(()) } else { Err(KitError::Failed) }
    }
}
