//! Tests and files that a document names exist.

use std::path::Path;

use crate::{
    assert_none,
    markdown::{code_spans, prose},
    source::Source,
    tree::{documents, files, read, root},
};

/// Documents about the past. The tests and files that they name may no longer exist.
const HISTORY: &[&str] = &["CHANGELOG.md"];

/// Folders of the repository that documents name with their path.
const FOLDERS: &[&str] = &[
    "src/",
    "tests/",
    "docs/",
    "deploy/",
    "benches/",
    "examples/",
    "fuzz/",
    "proto/",
    ".ci/",
];

#[test]
fn every_file_that_a_document_names_exists() {
    let sources = [
        files("src", "rs"),
        files("src", "js"),
        files("tests", "rs"),
        files("examples", "rs"),
    ]
    .concat();
    let (mut seen, mut gone) = (0, Vec::new());
    for document in documents() {
        if HISTORY.contains(&&*document) {
            continue;
        }
        let text = prose(&read(&document));
        for span in code_spans(&text) {
            let path = span.split("::").next().unwrap_or_default();
            let is_path = !path.contains([' ', '*', '…', '{', '$']);
            if is_path && FOLDERS.iter().any(|folder| path.starts_with(folder)) {
                seen += 1;
                if !root().join(path).exists() {
                    gone.push(format!("{document}: {path}"));
                }
            } else if is_path && Path::new(path).extension().is_some_and(|it| it == "rs") {
                // A document may name only the end of a path if the folder is clear.
                seen += 1;
                let end = format!("/{path}");
                if !sources.iter().any(|source| source.ends_with(&end)) {
                    gone.push(format!("{document}: {path}"));
                }
            }
        }
    }
    assert_none(
        &gone,
        "There are no such files: correct their names in these documents.",
    );
    assert!(seen > 50, "only {seen} files were found");
}

/// `module::…::test` and `tests/file.rs::test`; `module::tests` is all tests of a module.
#[test]
fn every_test_that_guards_an_invariant_exists() {
    let sources: Vec<Source> = [files("src", "rs"), files("tests", "rs")]
        .concat()
        .into_iter()
        .map(|path| Source::new(read(&path), path))
        .collect();
    let text = prose(&read("docs/invariants.md"));
    let mut folder = "";
    let (mut seen, mut gone) = (0, Vec::new());
    for span in code_spans(&text) {
        let Some((module, name)) = span.rsplit_once("::") else {
            continue;
        };
        if !(module.contains("test") || module.ends_with('…') || name == "tests") {
            continue;
        }
        seen += 1;
        // `…::test` is in the same module as the test before it.
        if module != "…" {
            folder = module;
        }
        let first = folder.split("::").next().unwrap_or_default();
        let is_there = |source: &&Source| {
            source.path == first || source.path.starts_with(&format!("src/{first}/"))
        };
        let mut places = sources.iter().filter(is_there);
        let exists = if name == "tests" {
            let file = format!("src/{}", folder.replace("::", "/"));
            places.any(|source| {
                source.path == format!("{file}.rs") || source.path.starts_with(&format!("{file}/"))
            })
        } else {
            places.any(|source| source.code.contains(&format!("fn {name}(")))
        };
        if !exists {
            gone.push(format!("{span} (in {folder})"));
        }
    }
    assert_none(
        &gone,
        "There are no such tests: name the tests that guard these invariants now in docs/invariants.md.",
    );
    assert!(seen > 60, "only {seen} tests were found");
}
