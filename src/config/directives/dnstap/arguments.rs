//! `[full] [writebuffer] [queue]`: the arguments after the SOCKET.

use super::{
    super::{
        Findings, left_over,
        row::{Given, Row},
    },
    ARGUMENTS, OPTIONS, USAGE,
};
use crate::config::{
    Sink,
    diagnostics::{Diagnostic, shown},
    lexer::Token,
    nearest::nearest,
};

/// Parses the arguments into `sink`. tapfan recognises them by their form, CoreDNS by their position.
pub(super) fn read(
    sink: &mut Sink,
    directive: &Token,
    rest: &[Token],
    findings: &mut Findings<'_>,
) {
    let [full_row, number_rows @ ..] = ARGUMENTS;
    // An environment variable takes the place of the word `full` if its value is `full` or empty. CoreDNS behaves in
    // the same way.
    let in_place = |token: &Token| token.text == "full" || token.filled_in && token.text.is_empty();
    let (full, rest) = match rest.split_first() {
        Some((first, rest)) if in_place(first) => (Some(first), rest),
        _ => (None, rest),
    };
    let before = findings.problems.len();
    let mut read = |row: &Row<Sink>, token, findings: &mut Findings<'_>| {
        let given = Given {
            name: token,
            value: token,
            values: &[],
            inner: None,
        };
        row.apply(sink, &given, findings);
    };
    if let Some(full) = full.filter(|full| full.text == "full") {
        read(full_row, full, findings);
    }
    let mut numbers: Vec<&Token> = Vec::new();
    for token in rest {
        let digits = token.text.trim_start_matches(['+', '-']);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            findings.report(unknown(directive, full, token));
        } else if let Some(row) = number_rows.get(numbers.len()) {
            read(row, token, findings);
            numbers.push(token);
        } else {
            let problem = left_over(directive, token).help(USAGE);
            findings.report(match full {
                Some(_) => problem,
                None => problem.note("CoreDNS ignores any other word in the place of `full`"),
            });
        }
    }
    if full.is_none() && findings.problems.len() == before {
        findings.problems.extend(without_full(&numbers));
    }
}

/// Returns the warning for numbers that directly follow the SOCKET. tapfan reads them as the manual of CoreDNS
/// describes. CoreDNS itself reads them differently.
fn without_full(numbers: &[&Token]) -> Option<Diagnostic> {
    /// The largest writebuffer of CoreDNS.
    const LIMIT: u64 = 1024;
    let first = numbers.first()?;
    let ignored = shown(&first.text);
    let value = |at: usize| numbers.get(at).and_then(|number| number.text.parse().ok());
    let (write_buffer, queue) = (value(0).unwrap_or(1_u64), value(1).unwrap_or(1));
    // CoreDNS reads the third word after `dnstap` as the writebuffer, even if the second word is not `full` (setup.go
    // of CoreDNS 1.14.7).
    let theirs = match numbers.get(1) {
        None => format!("CoreDNS ignores the `{ignored}` and reads writebuffer 1, queue 1"),
        Some(_) if queue > LIMIT => format!(
            "CoreDNS ignores the `{ignored}`, reads writebuffer {queue}, and refuses the line because its limit is {LIMIT}"
        ),
        Some(_) => {
            format!("CoreDNS ignores the `{ignored}` and reads writebuffer {queue}, queue 1")
        }
    };
    let problem = first
        .warning(
            "CoreDNS reads these numbers differently",
            "in the place of `full`",
        )
        .note(format!(
            "tapfan reads writebuffer {write_buffer}, queue {queue}"
        ))
        .note(theirs);
    Some(problem)
}

/// Returns the error for a word after the SOCKET that is neither a number nor a correctly placed `full`.
fn unknown(directive: &Token, full: Option<&Token>, word: &Token) -> Diagnostic {
    if word.text == "full" {
        let problem = match full {
            Some(first) => word
                .error("`full` is given twice", "second here")
                .at(first.span, "first here"),
            None => word.error("`full` is misplaced", "it must come right after the SOCKET"),
        };
        return problem.help(USAGE);
    }
    let problem = left_over(directive, word);
    if OPTIONS.iter().any(|row| row.name == word.text) {
        return problem.help(format!(
            "`{}` is an option and belongs in a block: `{{`, a line for each option, and `}}`",
            word.text
        ));
    }
    if word.text.starts_with('{') {
        return problem.help("a `{` that opens a block has white space on both sides");
    }
    if word.text.starts_with('\'') || word.text.ends_with('\'') {
        return problem.help("only double quotes are quotes");
    }
    match nearest(&word.text, ["full"]) {
        Some(meant) if full.is_none() => {
            word.propose(problem, format!("did you mean `{meant}`?"), meant)
        }
        _ => problem.help(USAGE),
    }
}
