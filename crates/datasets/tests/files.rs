//! Every file is the one of its row, every row has its file, and damage says how to mend it.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use datasets::{Ledger, Split, digits, fashion, folder, gpt2_merges, shakespeare};

/// Every file below a folder, seen from it.
fn files(below: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(below).unwrap().iter();
                let names: Vec<_> = inside.map(|name| name.to_string_lossy()).collect();
                found.insert(names.join("/"));
            }
        }
    }
    found
}

#[test]
fn every_file_has_a_row_and_its_hash() {
    let ledger = Ledger::ours().unwrap();
    let listed = ledger.entries.iter().map(|entry| entry.path.clone());
    let listed: BTreeSet<_> = listed.chain(["README.md".into(), "LEDGER.toml".into()]).collect();
    assert_eq!(files(folder()), listed, "the files and the rows of datasets/LEDGER.toml");
    for entry in &ledger.entries {
        ledger.read(&entry.path).unwrap();
        assert!(!entry.used_by.is_empty(), "{} is used by some exercise", entry.path);
        let words = [&entry.what, &entry.source, &entry.licence, &entry.changes];
        assert!(words.iter().all(|text| !text.is_empty()), "{} says all", entry.path);
    }
}

#[test]
fn digits_are_what_they_should_be() {
    let digits = digits().unwrap();
    assert_eq!((digits.len(), digits.pixels.len()), (1797, 1797 * 64));
    assert_eq!((digits.pixels.iter().max(), digits.labels.iter().max()), (Some(&16), Some(&9)));
    assert_eq!(digits.labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn parts_are_apart_and_have_every_class() {
    let digits = digits().unwrap();
    let parts = [Split::Train, Split::Valid, Split::Test].map(|split| digits.part(split));
    assert_eq!(parts.each_ref().map(datasets::Labelled::len), [1199, 299, 299]);
    for part in &parts {
        let classes: BTreeSet<_> = part.labels.iter().collect();
        assert_eq!(classes.len(), 10);
    }
    assert_eq!(parts[2].picture(0), digits.picture(5));
}

#[test]
fn clothes_are_what_they_should_be() {
    for (split, n) in [(Split::Train, 3000), (Split::Test, 1000)] {
        let clothes = fashion(split).unwrap();
        assert_eq!((clothes.len(), clothes.n_pixels), (n, 28 * 28));
        let of_last_class: Vec<u8> =
            clothes.labels.iter().copied().filter(|&label| label == 9).collect();
        assert_eq!(of_last_class.len(), n / 10);
    }
    assert!(fashion(Split::Valid).is_err());
}

#[test]
fn shakespeare_is_clean() {
    let text = shakespeare().unwrap();
    let letters: BTreeSet<char> = text.chars().collect();
    assert_eq!((text.len(), letters.len()), (1_165_020, 63));
    assert!(text.starts_with("First Citizen:\nBefore we proceed any further, hear me speak.\n"));
}

#[test]
fn merges_are_gpt2s() {
    let merges = gpt2_merges().unwrap();
    assert_eq!(merges.len(), 50_000);
    assert_eq!(merges[..3], [[32, 116], [32, 97], [104, 101]]);
    assert!(merges.iter().enumerate().all(|(n, pair)| pair.iter().all(|&id| id < 256 + n)));
}

const DIGITS: &str = "tabular/digits.csv.gz";

/// Changes a copy of the digits, and proves what reading it says.
#[track_caller]
fn check(damage: impl Fn(&Path), said: &[&str]) {
    let scene = tempfile::tempdir().unwrap();
    fs::create_dir(scene.path().join("tabular")).unwrap();
    for file in ["LEDGER.toml", DIGITS] {
        fs::copy(folder().join(file), scene.path().join(file)).unwrap();
    }
    damage(&scene.path().join(DIGITS));
    let error = Ledger::of(scene.path()).unwrap().read(DIGITS).unwrap_err().to_string();
    let mend = "git checkout -- datasets/tabular/digits.csv.gz";
    for text in said.iter().chain([&mend]) {
        assert!(error.contains(text), "{text:?} is not in: {error}");
    }
}

const HASH: &str = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22";

#[test]
fn a_missing_file_is_named() {
    check(|file| fs::remove_file(file).unwrap(), &["cannot be read"]);
}

#[test]
fn a_flipped_bit_is_named_with_both_hashes() {
    let flip = |file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        bytes[1000] ^= 1;
        fs::write(file, bytes).unwrap();
    };
    check(flip, &["is damaged", "57523 bytes and SHA-256", HASH]);
}

#[test]
fn a_cut_file_is_named_with_both_lengths() {
    let cut = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..4096]).unwrap();
    };
    check(cut, &["it has 4096 bytes", "expected 57523 bytes", HASH]);
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    let grow = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, bytes.repeat(50)).unwrap();
    };
    check(grow, &["it has 57524 bytes", "expected 57523 bytes"]);
}

#[test]
fn a_bomb_unpacks_no_further_than_its_row_says() {
    let scene = tempfile::tempdir().unwrap();
    fs::create_dir(scene.path().join("tabular")).unwrap();
    fs::copy(folder().join(DIGITS), scene.path().join(DIGITS)).unwrap();
    let ledger = fs::read_to_string(folder().join("LEDGER.toml")).unwrap();
    let smaller = ledger.replace("unpacked_bytes = 264712", "unpacked_bytes = 1000");
    fs::write(scene.path().join("LEDGER.toml"), smaller).unwrap();
    let error = Ledger::of(scene.path()).unwrap().read(DIGITS).unwrap_err().to_string();
    assert!(error.contains("unpacks to 1001 bytes or more, not 1000"), "{error}");
}
