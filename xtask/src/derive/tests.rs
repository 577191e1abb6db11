//! Small solutions and the stubs that they must give.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::{Source, derive};

fn source(text: &str) -> Source {
    Source { path: "solutions/small/src/lib.rs".to_owned(), text: text.to_owned() }
}

/// The stub is this, and rustfmt has nothing to change in it.
#[track_caller]
fn check(solution: &str, stub: &str) {
    assert_formatted(solution);
    let derived = derive(&[source(solution)]).expect("derives").remove(0);
    assert_eq!(derived, stub);
    assert_formatted(&derived);
}

#[track_caller]
fn assert_formatted(text: &str) {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--check"])
        .args(["--config", "max_width=100,use_small_heuristics=Max"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt comes with the toolchain");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "not clean:\n{}", String::from_utf8_lossy(&output.stdout));
}

#[track_caller]
fn check_fault(solution: &str, line: usize, says: &str) {
    let fault = derive(&[source(solution)]).expect_err("must be refused");
    assert_eq!(fault.line, line);
    assert!(fault.message.contains(says), "{fault}");
}

#[test]
fn body_becomes_plan() {
    check(
        "//! Head.\n\n/// Docs stay,  even odd ones.\n#[part(plan = \"add them up\")]\npub fn \
         sum(a: f64, b: f64) -> f64 {\n    // Why.\n    a + b\n}\n",
        "//! Head.\n\n/// Docs stay,  even odd ones.\n#[part]\npub fn sum(a: f64, b: f64) -> f64 \
         {\n    todo!(\"add them up\")\n}\n",
    );
}

#[test]
fn other_arguments_of_part_stay() {
    check(
        "#[wick::part(plan = \"two words\", gradient = false)]\npub fn f() {}\n",
        "#[wick::part(gradient = false)]\npub fn f() {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn where_clause_and_signature_stay() {
    check(
        "#[part(plan = \"two words\")]\npub fn f<T>(t: T) -> T\nwhere\n    T: Clone,\n{\n    \
         t.clone()\n}\n",
        "#[part]\npub fn f<T>(t: T) -> T\nwhere\n    T: Clone,\n{\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn private_helpers_and_tests_go() {
    check(
        "const EPS: f64 = 1e-9;\n\n#[part(plan = \"two words\")]\npub fn f() -> f64 {\n    \
         helper(EPS)\n}\n\n// A note on the helper.\n/// Helps.\nfn helper(x: f64) -> f64 {\n    \
         x\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn works() {}\n}\n",
        "#[part]\npub fn f() -> f64 {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn given_code_keeps_what_it_needs() {
    check(
        "use std::{cmp, fmt};\n\nconst A: u32 = 1;\nconst B: u32 = 2;\n\n// given: you may call \
         it\npub fn show() -> u32 {\n    inner() + A\n}\n\nfn inner() -> u32 {\n    \
         cmp::min(1, 2)\n}\n\nfn gone() -> u32 {\n    B\n}\n\n#[part(plan = \"two \
         words\")]\npub fn f() {\n    gone();\n}\n",
        "use std::cmp;\n\nconst A: u32 = 1;\n\n// given: you may call it\npub fn show() -> u32 \
         {\n    inner() + A\n}\n\nfn inner() -> u32 {\n    cmp::min(1, 2)\n}\n\n#[part]\npub fn \
         f() {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn public_types_keep_their_impls_and_lose_private_methods() {
    check(
        "use std::fmt;\n\n/// Holds.\n#[derive(Debug)]\npub struct Cache {\n    len: \
         usize,\n}\n\nimpl Cache {\n    /// Makes.\n    pub fn new() -> Self {\n        Self { \
         len: Self::zero() }\n    }\n\n    fn zero() -> usize {\n        0\n    }\n\n    fn \
         grow(&mut self) {\n        self.len += 1;\n    }\n}\n\nimpl fmt::Display for Cache {\n    \
         fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {\n        write!(f, \
         \"{}\", self.len)\n    }\n}\n\nstruct Hidden;\n\nimpl Hidden {\n    fn f() \
         {}\n}\n\n#[part(plan = \"two words\")]\npub fn f(cache: &mut Cache) {\n    \
         cache.grow();\n    Hidden::f();\n}\n",
        "use std::fmt;\n\n/// Holds.\n#[derive(Debug)]\npub struct Cache {\n    len: \
         usize,\n}\n\nimpl Cache {\n    /// Makes.\n    pub fn new() -> Self {\n        Self { \
         len: Self::zero() }\n    }\n\n    fn zero() -> usize {\n        0\n    }\n}\n\nimpl \
         fmt::Display for Cache {\n    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result \
         {\n        write!(f, \"{}\", self.len)\n    }\n}\n\n#[part]\npub fn f(cache: &mut \
         Cache) {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn imports_serve_their_own_scope_only() {
    check(
        "use candle_core::{Result, bail};\nuse wick::part;\n\n#[part(plan = \"two words\")]\npub \
         fn f() -> Result<()> {\n    bail!(\"no\")\n}\n\n// given\npub mod inner {\n    use \
         candle_core::bail;\n\n    pub fn g() {\n        bail!(\"no\")\n    }\n}\n",
        "use candle_core::Result;\nuse wick::part;\n\n#[part]\npub fn f() -> Result<()> {\n    \
         todo!(\"two words\")\n}\n\n// given\npub mod inner {\n    use candle_core::bail;\n\n    \
         pub fn g() {\n        bail!(\"no\")\n    }\n}\n",
    );
    let user = source(
        "use a::bail;\n\n#[part(plan = \"two words\")]\npub fn f() {\n    \
                       bail!()\n}\n",
    );
    let other = source("use a::bail;\n\n// given\npub fn g() {\n    bail!()\n}\n");
    let stubs = derive(&[user, other.clone()]).unwrap();
    assert_eq!(
        stubs,
        ["#[part]\npub fn f() {\n    todo!(\"two words\")\n}\n".to_owned(), other.text]
    );
}

#[test]
fn pieces_are_written_and_the_part_that_reaches_them_is_given() {
    check(
        "/// Ours.\n#[derive(Debug)]\npub struct Scalar(pub f64);\n\nimpl Scalar {\n    /// \
         Adds.\n    #[piece(plan = \"add both values\")]\n    pub fn add(&self, other: &Self) -> \
         Self {\n        Self(sum(self.0, other.0))\n    }\n\n    /// Shows.\n    pub fn \
         value(&self) -> f64 {\n        self.0\n    }\n}\n\nfn sum(a: f64, b: f64) -> f64 {\n    \
         a + b\n}\n\n// given: how the judge asks\n#[part]\npub fn scalar(x: f64) -> f64 {\n    \
         Scalar(x).add(&Scalar(x)).value()\n}\n",
        "/// Ours.\n#[derive(Debug)]\npub struct Scalar(pub f64);\n\nimpl Scalar {\n    /// \
         Adds.\n    #[piece]\n    pub fn add(&self, other: &Self) -> Self {\n        todo!(\"add \
         both values\")\n    }\n\n    /// Shows.\n    pub fn value(&self) -> f64 {\n        \
         self.0\n    }\n}\n\n// given: how the judge asks\n#[part]\npub fn scalar(x: f64) -> f64 \
         {\n    Scalar(x).add(&Scalar(x)).value()\n}\n",
    );
}

#[test]
fn import_leaves_are_pruned_one_by_one() {
    check(
        "use candle_core::{D, DType, Device, Result, Tensor};\nuse candle_nn::ops;\nuse \
         wick::part;\n\n#[part(plan = \"two words\")]\npub fn f(x: &Tensor) -> Result<Tensor> \
         {\n    ops::softmax(x, D::Minus1)\n}\n",
        "use candle_core::{Result, Tensor};\nuse wick::part;\n\n#[part]\npub fn f(x: &Tensor) -> \
         Result<Tensor> {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn nested_imports_are_laid_out_anew() {
    check(
        "use std::{\n    collections::BTreeMap,\n    fmt::{self, Write},\n    \
         io,\n};\n\n#[part(plan = \"two words\")]\npub fn f(map: BTreeMap<u8, u8>, out: &mut dyn \
         Write) -> io::Result<()> {\n    fmt::format(map)\n}\n",
        "use std::{collections::BTreeMap, fmt::Write, io};\n\n#[part]\npub fn f(map: BTreeMap<u8, \
         u8>, out: &mut dyn Write) -> io::Result<()> {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn long_imports_fill_lines() {
    check(
        "use candle_core::{\n    A0123456789, B0123456789, C0123456789, D0123456789, E0123456789, \
         F0123456789, G01234567,\n    Unused,\n};\n\n#[part(plan = \"two words\")]\npub fn f(\n    \
         a: A0123456789,\n    b: B0123456789,\n    c: C0123456789,\n    d: D0123456789,\n    e: \
         E0123456789,\n    f: F0123456789,\n    g: G01234567,\n) {\n    Unused::f()\n}\n",
        "use candle_core::{\n    A0123456789, B0123456789, C0123456789, D0123456789, E0123456789, \
         F0123456789, G01234567,\n};\n\n#[part]\npub fn f(\n    a: A0123456789,\n    b: \
         B0123456789,\n    c: C0123456789,\n    d: D0123456789,\n    e: E0123456789,\n    f: \
         F0123456789,\n    g: G01234567,\n) {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn locals_do_not_keep_items_of_the_same_name() {
    check(
        "fn scores() -> f64 {\n    1.0\n}\n\n// given\nfn shown() -> f64 {\n    let scores = \
         2.0;\n    scores\n}\n\n#[part(plan = \"two words\")]\npub fn f(scores: f64) -> f64 {\n    \
         self::scores()\n}\n",
        "// given\nfn shown() -> f64 {\n    let scores = 2.0;\n    scores\n}\n\n#[part]\npub fn \
         f(scores: f64) -> f64 {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn unnamed_imports_stay_with_code() {
    check(
        "use std::fmt::Write as _;\n\n// given\npub fn f(out: &mut String) {\n    let _ = \
         write!(out, \"a\");\n}\n",
        "use std::fmt::Write as _;\n\n// given\npub fn f(out: &mut String) {\n    let _ = \
         write!(out, \"a\");\n}\n",
    );
    check(
        "use std::fmt::Write as _;\n\n#[part(plan = \"two words\")]\npub fn f(out: &mut String) \
         {\n    let _ = write!(out, \"a\");\n}\n",
        "#[part]\npub fn f(out: &mut String) {\n    todo!(\"two words\")\n}\n",
    );
}

#[test]
fn modules_stay_only_with_something_in_them() {
    check(
        "mod gone {\n    fn f() {}\n}\n\nmod kept {\n    use std::fmt;\n\n    #[part(plan = \"two \
         words\")]\n    pub fn f() -> u8 {\n        super::g()\n    }\n\n    fn g(_: &dyn \
         fmt::Debug) {}\n}\n",
        "mod kept {\n    #[part]\n    pub fn f() -> u8 {\n        todo!(\"two words\")\n    \
         }\n}\n",
    );
}

#[test]
fn names_in_format_strings_count() {
    check(
        "const NAME: &str = \"n\";\n\n// given\npub fn f() -> String {\n    format!(\"{NAME:>4}\
         \")\n}\n",
        "const NAME: &str = \"n\";\n\n// given\npub fn f() -> String {\n    format!(\"{NAME:>4}\
         \")\n}\n",
    );
}

#[test]
fn multibyte_text_keeps_positions() {
    check(
        "//! Größe √d → ∞.\n\n/// Teilt durch √d — 日本.\n#[part(plan = \"two \
         words\")]\npub fn f() -> &'static str {\n    \"日本\"\n}\n\n/// Nach `f`: √.\npub const \
         Z: &str = \"é\";\n",
        "//! Größe √d → ∞.\n\n/// Teilt durch √d — 日本.\n#[part]\npub fn f() -> &'static str \
         {\n    todo!(\"two words\")\n}\n\n/// Nach `f`: √.\npub const Z: &str = \"é\";\n",
    );
}

#[test]
fn files_of_one_exercise_see_each_other() {
    let lib =
        source("mod rope;\n\nuse crate::rope::turn;\n\n// given\npub fn f() {\n    turn();\n}\n");
    let rope = source("pub(crate) fn turn() {}\n\nfn gone() {}\n");
    let stubs = derive(&[lib.clone(), rope]).unwrap();
    assert_eq!(stubs, [lib.text, "pub(crate) fn turn() {}\n".to_owned()]);
}

/// A part to mend, its broken version, and what only one of the two needs.
const BUGGY: &str = "use std::{cmp, fmt, io};\n\n/// Scales it down.\n#[part(bug = \
                     \"not_scaled\")]\npub fn f(x: f64, out: &mut dyn fmt::Write) -> f64 {\n    \
                     io::sink();\n    x / right(4.0)\n}\n\n/// Forgets the root.\nfn \
                     not_scaled(x: f64, out: &mut dyn fmt::Write) -> f64 {\n    // One step \
                     after the other.\n    let low = cmp::min(1, 2);\n    \
                     shared(x)\n}\n\nfn right(x: f64) -> f64 {\n    x.sqrt()\n}\n\nfn \
                     shared(x: f64) -> f64 {\n    x\n}\n";

#[test]
fn a_bug_is_shown_in_place_of_the_body_and_not_named() {
    check(
        BUGGY,
        "use std::{cmp, fmt};\n\n/// Scales it down.\n#[part]\npub fn f(x: f64, out: &mut dyn \
         fmt::Write) -> f64 {\n    // One step after the other.\n    let low = cmp::min(1, \
         2);\n    shared(x)\n}\n\nfn shared(x: f64) -> f64 {\n    x\n}\n",
    );
}

#[test]
fn a_bug_keeps_unnamed_imports_and_its_module() {
    check(
        "mod inner {\n    use std::fmt::Write as _;\n\n    #[part(bug = \"late\", cost = \
         1)]\n    pub fn f(out: &mut String) {}\n\n    fn late(out: &mut String) {\n        let \
         _ = write!(out, \"a\");\n    }\n}\n",
        "mod inner {\n    use std::fmt::Write as _;\n\n    #[part(cost = 1)]\n    pub fn f(out: \
         &mut String) {\n        let _ = write!(out, \"a\");\n    }\n}\n",
    );
}

#[test]
fn bugs_that_cannot_be_shown_are_refused() {
    let bug = |line, wrong: &str, right: &str, says| {
        check_fault(&BUGGY.replace(wrong, right), line, says);
    };
    bug(4, "fn not_scaled(", "fn other(", "no function `not_scaled` beside this part");
    bug(11, "fn not_scaled(x: f64", "fn not_scaled(y: f64", "other parameters");
    bug(11, "fn not_scaled(", "pub fn not_scaled(", "is private and no part");
    bug(4, "bug = ", "plan = \"two words\", bug = ", "give `plan` or `bug`");
    bug(4, "    shared(x)", "    not_scaled(x, out)", "whose name tells them the mistake");
}

#[test]
fn given_methods_stay_with_their_mark() {
    check(
        "/// Holds.\npub struct Cache;\n\nimpl Cache {\n    // given: you will need it\n    fn \
         len(&self) -> usize {\n        0\n    }\n\n    fn gone(&self) {}\n}\n\n// given: the \
         slopes\nconst SLOPES: [f64; 2] = [0.5, 0.25];\n",
        "/// Holds.\npub struct Cache;\n\nimpl Cache {\n    // given: you will need it\n    fn \
         len(&self) -> usize {\n        0\n    }\n}\n\n// given: the slopes\nconst SLOPES: \
         [f64; 2] = [0.5, 0.25];\n",
    );
}

#[test]
fn an_import_of_another_file_keeps_none_here() {
    let using = source("use a::B;\n\n// given\npub fn f(_: B) {}\n");
    let pruned =
        source("use a::B;\n\n#[part(plan = \"two words\")]\npub fn g() {\n    drop(B);\n}\n");
    let stubs = derive(&[using.clone(), pruned]).unwrap();
    let stub = "#[part]\npub fn g() {\n    todo!(\"two words\")\n}\n".to_owned();
    assert_eq!(stubs, [using.text, stub]);
}

#[test]
fn faults_name_the_line_and_the_mend() {
    check_fault("\n#[part]\npub fn f() {}\n", 2, "has no plan");
    check_fault("#[part(plan = \"one\")]\npub fn f() {}\n", 1, "two to six");
    check_fault("\n\npub fn f() {}\n", 3, "// given");
    check_fault("fn f( {}\n", 1, "not Rust");
    check_fault(
        "// given\n#[part(plan = \"a b\")]\npub fn f() {}\n",
        2,
        "what is given has no plan",
    );
    check_fault("impl A {\n    #[part]\n    fn f() {}\n}\n", 3, "free function");
}
