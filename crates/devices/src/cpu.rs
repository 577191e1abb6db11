//! What a run on the processor needs, which is what building needs.

use std::thread;

use crate::{Need, System};

/// What a run on the processor needs.
#[must_use]
pub fn cpu(system: &System) -> Vec<Need> {
    let n_cores = thread::available_parallelism().map_or(1, usize::from);
    let processor = format!("{n_cores} cores{}", vectors());
    let linker = if cfg!(windows) {
        Need::met("linker", "Visual Studio's, by rustup")
    } else if let Some(path) = system.program("cc") {
        Need::met("linker", path.display().to_string())
    } else {
        let mend = if cfg!(target_os = "macos") {
            "xcode-select --install"
        } else {
            "sudo apt install gcc (Debian, Ubuntu) or sudo dnf install gcc (Fedora)"
        };
        Need::lacking("linker", "no `cc` on the PATH, which rustc links with", mend)
    };
    vec![Need::met("processor", processor), linker]
}

/// The widest vectors that matrix products use.
#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if is_x86_feature_detected!("avx512f") {
        ", AVX-512"
    } else if is_x86_feature_detected!("avx2") {
        ", AVX2"
    } else {
        ""
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn without_a_linker_nothing_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let system = System::at(folder.path(), &[("PATH", "/bin")], |_| Err(String::new()));
        let lacks = |system: &System| cpu(system).iter().any(|need| !need.is_met());
        assert!(lacks(&system));
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::fs::write(folder.path().join("bin/cc"), "").unwrap();
        assert!(!lacks(&system));
    }
}
