//! Tests that each drop reason, state, log line, alert and document has a row in the documents, and that each such row
//! matches something in the source code.
//!
//! Two more lists are checked elsewhere: the options in `src/config/directives`, and the metrics of a running router in
//! `tests/behaviour/admin_binary.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    assert_none,
    markdown::code_spans,
    source::{Source, matching, sources},
    tables::{rows, section},
    tree::{files, read},
};

/// The part of the documents that lists all labels of an enum.
enum Place {
    /// The first column of the tables below a heading. The two values are the document and the heading.
    Rows(&'static str, &'static str),
    /// The first column of one table. The two values are the document and the title of that column.
    Column(&'static str, &'static str),
    /// The last cell of one row. The two values are the document and the name in the first cell of that row.
    Row(&'static str, &'static str),
    /// No document lists the labels. The text says why.
    Nowhere(#[allow(dead_code, reason = "for the reader of the table")] &'static str),
}

/// Every enum that the macro `closed_set!` declares, with the place that lists its labels.
const CLOSED_SETS: &[(&str, Place)] = &[
    (
        "DropReason",
        Place::Rows("docs/guide.md", "## What is lost and why"),
    ),
    ("Exclusion", Place::Rows("docs/filters.md", "## Counts")),
    ("ErrorReason", Place::Rows("docs/guide.md", "## Listeners")),
    (
        "Reason",
        Place::Rows("docs/guide.md", "### Moving and scaling collectors"),
    ),
    (
        "VerdictWord",
        Place::Rows("docs/reference.md", "## The verdict"),
    ),
    (
        "State",
        Place::Row("docs/reference.md", "tapfan_sink_state"),
    ),
    (
        "RouterPhase",
        Place::Row("docs/reference.md", "tapfan_phase"),
    ),
    ("ValidityState", Place::Row("docs/reference.md", "validity")),
    (
        "WhenFull",
        Place::Nowhere(
            "the values of an option, which `src/config/directives` compares with its row",
        ),
    ),
    (
        "MessageType",
        Place::Nowhere("the names are those of dnstap's schema, proto/dnstap.proto"),
    ),
    (
        "Stage",
        Place::Nowhere("error texts begin with it, and the text says the rest"),
    ),
    (
        "Compression",
        Place::Nowhere("the option `compress` lists them, and its row is compared"),
    ),
    (
        "KafkaCompression",
        Place::Nowhere("the option `compression` lists them, and its row is compared"),
    ),
    (
        "RecordKey",
        Place::Nowhere("the option `record_key` lists them, and its row is compared"),
    ),
    (
        "SaslMechanism",
        Place::Nowhere("the documentation of the option `sasl` lists them"),
    ),
    (
        "ReadyWhen",
        Place::Nowhere("the option `ready_when` lists them, and its row is compared"),
    ),
    (
        "Confirm",
        Place::Rows("docs/configuration.md", "### Confirmed delivery"),
    ),
    (
        "Endpoints",
        Place::Nowhere("the option `endpoints` lists them, and its row is compared"),
    ),
    (
        "WireType",
        Place::Nowhere("the names are those of protobuf's encoding"),
    ),
    (
        "Protocol",
        Place::Nowhere("the names are those of dnstap's schema, proto/dnstap.proto"),
    ),
    (
        "ControlKind",
        Place::Nowhere("the names are those of Frame Streams' specification"),
    ),
    (
        "Placeholder",
        Place::Column("docs/configuration.md", "placeholder"),
    ),
    ("OwnLabel", Place::Column("docs/configuration.md", "label")),
    (
        "Sort",
        Place::Nowhere("`top` shows them in its list of keys"),
    ),
];

#[test]
fn every_reason_and_state_is_documented_and_exists() {
    let mut declared: BTreeMap<String, Vec<String>> = sources()
        .iter()
        .flat_map(|source| closed_sets(&source.text_without_tests()))
        .collect();
    let mut problems = Vec::new();
    for (name, place) in CLOSED_SETS {
        let Some(words) = declared.remove(*name) else {
            panic!(
                "no `closed_set!` declares {name}: correct CLOSED_SETS in tests/house/documented.rs"
            );
        };
        let (document, mut documented) = match place {
            Place::Rows(document, heading) => (document, first_column(document, heading)),
            Place::Column(document, heading) => (document, column(document, heading)),
            Place::Row(document, row) => (document, last_cell(document, row)),
            Place::Nowhere(_) => continue,
        };
        for word in &words {
            if !documented.contains(word) {
                problems.push(format!(
                    "{document} has no row for `{word}` of {name}: add it"
                ));
            }
        }
        documented.retain(|word| !words.contains(word));
        for word in documented {
            problems.push(format!(
                "{document} has a row for `{word}`, but {name} does not: remove it"
            ));
        }
    }
    assert_none(&problems, "Change the documents as said.");
    assert!(
        declared.is_empty(),
        "say in CLOSED_SETS of tests/house/documented.rs which document lists the words of {:?}",
        declared.keys()
    );
}

/// Returns the enums that a source declares with the macro `closed_set!`, each with the labels of its variants.
fn closed_sets(text: &str) -> Vec<(String, Vec<String>)> {
    let declarations = text.split("closed_set! {").skip(1);
    let sets = declarations.map(|rest| {
        let (_, rest) = rest.split_once("enum ").expect("an enum");
        let (name, rest) = rest.split_once('{').expect("its variants");
        let body = &rest[..matching(rest, '{', '}')];
        let labels = body.split("=> \"").skip(1);
        let labels = labels.filter_map(|label| Some(label.split_once('"')?.0.to_owned()));
        (name.trim().to_owned(), labels.collect())
    });
    sets.collect()
}

fn first_column(document: &str, heading: &str) -> Vec<String> {
    let text = read(document);
    let below = section(&text, heading);
    // Leaves out the subsections of the section.
    let below = below.split("\n#").next().unwrap_or_default();
    let rows = rows(below);
    let words = rows.iter().flat_map(|row| code_spans(&row[0]));
    words.map(str::to_owned).collect()
}

fn column(document: &str, heading: &str) -> Vec<String> {
    let text = read(document);
    let start = format!("| {heading} |");
    let table = text.lines().skip_while(|line| !line.starts_with(&start));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let words = rows.filter_map(|row| code_spans(row).next());
    words.map(str::to_owned).collect()
}

fn last_cell(document: &str, name: &str) -> Vec<String> {
    let rows = rows(&read(document));
    let row = rows.iter().find(|row| row[0] == format!("`{name}`"));
    let row = row.unwrap_or_else(|| panic!("{document} has no row `{name}`"));
    let cell = row.last().expect("a cell");
    code_spans(cell).map(str::to_owned).collect()
}

/// A log line: its level and its text. A `{…}` in the text matches any text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    level: String,
    text: String,
}

