//! Problems drawn with their lines, like the errors of rustc.

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet, normalize_untrusted_str,
};

use super::{
    super::source::{FileId, Sources, Span},
    Diagnostic, Diagnostics, RENDER_LIMIT, Severity,
};

/// A part of a file: the lines on which some spans start, and all lines between the first and the last of them.
struct Window<'a> {
    text: &'a str,
    /// The offset of `text` in the file.
    start: usize,
    /// The line number of the first line of `text`.
    line: usize,
}

// === impl Diagnostics ===

impl Diagnostics {
    /// Renders all problems with their lines. There is an empty line between two problems. The text ends with a line
    /// end, or is empty if there are no problems.
    ///
    /// If `color` is true, the text contains terminal escapes for colours.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let problems = self.list.iter().take(RENDER_LIMIT);
        let drawn = problems.map(|it| renderer.render(&it.report(&self.sources)) + "\n");
        let mut text = drawn.collect::<Vec<_>>().join("\n");
        if let Some(more) = self.list.len().checked_sub(RENDER_LIMIT + 1) {
            text.extend(["\n… and ", &(more + 1).to_string(), " more\n"]);
        }
        text
    }
}

// === impl Diagnostic ===

impl Diagnostic {
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

    /// Returns the files of the labels, each file once. The file with the problem comes first.
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

    /// Returns the part of a span that is on the span's first line. Offsets are counted from the start of the window.
    fn clip(&self, span: Span) -> std::ops::Range<usize> {
        let start = span.start.saturating_sub(self.start).min(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default().len();
        let length = span.end.saturating_sub(span.start).min(line);
        start..start + length
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{sources, span},
        *,
    };

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
}
