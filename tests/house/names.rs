//! Tests that the names of files and folders say what is in them.

use std::path::Path;

use crate::{
    assert_none,
    tree::{files, root},
};

/// Words that say nothing about the content of a file.
const EMPTY_WORDS: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

#[test]
fn files_are_named_after_their_concept() {
    let mut problems = Vec::new();
    for path in files("src", "rs") {
        let stem = path.trim_end_matches(".rs");
        let (folder, name) = stem.rsplit_once('/').expect("a folder");
        if EMPTY_WORDS.contains(&name) {
            problems.push(format!("{path}: name the concept that the file holds"));
        }
        let outer = folder.rsplit('/').next().unwrap_or_default();
        let mut words = name.split('_');
        if words.any(|word| word == outer) {
            problems.push(format!("{path}: do not repeat the name of the folder"));
        }
        if root().join(stem).is_dir() {
            problems.push(format!("{path}: move it to {stem}/mod.rs"));
        }
        let module = Path::new(folder).join("mod.rs");
        if folder.starts_with("src/") && !root().join(module).exists() {
            problems.push(format!("{folder}: the folder has no mod.rs"));
        }
    }
    assert_none(&problems, "See \"Code\" in CONTRIBUTING.md.");
}
