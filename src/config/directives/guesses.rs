//! Help for newcomers who write words of other programs, or of other formats, into a Tapfile.

use std::fmt::Write as _;

use super::{
    super::{
        diagnostics::{Diagnostic, shown},
        lexer::{Kind, Token},
        parser::Statement,
    },
    dnstap, is_directive, names,
};

/// Names that other programs use for an option of a sink, each with the name of that option in a Tapfile.
const SINK_WORDS: [(&str, &str); 21] = [
    ("source", "from"),
    ("sources", "from"),
    ("listener", "from"),
    ("listeners", "from"),
    ("prefix", "identity_prefix"),
    ("type", "types"),
    ("message_types", "types"),
    ("include", "keep"),
    ("allow", "keep"),
    ("exclude", "drop"),
    ("deny", "drop"),
    ("sampling", "sample"),
    ("sample_rate", "sample"),
    ("rate_limit", "limit"),
    ("ratelimit", "limit"),
    ("anonymize", "client_address"),
    ("anonymise", "client_address"),
    ("ack", "confirm"),
    ("acks", "confirm"),
    ("acknowledgements", "confirm"),
    ("timeout", "write_timeout"),
];

/// Like [`SINK_WORDS`], for Kafka sinks. Most of them are option names of the Java producer.
const KAFKA_WORDS: [(&str, &str); 9] = [
    ("compress", "compression"),
    ("compression.type", "compression"),
    ("compression_type", "compression"),
    ("linger.ms", "linger"),
    ("linger_ms", "linger"),
    ("partitioner", "record_key"),
    ("partition_by", "record_key"),
    ("sasl.mechanism", "sasl"),
    ("sasl_mechanism", "sasl"),
];

/// Names that other programs use for the options of `confirm finish`, each with the name of that option in a Tapfile.
const CONFIRM_WORDS: [(&str, &str); 11] = [
    ("interval", "every"),
    ("age", "every"),
    ("max_age", "every"),
    ("timeout", "every"),
    ("period", "every"),
    ("size", "bytes"),
    ("memory", "bytes"),
    ("max_bytes", "bytes"),
    ("window", "bytes"),
    ("pause", "idle"),
    ("idle_timeout", "idle"),
];

/// Names that other programs use for an option of a listener, each with the name of that option in a Tapfile.
const LISTENER_WORDS: [(&str, &str); 5] = [
    ("ca", "client_ca"),
    ("tls_ca", "client_ca"),
    ("user", "owner"),
    ("permissions", "mode"),
    ("chmod", "mode"),
];

/// Like [`LISTENER_WORDS`], for the options that `listen` and `connect` have in common.
const SOURCE_WORDS: [(&str, &str); 2] = [("label", "name"), ("server_id", "identity")];

/// Like [`LISTENER_WORDS`], for the certificate of a listener, of a sink, or of `connect`.
const CERTIFICATE_WORDS: [(&str, &str); 4] = [
    ("tls_cert", "cert"),
    ("cert_file", "cert"),
    ("tls_key", "key"),
    ("key_file", "key"),
];

/// Like [`LISTENER_WORDS`], for the verification of the peer to which a sink or `connect` connects.
const VERIFICATION_WORDS: [(&str, &str); 8] = [
    ("insecure", "skipverify"),
    ("insecure_skip_verify", "skipverify"),
    ("tls_insecure", "skipverify"),
    ("tls_ca", "ca"),
    ("ca_file", "ca"),
    ("cacert", "ca"),
    ("sni", "server_name"),
    ("tls_server_name", "server_name"),
];

/// Names of plugins that are common in Corefiles.
const PLUGINS: [&str; 40] = [
    "acl",
    "any",
    "auto",
    "autopath",
    "bind",
    "bufsize",
    "cache",
    "cancel",
    "chaos",
    "debug",
    "dns64",
    "dnssec",
    "erratic",
    "errors",
    "etcd",
    "file",
    "forward",
    "geoip",
    "grpc",
    "header",
    "health",
    "hosts",
    "k8s_external",
    "kubernetes",
    "loadbalance",
    "local",
    "log",
    "loop",
    "metadata",
    "minimal",
    "pprof",
    "prometheus",
    "ready",
    "reload",
    "rewrite",
    "root",
    "template",
    "tls",
    "trace",
    "whoami",
];

/// Words that a user probably writes in place of a SOCKET to mean the terminal.
const TERMINAL: [&str; 5] = ["-", "stdout", "stderr", "/dev/stdout", "/dev/stderr"];

