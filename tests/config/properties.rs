//! Properties of parsing: no text causes a panic, and a configuration that is written as text parses to the same
//! configuration.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tapfan::config::{
    Admin, AdminAddress, Config, Edits, Listen, ListenAddress, Sink, Template, UnixAddress,
    UnixPermissions,
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
dnstap tls://siem.example.:6443 {
    import common
    name siem
    skipverify
    queue_bytes 64MiB
    endpoints balance
    refresh 2s 30s
    write_timeout 5s
    max_age 1h
    extra "site={%SITE%}"
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

fn edits() -> impl Strategy<Value = Written<Edits>> {
    let text = || prop::option::of("[a-zß \"#.-]{0,12}");
    (text(), text(), text()).prop_map(|(identity, version, extra)| {
        let mut block = String::new();
        for (name, value) in [
            ("identity", &identity),
            ("version", &version),
            ("extra", &extra),
        ] {
            if let Some(value) = value {
                block.extend([format!("    {name} {}\n", quoted(value))]);
            }
        }
        Written {
            text: block,
            meaning: Edits {
                identity: identity.map(Bytes::from),
                identity_prefix: None,
                version: version.map(Bytes::from),
                extra: extra.as_deref().map(Template::new),
            },
        }
    })
}

fn sinks() -> impl Strategy<Value = Vec<Written<Sink>>> {
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
        any::<bool>(),
        prop::option::of(1..=4096_usize),
    );
    prop::collection::vec(one, 1..5).prop_map(|sinks| {
        let sinks = sinks.into_iter().enumerate();
        sinks
            .map(|(index, parts)| write_sink(index, parts))
            .collect()
    })
}

/// The random parts of a `dnstap` line, in this order: the SOCKET; `full`, the write buffer and the queue; the edits of
/// frames; whether `skipverify` is set if the sink uses TLS; and `queue_bytes` in MiB.
type SinkParts = (
    String,
    (bool, Option<usize>, Option<usize>),
    Written<Edits>,
    bool,
    Option<usize>,
);

fn write_sink(index: usize, parts: SinkParts) -> Written<Sink> {
    let (socket, (full, buffer, queue), edits, skip_verify, mib) = parts;
    let mut sink = plain_sink(&socket);
    // The index in the name makes the names of the sinks unique.
    sink.name = format!("sink {index}").into();
    sink.full = full;
    sink.write_buffer = buffer.unwrap_or(1) << 20;
    sink.queue.frames = queue.unwrap_or(1) * 10_000;
    sink.queue.bytes = mib.unwrap_or(queue.unwrap_or(1) * 32) << 20;
    sink.edits = edits.meaning;
    let mut text = format!("dnstap {socket}");
    for word in [
        full.then(|| "full".to_owned()),
        buffer.map(|n| n.to_string()),
        queue.map(|n| n.to_string()),
    ] {
        text.extend(word.map(|word| format!(" {word}")));
    }
    text.extend([" {\n", &edits.text, "    name ", &quoted(&sink.name), "\n"]);
    text.extend(mib.map(|mib| format!("    queue_bytes {mib}MiB\n")));
    if let Some(tls) = &mut sink.tls
        && skip_verify
    {
        tls.skip_verify = true;
        text.push_str("    skipverify\n");
    }
    text.push_str("}\n");
    Written {
        text,
        meaning: sink,
    }
}

fn listeners() -> impl Strategy<Value = Vec<Written<Listen>>> {
    let one = (1..=1_000_000_usize, 1..=16_384_u32, 0..=0o777_u32);
    prop::collection::vec(one, 1..4).prop_map(|listeners| {
        let number = |(index, (connections, kib, mode))| {
            let name = format!("unix:///IN/{index}");
            let permissions = UnixPermissions { mode, owner: None, group: None };
            let path = UnixAddress::Path(format!("/IN/{index}").into());
            let mut listen = Listen::new(name.as_str(), ListenAddress::Unix(path, permissions));
            listen.limits.connections = connections;
            listen.limits.frame = kib << 10;
            Written {
                text: format!(
                    "listen {name} {{\n    max_connections {connections}\n    max_frame {kib}KiB\n    mode {mode:04o}\n}}\n"
                ),
                meaning: listen,
            }
        };
        listeners.into_iter().enumerate().map(number).collect()
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
        text.extend(listeners.iter().map(|written| written.text.as_str()));
        text.extend(sinks.iter().map(|written| written.text.as_str()));
        let listeners = listeners.into_iter().map(|written| written.meaning).collect();
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
