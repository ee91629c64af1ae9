//! The options of a Kafka sink.

use std::{path::PathBuf, time::Duration};

use super::super::{
    Findings,
    options::Options,
    row::{Given, NAME_LIMIT, Row, Scope, Value, listed},
};
use crate::{
    config::{
        AddressEdit, KafkaCompression, RecordKey, Sasl, SaslMechanism, Sink,
        diagnostics::{Diagnostic, shown},
        lexer::Token,
        nearest::nearest,
        needs::What,
        parser::Statement,
        quantity::Time,
    },
    net::Endpoint,
};

pub(super) const COMPRESSION: Row<Sink> = Row {
    name: "compression",
    value: Value::One("none|gzip|snappy|lz4|zstd", |sink, given, findings| {
        let (all, label) = (KafkaCompression::ALL, KafkaCompression::label);
        sink.kafka.compression = given.choice(all, label, findings)?;
        Some(())
    }),
    default: "none",
    doc: "the compression of the batches of records",
    scope: Some(&KAFKA),
    describe: |sink| Some(sink.kafka.compression.label().to_owned()),
};

pub(super) const LINGER: Row<Sink> = Row {
    name: "linger",
    value: Value::Time(Duration::ZERO..=Duration::from_secs(10), |sink, time| {
        sink.kafka.linger = time;
    }),
    default: "5ms",
    doc: "the longest time for which records are collected to fill a batch",
    scope: Some(&KAFKA),
    describe: |sink| Some(Time(sink.kafka.linger).to_string()),
};

pub(super) const RECORD_KEY: Row<Sink> = Row {
    name: "record_key",
    value: Value::One("identity|client|none", |sink, given, findings| {
        sink.kafka.record_key = given.choice(RecordKey::ALL, RecordKey::label, findings)?;
        Some(())
    }),
    default: "none",
    doc: "the key of the records; records with the same key are stored in the same partition",
    scope: Some(&KAFKA),
    describe: |sink| Some(sink.kafka.record_key.label().to_owned()),
};

pub(super) const SASL: Row<Sink> = Row {
    name: "sasl",
    value: Value::Line("MECHANISM USER PASSWORD_FILE", sasl),
    default: "none",
    doc: "the login to the brokers: `plain`, `scram-sha-256` or `scram-sha-512`, the user, and the file with the password",
    scope: Some(&KAFKA),
    describe: |sink| {
        let sasl = sink.kafka.sasl.as_ref()?;
        let file = sasl.password_file.display();
        Some(format!(
            "{} {}, password in {file}",
            sasl.mechanism, sasl.user
        ))
    },
};

const KAFKA: Scope<Sink> = Scope {
    name: "`kafka://` sinks",
    applies: writes_records,
    misplaced: |sink, given, socket| {
        let name = given.name.text.as_str();
        let message = format!("`{name}` is for {}", KAFKA.name);
        let problem = given.name.error(message, "it has no meaning here");
        let problem = problem.at(socket.span, "this sink does not write to Kafka");
        if name == "compression" && matches!(sink.endpoint, Endpoint::File(_)) {
            let help = "for the files of a sink, the option is `compress`".to_owned();
            return given.name.propose(problem, help, "compress");
        }
        problem.help("remove it, or make the SOCKET `kafka://broker/topic`")
    },
};

/// The help for a wrong `sasl` line.
const SASL_USAGE: &str = "write the mechanism, the user and the file with the password, as in `sasl scram-sha-512 tapfan /etc/tapfan/kafka.password`";

/// Returns whether the sink writes to a Kafka topic.
pub(super) fn writes_records(sink: &Sink) -> bool {
    matches!(sink.endpoint, Endpoint::Kafka(_))
}

/// Returns whether a `dnstap` line has a Kafka address.
pub(in super::super) fn is_meant(statement: &Statement) -> bool {
    let mut words = statement.arguments.iter();
    statement.name.is_word("dnstap") && words.any(|word| word.text.starts_with("kafka"))
}

