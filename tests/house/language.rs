//! Tests that comments are in plain English. As a rough measure, one test counts expressions that often have to be read
//! twice. Another test looks at the first word of a function's documentation.

use crate::{
    assert_none,
    source::{Comment, Source, matching},
    tree,
};

/// Words that end like a verb in the third person, but with which a noun phrase begins.
const NOUNS: &[&str] = &[
    "addresses",
    "aliases",
    "arguments",
    "bytes",
    "counters",
    "entries",
    "errors",
    "facts",
    "fields",
    "files",
    "frames",
    "its",
    "labels",
    "lines",
    "messages",
    "numbers",
    "options",
    "parts",
    "rows",
    "rules",
    "servers",
    "settings",
    "sinks",
    "texts",
    "this",
    "times",
    "values",
    "words",
];

/// The largest number of unwanted expressions that is allowed in a thousand comment lines.
const ALLOWED: usize = 5;

/// Expressions that are archaic or that hide the subject of a sentence. `there is no …` and `is no longer` are plain
/// English and do not count.
const TURNS: &[&str] = &[
    "whoever",
    "whom",
    "told",
    "anew",
    "aught",
    "nobody",
    "is no",
    "are no",
    "by when",
    "since when",
    "at its end",
];

/// Verbs after `who` that make the two words an unwanted expression, because a clause such as "who takes both" often
/// has no noun as its subject.
const DOINGS: &[&str] = &[
    "asks", "calls", "comes", "does", "gets", "gives", "goes", "has", "is", "knows", "looks",
    "makes", "owns", "reads", "sends", "takes", "uses", "waits", "wants", "was", "writes",
];

/// Words with which a doc comment must not begin, because it should begin with a noun or a verb.
const OPENINGS: &[&str] = &[
    "what",
    "how",
    "when",
    "whether",
    "who",
    "by when",
    "since when",
];

#[test]
fn the_comments_of_the_sources_are_plain() {
    check(&["src"]);
}

#[test]
fn the_comments_of_the_tests_are_plain() {
    check(&["tests", "benches", "examples", "fuzz/fuzz_targets"]);
}

fn check(folders: &[&str]) {
    let (mut lines, mut odd) = (0, Vec::new());
    for path in folders.iter().flat_map(|folder| tree::files(folder, "rs")) {
        // Skips this file, because it contains the words that it looks for.
        if path == file!() {
            continue;
        }
        let source = Source::new(tree::read(&path), path);
        let comments: Vec<Comment<'_>> = source.comments().collect();
        lines += comments.len();
        for (line, turn) in turns(&comments) {
            let text = source.text.lines().nth(line - 1).unwrap_or_default();
            odd.push(format!("{}:{line}: {turn}: {}", source.path, text.trim()));
        }
    }
    if odd.len() * 1000 >= lines * ALLOWED {
        let advice = format!(
            "These are {} odd turns in {lines} comment lines of {folders:?}: at most {ALLOWED} in a thousand.\n\
             Name the subject, and use the field's word; see \"Language\" in CONTRIBUTING.md.",
            odd.len()
        );
        assert_none(&odd, &advice);
    }
    assert!(lines > 500, "only {lines} comment lines were found");
}

/// Returns the unwanted expressions in the comments, each with its line. An expression may continue on the next line.
fn turns(comments: &[Comment<'_>]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut words: Vec<(usize, String)> = Vec::new();
    for comment in comments {
        let is_next = words
            .last()
            .is_none_or(|(line, _)| line + 1 == comment.line);
        if !is_next {
            // Code between two comments ends an expression.
            words.push((0, String::new()));
        }
        let text = comment.text.to_lowercase();
        let of_line = text
            .split(|c: char| !(c.is_alphanumeric() || c == '\''))
            .filter(|word| !word.is_empty())
            .map(|word| (comment.line, word.to_owned()));
        words.extend(of_line);
    }
    let starts = |at: usize, turn: &str| {
        let rest = words[at..].iter().map(|(_, word)| word.as_str());
        turn.split(' ').eq(rest.take(turn.split(' ').count()))
    };
    for (at, (line, word)) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", |(_, word)| word);
        let turn = TURNS.iter().find(|turn| starts(at, turn));
        let is_fine =
            next == "no" && (starts(at + 2, "longer") || at > 0 && starts(at - 1, "there"));
        if let Some(turn) = turn.filter(|_| !is_fine) {
            found.push((*line, (*turn).to_owned()));
        } else if word == "who" && DOINGS.contains(&next) {
            found.push((*line, format!("who {next}")));
        }
    }
    found.extend(openings(comments));
    found.sort();
    found
}

/// Returns the first line of each doc comment without its slashes, and the number of this line.
fn first_lines<'a>(comments: &[Comment<'a>]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut before = (0, "");
    for comment in comments {
        let Some((slashes, text)) = comment.text.split_at_checked(3) else {
            continue;
        };
        let goes_on = before == (comment.line - 1, slashes);
        before = (comment.line, slashes);
        if !goes_on && matches!(slashes, "///" | "//!") {
            found.push((comment.line, text.trim_start()));
        }
    }
    found
}

