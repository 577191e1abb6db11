//! Every file keeps the house's size, manner and secrets.

use tidy::{File, files, manifests, none, sources};

const LONGEST_FILE: usize = 500;
const LONGEST_LINE: usize = 100;
const NO_NAMES: [&str; 3] = ["utils", "common", "misc"];

/// Complains about every line that `is_wrong`.
#[track_caller]
fn no_line(files: &[File], what: &str, is_wrong: impl Fn(&File, &str) -> bool) {
    let wrong = |file: &File| {
        let lines = file.lines().filter(|(_, line)| is_wrong(file, line));
        lines.map(|(n, line)| format!("{}:{n}: {what}: {}", file.path, line.trim())).collect()
    };
    none(&files.iter().flat_map(|file| -> Vec<String> { wrong(file) }).collect::<Vec<_>>());
}

#[track_caller]
fn no_file(what: &str, is_wrong: impl Fn(&File) -> bool) {
    let wrong = sources().into_iter().filter(|file| is_wrong(file));
    none(&wrong.map(|file| format!("{}: {what}", file.path)).collect::<Vec<_>>());
}

#[test]
fn every_source_says_first_what_it_is() {
    no_file("start it with `//!` and one sentence", |file| !file.text.starts_with("//! "));
}

#[test]
fn no_source_is_too_long() {
    let what = format!("split it; {LONGEST_FILE} lines are the end");
    no_file(&what, |file| file.text.lines().count() > LONGEST_FILE);
}

#[test]
fn no_line_is_too_long() {
    let is_long = |_: &File, line: &str| line.chars().count() > LONGEST_LINE;
    no_line(&sources(), "longer than 100 characters", is_long);
}

#[test]
fn no_module_is_a_drawer() {
    no_file("name it after what is in it", |file| {
        file.path.split('/').any(|name| NO_NAMES.contains(&name.trim_end_matches(".rs")))
    });
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let call = [".unwrap", "("].concat();
    let without_tests = |file: File| File { text: file.without_tests().to_owned(), ..file };
    let files: Vec<_> = sources().into_iter().map(without_tests).collect();
    no_line(&files, "return the error, or `expect(\"invariant: …\")`", |_, line| {
        !line.trim_start().starts_with("//") && line.contains(&call)
    });
}

#[test]
fn no_path_of_some_machine_is_written_down() {
    let folders = ["work", "root", "home", "Users"].map(|name| format!("/{name}/"));
    let temporary = ["/tm", "p/"].concat();
    no_line(&files(), "a path of one machine", |file, line| {
        let in_code = has_extension(&file.path, "rs") && !file.is_test();
        folders.iter().any(|folder| line.contains(folder)) || in_code && line.contains(&temporary)
    });
}

#[test]
fn only_the_datasets_crate_knows_where_data_lies() {
    let folder = ["datasets", "/"].concat();
    no_line(&sources(), "ask the crate `datasets` for it", |file, line| {
        let is_comment = line.trim_start().starts_with("//");
        let is_reader = file.path.starts_with(&format!("crates/{folder}"));
        !is_reader && !is_comment && line.contains(&folder)
    });
}

#[test]
fn packages_come_from_the_public_registry() {
    let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let locked: Vec<_> = files().into_iter().filter(|f| f.path == "Cargo.lock").collect();
    assert!(!locked.is_empty(), "Cargo.lock is committed");
    no_line(&locked, "another registry", |_, line| line.starts_with("source = ") && line != public);
    let tables = ["[source.", "[registr", "replace-with", "index =", "registry ="];
    let settings: Vec<_> = files().into_iter().filter(|f| has_extension(&f.path, "toml")).collect();
    no_line(&settings, "another registry", |_, line| {
        tables.iter().any(|table| line.trim_start().starts_with(table))
    });
}

#[test]
fn no_address_is_private() {
    no_line(&files(), "an address that others cannot reach", |file, line| {
        !file.is_test() && line.split("://").skip(1).any(is_private)
    });
}

/// Whether what follows `://` is a host with a port, or one of an inner network.
fn is_private(address: &str) -> bool {
    let end = address.find(|c: char| !c.is_ascii_alphanumeric() && !".-:".contains(c));
    let host = &address[..end.unwrap_or(address.len())];
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let inner = [".internal", ".local", ".lan", ".corp", ".intranet"];
    port.starts_with(|c: char| c.is_ascii_digit()) || inner.iter().any(|end| name.ends_with(end))
}

#[test]
fn private_addresses_are_seen() {
    for private in ["mirror.internal/index", "10.0.0.1:8081/simple", "pkg.corp\""] {
        assert!(is_private(private), "{private}");
    }
    for public in ["github.com/rust-lang", "arxiv.org/abs/1706.03762: eq. 1", "docs.rs)"] {
        assert!(!is_private(public), "{public}");
    }
}

#[test]
fn every_version_stands_in_the_root() {
    let mut complaints = Vec::new();
    for file in manifests() {
        // The root itself, and what is a workspace of its own.
        if file.text.contains("[workspace]") {
            continue;
        }
        let mut is_list = false;
        for (n, line) in file.lines() {
            let line = line.trim();
            if line.starts_with('[') {
                is_list = line.trim_end_matches(']').ends_with("dependencies");
            } else if is_list && line.contains('=') && !line.starts_with('#') {
                let inherits =
                    line.contains(".workspace = true") || line.contains("workspace = true");
                if !inherits {
                    complaints.push(format!("{}:{n}: write its version in the root", file.path));
                }
            }
        }
    }
    none(&complaints);
}

fn has_extension(path: &str, extension: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|found| found == extension)
}
