//! Tests that the rows and docs/configuration.md agree in both directions, and that the rows do not contradict each
//! other.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
};

use super::{
    connect, describe, dnstap, listen, names, resolver, router,
    row::{Row, described},
};
use crate::config::{Config, ListenAddress, parse};

/// The default and the bounds of each option. The key is the option's syntax.
type Facts = BTreeMap<String, (String, String)>;

fn reference() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    fs::read_to_string(path).expect("the reference")
}

/// Returns the section of a directive, without its heading.
fn section<'a>(text: &'a str, directive: &str) -> &'a str {
    let heading = format!("\n## {directive}\n");
    let (_, rest) = text.split_once(&heading).expect("the section");
    rest.split("\n## ").next().unwrap_or_default()
}

/// Returns the text without spaces, backticks and commas. For example, `1 MiB` becomes 1MiB.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !" `,".contains(*c)).collect()
}

/// Returns the rows of all tables in `section` whose first column has the heading `heading`.
fn documented(section: &str, heading: &str) -> Facts {
    let cells = |line: &str| -> Vec<String> {
        let line = line.replace("\\|", "\u{1}");
        let cells = line.trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().replace('\u{1}', "|"))
            .collect()
    };
    let mut facts = Facts::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        let headings = cells(line);
        if !line.starts_with('|') || headings[0] != heading {
            continue;
        }
        let column = |name: &str| headings.iter().position(|heading| heading == name);
        let default = column("default").expect("a column for the default");
        let bounds = column("bounds").expect("a column for the bounds");
        for line in lines
            .by_ref()
            .skip(1)
            .take_while(|line| line.starts_with('|'))
        {
            let cells = cells(line);
            for syntax in cells[0].split('`').skip(1).step_by(2) {
                let values = (plain(&cells[default]), plain(&cells[bounds]));
                let earlier = facts.insert(syntax.to_owned(), values);
                assert!(earlier.is_none(), "{syntax} is there twice");
            }
        }
    }
    facts
}

/// Compares rows with the tables of their section. `syntax` returns the text that a row has in the first column.
fn compare<T>(documented: &Facts, rows: &[Row<T>], syntax: impl Fn(&Row<T>) -> String) {
    let names: Vec<&String> = documented.keys().collect();
    let mut expected: Vec<String> = rows.iter().map(&syntax).collect();
    expected.sort();
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    for row in rows {
        let name = syntax(row);
        let (default, bounds) = &documented[&name];
        assert_eq!(*default, plain(row.default), "the default of {name}");
        let expected = plain(&row.bounds().unwrap_or_default());
        assert_eq!(*bounds, expected, "the bounds of {name}");
    }
}

#[test]
fn the_tables_of_the_reference_are_those_of_the_rows() {
    fn check<T>(text: &str, directive: &str, rows: &[Row<T>]) {
        let section = section(text, directive);
        compare(&documented(section, "option"), rows, Row::syntax);
        let usage = section.lines().skip_while(|line| !line.ends_with(" {"));
        let usage = usage.skip(1).take_while(|line| !line.ends_with('}'));
        let usage: Vec<&str> = usage.map(str::trim).collect();
        let expected: Vec<String> = rows.iter().map(Row::syntax).collect();
        assert_eq!(usage, expected);
    }
    let text = reference();
    check(&text, "dnstap", dnstap::OPTIONS);
    check(&text, "listen", listen::OPTIONS);
    check(&text, "connect", connect::OPTIONS);
    check(&text, "resolver", resolver::OPTIONS);
    check(&text, "admin", router::HOST);
    let confirm = documented(section(&text, "dnstap"), "option of `confirm finish`");
    compare(&confirm, dnstap::CONFIRM, Row::syntax);
    let spool = documented(section(&text, "dnstap"), "option of `spool`");
    compare(&spool, dnstap::SPOOL, Row::syntax);
    let arguments = documented(section(&text, "dnstap"), "argument");
    compare(&arguments, dnstap::ARGUMENTS, |row| row.name.to_owned());
}

/// Each of the router's own lines has a section in the reference, not a row in a table.
#[test]
fn the_sections_of_the_reference_are_those_of_the_directives() {
    let text = reference();
    for row in router::LINES {
        let section = section(&text, row.name);
        let usage: Vec<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .map(|line| line.trim_end_matches(" {"))
            .collect();
        for syntax in row.value.placeholder().split('|') {
            let line = format!("{} {syntax}", row.name);
            let whole = row.syntax();
            assert!(
                usage.contains(&&*line) || usage.contains(&&*whole),
                "{line}"
            );
        }
        let facts = row.bounds().into_iter().chain([row.default.to_owned()]);
        for fact in facts {
            let said = plain(&section.replace('\n', " "));
            assert!(said.contains(&plain(&fact)), "{}: {fact}", row.name);
        }
    }
    let sections = text.lines().filter_map(|line| line.strip_prefix("## "));
    let documented = sections.filter(|name| !name.contains(' ') || name.contains('_'));
    let mut documented: Vec<&str> = documented.filter(|name| *name != "Environment").collect();
    let mut directives: Vec<&str> = names().collect();
    documented.sort_unstable();
    directives.sort_unstable();
    assert_eq!(documented, directives);
}

