//! The Tapfile from outside: what is understood, what is refused and in which words.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use tapfan::{
    config::{
        self, Config, Diagnostics, Edits, Listen, ListenAddress, ListenLimits, Loaded, QueueLimits,
        Severity, Sink,
    },
    net::{ClientTls, ServerTls, UnixAddress, UnixPermissions},
};

/// Files to import stand here; paths are relative to the package, so that messages are the same everywhere.
const FOLDER: &str = "tests/tapfiles";

fn environment(name: &str) -> Option<String> {
    match name {
        "COLLECTOR" => Some("collector.example:6000".into()),
        "UPPER" => Some("TCP://collector.example:6000".into()),
        "SITE" => Some("ber lin".into()),
        "FULL" => Some("full".into()),
        "QUEUE" => Some("5000".into()),
        _ => None,
    }
}

fn parse(text: &str) -> Loaded {
    config::parse(&Path::new(FOLDER).join("Tapfile"), text, &environment)
}

fn understood(text: &str) -> Config {
    let loaded = parse(text);
    loaded
        .config
        .unwrap_or_else(|| panic!("{text}\n{}", loaded.diagnostics.render(false)))
}

/// The sink of a configuration that consists of this directive.
fn sink(directive: &str) -> (Sink, Diagnostics) {
    let loaded = parse(&format!("listen @in\n{directive}"));
    let rendered = loaded.diagnostics.render(false);
    let mut config = loaded
        .config
        .unwrap_or_else(|| panic!("{directive}\n{rendered}"));
    assert_eq!(config.sinks.len(), 1, "{directive}");
    (config.sinks.remove(0), loaded.diagnostics)
}

fn plain_sink(socket: &str) -> Sink {
    let endpoint: tapfan::net::Endpoint = socket.parse().expect("an address");
    Sink {
        name: socket.into(),
        tls: socket.starts_with("tls:").then(ClientTls::default),
        endpoint,
        full: false,
        write_buffer: 1 << 20,
        queue: QueueLimits {
            frames: 10_000,
            bytes: 32 << 20,
        },
        edits: Edits::default(),
    }
}

// === what is understood ===

#[test]
fn a_socket_alone_has_the_defaults_of_coredns() {
    for socket in [
        "/run/collector.sock",
        "collector.sock",
        "unix:///run/collector.sock",
        "unix://collector.sock",
        "@collector",
        "unix://@collector",
        "tcp://collector.example:6000",
        "tcp://[::1]:6000",
        "tcp://[fe80::1%25eth0]:6000",
        "tls://collector.example:6000",
    ] {
        let (sink, diagnostics) = sink(&format!("dnstap {socket}"));
        assert_eq!(sink, plain_sink(socket));
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    }
}

#[test]
fn arguments_mean_what_they_mean_in_coredns() {
    let mib = 1 << 20;
    for (arguments, full, write_buffer, queue) in [
        ("", false, 1, 1),
        ("full", true, 1, 1),
        ("full 2", true, 2, 1),
        ("full 2 3", true, 2, 3),
        ("full 1024 4096", true, 1024, 4096),
        ("full +4 008", true, 4, 8),
        ("\"full\" 4 8", true, 4, 8),
        ("{$FULL} 4 8", true, 4, 8),
        // Not set: CoreDNS keeps the place of `full` and leaves it out.
        ("{$NOTHING} 4 8", false, 4, 8),
    ] {
        let (sink, _) = sink(&format!("dnstap /s {arguments}"));
        let queue = QueueLimits {
            frames: queue * 10_000,
            bytes: queue * 32 * mib,
        };
        assert_eq!(
            (sink.full, sink.write_buffer, sink.queue),
            (full, write_buffer * mib, queue),
            "{arguments}"
        );
    }
}

#[test]
fn numbers_without_full_are_read_as_the_manual_says_and_warned_of() {
    for (arguments, write_buffer, frames, theirs) in [
        (
            "2",
            2,
            10_000,
            "ignores the `2` and reads writebuffer 1, queue 1",
        ),
        (
            "2 3",
            2,
            30_000,
            "ignores the `2` and reads writebuffer 3, queue 1",
        ),
    ] {
        let (sink, diagnostics) = sink(&format!("dnstap /s {arguments}"));
        assert!(!sink.full);
        assert_eq!(sink.write_buffer, write_buffer << 20);
        assert_eq!(sink.queue.frames, frames);
        assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 1));
        let rendered = diagnostics.render(false);
        assert!(rendered.contains(theirs), "{rendered}");
    }
}