/// Returns a single error for a file in YAML or TOML. Without it, each line of such a file would give an error of its
/// own. A file with at least one valid directive counts as a Tapfile.
pub(super) fn other_format(statements: &[Statement]) -> Option<Diagnostic> {
    let is_good = |one: &Statement| is_directive(&one.name) && format(one).is_none();
    if statements.iter().any(is_good) {
        return None;
    }
    let (first, format) = statements
        .iter()
        .find_map(|statement| Some((&statement.name, format(statement)?)))?;
    let problem = first.error(
        format!("this is {format}, and a Tapfile has the syntax of a Corefile"),
        "not a directive of the Tapfile",
    );
    Some(problem.help("write one directive per line, as in `listen unix:///run/tapfan/dnstap.sock`; `tapfan init` writes a first Tapfile"))
}

fn format(statement: &Statement) -> Option<&'static str> {
    let name = &statement.name;
    let text = name.text.as_str();
    let is_entry = |text: &str| text.len() > 1 && text.ends_with(':') && !text.starts_with('.');
    let is_table = text.starts_with('[') && text.ends_with(']');
    let second = statement.arguments.first();
    if name.kind != Kind::Word || statement.block.is_some() {
        None
    } else if is_entry(text) || text == "---" || text == "-" {
        Some("YAML")
    } else if is_table || second.is_some_and(|second| second.is_word("=")) {
        Some("TOML")
    } else {
        None
    }
}

/// Returns the name of a directive that has a colon after it, as in YAML, and the error for the colon.
pub(super) fn with_colon(name: &Token) -> Option<(&str, Diagnostic)> {
    let right = name.text.strip_suffix(':')?;
    if name.kind != Kind::Word || names().all(|known| known != right) {
        return None;
    }
    let problem = name.error(
        format!("unknown directive `{}`", name.text),
        "not a directive of the Tapfile",
    );
    let problem = name.propose(problem, "remove the colon".to_owned(), right);
    Some((right, problem))
}

/// Returns the error for an unknown directive that belongs in a Corefile: a plugin, or a whole server block.
pub(super) fn directive(statement: &Statement) -> Option<Diagnostic> {
    let name = &statement.name;
    if PLUGINS.contains(&name.text.as_str()) {
        let problem = name.error(
            format!("`{}` is a plugin of CoreDNS", name.text),
            "not a directive of the Tapfile",
        );
        return Some(problem.help(match name.text.as_str() {
            "health" | "ready" | "prometheus" | "pprof" => {
                "leave it in the Corefile; probes and metrics of tapfan are at the address of `admin`"
            }
            "log" | "errors" | "debug" => {
                "leave it in the Corefile; tapfan logs to stderr, see `--log-level`"
            }
            _ => "leave it in the Corefile; only its `dnstap` lines belong in a Tapfile",
        }));
    }
    let is_zone = name.text.contains(['.', ':']) && statement.block.is_some();
    is_zone.then(|| server_block(statement))
}

fn server_block(statement: &Statement) -> Diagnostic {
    let problem = statement.name.error(
        "this is a server block of a Corefile, and a Tapfile has none",
        "not a directive of the Tapfile",
    );
    let lines: Vec<&Token> = statement
        .options()
        .iter()
        .filter(|token| token.starts_line && token.is_word("dnstap"))
        .collect();
    let help = if lines.is_empty() {
        "a Tapfile consists of `listen` and `dnstap` lines; leave everything else in the Corefile"
    } else {
        "take the `dnstap` lines out of the block, add a `listen` line, and leave the rest in the Corefile"
    };
    let place = |problem: Diagnostic, line: &&Token| {
        problem.at(line.span, "this line belongs in the Tapfile")
    };
    lines.iter().fold(problem, place).help(help)
}

/// Returns the error for a SOCKET that means the terminal.
pub(super) fn socket(socket: &Token) -> Option<Diagnostic> {
    if let Some(problem) = port(socket, "tcp://collector.example:") {
        return Some(problem);
    }
    let text = socket.text.as_str();
    if !TERMINAL.contains(&text) {
        return None;
    }
    let problem = socket.error(
        "the router does not print frames",
        "this is not a collector",
    );
    let problem = if text.starts_with('/') {
        problem
    } else {
        problem.note(format!("for a unix socket of this name, write `./{text}`"))
    };
    Some(problem.help(
        "to see frames, run `tapfan dump -u PATH`, and write that path here; to store them, write `file:///folder/name`",
    ))
}

