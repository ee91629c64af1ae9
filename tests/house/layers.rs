//! Tests that each folder of `src` depends only on folders that are lower in the documented order.

use std::collections::BTreeSet;

use crate::{
    assert_none,
    source::{Source, matching, sources},
    tables::section,
    tree::read,
};

/// The folders of `src` in rows, from top to bottom. Code in a folder must use only folders in lower rows, and no other
/// folder in the same row.
type Layers = Vec<Vec<String>>;

/// Dependencies between two folders that are allowed although they do not point to a lower row, each with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "router",
    "config",
    "the bounds of a queue are an option, and one type serves both",
)];

/// A path in the code of one folder that names another folder.
struct Arrow {
    to: String,
    /// The offset of the path in the source file, in bytes.
    at: usize,
}

#[test]
fn dependencies_point_down() {
    let layers = layers();
    let mut broken = Vec::new();
    let mut used = BTreeSet::new();
    let mut seen = 0;
    for source in sources() {
        let Some(&from) = source.module().first() else {
            continue;
        };
        for Arrow { to, at } in arrows(source) {
            seen += 1;
            if from == to || layer(&layers, from) < layer(&layers, &to) {
                continue;
            }
            if EXCEPTIONS.iter().any(|(a, b, _)| (*a, *b) == (from, &*to)) {
                used.insert((from.to_owned(), to));
                continue;
            }
            let place = format!("{}:{}", source.path, source.line(at));
            broken.push(format!("{place}: `{from}` uses `{to}`"));
        }
    }
    assert_none(
        &broken,
        "Dependencies must point down, see the code map in docs/ARCHITECTURE.md.\n\
         Move what is shared to the lower folder, or pass it in from above.",
    );
    for (from, to, reason) in EXCEPTIONS {
        assert!(
            used.contains(&((*from).to_owned(), (*to).to_owned())),
            "`{from}` no longer uses `{to}` ({reason}): remove the exception from tests/house/layers.rs"
        );
    }
    assert!(seen > 100, "only {seen} paths were found");
}

#[test]
fn every_folder_has_a_layer() {
    let declared: BTreeSet<String> = sources()
        .iter()
        .filter_map(|source| source.module().first().map(|name| (*name).to_owned()))
        .collect();
    let layered: BTreeSet<String> = layers().into_iter().flatten().collect();
    let without: Vec<String> = declared.difference(&layered).cloned().collect();
    assert_none(
        &without,
        "Give these folders of src a place in the order of docs/ARCHITECTURE.md.",
    );
    let gone: Vec<String> = layered.difference(&declared).cloned().collect();
    assert_none(
        &gone,
        "Remove these folders from the order of docs/ARCHITECTURE.md: src has none of them.",
    );
}

/// Returns the order of the folders. It is a line in the section "Code map" of docs/ARCHITECTURE.md, with the form `a →
/// {b, c} → d`.
fn layers() -> Layers {
    let map = read("docs/ARCHITECTURE.md");
    let map = section(&map, "## Code map");
    let line = map
        .lines()
        .find(|line| line.starts_with("    ") && line.contains(" → "));
    let line = line.expect("the code map of docs/ARCHITECTURE.md has the order of the folders");
    let rows = line.trim().split(" → ");
    let folders = |row: &str| {
        let row = row.trim_matches(['{', '}']);
        row.split(", ").map(str::to_owned).collect()
    };
    rows.map(folders).collect()
}

fn layer(layers: &Layers, folder: &str) -> usize {
    let place = layers
        .iter()
        .position(|row| row.iter().any(|it| it == folder));
    place.unwrap_or_else(|| panic!("give `{folder}` a place in the order of docs/ARCHITECTURE.md"))
}

/// Returns every path in the source file that starts at the root of the crate and names a folder there.
fn arrows(source: &Source) -> Vec<Arrow> {
    let code = source.code_without_tests();
    let depth = source.module().len();
    let mut arrows = Vec::new();
    for head in ["crate", "super"] {
        for (at, _) in code.match_indices(head) {
            let before = code[..at].trim_end();
            let inside_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if inside_word || before.ends_with("::") {
                continue;
            }
            let mut found = Vec::new();
            paths(&code[at..], at, &mut Vec::new(), &mut found);
            arrows.extend(found.into_iter().filter_map(|(path, at)| {
                let up = path
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                let inner = match path.first().map(String::as_str) {
                    Some("crate") => &path[1..],
                    Some("super") if up >= depth => &path[up..],
                    _ => return None,
                };
                Some(Arrow {
                    to: inner.first()?.clone(),
                    at,
                })
            }));
        }
    }
    arrows
}

/// Reads a `use` tree or a single path at the start of `code`. Adds each path in it to `found`, with its offset.
/// Returns the length of the tree or path.
fn paths(
    code: &str,
    place: usize,
    prefix: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let depth = prefix.len();
    let start = code.len() - code.trim_start().len();
    let mut at = 0;
    loop {
        let rest = &code[at..];
        at += rest.len() - rest.trim_start().len();
        let rest = &code[at..];
        let word = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        if let Some(group) = rest.strip_prefix('{') {
            let end = at + 1 + matching(group, '{', '}');
            let mut inner = at + 1;
            while inner < end - 1 {
                inner += paths(&code[inner..end - 1], place + inner, prefix, found);
                // Continues after the next comma. Between a path and the comma, there may be other text.
                inner += code[inner..end - 1]
                    .find(',')
                    .map_or(end, |comma| comma + 1);
            }
            prefix.truncate(depth);
            return end;
        }
        if word > 0 {
            prefix.push(rest[..word].to_owned());
            at += word;
        }
        let next = code[at..].trim_start();
        if word == 0 || !next.starts_with("::") {
            found.push((prefix.clone(), place + start));
            prefix.truncate(depth);
            return at;
        }
        at = code.len() - next.len() + 2;
    }
}

#[test]
fn paths_are_found_anywhere_in_the_code() {
    let text = "
use crate::{
    net::{Stream, tls},
    router::Queue,
};
use super::super::{near, super::sink::Sink};
pub(crate) fn f(x: crate::memory::Budget) { super::super::super::cli::run::<u8>(x); super::near() }
pub(in crate::net) struct S;
";
    let source = Source::new(text.to_owned(), "src/net/tls/key.rs".to_owned());
    let mut found: Vec<String> = arrows(&source)
        .into_iter()
        .map(|arrow| format!("{} {}", source.line(arrow.at), arrow.to))
        .collect();
    found.sort();
    let expected = [
        "3 net", "3 net", "4 router", "6 sink", "7 cli", "7 memory", "8 net",
    ];
    assert_eq!(found, expected);
}
