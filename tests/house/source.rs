//! Rust source text, divided into code, comments and literals. Also says which parts of the code
//! are only for tests.

use std::{collections::BTreeSet, ops::Range, sync::LazyLock};

use crate::tree;

/// A Rust source file.
pub(crate) struct Source {
    /// The path of the file from the root of the repository.
    pub(crate) path: String,
    /// The unchanged text of the file.
    pub(crate) text: String,
    /// The text of the file, in which all bytes of comments and of the content of literals are
    /// replaced by blanks.
    pub(crate) code: String,
    /// The byte ranges of the items that are compiled only for tests.
    tests: Vec<Range<usize>>,
    comments: Vec<Range<usize>>,
}

/// A line that contains only a comment.
pub(crate) struct Comment<'a> {
    pub(crate) line: usize,
    /// The text of the line, including its slashes.
    pub(crate) text: &'a str,
}

/// Returns the source files below `src`, without the files that contain only tests.
pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(without_tests);
    &SOURCES
}

fn without_tests() -> Vec<Source> {
    let all: Vec<Source> = tree::files("src", "rs")
        .into_iter()
        .map(|path| Source::new(tree::read(&path), path))
        .collect();
    let tests: BTreeSet<String> = all.iter().flat_map(Source::test_modules).collect();
    let is_test = |path: &str| {
        let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let mut outer = module.match_indices('/').map(|(end, _)| &module[..end]);
        tests.contains(module) || outer.any(|outer| tests.contains(outer))
    };
    all.into_iter()
        .filter(|source| !is_test(&source.path))
        .collect()
}

// === impl Source ===

impl Source {
    pub(crate) fn new(text: String, path: String) -> Self {
        let (code, comments) = split(&text);
        let tests = test_items(&code);
        Self {
            path,
            text,
            code,
            tests,
            comments,
        }
    }

    /// Returns the file's module path as segments: `src/net/tls/mod.rs` is `net`, `tls`.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut segments: Vec<&str> = path.split('/').collect();
        if matches!(segments.last(), Some(&("mod" | "lib" | "main"))) {
            segments.pop();
        }
        segments
    }

    /// Returns the code, in which all bytes of test items are replaced by blanks.
    pub(crate) fn code_without_tests(&self) -> String {
        self.blank_tests(&self.code)
    }

    /// Returns the text including literals, in which all bytes of comments and test items are
    /// replaced by blanks.
    pub(crate) fn text_without_tests(&self) -> String {
        let mut text = self.blank_tests(&self.text).into_bytes();
        for range in &self.comments {
            blank(&mut text[range.clone()]);
        }
        String::from_utf8(text).expect("text stays text")
    }

    /// Counts the lines that do not belong to tests.
    pub(crate) fn lines_without_tests(&self) -> usize {
        let lines = |text: &str| text.lines().count();
        let tests = self
            .tests
            .iter()
            .map(|range| lines(&self.text[range.clone()]));
        lines(&self.text) - tests.sum::<usize>()
    }

    /// Returns the lines that contain only a comment, including those in tests.
    pub(crate) fn comments(&self) -> impl Iterator<Item = Comment<'_>> {
        self.comments.iter().flat_map(|range| {
            let start = line_start(&self.text, range.start);
            let first = self.line(start);
            let alone = self.text[start..range.start].trim().is_empty();
            let lines = (first..).zip(self.text[range.clone()].lines());
            lines.skip(usize::from(!alone)).map(|(line, text)| Comment {
                line,
                text: text.trim(),
            })
        })
    }

    /// Returns the number of the line that contains the byte at this offset.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    fn blank_tests(&self, text: &str) -> String {
        let mut text = text.as_bytes().to_owned();
        for range in &self.tests {
            blank(&mut text[range.clone()]);
        }
        String::from_utf8(text).expect("text stays text")
    }

    /// Returns the paths of the modules that this file declares only for tests. The paths have no
    /// extension.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/').expect("a folder") {
            (folder, "mod.rs" | "lib.rs" | "main.rs") => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let declared = self.tests.iter().filter_map(|range| {
            let item = self.code[range.clone()].trim_end().strip_suffix(';')?;
            let (before, name) = item.rsplit_once("mod ")?;
            (!before.contains('{')).then(|| format!("{folder}/{}", name.trim()))
        });
        declared.collect()
    }
}