/// Returns the error for the URL of a listener that is only a port.
pub(super) fn url(url: &Token) -> Option<Diagnostic> {
    port(url, "tcp://0.0.0.0:")
}

/// Returns the error for the address of a DNS server that is only a port.
pub(super) fn server(socket: &Token) -> Option<Diagnostic> {
    port(socket, "tcp://127.0.0.1:")
}

fn port(token: &Token, before: &str) -> Option<Diagnostic> {
    let text = token.text.as_str();
    let port: u16 = text.parse().ok().filter(|port| *port > 0)?;
    let right = format!("{before}{port}");
    let problem = token.error(
        format!("`{}` is only a port", shown(text)),
        "in this address",
    );
    let problem = problem.note(format!(
        "for a unix socket of this name, write `./{}`",
        shown(text)
    ));
    Some(token.propose(problem, format!("write `{right}`"), &right))
}

/// Returns the error for an unknown option whose name is an argument of the directive, or an option of another program.
pub(super) fn option(
    statement: &Statement,
    word: &Token,
    value: Option<&Token>,
) -> Option<Diagnostic> {
    let directive = statement.name.text.as_str();
    let words: &[&[(&str, &str)]] = match directive {
        "dnstap" => &[&SINK_WORDS, &CERTIFICATE_WORDS, &VERIFICATION_WORDS],
        "listen" => &[&LISTENER_WORDS, &SOURCE_WORDS, &CERTIFICATE_WORDS],
        "connect" => &[&SOURCE_WORDS, &CERTIFICATE_WORDS, &VERIFICATION_WORDS],
        "confirm" => &[&CONFIRM_WORDS],
        _ => return None,
    };
    let text = word.text.as_str();
    let unknown = || {
        word.error(
            format!("unknown option `{text}`"),
            format!("not an option of `{directive}`"),
        )
        .at(statement.span(), "in this directive")
    };
    let of_kafka = dnstap::is_for_kafka(statement);
    if of_kafka && let Some(help) = dnstap::help_for_kafka(text) {
        return Some(unknown().help(help));
    }
    let of_kafka: &[(&str, &str)] = if of_kafka { &KAFKA_WORDS } else { &[] };
    let mut words = of_kafka.iter().chain(words.iter().copied().flatten());
    if let Some((_, right)) = words.find(|(other, _)| *other == text) {
        return Some(word.propose(unknown(), format!("tapfan calls it `{right}`"), right));
    }
    if directive == "dnstap" && dnstap::is_kind_of_rule(text) {
        let problem = word
            .error(
                format!("`{text}` is a kind of rule, not an option"),
                "it belongs after `keep` or `drop`",
            )
            .at(statement.span(), "in this directive");
        return Some(problem.help(format!("write `keep {text} …` or `drop {text} …`")));
    }
    let is_argument = dnstap::ARGUMENTS.iter().any(|row| row.name == text);
    if directive != "dnstap" || !is_argument {
        return None;
    }
    let problem = word
        .error(
            format!("`{text}` is an argument of `dnstap`, not an option"),
            "it does not belong in the block",
        )
        .at(statement.span(), "but on this line");
    Some(problem.help(match line_with(statement, text, value) {
        Some(line) => format!("the line is `{line}`"),
        None => dnstap::USAGE.to_owned(),
    }))
}

/// Returns the line of a sink with one more argument, or `None` if the arguments on the line or the value are not as
/// expected.
fn line_with(statement: &Statement, name: &str, value: Option<&Token>) -> Option<String> {
    let (socket, rest) = statement.arguments.split_first()?;
    let full = rest.first().is_some_and(|first| first.is_word("full"));
    let numbers = rest.get(usize::from(full)..)?;
    let number = |token: &Token| token.text.parse::<u32>().ok();
    let mut numbers: Vec<u32> = numbers.iter().map(number).collect::<Option<_>>()?;
    let at = match name {
        "writebuffer" => 0,
        "queue" => 1,
        _ => return Some(joined(socket, true, &numbers)),
    };
    let value = number(value?)?;
    numbers.resize(numbers.len().max(at + 1), 1);
    *numbers.get_mut(at)? = value;
    Some(joined(socket, full, &numbers))
}

fn joined(socket: &Token, full: bool, numbers: &[u32]) -> String {
    let mut line = format!("dnstap {}", shown(&socket.text));
    if full {
        line.push_str(" full");
    }
    for number in numbers {
        // Writing to a string cannot fail.
        let _ = write!(line, " {number}");
    }
    line
}
