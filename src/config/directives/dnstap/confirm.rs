//! `confirm LEVEL { … }`: the confirmation of a sink's frames.

use std::time::Duration;

use super::super::{
    Findings, options,
    row::{Given, Row, Value, described as values},
};
use crate::{
    config::{
        Confirm, FinishBounds, Sink,
        diagnostics::Diagnostic,
        quantity::{Size, Time},
    },
    net::Endpoint,
};

/// The options in the block of `confirm finish`.
pub(in super::super) const OPTIONS: &[Row<FinishBounds>] = &[
    Row {
        name: "bytes",
        value: Value::Size(64 << 10..=16 << 30, |finish, bytes| {
            finish.bytes = bytes as u64;
        }),
        default: "64MiB",
        doc: "the memory of unconfirmed frames at which tapfan asks for a confirmation",
        scope: None,
        describe: |finish| Some(Size(finish.bytes).to_string()),
    },
    Row {
        name: "every",
        value: Value::Time(
            Duration::from_secs(1)..=Duration::from_secs(60 * 60),
            |finish, time| finish.every = time,
        ),
        default: "30s",
        doc: "the age of the oldest unconfirmed frame at which tapfan asks for a confirmation",
        scope: None,
        describe: |finish| Some(Time(finish.every).to_string()),
    },
    Row {
        name: "idle",
        value: Value::Time(
            Duration::from_millis(100)..=Duration::from_secs(60 * 60),
            |finish, time| finish.idle = time,
        ),
        default: "2s",
        doc: "the pause of the senders after which tapfan asks for a confirmation",
        scope: None,
        describe: |finish| Some(Time(finish.idle).to_string()),
    },
];

/// Reads the option with its block.
pub(super) fn read(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    sink.confirm = given.choice(Confirm::ALL, Confirm::label, findings)?;
    sink.finish = FinishBounds::default();
    if sink.confirm == Confirm::Kernel && matches!(sink.endpoint, Endpoint::Unix(_)) {
        let label = "unix sockets have no acknowledgements";
        let problem = given
            .value
            .warning("`confirm kernel` has no effect here", label);
        findings.report(problem.help("remove it, or write `confirm finish`"));
    }
    let Some(inner) = given.inner else {
        return Some(());
    };
    if sink.confirm != Confirm::Finish {
        let message = format!("`confirm {}` has no options", sink.confirm.label());
        findings.report(
            Diagnostic::error(message)
                .at(inner.open, "this opens a block of options")
                .help("remove the block, or write `confirm finish`"),
        );
        return None;
    }
    let statement = inner.as_statement(given.name, given.values);
    let options = options::read(&statement, OPTIONS, findings);
    options.apply(&mut sink.finish, None, findings);
    Some(())
}

/// Describes the setting in one line.
pub(super) fn described(sink: &Sink) -> String {
    let level = sink.confirm.label().to_owned();
    if sink.confirm != Confirm::Finish {
        return level;
    }
    let options = values(OPTIONS, &sink.finish).map(|(name, value)| format!(", {name} {value}"));
    level + &options.collect::<String>()
}

#[cfg(all(test, feature = "resolver"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    fn sink(option: &str) -> Sink {
        let text =
            format!("listen @in\ndnstap tcp://192.0.2.1:6000 {{\n {option}\n queue_bytes 2MiB\n}}");
        let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
        let Some(mut config) = loaded.config else {
            panic!("{}", loaded.diagnostics);
        };
        let sink = config.sinks.remove(0);
        assert_eq!(sink.queue.bytes, 2 << 20, "the next option is read, too");
        sink
    }

    fn problems(option: &str) -> String {
        let text = format!("listen @in\ndnstap tcp://192.0.2.1:6000 {{\n {option}\n}}");
        let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
        loaded.diagnostics.to_string()
    }

    #[test]
    fn confirm_finish_has_defaults_and_a_block() {
        let plain = sink("confirm finish");
        assert_eq!(plain.finish, FinishBounds::default());
        assert_eq!(described(&plain), "finish, bytes 64MiB, every 30s, idle 2s");
        assert_eq!(described(&sink("confirm kernel")), "kernel");
        let text = "confirm finish {\n bytes 8MiB\n every 5s\n idle 500ms\n }";
        for text in [text.to_owned(), text.replace('\n', " ")] {
            let set = sink(&text);
            assert_eq!(set.confirm, Confirm::Finish);
            assert_eq!(
                set.finish,
                FinishBounds {
                    bytes: 8 << 20,
                    every: Duration::from_secs(5),
                    idle: Duration::from_millis(500),
                }
            );
            assert_ne!(set, plain, "a reload notices the change");
        }
    }

    #[test]
    fn problems_say_what_to_write() {
        insta::assert_snapshot!(problems("confirm kernel { every 5s }"), @r"
        Tapfile:3:17: error: `confirm kernel` has no options: this opens a block of options
            confirm kernel { every 5s }
          help: remove the block, or write `confirm finish`
        ");
        insta::assert_snapshot!(problems("confirm finish 5s"), @r"
        Tapfile:3:17: error: `confirm` takes one value: this is left over
            confirm finish 5s
          Tapfile:3:2: of this option
          help: write further options of `confirm` in a block after it, in braces
        ");
        insta::assert_snapshot!(problems("confirm finish {\n  interval 5s\n  evry 5s\n  every 5\n  size 1MiB\n }"), @r"
        Tapfile:4:3: error: unknown option `interval`: not an option of `confirm`
            interval 5s
          Tapfile:3:2: in this directive
          help: tapfan calls it `every`
        Tapfile:5:3: error: unknown option `evry`: not an option of `confirm`
            evry 5s
          Tapfile:3:2: in this directive
          help: did you mean `every`?
        Tapfile:6:9: error: `5` has no unit: the value of `every`
            every 5
          help: add the unit, as in `10s` or `500ms`
        Tapfile:7:3: error: unknown option `size`: not an option of `confirm`
            size 1MiB
          Tapfile:3:2: in this directive
          help: tapfan calls it `bytes`
        ");
        insta::assert_snapshot!(problems("confirm {\n  every 5s\n }"), @r"
        Tapfile:3:2: error: `confirm` needs a value: nothing follows it on its line
            confirm {
          help: the form is `confirm written|kernel|finish`: when a frame counts as delivered; until then it is kept, and sent again after a lost connection (default: written)
        ");
        insta::assert_snapshot!(problems("confirm finish {\n  every 5s {\n  }\n }\n acks yes"), @r"
        Tapfile:4:12: error: an option has no block of its own: this opens one
            every 5s {
          help: put a brace that belongs to a value in quotes
        Tapfile:7:2: error: unknown option `acks`: not an option of `dnstap`
            acks yes
          Tapfile:2:1: in this directive
          help: tapfan calls it `confirm`
        ");
    }
}
