//! `[full] [writebuffer] [queue]`: what may follow the SOCKET.

use std::ops::RangeInclusive;

use super::{
    super::{Findings, left_over, options},
    OPTIONS, USAGE,
};
use crate::config::{
    diagnostics::{Diagnostic, shown},
    lexer::Token,
    nearest::nearest,
    quantity,
};

/// In MiB.
const WRITE_BUFFER: RangeInclusive<u64> = 1..=1024;
/// In units of the queue.
const QUEUE: RangeInclusive<u64> = 1..=4096;

/// What the arguments say, defaults included.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) full: bool,
    pub(super) write_buffer: u64,
    pub(super) queue: u64,
}

/// Reads what follows the SOCKET by its meaning, where CoreDNS goes by the position alone.
pub(super) fn read(directive: &Token, rest: &[Token], findings: &mut Findings<'_>) -> Arguments {
    let mut values = [("writebuffer", WRITE_BUFFER, 1), ("queue", QUEUE, 1)];
    // A variable that holds `full` or nothing keeps the place, here and there.
    let in_place = |token: &Token| token.text == "full" || token.filled_in && token.text.is_empty();
    let (full, rest) = match rest.split_first() {
        Some((first, rest)) if in_place(first) => (Some(first), rest),
        _ => (None, rest),
    };
    let mut numbers: Vec<&Token> = Vec::new();
    let mut problems = Vec::new();
    for token in rest {
        let digits = token.text.trim_start_matches(['+', '-']);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            problems.push(unknown(directive, full, token));
            continue;
        }
        let Some((name, bounds, value)) = values.get_mut(numbers.len()) else {
            let problem = left_over(directive, token).help(USAGE);
            problems.push(match full {
                Some(_) => problem,
                None => problem.note("CoreDNS ignores what stands in the place of `full`"),
            });
            continue;
        };
        numbers.push(token);
        match quantity::number(&token.text, bounds) {
            Ok(number) => *value = number,
            Err(error) => problems.push(options::bad_quantity(token, name, &error)),
        }
    }
    let arguments = Arguments {
        full: full.is_some_and(|full| full.text == "full"),
        write_buffer: values[0].2,
        queue: values[1].2,
    };
    if full.is_none() && problems.is_empty() {
        problems.extend(without_full(&numbers, &arguments));
    }
    findings.problems.append(&mut problems);
    arguments
}

/// Numbers right after the SOCKET mean something else to CoreDNS than to its manual and to tapfan.
fn without_full(numbers: &[&Token], arguments: &Arguments) -> Option<Diagnostic> {
    let (first, rest) = numbers.split_first()?;
    let ignored = shown(&first.text);
    // Their third word, whatever the second one is: read in setup.go of CoreDNS 1.14.7.
    let theirs = match rest.first() {
        None => format!("CoreDNS ignores the `{ignored}` and reads writebuffer 1, queue 1"),
        Some(_) if !WRITE_BUFFER.contains(&arguments.queue) => format!(
            "CoreDNS ignores the `{ignored}`, reads writebuffer {}, and refuses the line: {} is its limit",
            arguments.queue,
            WRITE_BUFFER.end()
        ),
        Some(_) => format!(
            "CoreDNS ignores the `{ignored}` and reads writebuffer {}, queue 1",
            arguments.queue
        ),
    };
    let problem = first
        .warning(
            "CoreDNS reads these numbers otherwise",
            "in the place of `full`",
        )
        .note(format!(
            "tapfan reads writebuffer {}, queue {}",
            arguments.write_buffer, arguments.queue
        ))
        .note(theirs);
    Some(problem)
}

/// A word after the SOCKET that is neither `full` in its place nor a number.
fn unknown(directive: &Token, full: Option<&Token>, word: &Token) -> Diagnostic {
    if word.text == "full" {
        let problem = match full {
            Some(first) => word
                .error("`full` is given twice", "for the second time here")
                .at(first.span, "first here"),
            None => word.error(
                "`full` is not in its place",
                "it comes right after the SOCKET",
            ),
        };
        return problem.help(USAGE);
    }
    let problem = left_over(directive, word);
    if OPTIONS.iter().any(|spec| spec.name == word.text) {
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