/// Returns advice for a setting of another producer, such as `acks`, that is not an option of the Tapfile. Returns
/// `None` for other words.
pub(in super::super) fn help_for(word: &str) -> Option<&'static str> {
    Some(match word {
        "acks" | "required_acks" | "idempotent" | "idempotence" | "enable.idempotence"
        | "enable_idempotence" => {
            "remove it; tapfan always waits until all in-sync replicas have stored a record, and always uses idempotence"
        }
        "topic" => "write the topic in the SOCKET, as in `kafka://b1.example/dnstap`",
        "brokers" | "bootstrap_servers" | "bootstrap.servers" => {
            "write the brokers in the SOCKET, as in `kafka://b1.example,b2.example/dnstap`"
        }
        "user" | "username" | "password" | "password_file" => SASL_USAGE,
        "batch_size" | "batch.size" => {
            "remove it; a batch of records has up to 256 KiB, and `linger` sets how long records are collected"
        }
        _ => return None,
    })
}

/// Returns the error for an option that has no meaning for a sink that writes to Kafka.
pub(super) fn of_another_kind(given: &Given<'_>, socket: &Token) -> Diagnostic {
    let name = given.name.text.as_str();
    let reason = match name {
        "confirm" => "a record counts as delivered when all in-sync replicas have stored it",
        "endpoints" => "the topic decides which broker gets a record",
        "refresh" => "the names of the brokers are looked up for each connection",
        _ => "the sink connects to the brokers that lead the partitions",
    };
    given
        .name
        .error(format!("`{name}` is not for {}", KAFKA.name), reason)
        .at(socket.span, "this sink writes to Kafka")
        .help("remove it")
}

/// Returns the error for `key identity` and other keys of records, because `key` is the TLS private key. Returns
/// `None` if `key` has another value.
pub(super) fn key_of_records(given: &Given<'_>) -> Option<Diagnostic> {
    let word = given.value.text.as_str();
    let is_key = given.name.text == "key" && RecordKey::of_label(word).is_some();
    is_key.then(|| {
        let message = format!("`key {word}` is not a private key");
        let problem = given.name.error(message, "`key` is an option for TLS");
        let problem = problem.note(format!("for a file of this name, write `key ./{word}`"));
        let help = format!("for the key of the records, write `record_key {word}`");
        given.name.propose(problem, help, "record_key")
    })
}

/// Reads `sasl MECHANISM USER PASSWORD_FILE`.
fn sasl(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    let [mechanism, user, file] = given.values else {
        let number = given.values.len();
        let problem = given.name.error(
            "`sasl` takes three values",
            format!("this line has {number}"),
        );
        findings.report(problem.help(SASL_USAGE));
        return None;
    };
    let mechanism = mechanism_of(mechanism, findings);
    let part = |value| Given { value, ..*given };
    let (user, file) = (part(user), part(file));
    let name = user.text(NAME_LIMIT, findings).and(user.word(findings));
    let path = PathBuf::from(file.word(findings)?);
    file.needs(What::Password(path.clone()), findings);
    sink.kafka.sasl = Some(Sasl::new(mechanism?, name?, path));
    Some(())
}

/// Reads the mechanism. Brokers and clients write it in upper case, so tapfan proposes the lower-case name.
fn mechanism_of(value: &Token, findings: &mut Findings<'_>) -> Option<SaslMechanism> {
    let text = value.text.as_str();
    if let Some(known) = SaslMechanism::of_label(text) {
        return Some(known);
    }
    let message = format!("`{}` is not a mechanism of `sasl`", shown(text));
    let problem = value.error(message, "the first value of `sasl`");
    let lower = text.to_ascii_lowercase();
    let meant = nearest(&lower, SaslMechanism::LABELS);
    findings.report(match meant {
        Some(meant) => value.propose(problem, format!("write `{meant}`"), meant),
        None => problem.help(format!(
            "the mechanisms are {}",
            listed(SaslMechanism::LABELS)
        )),
    });
    None
}

