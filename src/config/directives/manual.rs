//! The directives and their options as data, for the manual page of the Tapfile.

use super::{connect, dnstap, listen, resolver, router, row::Row};

/// A directive with its options.
pub(crate) struct Directive {
    pub(crate) line: Setting,
    /// The arguments of the directive that have bounds and a default, and the options of its block.
    pub(crate) options: Vec<Setting>,
}

/// A directive, an argument or an option.
#[derive(Clone)]
pub(crate) struct Setting {
    /// The name with the values, such as `mode MODE`.
    pub(crate) syntax: String,
    /// Its effect, in one line.
    pub(crate) doc: &'static str,
    /// The directives that may have the option, such as "`tls://` sinks". `None` means all.
    pub(crate) scope: Option<&'static str>,
    /// The bounds of the values.
    pub(crate) bounds: Option<String>,
    /// The default value. `None` if a directive has no value.
    pub(crate) default: Option<&'static str>,
}

/// The forms of a SOCKET and their meanings. The first five are forms of the URL of a listener, too.
pub(crate) const SOCKETS: [(&str, &str); 10] = [
    ("/path, unix:///path", "a unix socket"),
    (
        "d.sock, unix://d.sock",
        "a unix socket, relative to the working directory",
    ),
    ("@name, unix://@name", "a Linux abstract socket"),
    ("tcp://host:port", "TCP"),
    (
        "tls://host:port",
        "TLS over TCP; the certificate of the collector is verified",
    ),
    (
        "tcp+srv://_service._protocol.domain",
        "TCP to the hosts and ports in the SRV records of that name",
    ),
    (
        "tls+srv://_service._protocol.domain",
        "TLS to the hosts and ports in the SRV records; the certificate of the collector must be for the domain",
    ),
    ("file:///folder/name", "files that tapfan writes"),
    (
        "kafka://broker[:port],…/topic",
        "a topic of a Kafka cluster; the default port is 9092",
    ),
    (
        "kafka+tls://broker[:port],…/topic",
        "a topic of a Kafka cluster, over TLS; the certificates of the brokers are verified",
    ),
];

/// An option whose values are words, and the meaning of each word.
type Words = (&'static str, &'static [(&'static str, &'static str)]);

/// All options whose values are words.
const WORDS: [Words; 8] = [
    (
        "confirm",
        &[
            (
                "written",
                "the operating system of this machine has accepted the frame",
            ),
            (
                "kernel",
                "the operating system of the collector's machine has acknowledged the frame; on a unix socket the same as `written`",
            ),
            (
                "finish",
                "the collector has answered STOP with FINISH, so its program has read the frame; for this answer, tapfan \
                 replaces the connection at least every 30 seconds",
            ),
        ],
    ),
    (
        "endpoints",
        &[
            ("failover", "one address at a time"),
            ("balance", "all addresses; each frame goes to one of them"),
            ("all", "all addresses; each frame goes to every address"),
        ],
    ),
    (
        "strip",
        &[
            ("ecs", "the address in EDNS Client Subnet"),
            ("cookie", "DNS cookies"),
        ],
    ),
    (
        "compress",
        &[
            ("none", "the files are not compressed"),
            ("zstd", "the files are compressed with Zstandard"),
        ],
    ),
    (
        "compression",
        &[
            ("none", "the records are not compressed"),
            ("gzip", "gzip"),
            ("snappy", "Snappy: fast, compresses little"),
            ("lz4", "LZ4"),
            ("zstd", "Zstandard: the smallest records"),
        ],
    ),
    (
        "record_key",
        &[
            ("identity", "the identity of the DNS server"),
            ("client", "the address of the client, in 4 or 16 bytes"),
            ("none", "no key; the records are spread over all partitions"),
        ],
    ),
    (
        "when_full",
        &[
            (
                "newest",
                "a full spool takes no new frames; they wait in the queue, and are dropped when the queue is full, too",
            ),
            (
                "oldest",
                "a full spool deletes its oldest file, and the frames in this file are dropped",
            ),
        ],
    ),
    (
        "ready_when",
        &[
            ("always", "no sink has to be up"),
            ("any", "at least one sink must be up"),
            ("all", "every sink must be up"),
        ],
    ),
];

/// Returns the words that are the values of a setting, each with its meaning. Empty if its values are not words.
pub(crate) fn words(setting: &Setting) -> &'static [(&'static str, &'static str)] {
    let name = setting.syntax.split(' ').next();
    let words = WORDS.iter().find(|(option, _)| Some(*option) == name);
    words.map_or(&[], |(_, words)| words)
}