#[test]
fn options_set_what_they_name() {
    let (sink, diagnostics) = sink(
        r#"dnstap tls://siem.example:6443 full 4 8 {
            identity "edge 1"
            version ""
            extra "site={$SITE}"
            name siem
            ca /etc/ca.pem
            cert /etc/client.pem
            key /etc/client.key
            server_name dns.example
            queue_bytes 1GiB
        }"#,
    );
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    assert_eq!(
        sink,
        Sink {
            name: "siem".into(),
            tls: Some(ClientTls {
                skip_verify: false,
                ca: Some("/etc/ca.pem".into()),
                client: Some(("/etc/client.pem".into(), "/etc/client.key".into())),
                server_name: Some("dns.example".into()),
            }),
            full: true,
            write_buffer: 4 << 20,
            queue: QueueLimits {
                frames: 80_000,
                bytes: 1 << 30,
            },
            edits: Edits {
                identity: Some(Bytes::from_static(b"edge 1")),
                version: Some(Bytes::new()),
                extra: Some(Bytes::from_static(b"site=ber lin")),
            },
            ..plain_sink("tls://siem.example:6443")
        }
    );
}

#[test]
fn blocks_are_read_as_coredns_reads_them() {
    let edits = Edits {
        identity: Some(Bytes::from_static(b"a")),
        version: Some(Bytes::from_static(b"b")),
        extra: None,
    };
    for block in [
        "{ identity a version b }",
        "{ identity a\nversion b }",
        "{\nidentity a version b\n}",
        "{\r\n\tidentity \"a\"\r\n\tversion \"b\"\r\n}\r\n",
        "{ # a comment\nidentity a # another\n\nversion b\n}",
        "{\nidentity a\nidentity a\nversion b\n}",
    ] {
        assert_eq!(
            sink(&format!("dnstap /s {block}")).0.edits,
            edits,
            "{block}"
        );
    }
    assert_eq!(sink("dnstap /s { }").0, plain_sink("/s"));
    assert_eq!(sink("dnstap /s {\n}").0, plain_sink("/s"));
    let (skipping, _) = sink("dnstap tls://h:1 { skipverify identity a version b }");
    assert_eq!(skipping.edits, edits);
    assert!(skipping.tls.is_some_and(|tls| tls.skip_verify));
}

#[test]
fn the_last_of_a_repeated_option_wins() {
    let (sink, diagnostics) = sink("dnstap /s {\nidentity a\nidentity b\n}");
    assert_eq!(sink.edits.identity, Some(Bytes::from_static(b"b")));
    assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 1));
}

#[test]
fn braces_in_quotes_and_out_of_the_environment_are_text() {
    let (sink, diagnostics) = sink("dnstap /s {\nidentity \"{\"\nversion \"}\"\n}");
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    assert_eq!(sink.edits.identity, Some(Bytes::from_static(b"{")));
    assert_eq!(sink.edits.version, Some(Bytes::from_static(b"}")));
}

#[test]
fn sinks_are_named_by_their_socket_and_counted() {
    let config = understood(
        "listen @in
        dnstap /s
        dnstap /s full
        dnstap unix:///s
        dnstap /s { name third }
        dnstap /s",
    );
    let names: Vec<&str> = config.sinks.iter().map(|sink| &*sink.name).collect();
    assert_eq!(names, ["/s", "/s#2", "unix:///s", "third", "/s#3"]);
}

