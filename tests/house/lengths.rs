//! Tests that files and functions are short.

use crate::{
    assert_none,
    source::{Source, line_start, matching, sources},
};

/// The largest number of lines that a file may have, without its tests.
const FILE: usize = 400;

/// The largest number of lines that a function may have, from `fn` to the closing brace.
const FUNCTION: usize = 60;

/// The beginning of a comment line that gives the reason why a file or a function is long. The line must be at the head
/// of the file or function.
const REASON: &str = "Long because ";

struct Long {
    place: String,
    lines: usize,
    limit: usize,
    reason: Option<String>,
}

#[test]
fn files_and_functions_are_short_or_give_a_reason() {
    let mut long = Vec::new();
    let mut functions = 0;
    for source in sources() {
        let lines = source.lines_without_tests();
        if lines > FILE {
            long.push(Long {
                place: source.path.clone(),
                lines,
                limit: FILE,
                reason: reason(head_of_file(&source.text)),
            });
        }
        for function in functions_of(source) {
            functions += 1;
            if function.lines > FUNCTION {
                long.push(Long {
                    place: format!("{}:{} fn {}", source.path, function.line, function.name),
                    lines: function.lines,
                    limit: FUNCTION,
                    reason: reason(function.head.iter().copied()),
                });
            }
        }
    }
    let mut unexplained = Vec::new();
    for Long {
        place,
        lines,
        limit,
        reason,
    } in long
    {
        match reason {
            Some(reason) => println!("{place}: {lines} lines, because {reason}"),
            None => unexplained.push(format!("{place}: {lines} lines, at most {limit}")),
        }
    }
    let advice =
        format!("Divide these by concept, or write a comment line `// {REASON}…` at their head.");
    assert_none(&unexplained, &advice);
    assert!(functions > 1000, "only {functions} functions were found");
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
    /// The comment lines right before the function, and the comment lines at the start of its body.
    head: Vec<&'a str>,
}

fn functions_of(source: &Source) -> Vec<Function<'_>> {
    let code = source.code_without_tests();
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name = &source.text[at + 3..];
        let length = name.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let name = &name[..length.unwrap_or_default()];
        let Some(open) = body(&code[at..]).map(|open| at + open) else {
            continue;
        };
        let end = open + 1 + matching(&code[open + 1..], '{', '}');
        let before = source.text[..line_start(&source.text, at)].lines().rev();
        let before = before
            .map(str::trim)
            .take_while(|line| line.starts_with("//") || line.starts_with("#["));
        let body = source.text[open + 1..end].lines().skip(1).map(str::trim);
        functions.push(Function {
            name,
            line: source.line(at),
            lines: source.text[at..end].lines().count(),
            head: before
                .chain(body.take_while(|line| line.starts_with("//")))
                .collect(),
        });
    }
    functions
}

/// Returns the offset of the opening brace of a function. Returns `None` if the function has no body.
fn body(function: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in function.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Returns the comment lines before the first code of a file.
fn head_of_file(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with("//"))
}

fn reason<'a>(mut head: impl Iterator<Item = &'a str>) -> Option<String> {
    head.find_map(|line| {
        let reason = line
            .trim_start_matches(['/', '!', ' '])
            .strip_prefix(REASON)?;
        (reason.len() > 10).then(|| reason.to_owned())
    })
}

#[test]
fn functions_are_measured_with_their_reasons() {
    let text = "
trait T { fn declared(&self); }
// Long because of a reason that is long enough.
#[inline]
pub(super) async fn one(x: fn(u8)) -> [u8; 2]
where
    X: Y,
{
    // Long because it is short.
    two
}
#[cfg(test)]
fn tested() {
}
";
    let source = Source::new(text.to_owned(), "src/a.rs".to_owned());
    let functions = functions_of(&source);
    let [one] = functions.as_slice() else {
        panic!("one function has a body and is not for tests");
    };
    assert_eq!((one.name, one.line, one.lines), ("one", 5, 7));
    assert_eq!(one.head.len(), 3);
    let reason = reason(one.head.iter().copied());
    assert_eq!(reason.as_deref(), Some("of a reason that is long enough."));
}