/// Returns `text` with comments and literals replaced by blanks, and the byte ranges of the
/// comments.
fn split(text: &str) -> (String, Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_owned();
    let mut comments = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            at + rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal(rest, bytes[..at].last().copied()) {
            // Keeps the quotes of the literal, so that a call with a string as its argument still
            // looks like such a call.
            blank(&mut code[at + 1..at + length - 1]);
            at += length;
            continue;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        blank(&mut code[at..end]);
        comments.push(at..end);
        at = end;
    }
    (String::from_utf8(code).expect("text stays text"), comments)
}

/// Returns the length of the literal at the start of `rest`. The literal may be a string, a raw
/// string or a character.
fn literal(rest: &str, before: Option<u8>) -> Option<usize> {
    let in_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    if let Some(text) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = text.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return Some(end.map_or(rest.len(), |end| end + 2));
    }
    if let Some(raw) = rest
        .strip_prefix('r')
        .filter(|_| !in_word || before == Some(b'b'))
    {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            let end = rest[body..].find(&close);
            return Some(end.map_or(rest.len(), |end| body + end + close.len()));
        }
    }
    let quoted = rest.strip_prefix('\'')?;
    if quoted.starts_with('\\') {
        return quoted[2..].find('\'').map(|end| end + 4);
    }
    // A character literal has its closing quote after one character. Any other quote belongs to a
    // lifetime.
    let length = quoted.chars().next()?.len_utf8();
    quoted[length..].starts_with('\'').then_some(length + 2)
}

/// Returns the byte ranges of the items that are compiled only for tests, including their
/// attributes.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for (start, opening) in code.match_indices("#[cfg(") {
        if items.last().is_some_and(|item| start < item.end) {
            continue;
        }
        let inside = &code[start + opening.len()..];
        if !inside.starts_with("test)") && !inside.starts_with("all(test,") {
            continue;
        }
        let mut end = start + "#[".len();
        end += matching(&code[end..], '[', ']');
        // Skips further attributes of the item, such as `#[path]`.
        while let Some(next) = code[end..].trim_start().strip_prefix("#[") {
            let next = code.len() - next.len();
            end = next + matching(&code[next..], '[', ']');
        }
        let rest = &code[end..];
        let item = match rest.find(['{', ';']) {
            Some(open) if rest[open..].starts_with('{') => {
                let body = open + 1;
                let close = body + matching(&rest[body..], '{', '}');
                // A `use` with braces ends at the semicolon after the braces.
                close + usize::from(rest[close..].starts_with(';'))
            }
            Some(semicolon) => semicolon + 1,
            None => rest.len(),
        };
        items.push(start..end + item);
    }
    items
}

/// Returns the length of `text` up to and including the closing bracket that matches the opening
/// bracket before `text`.
pub(crate) fn matching(text: &str, open: char, close: char) -> usize {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return at + c.len_utf8();
            }
        }
    }
    text.len()
}

/// Returns the offset at which the line begins that contains the byte at `at`.
pub(crate) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

#[test]
fn code_comments_literals_and_tests_are_distinguished() {
    let text = r##"
//! Front.
fn f<'a>(x: &'a str) -> char { // why
    let _ = ("{ // no comment", r#"{ "raw" "#, b"\"{", '{', '\'', b'{');
    'x'
}
#[cfg(test)]
use {a::b, c};
/* a block
   of two lines */
#[cfg(test)]
#[path = "elsewhere.rs"]
mod tests;
#[cfg(all(test, feature = "tls"))]
use d;
mod kept;
#[cfg(test)]
mod tests {
    fn g() {}
}
"##;
    let source = Source::new(text.to_owned(), "src/a/b.rs".to_owned());
    assert_eq!(source.code.len(), text.len());
    assert_eq!(source.code.matches('{').count(), 4);
    let code = source.code_without_tests();
    let words: Vec<&str> = code.split_whitespace().collect();
    let code = words.join(" ");
    assert!(code.ends_with("' ' } mod kept;"), "{code}");
    let comments: Vec<(usize, &str)> = source.comments().map(|c| (c.line, c.text)).collect();
    let expected = [
        (2, "//! Front."),
        (9, "/* a block"),
        (10, "of two lines */"),
    ];
    assert_eq!(comments, expected);
    assert_eq!(source.test_modules(), ["src/a/b/tests"]);
    assert_eq!(source.module(), ["a", "b"]);
    assert_eq!(source.lines_without_tests(), 9);
}