/// Returns all directives, in the order of the documentation.
pub(crate) fn directives() -> Vec<Directive> {
    let mut directives = vec![
        block(
            "listen URL",
            "opens a socket to which DNS servers send dnstap",
            settings(listen::OPTIONS),
        ),
        block(
            "connect SOCKET",
            "connects to DNS servers that wait for collectors, and receives their dnstap",
            settings(connect::OPTIONS),
        ),
        block(
            "dnstap SOCKET [full] [writebuffer] [queue]",
            "defines a sink, which sends the frames to a collector, writes them to files, or stores them in a Kafka topic",
            [
                settings(dnstap::ARGUMENTS),
                settings(dnstap::OPTIONS),
                confirm_settings(),
                spool_settings(),
            ]
            .concat(),
        ),
        block(
            "resolver",
            "sets the name servers for sinks whose address is a name",
            settings(resolver::OPTIONS),
        ),
    ];
    directives.extend(router::LINES.iter().map(|row| {
        let takes_hosts = router::takes_hosts(row.name);
        Directive {
            line: setting(row),
            options: settings(if takes_hosts { router::HOST } else { &[] }),
        }
    }));
    directives
}

fn block(syntax: &str, doc: &'static str, options: Vec<Setting>) -> Directive {
    let line = Setting {
        syntax: syntax.to_owned(),
        doc,
        scope: None,
        bounds: None,
        default: None,
    };
    Directive { line, options }
}

/// Returns the options in the block of `confirm finish`, which follow those of `dnstap`.
fn confirm_settings() -> Vec<Setting> {
    let mut settings = settings(dnstap::CONFIRM);
    for setting in &mut settings {
        setting.scope = Some("the block of `confirm finish`");
    }
    settings
}

/// Returns the options in the block of `spool`, which follow those of `confirm finish`.
fn spool_settings() -> Vec<Setting> {
    let mut settings = settings(dnstap::SPOOL);
    for setting in &mut settings {
        setting.scope = Some("the block of `spool`");
    }
    settings
}

fn settings<T>(rows: &[Row<T>]) -> Vec<Setting> {
    rows.iter().map(setting).collect()
}

fn setting<T>(row: &Row<T>) -> Setting {
    Setting {
        syntax: row.syntax(),
        doc: row.doc,
        scope: row.scope.map(|scope| scope.name),
        bounds: row.bounds(),
        default: Some(row.default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::directives::names;

    #[test]
    fn every_directive_is_there() {
        let name = |directive: &Directive| {
            let (name, _) = directive.line.syntax.split_once(' ')?;
            Some(name.to_owned())
        };
        let all = directives();
        let listed: Vec<String> = all
            .iter()
            .map(|it| name(it).unwrap_or_else(|| it.line.syntax.clone()))
            .collect();
        assert_eq!(listed, names().collect::<Vec<_>>());
    }

    #[test]
    fn every_word_that_is_a_value_has_a_meaning() {
        let all = directives().into_iter();
        let settings = all.flat_map(|one| [vec![one.line], one.options].concat());
        let mut options = 0;
        for setting in settings {
            let (name, values) = setting.syntax.split_once(' ').unwrap_or_default();
            let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let is_word = |value: &str| value.chars().all(is_letter);
            let values: Vec<&str> = values.split('|').collect();
            if values.len() < 2 || !values.iter().all(|value| is_word(value)) {
                assert!(words(&setting).is_empty(), "{name}");
                continue;
            }
            options += 1;
            let explained: Vec<&str> = words(&setting).iter().map(|(word, _)| *word).collect();
            assert_eq!(explained, values, "{name}");
        }
        assert_eq!(options, WORDS.len());
    }

    #[test]
    fn the_reference_has_the_same_forms_of_a_socket() {
        let text = include_str!("../../../docs/configuration.md");
        for (forms, meaning) in SOCKETS {
            let forms: Vec<String> = forms.split(", ").map(|form| format!("`{form}`")).collect();
            let row = format!("| {} | {meaning} |", forms.join(", "));
            let plain = text.replace("[files](#files)", "files").replace(
                "[a topic of a Kafka cluster](#kafka)",
                "a topic of a Kafka cluster",
            );
            assert!(plain.contains(&row), "{row}");
        }
    }
}
