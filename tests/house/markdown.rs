//! The parts of a Markdown text. `tests/docs.rs` uses them, too.

/// The text without fenced blocks.
pub(crate) fn prose(text: &str) -> String {
    let mut open = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        } else if !open {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The content of all code spans.
pub(crate) fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
