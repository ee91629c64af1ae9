//! Problems as plain text. A problem consists of place, message, line of the file, and remedy.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
};

use super::{Diagnostic, Diagnostics, RENDER_LIMIT, Severity, shown_up_to};

/// The largest number of characters of a line that are shown.
const LINE_LIMIT: usize = 160;

// === impl Diagnostics ===

/// Writes the same text as [`Display`]: if `main` returns an error, Rust prints that error with `Debug`.
impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Each problem starts on a new line with `FILE:LINE:COLUMN: error: MESSAGE`. After it come indented lines: the line of
/// the file, related places, notes and the remedy.
impl Display for Diagnostics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for problem in self.list.iter().take(RENDER_LIMIT) {
            f.write_str(separator)?;
            self.write(problem, f)?;
            separator = "\n";
        }
        match self.list.len().checked_sub(RENDER_LIMIT + 1) {
            Some(more) => write!(f, "\n… and {} more", more + 1),
            None => Ok(()),
        }
    }
}

impl Error for Diagnostics {}

impl Diagnostics {
    fn write(&self, problem: &Diagnostic, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.position(problem), &problem.origin) {
            (Some(place), _) => write!(f, "{place}: ")?,
            (None, Some(file)) => write!(f, "{file}: ")?,
            (None, None) => {}
        }
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", problem.message)?;
        if let Some(cause) = problem.cause() {
            write!(f, ": {cause}")?;
        }
        let mut labels = problem.labels.iter();
        if let Some(label) = labels.next() {
            let line = self.sources.line(label.span).trim();
            write!(f, "\n    {}", shown_up_to(LINE_LIMIT, line))?;
        }
        for label in labels {
            let place = self.sources.position(label.span);
            write!(f, "\n  {place}: {}", label.text)?;
        }
        for note in &problem.notes {
            write!(f, "\n  note: {}", shown_up_to(usize::MAX, note))?;
        }
        match &problem.help {
            Some(help) => write!(f, "\n  help: {}", shown_up_to(usize::MAX, help)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::source::Sources,
            tests::{sources, span},
        },
        *,
    };

    #[test]
    fn a_problem_has_its_place_its_line_and_the_remedy() {
        let (sources, file) = sources();
        let unknown = Diagnostic::error("unknown option `idenity`")
            .at(span(file, 25, 32), "not an option of `dnstap`")
            .at(span(file, 11, 17), "in this directive")
            .note("a fact")
            .help("did you mean `identity`?");
        let absent = Diagnostic::warning("it is empty").in_file("Other");
        insta::assert_snapshot!(Diagnostics::new(sources, vec![unknown, absent]), @r#"
        Tapfile:3:2: error: unknown option `idenity`: not an option of `dnstap`
            idenity "x
          Tapfile:2:1: in this directive
          note: a fact
          help: did you mean `identity`?
        Other: warning: it is empty
        "#);
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let list = (0..RENDER_LIMIT + 3)
            .map(|n| Diagnostic::error(n.to_string()))
            .collect();
        let text = Diagnostics::new(Sources::default(), list).to_string();
        assert!(text.ends_with("error: 99\n… and 3 more"), "{text}");
    }
}
