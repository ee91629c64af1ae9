//! Problems of a configuration. Each problem has a place, a cause and a remedy. Problems can be shown as plain text, or
//! drawn like the errors of rustc.

#[cfg(feature = "cli")]
mod drawing;
mod plain;

use std::borrow::Cow;

use super::source::{Position, Sources, Span};

/// The largest number of problems that are rendered. Further problems are only counted.
const RENDER_LIMIT: usize = 100;

/// The problems found in a configuration, in the order of its files and lines.
#[derive(Clone, Default)]
pub struct Diagnostics {
    sources: Sources,
    list: Vec<Diagnostic>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    severity: Severity,
    message: String,
    /// The place of the problem, and after it the related places.
    labels: Vec<Label>,
    notes: Vec<String>,
    help: Option<String>,
    replacement: Option<(Span, String)>,
    /// The name of the file, if the problem has no place in the text of the file.
    origin: Option<String>,
}

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The router does not start with this configuration.
    Error,
    /// The configuration is usable, but it may not mean what its author intended.
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    span: Span,
    text: String,
}

// === impl Diagnostics ===

impl Diagnostics {
    /// Sorts the problems by place and removes repeated ones. A problem is repeated if a snippet that contains it is
    /// imported twice.
    pub(super) fn new(sources: Sources, mut list: Vec<Diagnostic>) -> Self {
        // A problem without a place concerns the whole configuration, so it comes last.
        list.sort_by_key(|problem| (problem.place().is_none(), problem.place()));
        list.dedup();
        Self { sources, list }
    }

    /// Returns whether there is an error. With an error, the router does not start.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Returns the number of errors.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// Returns the number of warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Returns whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Returns the place of a problem in this list, or `None` if the problem concerns the configuration as a whole.
    pub fn position(&self, diagnostic: &Diagnostic) -> Option<Position> {
        let label = diagnostic.labels.first()?;
        Some(self.sources.position(label.span))
    }

    /// Returns the text of the problem's file after the proposed replacement, or `None` if the problem has no
    /// replacement.
    pub fn mended(&self, problem: &Diagnostic) -> Option<String> {
        let (span, by) = problem.replacement.as_ref()?;
        let mut text = self.sources.text(span.file).to_owned();
        if !(text.is_char_boundary(span.start) && text.is_char_boundary(span.end)) {
            return None;
        }
        text.replace_range(span.start..span.end, by);
        Some(text)
    }

    /// Adds a problem at its place.
    #[cfg(feature = "cli")]
    pub(super) fn add(&mut self, problem: Diagnostic) {
        let place = |problem: &Diagnostic| (problem.place().is_none(), problem.place());
        let at = self.list.partition_point(|it| place(it) <= place(&problem));
        self.list.insert(at, problem);
    }

    fn count(&self, severity: Severity) -> usize {
        let problems = self.list.iter();
        problems.filter(|it| it.severity == severity).count()
    }
}

// === impl Diagnostic ===

impl Diagnostic {
    /// Returns the severity of the problem.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Returns the problem in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the label that is shown at the place of the problem, or `None` if the message needs no label.
    pub fn cause(&self) -> Option<&str> {
        let label = self.labels.first()?;
        Some(label.text.as_str()).filter(|text| !text.is_empty())
    }

    /// Returns facts that explain the problem.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the remedy, if there is one.
    pub fn remedy(&self) -> Option<&str> {
        self.help.as_deref()
    }

    pub(super) fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message.into())
    }

    pub(super) fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message.into())
    }

    /// Returns the place of the problem, if the problem has one in the text.
    pub(super) fn place(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }

    /// Makes a warning from an error.
    pub(super) fn weaken(&mut self) {
        self.severity = Severity::Warning;
    }

    fn new(severity: Severity, message: String) -> Self {
        Self {
            severity,
            message,
            labels: Vec::new(),
            notes: Vec::new(),
            help: None,
            replacement: None,
            origin: None,
        }
    }

    /// Adds a place with a label. The first call sets the place of the problem itself. Each further call adds a related
    /// place.
    pub(super) fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        let text = text.into();
        self.labels.push(Label { span, text });
        self
    }

    /// Sets the file, for a problem that has no place in the file.
    pub(super) fn in_file(mut self, name: impl Into<String>) -> Self {
        self.origin = Some(name.into());
        self
    }

    /// Adds a fact that explains the problem.
    pub(super) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    pub(super) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Sets the edit that corrects the problem. The edit is shown in the line of the problem.
    pub(super) fn replace(mut self, span: Span, by: impl Into<String>) -> Self {
        self.replacement = Some((span, by.into()));
        self
    }
}

/// Converts a text for use in a message: one line without control characters, and not too long.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    shown_up_to(64, text)
}

/// Converts a text to one line without control characters, and cuts it off after `limit` characters.
pub(super) fn shown_up_to(limit: usize, text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    if text.len() <= limit && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text.chars().take(limit) {
        if plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    if text.chars().nth(limit).is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::{super::source::FileId, *};

    pub(super) fn sources() -> (Sources, FileId) {
        let mut sources = Sources::default();
        let file = sources.add(
            "Tapfile".as_ref(),
            "dnstap /a\r\ndnstap /b {\r\n\tidenity \"x\r\ny\"\r\n}\r\n",
        );
        (sources, file)
    }

    pub(super) fn span(file: FileId, start: usize, end: usize) -> Span {
        Span { file, start, end }
    }

    #[test]
    fn places_come_in_order_and_nothing_twice() {
        let (sources, file) = sources();
        let at = |start| Diagnostic::error("wrong").at(span(file, start, start + 1), "");
        let whole = Diagnostic::error("nothing to do");
        let list = vec![whole, at(7), at(0), at(7)];
        let diagnostics = Diagnostics::new(sources, list);
        let columns: Vec<_> = diagnostics
            .iter()
            .map(|problem| diagnostics.position(problem).map(|place| place.column))
            .collect();
        assert_eq!(columns, [Some(1), Some(8), None]);
        assert_eq!((diagnostics.errors(), diagnostics.warnings()), (3, 0));
    }

    #[test]
    fn text_from_outside_is_shown_on_one_line() {
        assert_eq!(shown("a b"), "a b");
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}"), r"a\nb\u{1b}[31m\u{202e}");
        assert_eq!(shown(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
        assert_eq!(shown("ß"), "ß");
    }
}
