//! Every part that a manifest promises has its checks, and no check is without its part.

use std::{fs, path::Path};

#[test]
fn manifests_and_suites_name_the_same_parts_in_the_same_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for suite in checks::SUITES {
        let file = root.join("exercises").join(suite.exercise).join("exercise.toml");
        let manifest: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
        let name = |part: &toml::Value| part["name"].as_str().unwrap().to_owned();
        let promised: Vec<String> = manifest["part"].as_array().unwrap().iter().map(name).collect();
        let judged: Vec<&str> = suite.parts.iter().map(|part| part.name).collect();
        assert_eq!(promised, judged, "exercises/{}/exercise.toml", suite.exercise);
    }
}
