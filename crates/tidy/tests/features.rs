//! Candle is built once: every call that a learner makes asks for the same features of it and of
//! everything below it.
//!
//! A package built alone, such as by `cargo test -p checks`, may still differ: without the judge
//! and its command line, some proc macros and rustix have fewer features.
//!
//! Where one differs, cargo builds candle a second time, which takes minutes. The mend is a line in
//! `crates/answer/Cargo.toml` that asks for the feature always.

use std::collections::BTreeSet;

use tidy::{Variants, edges, none, variants_below};

const CANDLE: &str = "candle-core";

/// What a call builds of candle and below it; `edges` as `cargo tree` spells them.
fn candle(edges: &str, selection: &[&str]) -> Variants {
    variants_below(CANDLE, &[&["-e", edges], selection].concat())
}

/// Says where a call builds something else than `cargo xtask check attention` does.
fn differences(call: &str, expected: &Variants, found: &Variants) -> Vec<String> {
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let said = |variants: Option<&BTreeSet<String>>| match variants {
        None => "not at all".to_owned(),
        Some(variants) => variants.iter().map(|v| format!("[{v}]")).collect::<Vec<_>>().join(" "),
    };
    let differing = names.into_iter().filter(|name| expected.get(*name) != found.get(*name));
    let sentence = |name: &String| {
        let (found, expected) = (said(found.get(name)), said(expected.get(name)));
        format!("{call} builds {name} with {found}; `check attention` with {expected}")
    };
    differing.map(sentence).collect()
}

#[test]
fn candle_is_built_once() {
    let expected = candle("normal,build", &["-p", "attention", "-p", "judge"]);
    assert!(expected.len() > 20, "candle stands on more than {} packages", expected.len());
    let mut complaints = Vec::new();
    let rooms: BTreeSet<_> = edges().into_iter().map(|edge| (edge.folder, edge.from)).collect();
    for (folder, package) in rooms {
        if folder.starts_with("exercises/") || folder.starts_with("solutions/") {
            let found = candle("normal,build", &["-p", &package, "-p", "judge"]);
            let call = format!("`check` of {package}");
            complaints.extend(differences(&call, &expected, &found));
        }
    }
    let found = candle("normal,build", &["--workspace"]);
    complaints.extend(differences("`cargo build --workspace`", &expected, &found));
    let found = candle("normal,build,dev", &["--workspace"]);
    complaints.extend(differences("`cargo test --workspace`", &expected, &found));
    let found = candle("normal,build,dev", &["-p", "judge"]);
    complaints.extend(differences("`cargo test -p judge`", &expected, &found));
    none(&complaints);
}

#[test]
fn a_difference_is_named() {
    let variants = |features: &str| {
        Variants::from([("gemm v0.19.0".to_owned(), BTreeSet::from([features.to_owned()]))])
    };
    let found = differences("`x`", &variants("f16,x86-v4"), &variants("f16"));
    let said = "`x` builds gemm v0.19.0 with [f16]; `check attention` with [f16,x86-v4]";
    assert_eq!(found, [said]);
}