#[test]
fn every_log_line_from_info_on_is_documented_and_every_documented_one_is_written() {
    let texts: Vec<String> = sources().iter().map(Source::text_without_tests).collect();
    let is_in_sources = |words: &str| texts.iter().any(|text| text.contains(words));
    let written: BTreeSet<Event> = texts.iter().flat_map(|text| events(text)).collect();
    let log = read("docs/log.md");
    let log = section(&log, "## Log lines");
    let (mut documented, mut problems) = (Vec::new(), Vec::new());
    for row in rows(log) {
        let [level, text, fields, _] = row.as_slice() else {
            panic!("docs/log.md: {row:?} does not have four cells");
        };
        for field in code_spans(fields) {
            // Instead of the names of fields, a row may contain the text of another row that has the same fields.
            if !is_in_sources(field) && !log.contains(&format!("| `{field}` |")) {
                problems.push(format!("{text} has no field `{field}`: correct the row"));
            }
        }
        // The text of a log line may contain code in backquotes itself.
        let text = text
            .trim_start_matches('`')
            .trim_end_matches('`')
            .to_owned();
        let level = level.clone();
        documented.push(Event { level, text });
    }
    for row in &documented {
        let Event { level, text } = row;
        // Not all log lines are written with a macro: the log writes lines about itself directly. The text of such a
        // line must be in a string of the source code.
        let is_event = written.iter().any(|event| event.has_text_of(row));
        let is_literal = !is_event && is_in_sources(&format!("\"{text}"));
        if !is_literal && !written.iter().any(|event| event.matches(row)) {
            problems.push(format!(
                "`{text}` is not logged at {level}: correct or remove the row"
            ));
        }
    }
    for event in written.iter().filter(|event| event.level != "debug") {
        let Event { level, text } = event;
        if !documented.iter().any(|row| event.matches(row)) {
            problems.push(format!("`{text}`, logged at {level}, has no row: add it"));
        }
    }
    assert_none(&problems, "Change the tables of docs/log.md as said.");
    assert!(
        written.len() > 60,
        "only {} log lines were found",
        written.len()
    );
}

