//! Building an answer with candle's CUDA backend, by the kit that `doctor --fix` brings.
//!
//! The program starts without CUDA and looks for its libraries when it is told to use a card, so
//! it is built the same with and without one.
//!
//! **Invariant:** nothing that is built for the processor is built anew: these builds have a
//! target folder of their own.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use devices::{Cuda, Kit};

use crate::cargo::{self, Built};

/// With a target named, flags do not reach build scripts, of which one would refuse ours.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Has cudarc open CUDA's libraries when they are used: candle asks it to link them, and cargo
/// cannot take a feature away.
const FLAG: &str = "--cfg=feature=\"dynamic-loading\"";
/// Kernels for cards of compute capability 8.0; drivers make them into those of newer cards. From
/// 90 on they would be for one generation alone.
const COMPUTE_CAPABILITY: &str = "80";
/// The newest CUDA whose functions are looked up.
const CUDA_VERSION: &str = "13000";
/// Drivers older than the kit's compiler load kernels that say they are of this version.
const OLD_KERNELS: &str = "7.8";
/// What the kit's compiler is of.
const KIT_VERSION: i32 = 13_000;
/// Variables that would lead the build to another CUDA.
const MISLEADING: [&str; 4] = ["CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDNN_LIB"];

/// Builds the answer `package` with CUDA, below the target folder that `beside` was built in.
///
/// # Errors
///
/// Fails if there is no kit, or cargo cannot build what is not the answer's.
pub(crate) fn build(
    root: &Path,
    package: &str,
    cuda: &Cuda,
    beside: &Path,
) -> anyhow::Result<Option<PathBuf>> {
    let mut command = cargo("build", root, cuda, beside)?;
    command.args(["--features", "wick/cuda"]);
    Ok(match cargo::build_with(command, root, &[package])? {
        Built::Programs(mut programs) => programs.remove(package),
        Built::DoesNotCompile => None,
    })
}

/// A cargo that does `what` with CUDA, below the target folder that `beside` was built in; packages
/// and features are left to say.
///
/// # Errors
///
/// Fails if there is no kit.
pub(crate) fn cargo(
    what: &str,
    root: &Path,
    cuda: &Cuda,
    beside: &Path,
) -> anyhow::Result<Command> {
    let kit = cuda.kit.as_ref().context("there is no kit")?;
    let is_old = cuda.driver.is_some_and(|driver| driver < KIT_VERSION);
    // Beside `debug`; candle's build does not see that the version of its kernels has changed.
    let target = beside.ancestors().nth(2).context("a program lies in no target folder")?;
    let target = target.join(if is_old { "cuda-old" } else { "cuda" });
    let mut command = cargo::cargo(root);
    command.args([what, "--config", &flags()]);
    command.env("CARGO_BUILD_TARGET", TARGET).env("CARGO_TARGET_DIR", target);
    command.envs(environment(kit)).envs(is_old.then_some(("NVCC_LITE_ISA", OLD_KERNELS)));
    for name in MISLEADING {
        command.env_remove(name);
    }
    // This variable, if set, stands above every `--config`.
    if let Some(mut theirs) = env::var_os("RUSTFLAGS").filter(|flags| !flags.is_empty()) {
        theirs.push(" ");
        theirs.push(FLAG);
        command.env("RUSTFLAGS", theirs);
    }
    Ok(command)
}

/// The folders of CUDA's libraries, for the subject.
pub(crate) fn libraries(cuda: &Cuda) -> OsString {
    env::join_paths(&cuda.folders).unwrap_or_default()
}

fn flags() -> String {
    format!("target.{TARGET}.rustflags=['{FLAG}']")
}

fn environment(kit: &Kit) -> Vec<(&'static str, OsString)> {
    let home = kit.folder().join("cuda");
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        ("NVCC", home.join("bin/nvcc-lite").into()),
        ("CUDA_HOME", home.into()),
        ("CUDA_COMPUTE_CAP", COMPUTE_CAPABILITY.into()),
        ("CUDARC_CUDA_VERSION", CUDA_VERSION.into()),
        ("CUDAFORGE_THREADS", n_threads.to_string().into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_toml_that_cargo_can_read() {
        let parsed: toml::Table = flags().parse().unwrap();
        let flag = &parsed["target"][TARGET]["rustflags"][0];
        assert_eq!(flag.as_str(), Some(FLAG));
    }
}
