//! Properties of parsing: no text causes a panic, and a configuration that is written as text parses to the same
//! configuration.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tapfan::config::{
    AddressEdit, Admin, AdminAddress, Config, Confirm, Edits, Endpoints, FilterRule, Filters,
    Listen, ListenAddress, Refresh, RuleKind, SampleSettings, Sink, Template, UnixAddress,
    UnixPermissions, Verdict,
};

use super::{parse, plain_sink};

/// A valid configuration with many kinds of directives, which the tests mutate.
const GOOD: &str = r#"# A router for two collectors.
(common) {
    identity "edge \"1\""
    version {$SITE}
}
listen unix:///run/tapfan/dnstap.sock {
    mode 0660
    max_frame 1MiB
    name ns1
    identity ns1.example
}
connect tls+srv://_dnstap._tcp.dns.example {
    name servers
    max_connections 8
    ca a.pem
    refresh 1s 2s
}
listen tls://[::]:6443 {
    cert a.pem
    key b.pem
}
admin 127.0.0.1:9180
resolver {
    nameserver 10.96.0.10 [fd00::a]:5353
    search svc.cluster.local
    ndots 5
}
import conf.d/*.conf
dnstap /run/c.sock full 4 8 { import common }
dnstap tls://siem.example.:6443 full {
    import common
    name siem
    skipverify
    queue_bytes 64MiB
    endpoints balance
    refresh 2s 30s
    write_timeout 5s
    max_age 1h
    extra "site={%SITE%}"
    from ns1 servers
    types client auth_query
    drop qname_file names
    keep qname example.org *.example.net
    keep rcode SERVFAIL
    sample 1/20 sample.key
    limit 5000/s
    client_address truncate 24 48
    strip ecs cookie
}
dnstap /run/d.sock {
    identity_prefix fra1/
    client_address pseudonym p.key
}
"#;

/// Asserts that `text` is parsed and its problems are rendered without a panic, and that there is no configuration if
/// there is an error.
fn survives(text: &str) {
    let loaded = parse(text);
    let rendered = loaded.diagnostics.render(false);
    assert_eq!(loaded.diagnostics.is_empty(), rendered.is_empty());
    assert_eq!(loaded.config.is_none(), loaded.diagnostics.has_errors());
    for problem in loaded.diagnostics.iter() {
        if let Some(place) = loaded.diagnostics.position(problem) {
            assert!(place.line >= 1 && place.column >= 1);
        }
    }
}

/// A part of a configuration as text, and its meaning.
#[derive(Debug, Clone)]
struct Written<T> {
    text: String,
    meaning: T,
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// Writes the lines of a block.
fn lines<'a>(options: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let options = options.into_iter();
    let lines = options.map(|(name, value)| format!("    {name} {value}\n"));
    lines.collect::<Vec<_>>().concat()
}

fn edits() -> impl Strategy<Value = Written<Edits>> {
    let text = || prop::option::of("[a-zß \"#.-]{0,12}");
    let prefix = prop::option::of("[a-zß \"#.-]{1,12}");
    (text(), prefix, text(), text()).prop_map(|(identity, prefix, version, extra)| {
        let identity_prefix = prefix.filter(|_| identity.is_none());
        let options = [
            ("identity", &identity),
            ("identity_prefix", &identity_prefix),
            ("version", &version),
            ("extra", &extra),
        ];
        let options = options.into_iter();
        let given = options.filter_map(|(name, value)| Some((name, quoted(value.as_ref()?))));
        Written {
            text: lines(given),
            meaning: Edits {
                identity: identity.map(Bytes::from),
                identity_prefix: identity_prefix.map(Bytes::from),
                version: version.map(Bytes::from),
                extra: extra.as_deref().map(Template::new),
            },
        }
    })
}

/// Makes lines with a rule.
fn rules() -> impl Strategy<Value = Written<FilterRule>> {
    use RuleKind::{Client, Protocol, Qname, Qtype, Rcode, Type};
    let name = r"(\*\.)?[a-z]{1,5}\.[a-z]{1,5}\.?|\.";
    let words = |kind, name, word: BoxedStrategy<String>| {
        prop::collection::vec(word, 1..12).prop_map(move |words| (kind, name, words))
    };
    let chosen = |words: &'static [&'static str]| {
        prop::sample::select(words).prop_map(str::to_owned).boxed()
    };
    let types = chosen(&["client", "AUTH_QUERY", "update_response"]);
    let clients = chosen(&["192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "::/0"]);
    let kind = prop_oneof![
        words(Type, "types", types),
        words(Qname, "qname", name.boxed()),
        words(Qtype, "qtype", chosen(&["A", "aaaa", "TYPE65"])),
        words(Rcode, "rcode", chosen(&["SERVFAIL", "noerror"])),
        words(Client, "client", clients),
        words(Protocol, "protocol", chosen(&["udp", "doq"])),
    ];
    let listed = (kind, any::<bool>()).prop_map(|((kind, name, words), keeps)| {
        let keeps = keeps || kind == Type;
        let (verdict, option) = if keeps {
            (Verdict::Keep, "keep ")
        } else {
            (Verdict::Drop, "drop ")
        };
        let option = if kind == Type { "" } else { option };
        Written {
            text: format!("    {option}{name} {}\n", words.join(" ")),
            meaning: FilterRule::listed(kind, verdict, words),
        }
    });
    let file = "/[a-z ]{1,8}".prop_map(|file| Written {
        text: format!("    drop qname_file {}\n", quoted(&file)),
        meaning: FilterRule::names_in(Verdict::Drop, file.into()),
    });
    prop_oneof![4 => listed, 1 => file]
}

fn filters() -> impl Strategy<Value = Written<Filters>> {
    let sample = (1..=u32::MAX, prop::option::of("/[a-z ]{1,8}"));
    let address = prop_oneof![
        (0..=32_u8, 0..=128_u8).prop_map(|(ipv4, ipv6)| Written {
            text: format!("truncate {ipv4} {ipv6}"),
            meaning: AddressEdit::Truncate { ipv4, ipv6 },
        }),
        "/[a-z ]{1,8}".prop_map(|key| Written {
            text: format!("pseudonym {}", quoted(&key)),
            meaning: AddressEdit::Pseudonym(key.into()),
        }),
        Just(Written {
            text: "remove".to_owned(),
            meaning: AddressEdit::Remove,
        }),
    ];
    let strip = prop::sample::select(vec!["", "ecs", "cookie", "ecs cookie"]);
    (
        prop::collection::vec(rules(), 0..4),
        prop::option::of(sample),
        prop::option::of(1..=u32::MAX),
        prop::option::of(address),
        strip,
    )
        .prop_map(|(rules, sample, limit, address, strip)| {
            let mut filters = Filters::default();
            let mut text: String = rules.iter().map(|rule| rule.text.as_str()).collect();
            filters.rules = rules.into_iter().map(|rule| rule.meaning).collect();
            if let Some((one_in, key)) = sample {
                let shown = key.as_deref().map(quoted).unwrap_or_default();
                text.extend([format!("    sample 1/{one_in} {shown}\n")]);
                let one_in = one_in.try_into().expect("not zero");
                filters.sample = Some(SampleSettings::new(one_in, key.map(Into::into)));
            }
            text.extend(limit.map(|limit| format!("    limit {limit}/s\n")));
            filters.limit = limit.map(|limit| limit.try_into().expect("not zero"));
            if let Some(address) = address {
                text.extend([format!("    client_address {}\n", address.text)]);
                filters.client_address = Some(address.meaning);
            }
            if !strip.is_empty() {
                text.extend([format!("    strip {strip}\n")]);
            }
            filters.strip_ecs = strip.contains("ecs");
            filters.strip_cookie = strip.contains("cookie");
            Written {
                text,
                meaning: filters,
            }
        })
}

fn sinks() -> impl Strategy<Value = Vec<SinkParts>> {
    let socket = prop_oneof![
        "/[a-z]{1,8}",
        "unix:///[a-z]{1,8}",
        "@[a-z]{1,8}",
        "tcp://[a-z]{1,8}\\.example\\.?:6[0-9]{3}",
        "tcp://\\[2001:db8::[1-9]\\]:6[0-9]{3}",
        "tls://[a-z]{1,8}\\.example:6[0-9]{3}",
        "(tcp|tls)\\+srv://_dnstap\\._tcp\\.[a-z]{1,8}\\.example\\.?",
    ];
    let arguments = prop_oneof![
        Just((false, None, None)),
        Just((true, None, None)),
        (1..=1024_usize).prop_map(|buffer| (true, Some(buffer), None)),
        (1..=1024_usize, 1..=4096_usize).prop_map(|(buffer, queue)| (
            true,
            Some(buffer),
            Some(queue)
        )),
    ];
    let one = (
        socket,
        arguments,
        edits(),
        filters(),
        any::<bool>(),
        prop::option::of(1..=4096_usize),
        connection(),
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    );
    prop::collection::vec(one, 1..5)
}

/// Random settings of a sink's connection: `confirm`, `endpoints`, `write_timeout` in seconds, and `max_age` in
/// minutes.
type Connection = (Confirm, Endpoints, Option<u64>, Option<u64>);

fn connection() -> impl Strategy<Value = Connection> {
    use Confirm::{Finish, Kernel, Written};
    use Endpoints::{All, Balance, Failover};
    (
        prop::sample::select(vec![Written, Kernel, Finish]),
        prop::sample::select(vec![Failover, Balance, All]),
        prop::option::of(1..=600_u64),
        prop::option::of(1..=1000_u64),
    )
}

/// The random parts of a `dnstap` line, in this order: the SOCKET; `full`, the write buffer and the queue; the edits of
/// frames; the filters; whether `skipverify` is set if the sink uses TLS; `queue_bytes` in MiB; the settings of the
/// connection; and the listeners in `from`.
type SinkParts = (
    String,
    (bool, Option<usize>, Option<usize>),
    Written<Edits>,
    Written<Filters>,
    bool,
    Option<usize>,
    Connection,
    Vec<prop::sample::Index>,
);

fn write_sink(index: usize, parts: SinkParts, listeners: &[Listen]) -> Written<Sink> {
    let (socket, (full, buffer, queue), edits, filters, skip_verify, mib, connection, from) = parts;
    let mut sink = plain_sink(&socket);
    // The index in the name makes the names of the sinks unique.
    sink.name = format!("sink {index}").into();
    sink.full = full;
    sink.write_buffer = buffer.unwrap_or(1) << 20;
    sink.queue.frames = queue.unwrap_or(1) * 10_000;
    sink.queue.bytes = mib.unwrap_or(queue.unwrap_or(1) * 32) << 20;
    sink.edits = edits.meaning;
    sink.filters = filters.meaning;
    let mut text = format!("dnstap {socket}");
    for word in [
        full.then(|| "full".to_owned()),
        buffer.map(|n| n.to_string()),
        queue.map(|n| n.to_string()),
    ] {
        text.extend(word.map(|word| format!(" {word}")));
    }
    text.extend([
        " {\n",
        &edits.text,
        &filters.text,
        "    name ",
        &quoted(&sink.name),
        "\n",
    ]);
    text.extend(mib.map(|mib| format!("    queue_bytes {mib}MiB\n")));
    if let Some(tls) = &mut sink.tls
        && skip_verify
    {
        tls.skip_verify = true;
        text.push_str("    skipverify\n");
    }
    let (confirm, endpoints, write_timeout, max_age) = connection;
    sink.confirm = confirm;
    text.extend(["    confirm ", confirm.label(), "\n"]);
    if sink.endpoint.is_named() {
        sink.endpoints = endpoints;
        text.extend(["    endpoints ", endpoints.label(), "\n"]);
    }
    for (name, unit, seconds, value) in [
        ("write_timeout", "s", 1, write_timeout),
        ("max_age", "m", 60, max_age),
    ] {
        text.extend(value.map(|value| format!("    {name} {value}{unit}\n")));
        let time = value.map(|value| Duration::from_secs(value * seconds));
        match name {
            "max_age" => sink.max_age = time,
            _ => sink.write_timeout = time.unwrap_or(sink.write_timeout),
        }
    }
    let mut from: Vec<_> = from.iter().map(|at| &at.get(listeners).name).collect();
    from.sort();
    from.dedup();
    if !from.is_empty() {
        let names: Vec<_> = from.iter().map(|name| quoted(name)).collect();
        text.extend(["    from ", &names.join(" "), "\n"]);
    }
    sink.from = from.into_iter().cloned().collect();
    text.push_str("}\n");
    Written {
        text,
        meaning: sink,
    }
}

/// The random options that `listen` and `connect` have in common: whether the line has a `name`; `identity`;
/// `max_connections`; and `max_frame` in KiB.
type SourceParts = (bool, Option<String>, usize, u32);

fn source() -> impl Strategy<Value = SourceParts> {
    (
        any::<bool>(),
        prop::option::of("[a-zß \"#.-]{1,12}"),
        1..=1_000_000_usize,
        1..=16_384_u32,
    )
}

/// Writes the common options, and sets them in `listen`. `max_connections` is written only if it has an effect.
fn write_source(index: usize, parts: SourceParts, listen: &mut Listen) -> String {
    let (has_name, identity, connections, kib) = parts;
    let mut options = vec![("max_frame", format!("{kib}KiB"))];
    listen.limits.frame = kib << 10;
    if listen.remote().is_none_or(|it| it.endpoint.is_named()) {
        options.push(("max_connections", connections.to_string()));
        listen.limits.connections = connections;
    }
    if has_name {
        let name = format!("server {index}");
        options.push(("name", quoted(&name)));
        listen.name = name.into();
    }
    options.extend(identity.as_deref().map(|it| ("identity", quoted(it))));
    listen.identity = identity.map(Bytes::from);
    lines(options)
}

fn listeners() -> impl Strategy<Value = Vec<Written<Listen>>> {
    prop::collection::vec((source(), 0..0o777_u32), 1..4).prop_map(|listeners| {
        let write = |(index, (parts, mode))| {
            let socket = format!("unix:///IN/{index}");
            let permissions = UnixPermissions {
                mode,
                owner: None,
                group: None,
            };
            let path = UnixAddress::Path(format!("/IN/{index}").into());
            let mut listen = Listen::new(socket.as_str(), ListenAddress::Unix(path, permissions));
            let options = write_source(index, parts, &mut listen);
            Written {
                text: format!("listen {socket} {{\n{options}    mode {mode:04o}\n}}\n"),
                meaning: listen,
            }
        };
        listeners.into_iter().enumerate().map(write).collect()
    })
}

/// Makes `connect` lines. The index makes their sockets different from each other and from those of sinks and listeners.
fn servers() -> impl Strategy<Value = Vec<Written<Listen>>> {
    let form = prop::sample::select(vec![
        "unix:///SERVER/INDEX",
        "tcp://192.0.2.1:700INDEX",
        "tls://192.0.2.1:700INDEX",
        "tcp://dnsINDEX.test:7000",
        "tls+srv://_dnstap._tcp.dnsINDEX.test",
    ]);
    let refresh = (1..=1800_u64, 1..=1800_u64);
    let one = (form, source(), any::<bool>(), refresh);
    prop::collection::vec(one, 0..4).prop_map(|servers| {
        let write = |(index, (form, parts, skip_verify, (min, more))): (usize, (&str, _, _, _))| {
            let socket = form.replace("INDEX", &index.to_string());
            let endpoint = socket.parse().expect("an address");
            let mut listen = Listen::to(socket.as_str(), endpoint);
            let mut options = write_source(10 + index, parts, &mut listen);
            let ListenAddress::Remote(remote) = &mut listen.address else {
                unreachable!("it is a `connect` line");
            };
            if remote.endpoint.is_named() {
                let max = min + more;
                options.extend([format!("    refresh {min}s {max}s\n")]);
                remote.refresh = Refresh {
                    min: Duration::from_secs(min),
                    max: Duration::from_secs(max),
                };
            }
            if let Some(tls) = &mut remote.tls
                && skip_verify
            {
                tls.skip_verify = true;
                options.push_str("    skipverify\n");
            }
            Written {
                text: format!("connect {socket} {{\n{options}}}\n"),
                meaning: listen,
            }
        };
        servers.into_iter().enumerate().map(write).collect()
    })
}

proptest! {
    #[test]
    fn any_text_parses_without_a_panic(text in r##"([a-zß "#\\\n\r\t{}()$%:/@*.0-9]|\{\n|\n\}|import |dnstap |\PC){0,80}"##) {
        survives(&text);
    }

    #[test]
    fn any_words_parse_without_a_panic(words in prop::collection::vec(
        prop::sample::select(vec![
            "listen", "dnstap", "admin", "drain", "import", "{", "}", "\n", "\n", "(a)", "a", "full", "2",
            "resolver", "nameserver", "search", "ndots", "timeout", "192.0.2.1", "refresh", "endpoints", "all", "1s",
            "write_timeout", "max_age",
            "identity", "skipverify", "name", "ca", "cert", "key", "mode", "tls://h:1", "tcp://127.0.0.1:1",
            "connect", "from", "identity_prefix", "confirm", "finish", "spool", "types", "client", "keep", "drop", "qname",
            "qname_file", "rcode", "protocol", "udp", "example.org", "sample", "1/20", "limit", "5/s", "client_address",
            "truncate", "pseudonym", "24", "48", "remove", "strip", "ecs", "cookie", "max_frame", "latency", "workers",
            "/s", "@in", "\"", "x{", "}x", "#", "{$SITE}", "conf.d/*.conf", "loop-a.conf", "off", "10s",
        ]), 0..48,
    )) {
        survives(&words.join(" "));
    }

    #[test]
    fn any_mutation_of_a_valid_file_parses_without_a_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, r##"[a-z{}"#\n ()$%ß]{0,3}"##), 1..6)
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, length, new) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
        }
        survives(&text.into_iter().collect::<String>());
    }

    #[test]
    fn a_configuration_means_what_was_written(
        listeners in listeners(),
        servers in servers(),
        sinks in sinks(),
        admin in prop::option::of(any::<std::net::SocketAddr>()),
        drain in 100..=600_000_u64,
        unfinished in 1_usize << 26..1 << 40,
        memory in prop::option::of(1_usize << 23..1 << 50),
    ) {
        let admin = admin.map(|admin| std::net::SocketAddr::new(admin.ip(), admin.port()));
        let (seconds, milliseconds) = (drain / 1000, drain % 1000);
        let mut text =
            format!("drain {seconds}s{milliseconds}ms\nunfinished_frames {unfinished}\n");
        text.extend(memory.map(|memory| format!("memory {memory}\n")));
        text.extend(admin.map(|admin| format!("admin {admin}\n")));
        let listeners: Vec<_> = listeners.into_iter().chain(servers).collect();
        text.extend(listeners.iter().map(|written| written.text.as_str()));
        let listeners: Vec<_> = listeners.into_iter().map(|written| written.meaning).collect();
        let sinks = sinks.into_iter().enumerate();
        let sinks: Vec<_> = sinks.map(|(index, parts)| write_sink(index, parts, &listeners)).collect();
        text.extend(sinks.iter().map(|written| written.text.as_str()));
        let sinks = sinks.into_iter().map(|written| written.meaning).collect();
        let meaning = Config {
            admin: Admin {
                address: admin.map_or(AdminAddress::Default, AdminAddress::At),
                ..Admin::default()
            },
            drain: Duration::from_millis(drain),
            unfinished_frames: unfinished,
            memory,
            ..Config::new(listeners, sinks)
        };
        let loaded = parse(&text);
        prop_assert_eq!(loaded.config, Some(meaning), "{}\n{}", text, loaded.diagnostics.render(false));
    }
}

#[test]
fn the_unmutated_file_is_valid() {
    let loaded = parse(GOOD);
    assert!(
        loaded.diagnostics.is_empty(),
        "{}",
        loaded.diagnostics.render(false)
    );
}