/// Returns the log lines that a source file writes at the level `debug` or a higher level. The text of a log line is
/// the last string in the call of the macro.
fn events(source: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for level in ["debug", "info", "warn", "error"] {
        for (place, call) in source.match_indices(&format!("{level}!(")) {
            if source[..place].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            let (mut depth, mut last, mut text) = (1, None, None::<String>);
            let mut rest = source[place + call.len()..].chars();
            while let Some(next) = (depth > 0).then(|| rest.next()).flatten() {
                match (&mut text, next) {
                    (Some(_), '"') if depth == 1 => last = text.take(),
                    (Some(_), '"') => text = None,
                    (Some(text), '\\') => text.extend(rest.next()),
                    (Some(text), next) => text.push(next),
                    (None, '"') => text = Some(String::new()),
                    (None, '(') => depth += 1,
                    (None, ')') => depth -= 1,
                    (None, _) => {}
                }
            }
            events.extend(last.map(|text| Event {
                level: level.to_owned(),
                text,
            }));
        }
    }
    events
}

impl Event {
    fn matches(&self, row: &Self) -> bool {
        self.level == row.level && self.has_text_of(row)
    }

    /// Returns whether this log line has the text of the row. The row may contain only the beginning of the text.
    fn has_text_of(&self, row: &Self) -> bool {
        let mut parts = self.text.split(['{', '}']).step_by(2);
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = row.text.strip_prefix(first) else {
            return first.starts_with(&row.text) && !row.text.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return part.starts_with(rest),
            }
        }
        rest.is_empty()
    }
}

#[test]
fn every_alert_is_in_the_index_of_the_runbook() {
    let rules = read("deploy/monitoring/rules.yaml");
    let mut alerts = BTreeMap::<&str, BTreeSet<&str>>::new();
    for alert in rules.split("- alert: ").skip(1) {
        let (name, rest) = alert.split_once('\n').expect("a line");
        let severity = rest
            .split_once("severity: ")
            .and_then(|(_, rest)| rest.lines().next())
            .unwrap_or_else(|| panic!("deploy/monitoring/rules.yaml: {name} has no severity"));
        alerts
            .entry(name.trim())
            .or_default()
            .insert(severity.trim());
    }
    let runbook = read("docs/runbook.md");
    let (index, _) = runbook.split_once("\n## ").expect("sections");
    let mut indexed = BTreeMap::new();
    let rows = rows(index);
    for row in &rows {
        let name = row[0].trim_start_matches('[').split(']').next();
        let severities = row[1].split(", then ").collect::<BTreeSet<&str>>();
        indexed.insert(name.expect("a name"), severities);
    }
    let mut problems = Vec::new();
    for (name, severities) in &alerts {
        match indexed.remove(name) {
            None => problems.push(format!("{name} has no row: add it")),
            Some(row) if row != *severities => {
                problems.push(format!(
                    "{name} has the severities {severities:?}, not {row:?}"
                ));
            }
            Some(_) => {}
        }
    }
    problems.extend(
        indexed
            .keys()
            .map(|name| format!("{name} does not exist: remove its row")),
    );
    assert_none(
        &problems,
        "Correct the index of docs/runbook.md; deploy/monitoring/rules.yaml has the alerts.",
    );
    assert!(alerts.len() > 5, "only {} alerts were found", alerts.len());
}

#[test]
fn readme_names_every_document() {
    let readme = read("README.md");
    let list = section(&readme, "## More documents");
    let is_missing = |document: &String| !list.contains(&format!("]({document})"));
    let missing: Vec<String> = files("docs", "md").into_iter().filter(is_missing).collect();
    assert_none(
        &missing,
        "Add these documents to \"More documents\" in README.md.",
    );
}

#[test]
fn a_log_line_is_found_in_its_call() {
    let source = r#"
        warn!(sink, cause = %f("not this"), "{subject} is down");
        tracing::info!("a \"quoted\" line");
        my_info!("nothing");
    "#;
    let found = events(source);
    let event = |level: &str, text: &str| Event {
        level: level.to_owned(),
        text: text.to_owned(),
    };
    let down = event("warn", "{subject} is down");
    assert_eq!(found, [event("info", "a \"quoted\" line"), down]);
    assert!(found[1].matches(&event("warn", "an endpoint is down")));
    assert!(!found[1].matches(&event("warn", "an endpoint is up")));
    assert!(!found[1].matches(&event("info", "an endpoint is down")));
    let lost = event("warn", "frames were lost in the last {}");
    assert!(lost.matches(&event("warn", "frames were lost in the last")));
    assert!(!lost.matches(&event("warn", "frames were found")));
}
