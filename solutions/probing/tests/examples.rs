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
