//! `spool DIR SIZE { … }`: the spool of a sink.

use std::{path::PathBuf, time::Duration};

use super::super::{
    Findings, features,
    options::{self, Options},
    row::{Given, Row, Value, described as values, understood},
};
use crate::config::{
    Endpoints, Sink, Spool, SpoolSync, WhenFull,
    parser::{Block, Inner, Statement},
    quantity::{self, Size, Time},
};

pub(in super::super) const OPTIONS: &[Row<Spool>] = &[
    Row {
        name: "sync",
        value: Value::One("TIME|always|never", |spool, given, findings| {
            spool.sync = sync(given, findings)?;
            Some(())
        }),
        default: "200ms",
        doc: "the longest time until written frames are safe from a power loss",
        scope: None,
        describe: |spool| {
            Some(match spool.sync {
                SpoolSync::Within(time) => Time(time).to_string(),
                SpoolSync::Always => "always".to_owned(),
                SpoolSync::Never => "never".to_owned(),
            })
        },
    },
    Row {
        name: "age",
        value: Value::Time(
            Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600),
            |spool, age| spool.age = Some(age),
        ),
        default: "no limit",
        doc: "the age after which frames are dropped",
        scope: None,
        describe: |spool| Some(Time(spool.age?).to_string()),
    },
    Row {
        name: "when_full",
        value: Value::One("newest|oldest", |spool, given, findings| {
            spool.when_full = given.choice(WhenFull::ALL, WhenFull::label, findings)?;
            Some(())
        }),
        default: "newest",
        doc: "which frames a full spool drops",
        scope: None,
        describe: |spool| Some(spool.when_full.label().to_owned()),
    },
    Row {
        name: "segment",
        value: Value::Size(64 << 10..=1 << 30, |spool, bytes| {
            spool.segment = Some(bytes as u64);
        }),
        default: "64MiB, at most SIZE / 4",
        doc: "the length of a file",
        scope: None,
        describe: |spool| Some(Size(spool.segment_length()).to_string()),
    },
];

/// The bounds of SIZE, in bytes.
const SIZES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 44;

/// The bounds of `sync`.
const SYNCS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);

/// Reads the option with its block.
pub(super) fn read(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    features::check_spool(given.name, findings);
    let [_, size] = given.values else {
        return None;
    };
    let folder = PathBuf::from(given.word(findings)?);
    let bytes = understood(size, "spool", quantity::size(&size.text, &SIZES), findings);
    let mut spool = Spool::new(folder, bytes.unwrap_or(*SIZES.end()));
    if let Some(inner) = given.inner {
        let statement = statement(given, inner);
        let options = options::read(&statement, OPTIONS, findings);
        options.apply(&mut spool, None, findings);
        check_segment(&spool, &options, findings);
    }
    bytes?;
    sink.spool = Some(spool);
    Some(())
}

/// Converts the option into a directive, so that the block can be read like that of a directive.
fn statement(given: &Given<'_>, inner: &Inner) -> Statement {
    let deeper = inner.deeper.map(|open| Inner {
        after: inner.tokens.len() + 1,
        open,
        tokens: Vec::new(),
        deeper: None,
    });
    Statement {
        name: given.name.clone(),
        arguments: given.values.to_vec(),
        block: Some(Block {
            tokens: inner.tokens.clone(),
            inner: deeper.into_iter().collect(),
        }),
    }
}

fn check_segment(spool: &Spool, options: &Options<'_, Spool>, findings: &mut Findings<'_>) {
    if let (Some(given), Some(segment)) = (options.get("segment"), spool.segment)
        && spool.size < segment.saturating_mul(Spool::FILES)
    {
        let most = Size(spool.size / Spool::FILES);
        let problem = given.value.error(
            format!("a spool has room for at least {} files", Spool::FILES),
            "this file would be too long",
        );
        findings.report(problem.help(format!("write at most `segment {most}`, or a larger SIZE")));
    }
}

fn sync(given: &Given<'_>, findings: &mut Findings<'_>) -> Option<SpoolSync> {
    let value = given.value;
    match value.text.as_str() {
        "always" => Some(SpoolSync::Always),
        "never" => Some(SpoolSync::Never),
        text => {
            let time = quantity::time(text, &SYNCS);
            understood(value, "sync", time, findings).map(SpoolSync::Within)
        }
    }
}

/// Reports settings of the sink that do not work with a spool.
pub(super) fn check(sink: &Sink, options: &Options<'_, Sink>, findings: &mut Findings<'_>) {
    let Some(given) = options.get("spool") else {
        return;
    };
    if options.get("name").is_none() {
        let problem = given.name.error(
            "a sink with a spool needs a name",
            "after a restart, the name shows which sink the frames on the disk belong to",
        );
        findings.report(problem.help("add a line to this block, such as `name siem`"));
    }
    if sink.endpoints == Endpoints::All
        && let Some(all) = options.get("endpoints")
    {
        let problem = given.name.error(
            "`spool` does not work with `endpoints all`",
            "one spool cannot serve several queues",
        );
        findings.report(
            problem
                .at(all.name.span, "this gives each address its own queue")
                .help("write a `dnstap` directive for each collector, each with its own spool"),
        );
    }
}

