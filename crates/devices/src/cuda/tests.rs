//! A folder stands for a machine; its driver is made up.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::unnecessary_wraps, reason = "a made-up driver stands where one is asked")]

use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;
use crate::Lack;

const KIT: &str = "/ada/.cache/wick/cuda-13.0";

fn good(_: &Path) -> Result<Driver, String> {
    let card = Card { name: "Card".to_owned(), capability: (8, 9) };
    Ok(Driver { version: 13_000, cards: vec![card] })
}

fn older(_: &Path) -> Result<Driver, String> {
    Ok(Driver { version: 12_040, ..good(Path::new(""))? })
}

fn oldest(_: &Path) -> Result<Driver, String> {
    Ok(Driver { version: 11_040, ..good(Path::new(""))? })
}

fn old_card_first(_: &Path) -> Result<Driver, String> {
    let old = Card { name: "Old".to_owned(), capability: (7, 5) };
    let mut driver = good(Path::new(""))?;
    driver.cards.insert(0, old);
    Ok(driver)
}

fn no_card(_: &Path) -> Result<Driver, String> {
    Ok(Driver { version: 13_000, cards: vec![] })
}

fn broken(_: &Path) -> Result<Driver, String> {
    Err("invalid ELF header".to_owned())
}

const LIBRARIES: [&str; 3] = [
    "/usr/lib64/libcuda.so.1",
    "/ada/.cache/wick/cuda-13.0/libraries/nvidia/cu13/lib/libcublas.so.13",
    "/usr/local/cuda/lib64/libcurand.so.10",
];
const PROGRAMS: [&str; 4] = [
    "/bin/cc",
    "/bin/g++",
    "/ada/.cache/wick/cuda-13.0/whole",
    "/ada/.cache/wick/cuda-13.0/cuda/bin/nvcc-lite",
];

fn machine(files: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    root
}

fn look(files: &[&str], ask: fn(&Path) -> Result<Driver, String>) -> Cuda {
    let root = machine(files);
    cuda(&System::at(root.path(), &[("HOME", "/ada"), ("PATH", "/bin")], ask))
}

/// What a machine lacks, and what is said of the first of it.
#[track_caller]
fn check(files: &[&str], ask: fn(&Path) -> Result<Driver, String>, lacks: &[&str], says: &str) {
    let found = look(files, ask);
    let missing: Vec<&Need> = found.needs.iter().filter(|need| !need.is_met()).collect();
    let names: Vec<_> = missing.iter().map(|need| need.name).collect();
    assert_eq!(names, lacks);
    assert_eq!(found.is_usable(), lacks.is_empty());
    if let Some(Err(Lack { what, mend })) = missing.first().map(|need| &need.found) {
        assert!(format!("{what}; {mend}").contains(says), "{what}; {mend}");
    }
}

#[test]
fn a_machine_with_everything_is_usable() {
    check(&[&LIBRARIES[..], &PROGRAMS].concat(), good, &[], "");
}

#[test]
fn a_bare_machine_lacks_everything() {
    let all = ["driver", "card", "cuBLAS", "cuRAND", "C++ compiler", "kit"];
    check(&[], good, &all, "looked for libcuda.so.1; ");
}

#[test]
fn a_user_with_the_driver_alone_is_told_to_fix() {
    let files = [&LIBRARIES[..1], &["/bin/cc", "/bin/g++"]].concat();
    check(&files, good, &["cuBLAS", "cuRAND", "kit"], FIX);
    assert_eq!(look(&files, good).missing_libraries(), Some(Libraries::Of13));
    assert_eq!(look(&files, older).missing_libraries(), Some(Libraries::Of12));
    assert_eq!(look(&[], good).missing_libraries(), None);
    let folders = look(&[], good).searched;
    assert!(folders.iter().any(|folder| folder.ends_with("usr/lib64")), "{folders:?}");
}

#[test]
fn an_older_driver_takes_older_libraries_only() {
    let files = [&LIBRARIES[..], &PROGRAMS].concat();
    check(&files, older, &["cuBLAS"], "libcublas.so.12");
    check(&files, oldest, &["driver", "cuBLAS"], "for CUDA 11.4");
}

#[test]
fn a_card_that_is_too_old_points_at_a_newer_one() {
    let files = [&LIBRARIES[..], &PROGRAMS].concat();
    check(&files, old_card_first, &["card"], "CUDA_VISIBLE_DEVICES=1");
    check(&files, no_card, &["card"], "the driver shows no card");
}

#[test]
fn a_driver_that_does_not_open_says_why() {
    let files = [&LIBRARIES[..], &PROGRAMS].concat();
    check(&files, broken, &["driver", "card"], "libcuda.so.1: invalid ELF header");
}

#[test]
fn a_variable_names_the_kit() {
    let root = machine(&["/kit/whole", "/kit/cuda/bin/nvcc-lite"]);
    let system = System::at(root.path(), &[("WICK_CUDA_KIT", "/kit")], good);
    assert!(Kit::of(&system).is_some_and(|kit| kit.is_whole()));
    let system = System::at(root.path(), &[("HOME", "/ada")], good);
    let kit = Kit::of(&system).unwrap();
    assert_eq!(kit.folder(), root.path().join(KIT.trim_start_matches('/')));
    assert_eq!(kit.to_fetch(None).len(), 1);
}