#[test]
fn listeners_have_their_settings() {
    let config = understood(
        "listen unix:///run/tapfan/dnstap.sock {
            mode 600
            owner 0
            group root
            max_connections 7
            max_frame 64KiB
        }
        listen @abstract
        listen tcp://0.0.0.0:6000
        listen tls://[::1]:6443 {
            cert a.pem
            key b.pem
            client_ca c.pem
        }
        listen tcp://127.0.0.1:0
        listen tls://127.0.0.1:0 { cert a.pem key b.pem }
        admin [::1]:9180
        drain 1m30s
        dnstap /s",
    );
    let limits = ListenLimits {
        connections: 1024,
        frame: 1 << 20,
    };
    let tls = |client_ca: Option<&str>| ServerTls {
        cert: "a.pem".into(),
        key: "b.pem".into(),
        client_ca: client_ca.map(Into::into),
    };
    let listen = |name: &str, address| Listen {
        name: name.into(),
        address,
        limits,
    };
    let open = UnixPermissions {
        mode: 0o660,
        owner: None,
        group: None,
    };
    assert_eq!(
        config.listeners,
        [
            Listen {
                limits: ListenLimits {
                    connections: 7,
                    frame: 64 << 10,
                },
                ..listen(
                    "unix:///run/tapfan/dnstap.sock",
                    ListenAddress::Unix(
                        UnixAddress::Path("/run/tapfan/dnstap.sock".into()),
                        UnixPermissions {
                            mode: 0o600,
                            owner: Some("0".into()),
                            group: Some("root".into()),
                        },
                    ),
                )
            },
            listen(
                "@abstract",
                ListenAddress::Unix(UnixAddress::Abstract("abstract".into()), open),
            ),
            listen(
                "tcp://0.0.0.0:6000",
                ListenAddress::Tcp(([0, 0, 0, 0], 6000).into()),
            ),
            listen(
                "tls://[::1]:6443",
                ListenAddress::Tls(([0, 0, 0, 0, 0, 0, 0, 1], 6443).into(), tls(Some("c.pem"))),
            ),
            listen(
                "tcp://127.0.0.1:0",
                ListenAddress::Tcp(([127, 0, 0, 1], 0).into()),
            ),
            listen(
                "tls://127.0.0.1:0",
                ListenAddress::Tls(([127, 0, 0, 1], 0).into(), tls(None)),
            ),
        ]
    );
    assert_eq!(config.admin, Some(([0, 0, 0, 0, 0, 0, 0, 1], 9180).into()));
    assert_eq!(config.drain, Duration::from_secs(90));
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = understood("listen @in\ndnstap @out");
    assert_eq!(
        (config.admin, config.drain),
        (None, Duration::from_secs(10))
    );
    assert_eq!(understood("listen @in\ndnstap @out\nadmin off").admin, None);
}

#[test]
fn the_environment_fills_in_words() {
    assert_eq!(
        sink("dnstap tcp://{$COLLECTOR}").0.endpoint.to_string(),
        "tcp://collector.example:6000"
    );
    assert_eq!(
        sink("dnstap tcp://{%COLLECTOR%} { identity {$SITE} }")
            .0
            .edits
            .identity,
        Some(Bytes::from_static(b"ber lin"))
    );
}

// === import ===