/// Describes the settings of a spool in one line.
pub(super) fn described(spool: &Spool) -> String {
    let options = values(OPTIONS, spool).map(|(name, value)| format!(", {name} {value}"));
    let options: String = options.collect();
    format!("{} {}{options}", spool.folder.display(), Size(spool.size))
}

#[cfg(all(test, feature = "resolver", feature = "spool"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    fn spool(option: &str) -> Spool {
        let text = format!("listen @in\ndnstap /out {{\n name a\n {option}\n queue_bytes 2MiB\n}}");
        let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
        let Some(mut config) = loaded.config else {
            panic!("{}", loaded.diagnostics);
        };
        let sink = config.sinks.remove(0);
        assert_eq!(sink.queue.bytes, 2 << 20);
        sink.spool.expect("a spool")
    }

    fn problems(sinks: &str) -> String {
        let text = format!("listen @in\n{sinks}");
        let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
        loaded.diagnostics.to_string()
    }

    #[test]
    fn a_spool_has_defaults_and_a_block() {
        let plain = spool("spool /s 4GiB");
        assert_eq!(plain, Spool::new("/s", 4 << 30));
        assert_eq!(plain.segment_length(), 64 << 20);
        assert_eq!(Spool::new("/s", 1 << 20).segment_length(), 256 << 10);
        let text = "spool /s 1GiB {\n sync always\n age 24h\n when_full oldest\n segment 1MiB\n }";
        for text in [text.to_owned(), text.replace('\n', " ")] {
            let set = spool(&text);
            assert_eq!(
                set,
                Spool {
                    sync: SpoolSync::Always,
                    age: Some(Duration::from_secs(86_400)),
                    when_full: WhenFull::Oldest,
                    segment: Some(1 << 20),
                    ..Spool::new("/s", 1 << 30)
                }
            );
        }
        let text = "spool /s 1GiB { sync 1s }";
        assert_eq!(
            described(&spool(text)),
            "/s 1GiB, sync 1s, age no limit, when_full newest, segment 64MiB"
        );
    }

    #[test]
    fn problems_say_what_to_write() {
        insta::assert_snapshot!(problems("dnstap /a {\n spool /s 4GiB\n}"), @r"
        Tapfile:3:2: error: a sink with a spool needs a name: after a restart, the name shows which sink the frames on the disk belong to
            spool /s 4GiB
          help: add a line to this block, such as `name siem`
        ");
        insta::assert_snapshot!(problems("dnstap /a {\n name a\n spool /s\n}"), @r"
        Tapfile:4:2: error: `spool` needs two values: only one follows it on its line
            spool /s
          help: the form is `spool DIR SIZE`: keeps waiting frames in a folder, so that they survive a restart and a long outage (default: none)
        ");
        insta::assert_snapshot!(
            problems("dnstap tcp://a.example:1 {\n name a\n endpoints all\n spool /s 4GiB\n}"), @r"
        Tapfile:5:2: error: `spool` does not work with `endpoints all`: one spool cannot serve several queues
            spool /s 4GiB
          Tapfile:4:2: this gives each address its own queue
          help: write a `dnstap` directive for each collector, each with its own spool
        "
        );
        insta::assert_snapshot!(
            problems("dnstap /a {\n name a\n spool /s 1MiB {\n  segment 1MiB\n  synk 1s\n  sync 1h\n }\n}"), @r"
        Tapfile:5:11: error: a spool has room for at least 4 files: this file would be too long
            segment 1MiB
          help: write at most `segment 256KiB`, or a larger SIZE
        Tapfile:6:3: error: unknown option `synk`: not an option of `spool`
            synk 1s
          Tapfile:4:2: in this directive
          help: did you mean `sync`?
        Tapfile:7:8: error: `1h` is not between 10ms and 1m: the value of `sync`
            sync 1h
        "
        );
        insta::assert_snapshot!(
            problems("dnstap /a {\n name a\n spool /s 1MiB\n}\ndnstap /b {\n name b\n spool /s 1MiB\n}"), @r"
        Tapfile:8:8: error: two sinks have the same folder for their spools: second here
            spool /s 1MiB
          Tapfile:4:8: first here
          help: give each sink a folder of its own
        "
        );
        insta::assert_snapshot!(
            problems("dnstap /a {\n name a {\n x\n }\n spool /s 1MiB {\n  age 1s {\n  }\n }\n}"), @r"
        Tapfile:3:9: error: an option has no block of its own: this opens one
            name a {
          help: put a brace that belongs to a value in quotes
        Tapfile:7:10: error: an option has no block of its own: this opens one
            age 1s {
          help: put a brace that belongs to a value in quotes
        "
        );
    }
}
