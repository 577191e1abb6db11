//! The examples of the exercise, run with right parts.

// What a learner's file calls `probing`.
extern crate probing_solution as probing;

#[path = "../../../exercises/probing/examples/look.rs"]
#[expect(dead_code, reason = "it has a `main`")]
mod look;
#[path = "../../../exercises/probing/examples/othello.rs"]
#[expect(dead_code, reason = "it has a `main`")]
mod othello;

#[test]
fn pages_are_drawn_of_trained_models() {
    let patterns = look::patterns().unwrap();
    assert!(patterns.contains("block 1, head 1"), "every head is there");
    let (lens, patching) = (look::lens().unwrap(), look::patch().unwrap());
    for page in [patterns, lens, patching] {
        assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"));
    }
}

#[test]
fn pages_are_drawn_of_a_model_that_somebody_trained() {
    let file = datasets::folder().join("models/bpe_gpt.safetensors");
    let pages = look::own(&file).unwrap();
    assert_eq!(
        pages.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["own-patterns", "own-lens"]
    );
    let missing = look::own("no such file".as_ref()).unwrap_err();
    assert!(missing.to_string().contains("no such file cannot be read"), "{missing}");
}
