//! Problems of a configuration, each with its place, cause and remedy, rendered like those of rustc.

use std::borrow::Cow;

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet, normalize_untrusted_str,
};

use super::source::{FileId, Position, Sources, Span};

/// The most problems that are rendered; the rest is only counted.
const RENDER_LIMIT: usize = 100;

/// The problems found in a configuration, in the order of its files and lines.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    sources: Sources,
    list: Vec<Diagnostic>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    severity: Severity,
    message: String,
    /// The place of the problem first, then related places.
    labels: Vec<Label>,
    notes: Vec<String>,
    help: Option<String>,
    replacement: Option<(Span, String)>,
    /// The file, if there is no text to show.
    origin: Option<String>,
}

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing starts with this configuration.
    Error,
    /// It is understood, but may not mean what its author intended.
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    span: Span,
    text: String,
}

// === impl Diagnostics ===

impl Diagnostics {
    /// Sorts the problems by place and removes repetitions, which occur when a snippet is imported twice.
    pub(super) fn new(sources: Sources, list: Vec<Diagnostic>) -> Self {
        let mut kept: Vec<Diagnostic> = Vec::with_capacity(list.len());
        let mut list = list;
        // A problem without a place concerns the whole and comes last.
        list.sort_by_key(|diagnostic| {
            let span = diagnostic.labels.first().map(|label| label.span);
            (span.is_none(), span)
        });
        for diagnostic in list {
            if kept.last() != Some(&diagnostic) {
                kept.push(diagnostic);
            }
        }
        Self {
            sources,
            list: kept,
        }
    }

    /// Whether there is an error, so that the router does not start.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// The number of errors.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// The number of warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The place of a problem of this list; `None` if it concerns the configuration as a whole.
    pub fn position(&self, diagnostic: &Diagnostic) -> Option<Position> {
        let label = diagnostic.labels.first()?;
        Some(self.sources.position(label.span))
    }

    /// The text of the problem's file with the proposed replacement; `None` without a proposal.
    pub fn mended(&self, problem: &Diagnostic) -> Option<String> {
        let (span, by) = problem.replacement.as_ref()?;
        let mut text = self.sources.text(span.file).to_owned();
        if !(text.is_char_boundary(span.start) && text.is_char_boundary(span.end)) {
            return None;
        }
        text.replace_range(span.start..span.end, by);
        Some(text)
    }

    /// Renders all problems with their lines, separated by empty lines; ends in a line end unless there are none.
    ///
    /// `color` adds terminal escapes for colours.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for (index, diagnostic) in self.list.iter().take(RENDER_LIMIT).enumerate() {
            if index > 0 {
                text.push('\n');
            }
            text.push_str(&renderer.render(&diagnostic.report(&self.sources)));
            text.push('\n');
        }
        if let Some(more) = self.list.len().checked_sub(RENDER_LIMIT + 1) {
            text.extend(["\n… and ", &(more + 1).to_string(), " more\n"]);
        }
        text
    }

    fn count(&self, severity: Severity) -> usize {
        self.list
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }
}

// === impl Diagnostic ===

impl Diagnostic {
    /// Its severity.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The problem in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The problem with the text at its place, if the message does not say it all.
    pub fn cause(&self) -> Option<&str> {
        let label = self.labels.first()?;
        Some(label.text.as_str()).filter(|text| !text.is_empty())
    }

    /// Facts that explain it.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The remedy, if there is one.
    pub fn remedy(&self) -> Option<&str> {
        self.help.as_deref()
    }

    pub(super) fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message.into())
    }

    pub(super) fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message.into())
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

    /// Adds a place with a label: first the problem's own, then related ones.
    pub(super) fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        let text = text.into();
        self.labels.push(Label { span, text });
        self
    }

    /// Names the file, for a problem without a place in it.
    pub(super) fn in_file(mut self, name: impl Into<String>) -> Self {
        self.origin = Some(name.into());
        self
    }

    /// Adds a fact that explains the problem.
    pub(super) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Sets the remedy.
    pub(super) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Sets the edit that mends the problem, to be shown in its line.
    pub(super) fn replace(mut self, span: Span, by: impl Into<String>) -> Self {
        self.replacement = Some((span, by.into()));
        self
    }

    fn report<'a>(&'a self, sources: &'a Sources) -> Vec<Group<'a>> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        for file in self.files() {
            group = group.element(self.snippet(sources, file));
        }
        if let Some(origin) = &self.origin {
            group = group.element(Origin::path(origin.as_str()));
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(normalize_untrusted_str(note)));
        }
        let Some(help) = self.help.as_deref().map(normalize_untrusted_str) else {
            return vec![group];
        };
        match &self.replacement {
            Some((span, by)) => {
                let window = Window::around(sources, span.file, [*span]);
                let patch = Snippet::source(window.text)
                    .path(sources.name(span.file))
                    .line_start(window.line)
                    .patch(Patch::new(window.clip(*span), by.as_str()));
                vec![group, Level::HELP.secondary_title(help).element(patch)]
            }
            None => vec![group.element(Level::HELP.message(help))],
        }
    }

    /// The files of the labels without repetitions, that of the problem first.
    fn files(&self) -> Vec<FileId> {
        let mut files = Vec::new();
        for label in &self.labels {
            if !files.contains(&label.span.file) {
                files.push(label.span.file);
            }
        }
        files
    }

    fn snippet<'a>(
        &'a self,
        sources: &'a Sources,
        file: FileId,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let here = || self.labels.iter().filter(move |l| l.span.file == file);
        let window = Window::around(sources, file, here().map(|label| label.span));
        let mut snippet = Snippet::source(window.text)
            .path(sources.name(file))
            .line_start(window.line);
        for label in here() {
            let kind = if self.labels.first() == Some(label) {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let text = Some(label.text.as_str()).filter(|text| !text.is_empty());
            snippet = snippet.annotation(kind.span(window.clip(label.span)).label(text));
        }
        snippet
    }
}

