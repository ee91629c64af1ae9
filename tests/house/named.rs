//! Tests that each test and each file that a document names exists.

use std::path::Path;

use crate::{
    assert_none,
    markdown::{code_spans, prose},
    source::{Source, matching, sources},
    tree::{documents, files, read, root},
};

/// Documents about the past. The tests and files that they name need not exist any more.
const HISTORY: &[&str] = &["CHANGELOG.md"];

/// Folders of the repository. A document that names a file in them gives the whole path of the file.
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
                // A document may give only the end of the path of a source file if readers know the folder from the
                // context.
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

/// Tests have one of these forms in docs/invariants.md: `module::…::test`, `tests/file.rs::test`, or `module::tests`
/// for all tests of a module.
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
        // `…::test` in the document means a test in the same module as the test before it.
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

/// Checks each `Type::method` in a document about the code. Instead of the method, the document may name a field, a
/// variant or a constant of the type.
#[test]
fn every_method_that_a_document_names_exists() {
    let sources: Vec<String> = sources().iter().map(Source::code_without_tests).collect();
    let (mut seen, mut gone) = (0, Vec::new());
    for document in ["docs/invariants.md", "docs/ARCHITECTURE.md"] {
        let text = prose(&read(document));
        for span in code_spans(&text) {
            let Some((owner, member)) = span.split_once("::") else {
                continue;
            };
            let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let is_type = owner.starts_with(|c: char| c.is_ascii_uppercase()) && is_name(owner);
            if !is_type || !is_name(member) {
                continue;
            }
            seen += 1;
            if !sources.iter().any(|code| has_member(code, owner, member)) {
                gone.push(format!("{document}: {span}"));
            }
        }
    }
    assert_none(
        &gone,
        "There are no such methods: name the type and the method that do this now.",
    );
    assert!(seen > 40, "only {seen} methods were found");
}

/// Returns whether `code` declares `member` in the declaration of the type `owner` or in one of its `impl` blocks.
fn has_member(code: &str, owner: &str, member: &str) -> bool {
    let keywords = ["impl", "struct", "enum", "trait"];
    let starts = keywords
        .iter()
        .flat_map(|keyword| code.match_indices(keyword));
    let mut bodies = starts.filter_map(|(start, keyword)| {
        let rest = &code[start..];
        let open = rest.find(['{', ';'])?;
        let is_word = !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_item = is_word && rest[open..].starts_with('{');
        (is_item && owner_of(&rest[keyword.len()..open]) == owner).then(|| {
            let body = &rest[open + 1..];
            &body[..matching(body, '{', '}')]
        })
    });
    bodies.any(|body| {
        let words = |(at, _): (usize, &str)| {
            let (before, after) = (&body[..at], &body[at + member.len()..]);
            let is_declared = ["fn ", "const "].iter().any(|it| before.ends_with(it));
            // Fields and variants are the first word of their line.
            let line = before.rsplit('\n').next().unwrap_or_default().trim();
            let is_first = line.is_empty() || line.starts_with("pub");
            let is_field = is_first && after.starts_with([':', ',', '(', ' ']);
            (is_declared || is_field)
                && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        };
        body.match_indices(member).any(words)
    })
}

/// Returns the name of the type that an `impl` block belongs to. `head` is the text after `impl`, such as `<T: Display>
/// fmt::Display for Queue<T>`, which gives `Queue`.
fn owner_of(head: &str) -> &str {
    let head = head.split(" where").next().unwrap_or_default();
    let head = match head.rsplit_once(" for ") {
        Some((_, owner)) => owner,
        None if head.starts_with('<') => {
            let generics = &head[1..];
            &generics[matching(&generics.replace("->", "  "), '<', '>')..]
        }
        None => head,
    };
    let owner = head.split(['<', ':', '\n']);
    let mut owner = owner.map(str::trim).filter(|it| !it.is_empty());
    owner.next().unwrap_or_default()
}

#[test]
fn members_are_found_in_their_own_type_only() {
    let code = "
struct State<T> {
    pub(crate) count: u64,
}
enum Kind {
    First(u8),
}
impl<F: Fn() -> u64> State<F> {
    const LIMIT: u64 = 1;
    fn push(&self) {}
}
impl fmt::Display for Kind {
    fn fmt(&self) { self.push() }
}
";
    for (owner, member) in [
        ("State", "count"),
        ("State", "push"),
        ("State", "LIMIT"),
        ("Kind", "First"),
        ("Kind", "fmt"),
    ] {
        assert!(has_member(code, owner, member), "{owner}::{member}");
    }
    for (owner, member) in [("Kind", "push"), ("State", "fmt"), ("State", "pus")] {
        assert!(!has_member(code, owner, member), "{owner}::{member}");
    }
}
