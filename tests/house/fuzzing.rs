//! Tests that each fuzz target is built and has a corpus to start from.

use crate::{
    assert_none,
    tree::{files, read},
};

/// `fuzz/run` fails for a target without a corpus, but only after all other steps of the gate.
#[test]
fn each_fuzz_target_is_built_and_has_seeds() {
    let (manifest, seeds) = (read("fuzz/Cargo.toml"), read("fuzz/seeds.rs"));
    let mut problems = Vec::new();
    for path in files("fuzz/fuzz_targets", "rs") {
        let file = path.trim_start_matches("fuzz/");
        let target = file
            .trim_start_matches("fuzz_targets/")
            .trim_end_matches(".rs");
        if !manifest.contains(&format!("path = \"{file}\"")) {
            problems.push(format!("{path}: add a [[bin]] to fuzz/Cargo.toml"));
        }
        if !seeds.contains(&format!("Corpus::of(\"{target}\")")) {
            problems.push(format!("{path}: write its first inputs in fuzz/seeds.rs"));
        }
    }
    assert_none(&problems, "Without seeds, `fuzz/run` fails.");
}
