//! Tests that comments are in plain English. As a rough measure, the test counts expressions that often have to be read
//! twice.

use crate::{
    assert_none,
    source::{Comment, Source},
    tree,
};

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

/// Returns the doc comments that begin with a word of `OPENINGS`, each with its line.
fn openings(comments: &[Comment<'_>]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut before = (0, "");
    for comment in comments {
        let Some((slashes, text)) = comment.text.split_at_checked(3) else {
            continue;
        };
        let goes_on = before == (comment.line - 1, slashes);
        before = (comment.line, slashes);
        if goes_on || !matches!(slashes, "///" | "//!") {
            continue;
        }
        let text = text.trim_start().to_lowercase();
        let opens = |opening: &&&str| {
            let rest = text.strip_prefix(**opening);
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        if let Some(opening) = OPENINGS.iter().find(opens) {
            found.push((comment.line, format!("opens with {opening:?}")));
        }
    }
    found
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
