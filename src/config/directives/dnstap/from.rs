//! The option `from`: the listeners whose frames a sink gets.

use super::{
    super::{
        Findings, Purpose,
        row::{Given, NAME_LIMIT},
    },
    Found,
};
use crate::config::{
    Listen, Sink,
    diagnostics::{Diagnostic, shown},
    lexer::Token,
    nearest::nearest,
    source::Span,
};

/// The largest number of names that the help after an unknown name lists.
const AT_MOST: usize = 8;

/// Reads the names. [`check`] compares them with the listeners.
pub(super) fn read(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    for value in given.values {
        let given = Given { value, ..*given };
        given.text(NAME_LIMIT, findings)?;
        let name = given.word(findings)?;
        if sink.from.iter().any(|known| **known == *name) {
            findings.report(
                value
                    .warning("this listener is given twice", "again here")
                    .help("remove it"),
            );
        } else {
            sink.from.push(name.into());
        }
    }
    Some(())
}

/// Reports the names of listeners that do not exist, and listeners whose frames no sink gets.
pub(in super::super) fn check(
    sinks: &[Found<'_>],
    listeners: &[(Span, Listen)],
    purpose: Purpose,
    findings: &mut Findings<'_>,
) {
    for name in sinks.iter().flat_map(|found| &found.from) {
        if purpose == Purpose::Taps {
            findings.report(
                name.error("`from` has no use here", "this is for a router")
                    .note("this program taps its own messages and takes none from others")
                    .help("remove it"),
            );
            return;
        }
        if listeners
            .iter()
            .all(|(_, listen)| *listen.name != name.text)
        {
            findings.report(unknown(name, listeners));
        }
    }
    if findings.has_errors() || sinks.is_empty() {
        return;
    }
    let gets =
        |found: &Found<'_>, name| found.sink.from.is_empty() || found.sink.from.contains(name);
    for (span, listen) in listeners {
        if sinks.iter().all(|found| !gets(found, &listen.name)) {
            findings.report(
                Diagnostic::warning("no sink gets the frames of this listener")
                    .at(*span, "the frames are received, counted and dropped")
                    .help("add its name to the `from` of a sink, or add a sink without `from`"),
            );
        }
    }
}

fn unknown(name: &Token, listeners: &[(Span, Listen)]) -> Diagnostic {
    let text = name.text.as_str();
    let problem = name.error(
        format!("no listener has the name `{}`", shown(text)),
        "a value of `from`",
    );
    let names = || listeners.iter().map(|(_, listen)| &*listen.name);
    if let Some(meant) = nearest(text, names()) {
        return name.propose(problem, format!("did you mean `{}`?", shown(meant)), meant);
    }
    let all: Vec<_> = names()
        .take(AT_MOST)
        .map(|it| format!("`{}`", shown(it)))
        .collect();
    let more = if listeners.len() > AT_MOST {
        ", …"
    } else {
        ""
    };
    problem
        .note("the name of a listener is its option `name`; without it, its URL as written")
        .help(format!("the names are {}{more}", all.join(", ")))
}

#[cfg(all(test, feature = "resolver", feature = "tls"))]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    fn problems(text: &str) -> String {
        parse(Path::new("Tapfile"), text, &|_| None)
            .diagnostics
            .to_string()
    }

    #[test]
    fn the_names_of_listeners_are_compared_with_the_listeners() {
        let text = "listen @a {\n name ns1\n}\nlisten @b\ndnstap /x {\n from ns1 @b\n name \"from\"\n from ns1\n}";
        let loaded = parse(Path::new("Tapfile"), text, &|_| None);
        insta::assert_snapshot!(loaded.diagnostics, @r"
        Tapfile:8:7: warning: this listener is given twice: again here
            from ns1
          help: remove it
        ");
        let config = loaded.config.expect("no error");
        assert_eq!(config.sinks[0].from, ["ns1".into(), "@b".into()]);
        insta::assert_snapshot!(problems("listen @a {\n name edge-1\n}\ndnstap /x {\n from edge1\n}\ndnstap /y {\n from other\n}"), @r"
        Tapfile:5:7: error: no listener has the name `edge1`: a value of `from`
            from edge1
          help: did you mean `edge-1`?
        Tapfile:8:7: error: no listener has the name `other`: a value of `from`
            from other
          note: the name of a listener is its option `name`; without it, its URL as written
          help: the names are `edge-1`
        ");
        insta::assert_snapshot!(problems("listen @a {\n name a\n}\nlisten @b {\n name b\n}\ndnstap /x {\n from a\n}"), @r"
        Tapfile:4:1: warning: no sink gets the frames of this listener: the frames are received, counted and dropped
            listen @b {
          help: add its name to the `from` of a sink, or add a sink without `from`
        ");
    }

    #[test]
    fn the_names_of_listeners_are_unique() {
        insta::assert_snapshot!(problems("listen @a {\n name ns1\n}\nlisten tcp://127.0.0.1:1 {\n name ns1\n}\ndnstap /x"), @r"
        Tapfile:4:1: error: two listeners have the name `ns1`: second here
            listen tcp://127.0.0.1:1 {
          Tapfile:1:1: first here
          note: the name of a listener without `name` is its URL
          help: give one of them another name with the option `name`
        ");
        insta::assert_snapshot!(problems("listen @a\nlisten tcp://127.0.0.1:1 {\n name @a\n}\ndnstap /x"), @r"
        Tapfile:2:1: error: two listeners have the name `@a`: second here
            listen tcp://127.0.0.1:1 {
          Tapfile:1:1: first here
          note: the name of a listener without `name` is its URL
          help: give one of them another name with the option `name`
        ");
        insta::assert_snapshot!(problems("listen tcp://127.0.0.1:0\nlisten tcp://127.0.0.1:0\ndnstap /x"), @r"
        Tapfile:2:1: error: two listeners have the name `tcp://127.0.0.1:0`: second here
            listen tcp://127.0.0.1:0
          Tapfile:1:1: first here
          note: the name of a listener without `name` is its URL
          help: give one of them another name with the option `name`
        ");
        insta::assert_snapshot!(problems("listen tcp://127.0.0.1:0 {\n name a\n}\nlisten tcp://127.0.0.1:0 {\n name b\n}\ndnstap /x"), @"");
    }

    #[test]
    fn a_prefix_contradicts_an_identity() {
        insta::assert_snapshot!(problems("listen @a\ndnstap /x {\n identity ns1\n identity_prefix fra1/\n}\ndnstap /y {\n identity_prefix \"\"\n}"), @r#"
        Tapfile:4:2: error: `identity_prefix` and `identity` contradict each other: this keeps the identity of each server
            identity_prefix fra1/
          Tapfile:3:2: this replaces it
          help: remove one of them; for one identity in all frames, write `identity fra1/ns1`
        Tapfile:7:18: error: a value of `identity_prefix` is empty: an empty value
            identity_prefix ""
          help: write a value, or remove `identity_prefix`
        "#);
    }
}
