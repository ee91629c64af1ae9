//! An option as one row: its name, value, bounds, default, documentation, parser and description.
//!
//! These rows are the source for the parser, for the advice after a typo, and for
//! [`Config::describe`](crate::config::Config::describe). Tests compare the tables of docs/configuration.md with them.
//! A new option needs a row, a field of the model, and the code that uses the field.

use std::{fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{
    super::{
        diagnostics::{Diagnostic, shown},
        lexer::Token,
        nearest::nearest,
        needs::{Need, What},
        parser::Inner,
        quantity::{self, QuantityError, Size, Time},
    },
    Findings,
};

/// An option that sets a part of `T`.
pub(super) struct Row<T: 'static> {
    pub(super) name: &'static str,
    pub(super) value: Value<T>,
    /// The default value, written as in docs/configuration.md.
    pub(super) default: &'static str,
    /// The effect of the option, in one line.
    pub(super) doc: &'static str,
    /// The directives to which the option applies. `None` means all.
    pub(super) scope: Option<&'static Scope<T>>,
    /// The current value as text. `None` if it is the default.
    pub(super) describe: fn(&T) -> Option<String>,
}

/// The form of an option's values, together with the function that sets them.
pub(super) enum Value<T> {
    Flag(fn(&mut T)),
    Number(RangeInclusive<u64>, fn(&mut T, usize)),
    Size(RangeInclusive<u64>, fn(&mut T, usize)),
    Time(RangeInclusive<Duration>, fn(&mut T, Duration)),
    /// Two times. The first one is not longer than the second one.
    Times(RangeInclusive<Duration>, fn(&mut T, Duration, Duration)),
    /// A text of at most this number of bytes.
    Text(&'static str, usize, Parse<T>),
    /// Permission bits in octal.
    Mode(fn(&mut T, u32)),
    /// The path of a file. The file must be readable at the start.
    File(fn(&mut T, PathBuf)),
    /// One value that needs a parser of its own.
    One(&'static str, Parse<T>),
    /// This number of values that need a parser of their own, and a block of further options.
    Block(&'static str, usize, Parse<T>),
    /// All values up to the next option or the end of the line. The values of repeated options are combined.
    Several(&'static str, Parse<T>),
    /// One or more values up to the next option or the end of the line. A repeated option replaces the earlier one.
    Line(&'static str, Parse<T>),
}

/// Sets a part of `T`. If there is an error, reports it and returns `None`.
pub(super) type Parse<T> = fn(&mut T, &Given<'_>, &mut Findings<'_>) -> Option<()>;

/// The directives to which an option applies.
pub(super) struct Scope<T> {
    /// The directives, as in "for `tls://` sinks".
    pub(super) name: &'static str,
    pub(super) applies: fn(&T) -> bool,
    /// Returns an error or a warning if the option does not apply to the directive with this address. After an error,
    /// the option's value is not read.
    pub(super) misplaced: fn(&T, &Given<'_>, &Token) -> Diagnostic,
}

/// An option as it is written in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) name: &'a Token,
    /// The first value. For a flag, the name itself.
    pub(super) value: &'a Token,
    pub(super) values: &'a [Token],
    /// The block of the option itself.
    pub(super) inner: Option<&'a Inner>,
}

/// The longest text of any option, in bytes.
pub(super) const TEXT_LIMIT: usize = 4096;

/// The longest name of a sink or a listener, and the longest text that names a server, in bytes.
pub(super) const NAME_LIMIT: usize = 256;

// === impl Row ===

impl<T> Row<T> {
    /// Returns the option with its value, such as `max_frame SIZE`.
    pub(super) fn syntax(&self) -> String {
        format!("{} {}", self.name, self.value.placeholder())
            .trim_end()
            .to_owned()
    }

    /// Returns the bounds of the value, such as `1KiB to 16MiB`.
    pub(super) fn bounds(&self) -> Option<String> {
        match &self.value {
            Value::Number(bounds, _) => Some(range(*bounds.start(), *bounds.end())),
            Value::Size(bounds, _) => Some(range(Size(*bounds.start()), Size(*bounds.end()))),
            Value::Time(bounds, _) => Some(range(Time(*bounds.start()), Time(*bounds.end()))),
            Value::Times(bounds, _) => {
                let range = range(Time(*bounds.start()), Time(*bounds.end()));
                Some(format!("{range} each"))
            }
            Value::Text(_, limit, _) => Some(format!("up to {limit} bytes")),
            Value::Mode(_) => Some("0 to 0777, octal".to_owned()),
            Value::Flag(_)
            | Value::File(_)
            | Value::One(..)
            | Value::Block(..)
            | Value::Several(..)
            | Value::Line(..) => None,
        }
    }

    /// Returns advice for an option whose value is missing.
    pub(super) fn usage(&self) -> String {
        let bounds = self.bounds().map(|bounds| format!("{bounds}; "));
        format!(
            "the form is `{}`: {} ({}default: {})",
            self.syntax(),
            self.doc,
            bounds.unwrap_or_default(),
            self.default
        )
    }

    /// Sets the option's part of `target`. If there is an error, reports it and returns `None`.
    pub(super) fn apply(
        &self,
        target: &mut T,
        given: &Given<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<()> {
        let name = self.name;
        let text = given.value.text.as_str();
        match &self.value {
            Value::Flag(set) => set(target),
            Value::Number(bounds, set) => {
                let number = quantity::number(text, bounds);
                let number = understood(given.value, name, number, findings)?;
                set(target, usize::try_from(number).unwrap_or(usize::MAX));
            }
            Value::Size(bounds, set) => {
                let size = quantity::size(text, bounds);
                let size = understood(given.value, name, size, findings)?;
                set(target, usize::try_from(size).unwrap_or(usize::MAX));
            }
            Value::Time(bounds, set) => {
                let time = quantity::time(text, bounds);
                set(target, understood(given.value, name, time, findings)?);
            }
            Value::Times(bounds, set) => {
                let (min, max) = times(given, bounds, findings)?;
                set(target, min, max);
            }
            Value::Text(_, limit, parse) => {
                given.text(*limit, findings)?;
                parse(target, given, findings)?;
            }
            Value::Mode(set) => set(target, mode(given, findings)?),
            Value::File(set) => {
                let path = PathBuf::from(given.word(findings)?);
                given.needs(What::File(path.clone()), findings);
                set(target, path);
            }
            Value::One(_, parse)
            | Value::Block(_, _, parse)
            | Value::Several(_, parse)
            | Value::Line(_, parse) => {
                parse(target, given, findings)?;
            }
        }
        Some(())
    }
}

/// Returns the names and values of the options that apply to `model`.
pub(super) fn described<'a, T>(
    rows: &'a [Row<T>],
    model: &'a T,
) -> impl Iterator<Item = (&'static str, String)> + 'a {
    let applies = |row: &&Row<T>| row.scope.is_none_or(|scope| (scope.applies)(model));
    rows.iter().filter(applies).map(|row| {
        let value = (row.describe)(model);
        (row.name, value.unwrap_or_else(|| row.default.to_owned()))
    })
}

fn range(low: impl fmt::Display, high: impl fmt::Display) -> String {
    format!("{low} to {high}")
}

/// Returns the quantity. If `value` is not a quantity, reports an error.
pub(super) fn understood<Q>(
    value: &Token,
    option: &str,
    quantity: Result<Q, QuantityError>,
    findings: &mut Findings<'_>,
) -> Option<Q> {
    quantity
        .map_err(|error| {
            let problem = value.error(error.to_string(), value_of(option));
            findings.report(match error.advice() {
                Some(advice) => problem.help(advice),
                None => problem,
            });
        })
        .ok()
}

fn times(
    given: &Given<'_>,
    bounds: &RangeInclusive<Duration>,
    findings: &mut Findings<'_>,
) -> Option<(Duration, Duration)> {
    let [min, max] = given.values else {
        return None;
    };
    let name = given.name.text.as_str();
    let mut time =
        |value: &Token| understood(value, name, quantity::time(&value.text, bounds), findings);
    let (from, to) = (time(min), time(max));
    let (from, to) = (from?, to?);
    if from > to {
        let right = format!("{} {}", max.text, min.text);
        let problem = min
            .error("MIN is larger than MAX", "this is MIN")
            .at(max.span, "this is MAX");
        findings.report(
            problem
                .help(format!("write `{name} {right}`"))
                .replace(min.span.to(max.span), right),
        );
    }
    Some((from, to))
}

fn mode(given: &Given<'_>, findings: &mut Findings<'_>) -> Option<u32> {
    let text = given.value.text.as_str();
    let octal = text.bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok();
    let mode = mode.filter(|mode| octal && *mode <= 0o777);
    if mode.is_none() {
        let message = format!("`{}` is not the mode of a socket", shown(text));
        let problem = given.value.error(message, value_of(&given.name.text));
        findings.report(problem.help("write permission bits in octal, from `0` to `0777`"));
    }
    mode
}

fn value_of(option: &str) -> String {
    format!("the value of `{option}`")
}

// === impl Value ===

impl<T> Value<T> {
    /// Returns the placeholder for the values in the documentation.
    pub(super) fn placeholder(&self) -> &'static str {
        match self {
            Self::Flag(_) => "",
            Self::Number(..) => "N",
            Self::Size(..) => "SIZE",
            Self::Time(..) => "TIME",
            Self::Times(..) => "MIN MAX",
            Self::File(_) => "FILE",
            Self::Mode(_) => "MODE",
            Self::Text(placeholder, ..)
            | Self::One(placeholder, _)
            | Self::Block(placeholder, ..)
            | Self::Several(placeholder, _)
            | Self::Line(placeholder, _) => placeholder,
        }
    }

    /// Returns the number of values, as text.
    pub(super) fn count(&self) -> &'static str {
        match self {
            Self::Flag(_) => "no value",
            Self::Times(..) | Self::Block(_, 2, _) => "two values",
            Self::Several(..) | Self::Line(..) => "one or more values",
            _ => "one value",
        }
    }
}

// === impl Given ===

impl<'a> Given<'a> {
    /// Returns the text. If it is longer than `limit` bytes, reports an error.
    pub(super) fn text(&self, limit: usize, findings: &mut Findings<'_>) -> Option<&'a str> {
        let value = self.value;
        let length = value.text.len();
        if length <= limit {
            return Some(&value.text);
        }
        findings.report(
            value
                .error(
                    format!("`{}` is too long", self.name.text),
                    format!("{length} bytes"),
                )
                .help(format!("shorten it to {limit} bytes or less")),
        );
        None
    }

    /// Returns a path or a name. Reports an error if the text is empty or has control characters.
    pub(super) fn word(&self, findings: &mut Findings<'_>) -> Option<&'a str> {
        let text = self.text(TEXT_LIMIT, findings)?;
        let name = &self.name.text;
        let (message, label, help) = if text.is_empty() {
            (
                format!("a value of `{name}` is empty"),
                "an empty value",
                format!("write a value, or remove `{name}`"),
            )
        } else if text.contains(char::is_control) {
            (
                format!("a value of `{name}` has a control character"),
                "such as a line end or a tab",
                "write the value without this character".to_owned(),
            )
        } else {
            return Some(text);
        };
        findings.report(self.value.error(message, label).help(help));
        None
    }

    pub(super) fn choice<E: Copy, const N: usize>(
        &self,
        all: [E; N],
        word: fn(E) -> &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<E> {
        let (name, text) = (&self.name.text, self.value.text.as_str());
        let known = all.into_iter().find(|one| word(*one) == text);
        if known.is_none() {
            let problem = self.value.error(
                format!("`{}` is not a value of `{name}`", shown(text)),
                value_of(name),
            );
            let words = all.map(word);
            findings.report(match nearest(text, words) {
                Some(meant) => {
                    self.value
                        .propose(problem, format!("did you mean `{meant}`?"), meant)
                }
                None => problem.help(format!("the values are {}", listed(words))),
            });
        }
        known
    }

    /// Records a requirement on the machine, to be checked later.
    pub(super) fn needs(&self, what: What, findings: &mut Findings<'_>) {
        let span = self.value.span;
        findings.needs.push(Need { what, span });
    }
}

/// Lists words in the form "`a`, `b` and `c`".
pub(super) fn listed(words: impl IntoIterator<Item = &'static str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}
