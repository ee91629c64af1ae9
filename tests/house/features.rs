//! Tests of the features of the crate. Each feature must be documented, together with the number of crates that a
//! program with this feature depends on. The feature `tap` must need only few crates.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use crate::{
    assert_none,
    markdown::code_spans,
    tables::{rows, section},
    tree::{read, root},
};

/// Crates that the feature `tap` must not bring into a DNS server.
const NOT_WITH_TAP: [&str; 7] = [
    "axum",
    "clap",
    "hickory-resolver",
    "hyper",
    "prometheus-client",
    "ratatui",
    "rustls",
];

/// The largest number of crates that the feature `tap` may bring into a DNS server.
const MOST_WITH_TAP: usize = 59;

#[test]
fn every_feature_is_documented() {
    let manifest = read("Cargo.toml");
    let (_, features) = manifest.split_once("\n[features]\n").expect("features");
    let (features, _) = features.split_once("\n\n[").expect("the next section");
    let declared: BTreeSet<&str> = features
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .filter(|name| *name != "default")
        .collect();
    let mut missing = Vec::new();
    for (document, heading) in [
        ("docs/dependencies.md", "## Features"),
        ("docs/ARCHITECTURE.md", "### The public surface"),
    ] {
        let text = read(document);
        // Reads only the first table, which lists the features. The second table has the numbers of crates.
        let table = section(&text, heading).split("```").next();
        let rows = rows(table.unwrap_or_default());
        let first = |row: &Vec<String>| code_spans(&row[0]).next().map(str::to_owned);
        let documented: BTreeSet<String> = rows.iter().filter_map(first).collect();
        let lacks = |name: &&&str| !documented.contains(**name);
        let names = declared.iter().filter(lacks);
        missing.extend(names.map(|name| format!("{document}: `{name}`")));
    }
    assert_none(
        &missing,
        "Give these features their rows in these documents.",
    );
}

#[test]
fn the_crates_of_a_combination_are_counted() {
    let text = read("docs/dependencies.md");
    let mut wrong = Vec::new();
    let mut counted = 0;
    for row in rows(section(&text, "## Features")) {
        let [_, arguments, number] = row.as_slice() else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else {
            continue;
        };
        let arguments = arguments.trim_matches('`');
        let found = crates(arguments).len();
        counted += 1;
        if found != number {
            wrong.push(format!("`cargo tree {arguments}`: {found}, not {number}"));
        }
    }
    assert!(counted >= 5, "only {counted} combinations were found");
    assert_none(&wrong, "Correct the numbers in docs/dependencies.md.");
}

#[test]
fn a_tap_brings_few_crates() {
    let crates = crates("--no-default-features --features tap");
    let unwanted: Vec<String> = NOT_WITH_TAP
        .iter()
        .filter(|name| crates.iter().any(|it| it.split(' ').next() == Some(name)))
        .map(|name| (*name).to_owned())
        .collect();
    assert_none(
        &unwanted,
        "DNS servers that use the feature `tap` must not get these crates.",
    );
    let number = crates.len();
    assert!(
        number <= MOST_WITH_TAP,
        "a DNS server gets {number} crates with its taps: {crates:#?}"
    );
}

/// Returns the crates in a program that is built with these arguments of cargo for Linux with glibc. Each item is the
/// name and the version of a crate.
fn crates(arguments: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "-e", "normal"])
        .args(["--no-dedupe", "--prefix", "none"])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .args(arguments.split_whitespace())
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).expect("names");
    lines.lines().map(str::to_owned).collect()
}
