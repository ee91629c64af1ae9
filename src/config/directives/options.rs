//! The options in a directive's block, as CoreDNS reads them: a name and its values on one line, perhaps several on a line.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    super::{
        diagnostics::shown,
        lexer::Token,
        nearest::nearest,
        parser::Statement,
        quantity::{self, QuantityError},
    },
    Findings,
};

/// An option that a directive knows.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) value: Value,
}

/// What follows the name of an option, by what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing.
    None,
    One(&'static str),
    Two(&'static str),
    /// Whatever stands on the line, up to the next option. What is given twice adds up.
    Several(&'static str),
}

/// The options that a block gives.
#[derive(Debug)]
pub(super) struct Options<'a> {
    given: Vec<Given<'a>>,
}

/// An option as it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) name: &'a Token,
    /// The first one; the name itself for an option without a value.
    pub(super) value: &'a Token,
    /// All of them.
    pub(super) values: &'a [Token],
}

/// The longest text that goes into a frame or onto a label, in bytes.
const TEXT_LIMIT: usize = 4096;

/// Reads the block of a directive that knows these options.
pub(super) fn read<'a>(
    statement: &'a Statement,
    specs: &[Spec],
    findings: &mut Findings<'_>,
) -> Options<'a> {
    let mut options = Options { given: Vec::new() };
    if let Some(span) = statement.block.as_ref().and_then(|block| block.nested) {
        findings.report(
            super::Diagnostic::error("an option has no block of its own")
                .at(span, "this opens one")
                .help("put a brace that belongs to a value in quotes"),
        );
    }
    let mut rest = statement.options();
    let mut line: Option<&Token> = None;
    while let Some((name, after)) = rest.split_first() {
        let before = line.filter(|_| !name.starts_line);
        let Some(spec) = specs.iter().find(|spec| spec.name == name.text) else {
            findings.report(unknown(statement, specs, name, before));
            rest = next_line(after);
            continue;
        };
        line = Some(name);
        let ends = |token: &Token| {
            token.starts_line || specs.iter().any(|other| token.is_word(other.name))
        };
        let at_hand = after.iter().position(|token| token.starts_line);
        let at_hand = at_hand.unwrap_or(after.len());
        let (takes, wanted) = match spec.value {
            Value::None => (0, None),
            Value::One(placeholder) => (1, Some(placeholder)),
            Value::Two(placeholder) => (2, Some(placeholder)),
            Value::Several(placeholder) => {
                let several = after.iter().position(ends).unwrap_or(after.len());
                (several.max(1), Some(placeholder))
            }
        };
        let (values, left) = after.split_at(takes.min(at_hand));
        rest = left;
        match (values.first().or(wanted.is_none().then_some(name)), wanted) {
            (Some(value), _) if values.len() == takes => options.add(
                Given {
                    name,
                    value,
                    values,
                },
                spec.value,
                findings,
            ),
            (given, placeholder) => {
                let placeholder = placeholder.unwrap_or_default();
                let (needs, label) = match (spec.value, given) {
                    (Value::Two(_), None) => ("two values", "nothing follows it on its line"),
                    (Value::Two(_), Some(_)) => ("two values", "only one follows it on its line"),
                    _ => ("a value", "nothing follows it on its line"),
                };
                findings.report(
                    name.error(format!("`{}` needs {needs}", spec.name), label)
                        .help(format!("write `{} {placeholder}`", spec.name)),
                );
            }
        }
    }
    options
}

/// A word that is no option: a typo, or what is left over of the option before it on its line.
fn unknown(
    statement: &Statement,
    specs: &[Spec],
    word: &Token,
    before: Option<&Token>,
) -> super::Diagnostic {
    let directive = &statement.name.text;
    if let Some(before) = before {
        let takes = match specs.iter().find(|spec| spec.name == before.text) {
            Some(Spec {
                value: Value::None, ..
            }) => "no value",
            Some(Spec {
                value: Value::Two(_),
                ..
            }) => "two values",
            _ => "one value",
        };
        let problem = word
            .error(
                format!("`{}` takes {takes}", before.text),
                "this is left over",
            )
            .at(before.span, "of this option");
        return match takes {
            "no value" | "two values" => problem.help("remove it"),
            _ => problem.help("put a value with white space in double quotes"),
        };
    }
    let problem = word
        .error(
            format!("unknown option `{}`", shown(&word.text)),
            format!("not an option of `{directive}`"),
        )
        .at(statement.span(), "in this directive");
    if specs.is_empty() {
        return problem.help(format!("`{directive}` has no options"));
    }
    let names = || specs.iter().map(|spec| spec.name);
    if let Some(meant) = nearest(&word.text, names()) {
        return word.propose(problem, format!("did you mean `{meant}`?"), meant);
    }
    let names: Vec<String> = names().map(|name| format!("`{name}`")).collect();
    problem.help(format!("the options are {}", names.join(", ")))
}