/// Reports a `key` that is not a file, and settings that have no effect or give the password to others.
pub(super) fn check(
    sink: &Sink,
    socket: &Token,
    options: &Options<'_, Sink>,
    findings: &mut Findings<'_>,
) {
    if let Some(key) = options
        .get("key")
        .filter(|_| writes_records(sink) && sink.tls.is_some())
    {
        findings.problems.extend(key_of_records(&key));
    }
    check_brokers(sink, socket, findings);
    check_record_key(sink, options, findings);
    check_password(sink, socket, options, findings);
}

/// Reports a broker that the SOCKET has twice.
fn check_brokers(sink: &Sink, socket: &Token, findings: &mut Findings<'_>) {
    let Endpoint::Kafka(address) = &sink.endpoint else {
        return;
    };
    for (place, broker) in address.brokers.iter().enumerate() {
        if address.brokers[..place].contains(broker) {
            let message = format!("the SOCKET lists the broker `{broker}` twice");
            let problem = socket.warning(message, "once is enough");
            findings.report(problem.help("remove one of them"));
        }
    }
}

/// Reports a key that no record can have.
fn check_record_key(sink: &Sink, options: &Options<'_, Sink>, findings: &mut Findings<'_>) {
    let (Some(key), Some(edit)) = (options.get("record_key"), options.get("client_address")) else {
        return;
    };
    let is_removed = sink.filters.client_address == Some(AddressEdit::Remove);
    if sink.kafka.record_key == RecordKey::Client && is_removed {
        let label = "the key is the client's address";
        let problem = key.name.warning("no record has a key", label);
        let problem = problem.at(edit.name.span, "this removes the address");
        let help = "remove `record_key`, or write `client_address pseudonym KEYFILE`";
        findings.report(problem.help(help));
    }
}

/// Reports a password that anyone on the way can read.
fn check_password(
    sink: &Sink,
    socket: &Token,
    options: &Options<'_, Sink>,
    findings: &mut Findings<'_>,
) {
    let (Some(sasl), Some(given)) = (&sink.kafka.sasl, options.get("sasl")) else {
        return;
    };
    if sasl.mechanism != SaslMechanism::Plain {
        return;
    }
    let label = "`plain` sends the password itself";
    if sink.tls.is_none() {
        let message = "the password is sent in clear text";
        let problem = given.name.warning(message, label);
        let problem = problem.at(socket.span, "this connection is not encrypted");
        findings.report(problem.help("write `kafka+tls://`, or use `scram-sha-512`"));
    } else if let Some(skip) = options.get("skipverify") {
        let message = "the password is sent to anyone who pretends to be a broker";
        let problem = given.name.warning(message, label);
        let problem = problem.at(skip.name.span, "this turns the verification off");
        findings.report(problem.help("write `ca FILE`, or use `scram-sha-512`"));
    }
}