#[test]
fn snippets_and_files_are_imported_where_they_are_named() {
    let config = understood(
        "(common) {
            identity edge
            version 1
        }
        (all) { import common
            extra x }
        (sinks) {
            dnstap /one { import common }
            dnstap /two {
                import all
            }
        }
        import conf.d/*.conf
        import sinks",
    );
    let sinks: Vec<(&str, bool)> = config
        .sinks
        .iter()
        .map(|sink| (&*sink.name, sink.edits.extra.is_some()))
        .collect();
    assert_eq!(
        sinks,
        [
            ("/run/a.sock", false),
            ("/run/b.sock", false),
            ("/one", false),
            ("/two", true)
        ]
    );
    assert_eq!(&*config.listeners[0].name, "tcp://127.0.0.1:6000");
    assert_eq!(config.drain, Duration::from_secs(3));
    for sink in &config.sinks[2..] {
        assert_eq!(sink.edits.identity, Some(Bytes::from_static(b"edge")));
    }
}

#[test]
fn a_snippet_of_one_line_can_be_imported_one_after_the_other() {
    let config = understood("(s) { dnstap /s }\nlisten @in\nimport s\nimport s");
    assert_eq!(config.sinks.len(), 2);
}

#[test]
fn imports_that_double_come_to_an_end() {
    let mut text = String::from("(s0) { dnstap /s }\n");
    for n in 1..24 {
        text.push_str(&format!("(s{n}) {{\nimport s{0}\nimport s{0}\n}}\n", n - 1));
    }
    text.push_str("listen @in\nimport s23\n");
    let loaded = parse(&text);
    assert_eq!(
        loaded.diagnostics.errors(),
        1,
        "{}",
        loaded.diagnostics.render(false)
    );
    assert!(
        loaded
            .diagnostics
            .render(false)
            .contains("too many imports")
    );
}

#[test]
fn imports_within_imports_have_a_limit() {
    let mut text = String::from("(s0) { dnstap /s }\n");
    for n in 1..40 {
        text.push_str(&format!("(s{n}) {{\nimport s{}\n}}\n", n - 1));
    }
    let loaded = parse(&format!("{text}listen @in\nimport s39\n"));
    assert!(
        loaded
            .diagnostics
            .render(false)
            .contains("nested too deeply")
    );
    let loaded = parse(&format!("{text}listen @in\nimport s20\n"));
    assert!(
        loaded.config.is_some(),
        "{}",
        loaded.diagnostics.render(false)
    );
}

// === files ===

#[test]
fn load_looks_for_the_files_that_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("Tapfile");
    let there = folder.path().join("there.pem");
    fs::write(&there, "").expect("the folder is ours");
    let there = there.display();
    let text = format!(
        "listen @in {{ owner root }}
        listen /run/x {{
            owner no-such-user
            group no-such-group
        }}
        listen tls://127.0.0.1:6443 {{
            cert {there}
            key /nonexistent/key.pem
        }}
        dnstap tls://collector.example:6000 {{
            ca {}
        }}",
        folder.path().display()
    );
    fs::write(&path, &text).expect("the folder is ours");
    let loaded = config::load(&path, &environment);
    assert!(loaded.config.is_none());
    let places: Vec<(String, usize)> = loaded
        .diagnostics
        .iter()
        .filter(|problem| problem.severity() == Severity::Error)
        .map(|problem| {
            let place = loaded.diagnostics.position(problem).expect("a place");
            (problem.message().to_owned(), place.line)
        })
        .collect();
    let message = |text: &str, line| (text.to_owned(), line);
    assert_eq!(
        places,
        [
            message("no user `no-such-user`", 3),
            message("no group `no-such-group`", 4),
            message("cannot read `/nonexistent/key.pem`", 8),
            (format!("cannot read `{}`", folder.path().display()), 11),
        ]
    );
    // The same text is fine away from its machine.
    assert!(parse(&text).config.is_some());
}

#[test]
fn a_configuration_that_cannot_be_read_is_a_problem_like_any_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("Tapfile");
    let rendered = |path: &Path| {
        let loaded = config::load(path, &environment);
        assert!(loaded.config.is_none());
        loaded
            .diagnostics
            .render(false)
            .replace(&folder.path().display().to_string(), "FOLDER")
    };
    let expected = |why: &str, name: &str| {
        format!("error: cannot read the configuration: {why}\n--> FOLDER{name}\n")
    };
    assert_eq!(
        rendered(&path),
        expected("No such file or directory (os error 2)", "/Tapfile")
    );
    assert_eq!(rendered(folder.path()), expected("it is a directory", ""));
    fs::write(&path, b"listen @in\ndnstap \xff").expect("the folder is ours");
    assert_eq!(
        rendered(&path),
        expected("it is not UTF-8: line 2 has the byte 0xff", "/Tapfile")
    );
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).expect("the folder is ours");
    assert_eq!(
        rendered(&path),
        expected("it is larger than 1024 KiB", "/Tapfile")
    );
    fs::write(&path, "\u{feff}listen @in\r\ndnstap /s\r\n").expect("the folder is ours");
    assert!(config::load(&path, &environment).config.is_some());
}

// === what is refused ===

/// A name and a configuration that is wrong.
const BROKEN: &[(&str, &str)] = &[
    // Addresses.
    (
        "socket_upper_case",
        "listen @in\ndnstap TCP://collector.example:6000 full\n",
    ),
    (
        "socket_udp",
        "listen @in\ndnstap udp://collector.example:6000\n",
    ),
    (
        "socket_http",
        "listen @in\ndnstap http://collector.example:6000\n",
    ),
    (
        "socket_without_slashes",
        "listen @in\ndnstap tcp:collector.example:6000\n",
    ),
    (
        "socket_without_scheme",
        "listen @in\ndnstap 192.0.2.1:6000\n",
    ),
    (
        "socket_without_port",
        "listen @in\ndnstap tcp://collector.example full\n",
    ),
    (
        "socket_port_zero",
        "listen @in\ndnstap tcp://collector.example:0\n",
    ),
    (
        "socket_port_too_large",
        "listen @in\ndnstap tcp://collector.example:65536\n",
    ),
    (
        "socket_port_no_number",
        "listen @in\ndnstap tcp://collector.example:dnstap\n",
    ),
    ("socket_empty", "listen @in\ndnstap \"\"\n"),
    ("socket_without_host", "listen @in\ndnstap tls://:6000\n"),
    (
        "socket_unbracketed_ipv6",
        "listen @in\ndnstap tcp://2001:db8::1:6000\n",
    ),
    (
        "socket_bad_zone",
        "listen @in\ndnstap tcp://[fe80::1%25]:6000\n",
    ),
    (
        "socket_with_space",
        "listen @in\ndnstap \"tcp://collector.example :6000\"\n",
    ),
    (
        "socket_padded",
        "listen @in\ndnstap \" /run/my dnstap.sock\"\n",
    ),
    ("socket_of_environment", "listen @in\ndnstap {$UPPER}\n"),
    (
        "socket_path_too_long",
        "listen @in\ndnstap /run/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.sock\n",
    ),
    (
        "socket_bad_ipv4",
        "listen @in\ndnstap tcp://300.1.1.1:6000\n",
    ),
    (
        "socket_not_ascii",
        "listen @in\ndnstap tcp://müller.example:6000\n",
    ),
    (
        "socket_with_path",
        "listen @in\ndnstap tcp://collector.example:6000/dnstap\n",
    ),
    ("listen_name", "listen tcp://localhost:6000\ndnstap /s\n"),
    ("listen_anywhere", "listen tcp://:6000\ndnstap /s\n"),
    (
        "admin_with_scheme",
        "listen @in\nadmin http://127.0.0.1:9180/\ndnstap /s\n",
    ),
    // Arguments.
    ("dnstap_alone", "listen @in\ndnstap\n"),
    (
        "dnstap_listen",
        "listen @in\ndnstap listen tcp://0.0.0.0:6000 full\n",
    ),
    ("full_misspelt", "listen @in\ndnstap /s ful\n"),
    ("full_misplaced", "listen @in\ndnstap /s 2 full\n"),
    ("full_twice", "listen @in\ndnstap /s full full\n"),
    ("left_over_number", "listen @in\ndnstap /s full 2 3 4\n"),
    (
        "left_over_number_without_full",
        "listen @in\ndnstap /s 2 3 4\n",
    ),
    (
        "single_quotes",
        "listen @in\ndnstap '/run/my dnstap.sock'\n",
    ),
    (
        "write_buffer_too_large",
        "listen @in\ndnstap /s full 1025\n",
    ),
    ("queue_too_small", "listen @in\ndnstap /s full 1 0\n"),
    (
        "queue_of_environment",
        "listen @in\ndnstap /s full 1 {$QUEUE}\n",
    ),
    ("number_with_letters", "listen @in\ndnstap /s full 4MiB\n"),
    (
        "option_as_argument",
        "listen @in\ndnstap tls://h:1 full skipverify\n",
    ),
    (
        "listen_two_addresses",
        "listen tcp://127.0.0.1:1 tcp://127.0.0.1:2\ndnstap /s\n",
    ),
    ("listen_alone", "listen\ndnstap /s\n"),
    ("drain_without_unit", "listen @in\ndnstap /s\ndrain 10\n"),
    ("drain_too_long", "listen @in\ndnstap /s\ndrain 1h\n"),
    ("drain_no_time", "listen @in\ndnstap /s\ndrain soon\n"),
    // Options.
    (
        "option_misspelt",
        "listen @in\ndnstap /s {\n    idenity edge-1\n}\n",
    ),
    (
        "option_unknown",
        "listen @in\ndnstap /s {\n    timeout 4s\n}\n",
    ),
    (
        "option_without_value",
        "listen @in\ndnstap /s {\n    identity\n    version 1\n}\n",
    ),
    (
        "option_with_two_values",
        "listen @in\ndnstap /s {\n    identity edge 1\n}\n",
    ),
    (
        "flag_with_value",
        "listen @in\ndnstap tls://h:1 {\n    skipverify true\n}\n",
    ),
    ("option_outside", "listen @in\ndnstap /s\nidentity edge-1\n"),
    (
        "option_of_drain",
        "listen @in\ndnstap /s\ndrain 10s {\n    hard\n}\n",
    ),
    (
        "nested_block",
        "listen @in\ndnstap /s {\n    extra {\n        a b\n    }\n}\n",
    ),
    (
        "skipverify_without_tls",
        "listen @in\ndnstap tcp://h:1 {\n    skipverify\n}\n",
    ),
    (
        "certificates_without_tls",
        "listen @in\ndnstap /s {\n    ca a.pem\n    server_name b\n}\n",
    ),
    (
        "cert_without_key",
        "listen @in\ndnstap tls://h:1 {\n    cert a.pem\n}\n",
    ),
    (
        "server_name_no_name",
        "listen @in\ndnstap tls://h:1 {\n    server_name https://h\n}\n",
    ),
    (
        "ca_empty",
        "listen @in\ndnstap tls://h:1 {\n    ca {$NOTHING}\n}\n",
    ),
    (
        "name_with_control",
        "listen @in\ndnstap /s {\n    name \"a\nb\"\n}\n",
    ),
    (
        "name_taken",
        "listen @in\ndnstap /a {\n    name siem\n}\ndnstap /b {\n    name siem\n}\n",
    ),
    (
        "name_of_another_socket",
        "listen @in\ndnstap /a\ndnstap /b {\n    name /a\n}\n",
    ),
    (
        "queue_bytes_no_size",
        "listen @in\ndnstap /s {\n    queue_bytes 64MB\n}\n",
    ),
    (
        "queue_bytes_too_small",
        "listen @in\ndnstap /s {\n    queue_bytes 1KiB\n}\n",
    ),
    (
        "mode_not_octal",
        "listen /in {\n    mode 0888\n}\ndnstap /s\n",
    ),
    (
        "mode_too_large",
        "listen /in {\n    mode 04755\n}\ndnstap /s\n",
    ),
    (
        "max_frame_too_large",
        "listen @in {\n    max_frame 17MiB\n}\ndnstap /s\n",
    ),
    (
        "max_connections_none",
        "listen @in {\n    max_connections 0\n}\ndnstap /s\n",
    ),
    (
        "listen_tls_without_key",
        "listen tls://0.0.0.0:6443 {\n    cert a.pem\n}\ndnstap /s\n",
    ),
    (
        "listen_options_of_another_kind",
        "listen tcp://127.0.0.1:1 {\n    mode 0600\n    cert a.pem\n}\ndnstap /s\n",
    ),
    // Blocks and tokens.
    (
        "brace_below",
        "listen @in\ndnstap /s\n{\n    identity a\n}\n",
    ),
    ("brace_glued", "listen @in\ndnstap /s{\n    identity a\n}\n"),
    (
        "brace_glued_to_option",
        "listen @in\ndnstap /s {identity a }\n",
    ),
    (
        "brace_missing",
        "listen @in\ndnstap /a {\n    identity a\ndnstap /b {\n    identity b\n}\n",
    ),
    (
        "brace_missing_at_end",
        "listen @in\ndnstap /a {\n    identity a\n",
    ),
    (
        "brace_glued_at_end",
        "listen @in\ndnstap /a { identity a}\n",
    ),
    (
        "brace_too_many",
        "listen @in\ndnstap /a {\n    identity a\n}\n}\n",
    ),
    (
        "brace_with_more_behind",
        "listen @in\ndnstap /a {\n    identity a\n} full 2\n",
    ),
    (
        "block_of_nothing",
        "{\n    identity a\n}\nlisten @in\ndnstap /s\n",
    ),
    (
        "quote_open",
        "listen @in\ndnstap /s {\n    identity \"edge\n}\n",
    ),
    // The whole.
    ("directive_misspelt", "lisen @in\ndnstap /s\n"),
    (
        "directive_unknown",
        "listen @in\ndnstap /s\nforward . 9.9.9.9\n",
    ),
    (
        "server_block",
        ".:53 {\n    forward . 9.9.9.9\n    dnstap /s full\n}\n",
    ),
    ("empty", "# nothing yet\n"),
    ("no_listener", "dnstap /s\n"),
    ("no_sink", "listen @in\n"),
    (
        "listener_twice",
        "listen unix:///run/in.sock\nlisten @in\ndnstap /s\nlisten /run/in.sock\n",
    ),
    (
        "listener_and_admin",
        "listen tcp://127.0.0.1:9180\nadmin 127.0.0.1:9180\ndnstap /s\n",
    ),
    (
        "loop_unix",
        "listen unix:///run/dnstap.sock\ndnstap /run/dnstap.sock full\n",
    ),
    (
        "loop_tcp",
        "listen tcp://0.0.0.0:6000\ndnstap tcp://127.0.0.1:6000\n",
    ),
    // Imports.
    (
        "import_missing",
        "import no-such.conf\nlisten @in\ndnstap /s\n",
    ),
    ("import_nothing", "import\nlisten @in\ndnstap /s\n"),
    ("import_two", "import a b\nlisten @in\ndnstap /s\n"),
    (
        "import_snippet_misspelt",
        "(common) {\n    identity a\n}\nlisten @in\ndnstap /s {\n    import comon\n}\n",
    ),
    (
        "import_snippet_too_early",
        "listen @in\ndnstap /s {\n    import common\n}\n(common) {\n    identity a\n}\n",
    ),
    (
        "import_of_itself",
        "import loop-a.conf\nlisten @in\ndnstap /s\n",
    ),
    (
        "import_snippet_of_itself",
        "(a) {\n    import b\n}\n(b) {\n    import a\n}\nimport a\n",
    ),
    (
        "import_deep_pattern",
        "import **/*.conf\nlisten @in\ndnstap /s\n",
    ),
    (
        "import_bad_pattern",
        "import conf.d/[a\nlisten @in\ndnstap /s\n",
    ),
    ("import_broken_file", "listen @in\nimport broken.conf\n"),
    (
        "import_unclosed_file",
        "listen @in\nimport unclosed.conf\ndnstap /s\n",
    ),
    ("import_not_utf8", "listen @in\nimport latin1.conf\n"),
    ("import_folder", "listen @in\nimport conf.d\ndnstap /s\n"),
    ("snippet_without_block", "(common)\nlisten @in\ndnstap /s\n"),
    (
        "snippet_twice",
        "(a) { identity a }\n(a) { identity b }\nlisten @in\ndnstap /s { import a }\n",
    ),
    (
        "snippet_error_names_its_user",
        "(tls) {\n    skipverify\n}\nlisten @in\ndnstap tls://h:1 {\n    import tls\n}\ndnstap /s {\n    import tls\n}\n",
    ),
    (
        "everything_at_once",
        "listen tcp://localhost:6000 {\n    mode 0600\n    max_frame 1\n}\ndnstap tcp:h:1 ful 0 {\n    idenity \"a\n    b\"\n    skipverify\n}\ndrian 10s\n",
    ),
];