/// The lines of a file on which some spans start, and those between.
struct Window<'a> {
    text: &'a str,
    /// The offset of `text` in the file.
    start: usize,
    /// The number of its first line.
    line: usize,
}

// === impl Window ===

impl<'a> Window<'a> {
    fn around(sources: &'a Sources, file: FileId, spans: impl IntoIterator<Item = Span>) -> Self {
        let text = sources.text(file);
        let (first, last) = spans
            .into_iter()
            .map(|span| span.start.min(text.len()))
            .fold((text.len(), 0), |(first, last), start| {
                (first.min(start), last.max(start))
            });
        let before = text.get(..first).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let end = text
            .get(last..)
            .and_then(|rest| rest.find('\n'))
            .map_or(text.len(), |length| last + length);
        let text = text.get(start..end).unwrap_or_default();
        Self {
            text: text.strip_suffix('\r').unwrap_or(text),
            start,
            line: before.matches('\n').count() + 1,
        }
    }

    /// The part of a span on its first line, counted from the start of the window.
    fn clip(&self, span: Span) -> std::ops::Range<usize> {
        let start = span.start.saturating_sub(self.start).min(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default().len();
        let length = span.end.saturating_sub(span.start).min(line);
        start..start + length
    }
}

/// Makes a text fit for a message: on one line, without control characters, and not long.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    const LIMIT: usize = 64;
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    if text.len() <= LIMIT && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text.chars().take(LIMIT) {
        if plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    if text.chars().nth(LIMIT).is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> (Sources, FileId) {
        let mut sources = Sources::default();
        let file = sources.add(
            "Tapfile".as_ref(),
            "dnstap /a\r\ndnstap /b {\r\n\tidenity \"x\r\ny\"\r\n}\r\n",
        );
        (sources, file)
    }

    fn span(file: FileId, start: usize, end: usize) -> Span {
        Span { file, start, end }
    }

    #[test]
    fn a_problem_shows_its_line_and_what_would_be_right() {
        let (sources, file) = sources();
        let problem = Diagnostic::error("unknown option `idenity`")
            .at(span(file, 25, 32), "not an option of `dnstap`")
            .at(span(file, 11, 17), "in this directive")
            .note("a fact")
            .help("did you mean `identity`?")
            .replace(span(file, 25, 32), "identity");
        insta::assert_snapshot!(Diagnostics::new(sources, vec![problem]).render(false));
    }

    #[test]
    fn a_span_over_several_lines_is_shown_on_its_first() {
        let (sources, file) = sources();
        let problem = Diagnostic::warning("a long token").at(span(file, 33, 38), "starts here");
        insta::assert_snapshot!(Diagnostics::new(sources, vec![problem]).render(false));
    }

    #[test]
    fn the_end_of_a_file_can_be_pointed_at() {
        let (sources, file) = sources();
        let end = sources.text(file).len();
        let problem = Diagnostic::error("it ends").at(span(file, end, end), "here");
        insta::assert_snapshot!(Diagnostics::new(sources, vec![problem]).render(false));
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
    fn colour_comes_only_when_asked_for() {
        let problem = || vec![Diagnostic::error("wrong").in_file("Tapfile")];
        let diagnostics = Diagnostics::new(Sources::default(), problem());
        assert_eq!(diagnostics.render(false), "error: wrong\n--> Tapfile\n");
        assert!(diagnostics.render(true).contains("\u{1b}["));
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let list = (0..RENDER_LIMIT + 3)
            .map(|n| Diagnostic::error(n.to_string()))
            .collect();
        let text = Diagnostics::new(Sources::default(), list).render(false);
        assert!(text.ends_with("error: 99\n\n… and 3 more\n"), "{text}");
    }

    #[test]
    fn text_from_outside_is_shown_on_one_line() {
        assert_eq!(shown("a b"), "a b");
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}"), r"a\nb\u{1b}[31m\u{202e}");
        assert_eq!(shown(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
        assert_eq!(shown("ß"), "ß");
    }
}