fn next_line(tokens: &[Token]) -> &[Token] {
    let end = tokens.iter().position(|token| token.starts_line);
    tokens
        .get(end.unwrap_or(tokens.len())..)
        .unwrap_or_default()
}

// === impl Options ===

impl<'a> Options<'a> {
    /// The last of this name.
    pub(super) fn get(&self, name: &str) -> Option<Given<'a>> {
        self.given
            .iter()
            .find(|given| given.name.text == name)
            .copied()
    }

    /// Those of these names, in the order of the file.
    pub(super) fn of<'s>(&'s self, names: &'s [&str]) -> impl Iterator<Item = Given<'a>> + 's {
        self.given
            .iter()
            .filter(|given| names.contains(&given.name.text.as_str()))
            .copied()
    }

    /// A whole number, or the default.
    pub(super) fn number(
        &self,
        name: &str,
        bounds: &RangeInclusive<u64>,
        default: u64,
        findings: &mut Findings<'_>,
    ) -> u64 {
        self.quantity(name, default, findings, |text| {
            quantity::number(text, bounds)
        })
    }

    /// A size in bytes, or the default.
    pub(super) fn size(
        &self,
        name: &str,
        bounds: &RangeInclusive<u64>,
        default: u64,
        findings: &mut Findings<'_>,
    ) -> u64 {
        self.quantity(name, default, findings, |text| quantity::size(text, bounds))
    }

    /// A time, or the default.
    pub(super) fn time(
        &self,
        name: &str,
        bounds: &RangeInclusive<Duration>,
        default: Duration,
        findings: &mut Findings<'_>,
    ) -> Duration {
        self.quantity(name, default, findings, |text| quantity::time(text, bounds))
    }

    fn quantity<T>(
        &self,
        name: &str,
        default: T,
        findings: &mut Findings<'_>,
        read: impl FnOnce(&str) -> Result<T, QuantityError>,
    ) -> T {
        let Some(given) = self.get(name) else {
            return default;
        };
        read(&given.value.text).unwrap_or_else(|error| {
            findings.report(bad_quantity(given.value, name, &error));
            default
        })
    }

    /// A text of at most [`TEXT_LIMIT`] bytes.
    pub(super) fn text(&self, name: &str, findings: &mut Findings<'_>) -> Option<Given<'a>> {
        let given = self.get(name)?;
        let length = given.value.text.len();
        if length > TEXT_LIMIT {
            findings.report(
                given
                    .value
                    .error(
                        format!("`{name}` is too long"),
                        format!("this has {length} bytes"),
                    )
                    .help(format!("{TEXT_LIMIT} bytes are the limit")),
            );
            return None;
        }
        Some(given)
    }

    /// A text that is not empty and has no control characters: a path or a name.
    pub(super) fn word(&self, name: &str, findings: &mut Findings<'_>) -> Option<Given<'a>> {
        let given = self.text(name, findings)?;
        let (message, label) = if given.value.text.is_empty() {
            (format!("`{name}` is empty"), "there is nothing here")
        } else if given.value.text.contains(char::is_control) {
            (
                format!("`{name}` holds a control character"),
                "such as a line end or a tab",
            )
        } else {
            return Some(given);
        };
        findings.report(given.value.error(message, label));
        None
    }

    /// All values of an option that takes several, in the order of the file.
    pub(super) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a Token> + 's {
        let given = self
            .given
            .iter()
            .filter(move |given| given.name.text == name);
        given.flat_map(|given| given.values)
    }

    /// Takes an option in, in the place of an earlier one of its name unless they add up.
    fn add(&mut self, given: Given<'a>, takes: Value, findings: &mut Findings<'_>) {
        let name = &given.name.text;
        if matches!(takes, Value::Several(_)) {
            self.given.push(given);
        } else if let Some(earlier) = self
            .given
            .iter_mut()
            .find(|earlier| earlier.name.text == *name)
        {
            let has_value = given.name.span != given.value.span;
            let note = if has_value {
                "this one counts"
            } else {
                "again here"
            };
            findings.report(
                given
                    .name
                    .warning(format!("`{name}` is given twice"), note)
                    .at(earlier.name.span, "first here")
                    .help("remove one of them"),
            );
            *earlier = given;
        } else {
            self.given.push(given);
        }
    }
}

/// A quantity that cannot be read, at its place.
pub(super) fn bad_quantity(value: &Token, name: &str, error: &QuantityError) -> super::Diagnostic {
    let problem = value.error(error.to_string(), format!("the value of `{name}`"));
    match error.advice() {
        Some(advice) => problem.help(advice),
        None => problem,
    }
}
