//! The options in the block of a directive, in the syntax of CoreDNS. An option is a name and its values on one line.
//! Several options may be on the same line.

use super::{
    super::{
        diagnostics::{Diagnostic, Severity, shown},
        lexer::Token,
        nearest::nearest,
        parser::{Inner, Statement},
        source::Span,
    },
    Findings, guesses,
    row::{Given, Row, Value, listed},
};

pub(super) struct Options<'a, T: 'static> {
    given: Vec<(&'static Row<T>, Given<'a>)>,
}

/// Reads the block of a directive. `rows` are the options that the directive allows.
pub(super) fn read<'a, T>(
    statement: &'a Statement,
    rows: &'static [Row<T>],
    findings: &mut Findings<'_>,
) -> Options<'a, T> {
    let mut options = Options { given: Vec::new() };
    let inner = statement.inner();
    let mut owned = Vec::new();
    let mut rest = statement.options();
    let mut line: Option<(&Token, &Row<T>)> = None;
    while let Some((name, after)) = rest.split_first() {
        let at_hand = after
            .iter()
            .position(|token| token.starts_line)
            .unwrap_or(after.len());
        let Some(row) = rows.iter().find(|row| row.name == name.text) else {
            findings.report(match line.filter(|_| !name.starts_line) {
                Some((before, row)) => left_over(before, row, name),
                None => guesses::option(statement, name, after.first())
                    .unwrap_or_else(|| unknown(statement, rows, name)),
            });
            rest = after.get(at_hand..).unwrap_or_default();
            continue;
        };
        line = Some((name, row));
        let takes = match row.value {
            Value::Flag(_) => 0,
            Value::Times(..) => 2,
            Value::Block(_, values, _) => values,
            Value::Several(..) | Value::Line(..) => several(after, rows).max(1),
            _ => 1,
        };
        let (values, left) = after.split_at(takes.min(at_hand));
        rest = left;
        let at = statement.options().len() - rest.len();
        let own = own_block(row, inner, at);
        owned.extend(own.map(|own| own.after));
        if values.len() == takes {
            let value = values.first().unwrap_or(name);
            options.add(
                row,
                Given {
                    name,
                    value,
                    values,
                    inner: own,
                },
                findings,
            );
        } else {
            findings.report(without_value(name, row, values));
        }
    }
    if let Some(block) = inner.iter().find(|it| !owned.contains(&it.after)) {
        findings.report(without_block(block));
    }
    options
}

/// Returns the block of the option of `row`, if the option has one. `at` is the number of words of the outer block
/// before the block of the option.
fn own_block<'a, T>(row: &Row<T>, inner: &'a [Inner], at: usize) -> Option<&'a Inner> {
    let mut own = inner.iter().filter(|it| it.after == at);
    own.next().filter(|_| matches!(row.value, Value::Block(..)))
}

/// Returns the number of values before the next option or the end of the line.
fn several<T>(after: &[Token], rows: &[Row<T>]) -> usize {
    let ends = |token: &Token| token.starts_line || rows.iter().any(|row| token.is_word(row.name));
    after.iter().position(ends).unwrap_or(after.len())
}

/// Returns the error for a block after an option that takes no block.
fn without_block(block: &Inner) -> Diagnostic {
    Diagnostic::error("an option has no block of its own")
        .at(block.open, "this opens one")
        .help("put a brace that belongs to a value in quotes")
}

fn without_value<T>(name: &Token, row: &Row<T>, values: &[Token]) -> Diagnostic {
    let needs = match row.value {
        Value::Times(..) | Value::Block(_, 2, _) => "two values",
        _ => "a value",
    };
    let label = if values.is_empty() {
        "nothing follows it on its line"
    } else {
        "only one follows it on its line"
    };
    name.error(format!("`{}` needs {needs}", row.name), label)
        .help(row.usage())
}

/// Returns the error for a word that follows the values of the option `before`.
fn left_over<T>(before: &Token, row: &Row<T>, word: &Token) -> Diagnostic {
    let help = match row.value {
        Value::Block(..) => format!(
            "write further options of `{}` in a block after it, in braces",
            row.name
        ),
        Value::Text(..) | Value::File(_) => {
            "put a value with white space in double quotes".to_owned()
        }
        Value::Flag(_) | Value::Several(..) | Value::Line(..) => "remove it".to_owned(),
        _ => row.usage(),
    };
    word.error(
        format!("`{}` takes {}", before.text, row.value.count()),
        "this is left over",
    )
    .at(before.span, "of this option")
    .help(help)
}

fn unknown<T>(statement: &Statement, rows: &[Row<T>], word: &Token) -> Diagnostic {
    let directive = &statement.name.text;
    let problem = word
        .error(
            format!("unknown option `{}`", shown(&word.text)),
            format!("not an option of `{directive}`"),
        )
        .at(statement.span(), "in this directive");
    if rows.is_empty() {
        return problem.help(format!("`{directive}` has no options"));
    }
    let names = || rows.iter().map(|row| row.name);
    match nearest(&word.text, names()) {
        Some(meant) => word.propose(problem, format!("did you mean `{meant}`?"), meant),
        None => problem.help(format!("the options are {}", listed(names()))),
    }
}

/// Returns the warning for an option or line that is repeated. The later one replaces the earlier one.
pub(super) fn given_twice(name: &str, place: Span, label: &str, first: Span) -> Diagnostic {
    Diagnostic::warning(format!("`{name}` is given twice"))
        .at(place, label)
        .at(first, "first here")
        .help("remove one of them")
}

// === impl Options ===

impl<'a, T> Options<'a, T> {
    /// Returns the option with this name; the first one if it is given several times.
    pub(super) fn get(&self, name: &str) -> Option<Given<'a>> {
        let mut given = self.given.iter();
        given
            .find(|(row, _)| row.name == name)
            .map(|(_, given)| *given)
    }

    /// Returns all occurrences of the option with this name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = Given<'a>> {
        let given = self.given.iter();
        given
            .filter(move |(row, _)| row.name == name)
            .map(|(_, given)| *given)
    }

    /// Sets all options in `target`. `address` is the address of the directive. It is `None` if the address could not
    /// be parsed; in that case, this function does not check which options the address allows.
    pub(super) fn apply(
        &self,
        target: &mut T,
        address: Option<&Token>,
        findings: &mut Findings<'_>,
    ) {
        for (row, given) in &self.given {
            if let (Some(scope), Some(address)) = (row.scope, address)
                && !(scope.applies)(target)
            {
                let problem = (scope.misplaced)(target, given, address);
                let refused = problem.severity() == Severity::Error;
                findings.report(problem);
                if refused {
                    continue;
                }
            }
            row.apply(target, given, findings);
        }
    }

    /// Adds an option. An earlier option with the same name is replaced, unless the values of repeated options are
    /// combined.
    fn add(&mut self, row: &'static Row<T>, given: Given<'a>, findings: &mut Findings<'_>) {
        let adds_up = matches!(row.value, Value::Several(..));
        let mut earlier = self.given.iter_mut();
        match earlier.find(|(earlier, _)| earlier.name == row.name) {
            Some((_, earlier)) if !adds_up => {
                let label = match row.value {
                    Value::Flag(_) => "again here",
                    _ => "this one counts",
                };
                let place = given.name.span;
                findings.report(given_twice(row.name, place, label, earlier.name.span));
                *earlier = given;
            }
            _ => self.given.push((row, given)),
        }
    }
}