fn config(text: &str) -> Config {
    let loaded = parse("Tapfile".as_ref(), text, &|_| None);
    let problems = loaded.diagnostics;
    loaded
        .config
        .unwrap_or_else(|| panic!("{text}\n{problems}"))
}

/// Each setting has a row, which contains the default as a text. This text must be the one that `describe` shows for
/// the default.
#[test]
fn defaults_are_what_the_rows_say() {
    fn check<T>(rows: &[Row<T>], model: &T, others: &[&str]) {
        for (name, value) in described(rows, model) {
            let row = rows.iter().find(|row| row.name == name).expect("a row");
            if !others.contains(&name) {
                assert_eq!(value, row.default, "{name}");
            }
        }
    }
    let config = config(
        "listen /in\nlisten tls://[::1]:0 {\n cert a\n key b\n}\ndnstap tls://c.example:1\ndnstap file:///f\ndnstap kafka://c.example/t\ndnstap listen /out\ndnstap listen tls://[::1]:1 {\n cert a\n key b\n}\nresolver { }",
    );
    let [unix, tls] = config.listeners.as_slice() else {
        panic!("two listeners");
    };
    let of = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    let lines =
        |listen| described(listen::OPTIONS, listen).map(|(name, value)| format!("{name}: {value}"));
    assert_eq!(
        lines(unix).collect::<Vec<_>>(),
        of(&[
            "name: /in",
            "identity: none",
            "max_connections: 1024",
            "max_frame: 1MiB",
            "mode: 0660",
            "owner: the user of the process",
            "group: the group of the process",
        ])
    );
    assert_eq!(lines(tls).last().as_deref(), Some("client_ca: none"));
    let dialled = self::config("connect tls+srv://_dnstap._tcp.c.example\ndnstap @out");
    let dialled = &dialled.listeners[0];
    check(connect::OPTIONS, dialled, &["name", "server_name"]);
    let rows = described(connect::OPTIONS, dialled).count();
    assert_eq!(rows, connect::OPTIONS.len(), "every row applies");
    let mut shown = HashSet::new();
    for sink in &config.sinks {
        // The third argument lists the rows that are not compared: their values are shown with units, or depend on
        // other settings.
        check(dnstap::ARGUMENTS, sink, &["writebuffer", "queue"]);
        let others: &[&str] = match sink.bound() {
            Some(ListenAddress::Tls(..)) => &["name", "queue_bytes", "tls", "cert", "key", "ca"],
            _ => &["name", "queue_bytes"],
        };
        check(dnstap::OPTIONS, sink, others);
        shown.extend(described(dnstap::OPTIONS, sink).map(|(name, _)| name));
    }
    assert_eq!(shown.len(), dnstap::OPTIONS.len(), "every row applies");
    check(router::LINES, &config, &["memory"]);
    check(resolver::OPTIONS, &config.resolver, &[]);
}

/// Setting an option to its default does not change the configuration.
#[test]
fn a_written_default_changes_nothing() {
    fn check<T>(rows: &[Row<T>], tapfile: impl Fn(&str, &str) -> String) -> usize {
        let quantities = rows.iter().filter(|row| row.bounds().is_some());
        let defaults =
            quantities.filter(|row| row.default.starts_with(|c: char| c.is_ascii_digit()));
        let defaults = defaults.filter(|row| !row.default.contains('×'));
        let mut seen = 0;
        for row in defaults {
            let written = format!("{} {}", row.name, row.default);
            assert_eq!(
                config(&tapfile(row.name, &written)),
                config(&tapfile(row.name, "")),
                "{written}"
            );
            seen += 1;
        }
        seen
    }
    let seen = check(dnstap::OPTIONS, |name, option| {
        let socket = match name {
            "max_collectors" | "mode" => "listen /s",
            "linger" => "kafka://c.example/t",
            _ => "tcp://c.example:1",
        };
        format!("listen @in\ndnstap {socket} {{\n{option}\n}}")
    }) + check(listen::OPTIONS, |_, option| {
        format!("listen @in {{\n{option}\n}}\ndnstap /s")
    }) + check(connect::OPTIONS, |_, option| {
        format!("connect tcp://c.example:1 {{\n{option}\n}}\ndnstap /s")
    }) + check(resolver::OPTIONS, |_, option| {
        format!("listen @in\ndnstap /s\nresolver {{\n{option}\n}}")
    }) + check(router::LINES, |_, line| {
        format!("listen @in\ndnstap /s\n{line}")
    });
    assert!(seen >= 7, "{seen}");
}

#[test]
fn every_row_is_complete_and_unique() {
    fn check<T>(rows: &[Row<T>]) {
        for (index, row) in rows.iter().enumerate() {
            assert!(!row.default.is_empty(), "{}", row.name);
            assert!(row.name.len() <= describe::WIDTH, "{}", row.name);
            assert!(
                row.doc.len() > 10 && !row.doc.ends_with('.'),
                "{}",
                row.name
            );
            assert!(
                rows[..index].iter().all(|other| other.name != row.name),
                "{}",
                row.name
            );
        }
    }
    check(dnstap::ARGUMENTS);
    check(dnstap::OPTIONS);
    check(dnstap::CONFIRM);
    check(dnstap::SPOOL);
    check(listen::OPTIONS);
    check(connect::OPTIONS);
    check(resolver::OPTIONS);
    check(router::HOST);
    check(router::LINES);
}