#[cfg(all(test, feature = "kafka", feature = "resolver", feature = "tls"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{KafkaSettings, parse};

    fn sink(text: &str) -> Sink {
        let text = format!("listen @in\n{text}");
        let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
        let Some(mut config) = loaded.config else {
            panic!("{}", loaded.diagnostics);
        };
        config.sinks.remove(0)
    }

    /// Returns the plain text of the problems with each of these sinks.
    fn problems(sinks: &[&str]) -> String {
        let each = sinks.iter().map(|sink| {
            let text = format!("listen @in\ndnstap {sink}");
            let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
            loaded.diagnostics.to_string()
        });
        each.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_options_of_records_are_read() {
        let plain = sink("dnstap kafka://b/t");
        assert_eq!(plain.kafka, KafkaSettings::default());
        assert!(plain.tls.is_none());
        let set = sink(
            "dnstap kafka+tls://b/t full 1 4 {\n compression zstd\n linger 0s\n record_key client\n sasl scram-sha-512 \"tap fan\" kafka.password\n ca ca.pem\n cert a\n key b\n}",
        );
        let settings = &set.kafka;
        assert_eq!(settings.compression, KafkaCompression::Zstd);
        assert_eq!(settings.linger, Duration::ZERO);
        assert_eq!(settings.record_key, RecordKey::Client);
        assert_eq!(
            settings.sasl,
            Some(Sasl::new(
                SaslMechanism::ScramSha512,
                "tap fan",
                "kafka.password"
            ))
        );
        let tls = set.tls.as_ref().expect("TLS");
        assert_eq!(tls.ca, Some("ca.pem".into()));
        assert_eq!(tls.client, Some(("a".into(), "b".into())));
        assert_ne!(set.kafka, plain.kafka, "a reload notices the change");
    }

    #[test]
    fn the_settings_are_shown_without_the_password() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "do-not-show").expect("written");
        let text = format!(
            "listen @in\ndnstap kafka+tls://b1.example,192.0.2.1:9093/dns.taps {{\n sasl plain tapfan {}\n}}",
            file.display()
        );
        let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
        assert_eq!(loaded.diagnostics.to_string(), "");
        let described = loaded.config.expect("a configuration").describe();
        let described = described.replace(&folder.path().display().to_string(), "FOLDER");
        let (_, sink) = described.split_once("\n\n").expect("sections");
        let (sink, _) = sink.split_once("\n\n").expect("sections");
        insta::assert_snapshot!(sink);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn the_check_reads_the_password() {
        use std::{fs, os::unix::fs::PermissionsExt as _};

        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let shown = folder.path().display().to_string();
        let text = format!(
            "listen @in\ndnstap kafka://192.0.2.1/t {{\n sasl scram-sha-256 tapfan {shown}/password\n}}"
        );
        fs::write(path("Tapfile"), text).expect("written");
        let problems = || {
            let loaded = crate::config::load(&path("Tapfile"), &|_| None);
            assert!(loaded.files.contains(&path("password")), "it is watched");
            loaded.diagnostics.to_string().replace(&shown, "FOLDER") + "\n"
        };
        let write = |text: &str, mode: u32| {
            let _ = fs::remove_file(path("password"));
            fs::write(path("password"), text).expect("written");
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(path("password"), permissions).expect("changed");
        };
        let mut all = problems();
        for (text, mode) in [("", 0o600), ("hidden\nhidden", 0o600), ("hidden", 0o644)] {
            write(text, mode);
            all += &problems();
        }
        insta::assert_snapshot!(all);
        write("hidden\n", 0o400);
        assert_eq!(problems(), "\n");
    }

    #[test]
    fn mistakes_say_what_to_write() {
        insta::assert_snapshot!(problems(&[
            "kafka://b",
            "kafka://b1, b2/t",
            "kafka://b1,kafka://b2/t",
            "kafka://b1:/t",
            "kafka://u:p@b/t",
            "kafka://b/t { key identity }",
            "kafka+tls://b/t { cert a\n key client }",
            "kafka://b/t { skipverify }",
            "kafka://b/t { confirm kernel\n max_age 1h\n endpoints all\n refresh 1s 2s }",
            "kafka://b/t { compress zstd\n rotate 1h }",
            "kafka://b/t { compression lz5\n linger 11s\n record_key name }",
            "kafka://b/t { sasl plain u }",
            "kafka://b/t { sasl SCRAM-SHA-256 u f }",
            "kafka://b/t { sasl gssapi u f }",
            "kafka://b/t { sasl plain u f }",
            "kafka+tls://b/t { sasl plain u f\n skipverify }",
            "kafka://b,c:9092,b:9092/t { record_key client\n client_address remove }",
            "kafka://b/t { acks 1\n batch_size 5\n username u\n linger_ms 5 }",
            "tcp://192.0.2.1:6000 { linger 5ms\n compression none }",
            "file:///d/f { compression zstd }",
        ]));
    }
}
