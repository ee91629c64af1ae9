//! Functions that read the sections and tables of a Markdown text.

/// Returns the text below a heading such as `## Metrics`. The text ends at the next heading of the same or a higher
/// level.
pub(crate) fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let level = heading.split(' ').next().map_or(0, str::len);
    let mut at = 0;
    let mut start = None;
    for line in text.split_inclusive('\n') {
        let hashes = line.len() - line.trim_start_matches('#').len();
        match start {
            None if line.trim_end() == heading => start = Some(at + line.len()),
            Some(start) if (1..=level).contains(&hashes) => return &text[start..at],
            _ => {}
        }
        at += line.len();
    }
    let start = start.unwrap_or_else(|| panic!("there is no heading {heading:?}"));
    &text[start..]
}

/// Returns the cells of every row of the tables in `text`. Leaves out the rows with the column titles.
pub(crate) fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in text.lines() {
        if !line.starts_with('|') {
            in_table = false;
        } else if line.starts_with("|---") {
            in_table = true;
        } else if in_table {
            let line = line.trim_matches('|').replace("\\|", "\u{1}");
            let cells = line.split('|');
            rows.push(
                cells
                    .map(|cell| cell.trim().replace('\u{1}', "|"))
                    .collect(),
            );
        }
    }
    rows
}