/// A name and a configuration that is understood, but with something to say.
const DOUBTFUL: &[(&str, &str)] = &[
    ("comment_in_word", "listen @in\ndnstap /tmp/a#b\n"),
    (
        "comment_in_word_with_more",
        "listen @in\ndnstap /tmp/a#b full\n",
    ),
    (
        "variable_not_set",
        "listen @in\ndnstap /s {\n    identity edge-{$NOTHING}\n}\n",
    ),
    ("numbers_without_full", "listen @in\ndnstap /s 2 3\n"),
    ("number_without_full", "listen @in\ndnstap /s 2\n"),
    (
        "option_twice",
        "listen @in\ndnstap /s {\n    identity a\n    version 1\n    identity b\n}\n",
    ),
    ("drain_twice", "listen @in\ndnstap /s\ndrain 1s\ndrain 2s\n"),
    (
        "extra_placeholder",
        "listen @in\ndnstap /s {\n    extra \"site {type} x\"\n}\n",
    ),
    (
        "ca_and_skipverify",
        "listen @in\ndnstap tls://h:1 {\n    skipverify\n    ca a.pem\n}\n",
    ),
    (
        "pattern_without_match",
        "listen @in\ndnstap /s\nimport none.d/*.conf\n",
    ),
    (
        "relative_where_root_was_meant",
        "listen unix://run/tapfan.sock\ndnstap /s\n",
    ),
    (
        "mode_of_abstract",
        "listen @in {\n    mode 0600\n}\ndnstap /s\n",
    ),
    (
        "queue_smaller_than_frame",
        "listen @in {\n    max_frame 16MiB\n}\ndnstap /s {\n    queue_bytes 1MiB\n}\n",
    ),
    ("carriage_return", "listen @in\rdnstap\r\ndnstap /s\n"),
];