/// Returns the doc comments that begin with a word of `OPENINGS`, each with its line.
fn openings(comments: &[Comment<'_>]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in first_lines(comments) {
        let text = text.to_lowercase();
        let opens = |opening: &&&str| {
            let rest = text.strip_prefix(**opening);
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        if let Some(opening) = OPENINGS.iter().find(opens) {
            found.push((line, format!("opens with {opening:?}")));
        }
    }
    found
}

#[test]
fn the_documentation_of_a_function_begins_with_a_verb() {
    let folders = [
        "src",
        "tests",
        "benches",
        "examples",
        "fuzz/fuzz_targets",
        "fuzz/src",
    ];
    let (mut functions, mut odd) = (0, Vec::new());
    for path in folders.iter().flat_map(|folder| tree::files(folder, "rs")) {
        let source = Source::new(tree::read(&path), path);
        let documented = documented_functions(&source);
        functions += documented.len();
        let without_verb = documented
            .iter()
            .filter(|(_, text)| !begins_with_verb(text));
        odd.extend(without_verb.map(|(line, text)| format!("{}:{line}: {text}", source.path)));
    }
    assert_none(
        &odd,
        "Begin the documentation of a function with a verb in the third person, such as \"Returns\"; see \"Language\" \
         in CONTRIBUTING.md. Words that look like a verb but are a noun are in `NOUNS`.",
    );
    assert!(functions > 500, "only {functions} functions were found");
}

/// Returns the first line of the documentation of each function, with the number of this line. The documentation of a
/// test may be any sentence, so tests are left out.
fn documented_functions(source: &Source) -> Vec<(usize, &str)> {
    let comments: Vec<Comment<'_>> = source.comments().collect();
    let mut documented = first_lines(&comments);
    documented.retain(|(line, _)| {
        let before = source.code.split_inclusive('\n').take(line - 1);
        // The code contains blanks instead of the documentation.
        let mut item = source.code[before.map(str::len).sum()..].trim_start();
        let mut is_test = false;
        while let Some(attribute) = item.strip_prefix("#[") {
            let (attribute, rest) = attribute.split_at(matching(attribute, '[', ']'));
            let name = attribute.split(['(', ']', ' ']).next();
            is_test |= name.is_some_and(|name| name.rsplit("::").next() == Some("test"));
            item = rest.trim_start();
        }
        let is_qualifier =
            |word: &&str| word.starts_with("pub") || matches!(*word, "async" | "const");
        item.split_whitespace().find(|word| !is_qualifier(word)) == Some("fn") && !is_test
    });
    documented
}

/// Returns whether the text begins with a verb in the third person, or with `Like`.
fn begins_with_verb(text: &str) -> bool {
    let words = text.split(|c: char| c.is_whitespace() || ".,:;".contains(c));
    let mut words = words.filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_lowercase();
    let looks_like_verb = first.ends_with('s')
        && !first.ends_with("ss")
        && first.chars().all(|c| c.is_ascii_alphabetic())
        && !NOUNS.contains(&first.as_str());
    // "Queries of …" is a noun phrase, although "Queries" may be a verb.
    first == "like" || looks_like_verb && !matches!(words.next(), Some("of" | "whose"))
}

#[test]
fn functions_without_a_verb_are_found() {
    let text = "\
/// The number of frames.
pub(crate) fn a() {}
/// Returns the number of frames.
fn b() {}
/// Frames that were lost.
///
/// Returns them.
#[cfg(any(test, windows))]
#[must_use]
pub const fn c() {}
/// Like [`c`].
async fn d() {}
/// Queries of one client.
pub(super) fn e() {}
/// Connects, and waits.
fn f() {}
/// A test may be explained with any sentence.
#[tokio::test(start_paused = true)]
async fn g() {}
/// The largest number.
const H: usize = 1;
/// A struct.
struct I;
";
    let source = Source::new(text.to_owned(), "src/a.rs".to_owned());
    let documented = documented_functions(&source);
    let lines = documented.iter().map(|(line, _)| *line);
    assert_eq!(lines.collect::<Vec<_>>(), [1, 3, 5, 11, 13, 15]);
    let without_verb = documented
        .iter()
        .filter(|(_, text)| !begins_with_verb(text));
    let lines = without_verb.map(|(line, _)| *line);
    assert_eq!(lines.collect::<Vec<_>>(), [1, 5, 13]);
}

#[test]
fn odd_turns_are_found_over_line_ends_and_nowhere_else() {
    let text = "\
//! Whoever reads this. It is no longer odd, and
//! nothing is
//! no riddle. There is no doubt; a client who reads is plain enough, and who is
/// What it does.
/// What follows the first line is fine.
struct Whom;
// Tolds and unwhoms are other words. Who
fn is() {} // told in a line with code
";
    let source = Source::new(text.to_owned(), "src/a.rs".to_owned());
    let comments: Vec<Comment<'_>> = source.comments().collect();
    let found: Vec<(usize, String)> = turns(&comments);
    let found: Vec<String> = found
        .iter()
        .map(|(line, turn)| format!("{line} {turn}"))
        .collect();
    let expected = [
        "1 whoever",
        "2 is no",
        "3 who is",
        "3 who reads",
        "4 opens with \"what\"",
    ];
    assert_eq!(found, expected);
}
