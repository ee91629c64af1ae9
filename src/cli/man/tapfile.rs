//! The manual page of the Tapfile, made from the tables that the parser uses.

use std::io;

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::{Page, marked, see_also, title, verbatim};
use crate::config::manual::{self, Directive, Setting};

const INTRODUCTION: &str = "The Tapfile is the configuration of `tapfan`. It says where dnstap comes in and where it goes. \
    It has at least one `listen` or `connect` line, and one `dnstap` line. `tapfan check` prints every problem of a Tapfile, and how \
    tapfan understood it.";

const SYNTAX: [&str; 5] = [
    "The syntax is that of a Corefile. A directive and its arguments are on one line. A block contains options; its `{` \
     is a separate word on the line of the directive. White space separates words. A word in double quotes may contain \
     white space. `#` starts a comment.",
    "`{$VAR}` and `{%VAR%}` stand for the value of an environment variable.",
    "`import FILE` inserts another file, `import PATTERN` inserts all files that match, and `import NAME` inserts the \
     snippet `(NAME) { … }`.",
    "A SIZE is a number of bytes, or a number with `KiB`, `MiB` or `GiB`.",
    "A TIME is a number with `ms`, `s`, `m` or `h`, or several of these, such as `1m30s`.",
];

const EXAMPLE: &str = "listen unix:///run/tapfan/dnstap.sock {
    group bind
}

dnstap /run/collector/dnstap.sock full
dnstap tls://siem.example.net:6443 full 4 8 {
    name siem
    identity edge-1
}";

pub(super) fn page() -> io::Result<Page> {
    let mut roff = title("TAPFILE", "5");
    roff.control("SH", ["NAME"]);
    roff.text([roman("Tapfile - configuration of tapfan")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("./Tapfile"), roman(", "), bold("/etc/tapfan/Tapfile")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text(marked(INTRODUCTION));
    roff.control("SH", ["SYNTAX"]);
    for paragraph in SYNTAX {
        roff.text(marked(paragraph));
        roff.control("PP", []);
    }
    roff.control("SH", ["DIRECTIVES"]);
    for directive in manual::directives() {
        add_directive(&mut roff, &directive);
    }
    roff.control("SH", ["SOCKETS"]);
    for (form, meaning) in manual::SOCKETS {
        roff.control("TP", []);
        roff.text([bold(form)]);
        roff.text([roman(meaning)]);
    }
    roff.text([roman(
        "A SOCKET has one of these forms. The URL of a listener has one of the first five, with an IP address as host.",
    )]);
    roff.control("SH", ["EXAMPLE"]);
    verbatim(&mut roff, EXAMPLE);
    see_also(
        &mut roff,
        [("tapfan", '1'), ("tapfan-check", '1'), ("tapfan-run", '1')].into_iter(),
    );
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok(Page {
        name: "Tapfile".to_owned(),
        section: '5',
        text,
    })
}

fn add_directive(roff: &mut Roff, Directive { line, options }: &Directive) {
    roff.control("SS", [line.syntax.as_str()]);
    roff.text(explained(line));
    add_words(roff, line);
    for option in options {
        let (name, values) = option
            .syntax
            .split_once(' ')
            .unwrap_or((&option.syntax, ""));
        roff.control("TP", []);
        let mut head = vec![bold(name)];
        if !values.is_empty() {
            head.extend([roman(" "), italic(values)]);
        }
        roff.text(head);
        roff.text(explained(option));
        add_words(roff, option);
    }
}

/// Adds an indented list of the words that are the values of a setting, with their meanings.
fn add_words(roff: &mut Roff, setting: &Setting) {
    let words = manual::words(setting);
    if words.is_empty() {
        return;
    }
    roff.control("RS", []);
    for (word, meaning) in words {
        roff.control("TP", []);
        roff.text([bold(*word)]);
        roff.text(marked(meaning));
    }
    roff.control("RE", []);
}

/// Describes the effect of a setting, with its bounds and its default.
fn explained(setting: &Setting) -> Vec<Inline> {
    let mut line = marked(setting.doc);
    if let Some(scope) = setting.scope {
        line.push(roman("; only for "));
        line.extend(marked(scope));
    }
    let bounds = setting.bounds.clone();
    let default = setting.default.map(|default| format!("default: {default}"));
    let facts: Vec<String> = bounds.into_iter().chain(default).collect();
    if !facts.is_empty() {
        line.push(roman(format!(" ({})", facts.join("; "))));
    }
    line
}