fn snapshot(name: &str, text: &str, loaded: &Loaded) {
    insta::with_settings!({ description => text, omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("config__{name}"), loaded.diagnostics.render(false));
    });
}

#[test]
fn broken_configurations_are_refused_in_these_words() {
    for (name, text) in BROKEN {
        let loaded = parse(text);
        assert!(loaded.diagnostics.has_errors(), "{name}");
        assert!(loaded.config.is_none(), "{name}");
        snapshot(name, text, &loaded);
    }
}

#[test]
fn doubtful_configurations_are_understood_with_these_words() {
    for (name, text) in DOUBTFUL {
        let loaded = parse(text);
        assert!(loaded.config.is_some(), "{name}");
        assert!(loaded.diagnostics.warnings() > 0, "{name}");
        snapshot(name, text, &loaded);
    }
}

#[test]
fn every_snapshot_belongs_to_a_configuration_here() {
    let names: BTreeSet<String> = BROKEN
        .iter()
        .chain(DOUBTFUL)
        .map(|(name, _)| format!("config__{name}.snap"))
        .collect();
    assert_eq!(
        names.len(),
        BROKEN.len() + DOUBTFUL.len(),
        "names are unique"
    );
    let files: BTreeSet<String> = fs::read_dir("tests/snapshots")
        .expect("the folder of snapshots")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.starts_with("config__"))
        .collect();
    assert_eq!(files, names);
}

// === properties ===

/// A good configuration with something of everything, for mutations.
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
import conf.d/*.conf
dnstap /run/c.sock full 4 8 { import common }
dnstap tls://siem.example.:6443 {
    import common
    name siem
    skipverify
    queue_bytes 64MiB
    extra "site={%SITE%}"
}
"#;

/// Text from outside: parsed and shown without a panic, and never with a configuration beside an error.
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

/// A configuration as text and as what it means.
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
                block.push_str(&format!("    {name} {}\n", quoted(value)));
            }
        }
        Written {
            text: block,
            meaning: Edits {
                identity: identity.map(Bytes::from),
                version: version.map(Bytes::from),
                extra: extra.map(Bytes::from),
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

/// SOCKET; `full`, writebuffer, queue; edits; `skipverify` if it is TLS; `queue_bytes` in MiB.
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
    // The index keeps the names apart.
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
    text.push_str(&format!(
        " {{\n{}    name {}\n",
        edits.text,
        quoted(&sink.name)
    ));
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
            Written {
                text: format!(
                    "listen {name} {{\n    max_connections {connections}\n    max_frame {kib}KiB\n    mode {mode:04o}\n}}\n"
                ),
                meaning: Listen {
                    address: ListenAddress::Unix(
                        UnixAddress::Path(format!("/IN/{index}").into()),
                        UnixPermissions { mode, owner: None, group: None },
                    ),
                    name: name.into(),
                    limits: ListenLimits { connections, frame: kib << 10 },
                },
            }
        };
        listeners.into_iter().enumerate().map(number).collect()
    })
}

proptest! {
    #[test]
    fn any_text_is_survived(text in r##"([a-zß "#\\\n\r\t{}()$%:/@*.0-9]|\{\n|\n\}|import |dnstap |\PC){0,80}"##) {
        survives(&text);
    }

    #[test]
    fn any_words_are_survived(words in prop::collection::vec(
        prop::sample::select(vec![
            "listen", "dnstap", "admin", "drain", "import", "{", "}", "\n", "\n", "(a)", "a", "full", "2",
            "identity", "skipverify", "name", "ca", "cert", "key", "mode", "tls://h:1", "tcp://127.0.0.1:1",
            "/s", "@in", "\"", "x{", "}x", "#", "{$SITE}", "conf.d/*.conf", "loop-a.conf", "off", "10s",
        ]), 0..48,
    )) {
        survives(&words.join(" "));
    }

    #[test]
    fn any_mutation_of_a_good_file_is_survived(
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
    ) {
        let admin = admin.map(|admin| std::net::SocketAddr::new(admin.ip(), admin.port()));
        let mut text = format!("drain {}s{}ms\n", drain / 1000, drain % 1000);
        text.extend(admin.map(|admin| format!("admin {admin}\n")));
        text.extend(listeners.iter().map(|written| written.text.as_str()));
        text.extend(sinks.iter().map(|written| written.text.as_str()));
        let meaning = Config {
            listeners: listeners.into_iter().map(|written| written.meaning).collect(),
            sinks: sinks.into_iter().map(|written| written.meaning).collect(),
            admin,
            drain: Duration::from_millis(drain),
        };
        let loaded = parse(&text);
        prop_assert_eq!(loaded.config, Some(meaning), "{}\n{}", text, loaded.diagnostics.render(false));
    }
}

#[test]
fn the_good_file_is_good() {
    let loaded = parse(GOOD);
    assert!(
        loaded.diagnostics.is_empty(),
        "{}",
        loaded.diagnostics.render(false)
    );
}
