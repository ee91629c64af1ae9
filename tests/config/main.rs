//! Tests of the Tapfile: the configurations that are accepted, and the error messages for those that are refused.

mod properties;
mod reference;
mod refused;

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use tapfan::config::{
    self, Admin, AdminAddress, ClientTls, Config, Diagnostics, Edits, Endpoints, Listen,
    ListenAddress, Loaded, QueueLimits, ReadyWhen, Refresh, ResolverSettings, ServerTls, Severity,
    Sink, UnixAddress, UnixPermissions,
};

/// The folder of the imported files. The path is relative to the package, so that messages are the same on every
/// machine.
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

/// Returns the sink of a configuration with only this directive.
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
    Sink {
        tls: socket.starts_with("tls").then(ClientTls::default),
        full: false,
        write_buffer: 1 << 20,
        queue: QueueLimits {
            frames: 10_000,
            bytes: 32 << 20,
        },
        edits: Edits::default(),
        endpoints: Endpoints::Failover,
        refresh: Refresh::default(),
        write_timeout: Duration::from_secs(30),
        max_age: None,
        ..Sink::new(socket, socket.parse().expect("an address"))
    }
}

// === accepted ===

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
        "tcp+srv://_dnstap._tcp.collector.example.",
        "tls+srv://_dnstap._tcp.collector.example",
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
        // The variable is not set, so the first argument is empty. CoreDNS ignores an empty argument, but still counts
        // it.
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
fn numbers_without_full_mean_what_the_manual_says_and_cause_a_warning() {
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
fn options_set_their_fields() {
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
                ..ClientTls::default()
            }),
            full: true,
            write_buffer: 4 << 20,
            queue: QueueLimits {
                frames: 80_000,
                bytes: 1 << 30,
            },
            edits: Edits {
                identity: Some(Bytes::from_static(b"edge 1")),
                identity_prefix: None,
                version: Some(Bytes::new()),
                extra: Some("site=ber lin".into()),
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
        ..Edits::default()
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
        admin [::1]:9180 {
            host edge-1.example. 192.0.2.7
            host [2001:db8::7]
        }
        probes 0.0.0.0:9181
        ready_when any
        drain 1m30s
        dnstap /s",
    );
    let tls = |client_ca: Option<&str>| ServerTls {
        cert: "a.pem".into(),
        key: "b.pem".into(),
        client_ca: client_ca.map(Into::into),
        client_cert_optional: false,
    };
    let listen = |name: &str, address| {
        let listen = Listen::new(name, address);
        assert_eq!(
            (listen.limits.connections, listen.limits.frame),
            (1024, 1 << 20)
        );
        listen
    };
    let open = UnixPermissions {
        mode: 0o660,
        owner: None,
        group: None,
    };
    let mut first = listen(
        "unix:///run/tapfan/dnstap.sock",
        ListenAddress::Unix(
            UnixAddress::Path("/run/tapfan/dnstap.sock".into()),
            UnixPermissions {
                mode: 0o600,
                owner: Some("0".into()),
                group: Some("root".into()),
            },
        ),
    );
    first.limits.connections = 7;
    first.limits.frame = 64 << 10;
    assert_eq!(
        config.listeners,
        [
            first,
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
    let admin = Admin {
        address: AdminAddress::At(([0, 0, 0, 0, 0, 0, 0, 1], 9180).into()),
        hosts: ["edge-1.example.", "192.0.2.7", "2001:db8::7"]
            .map(|host| host.parse().expect("a host"))
            .to_vec(),
        probes: Some(([0, 0, 0, 0], 9181).into()),
        probes_hosts: Vec::new(),
        ready_when: ReadyWhen::Any,
    };
    assert_eq!(config.admin, admin);
    assert_eq!(config.drain, Duration::from_secs(90));
}

#[test]
fn missing_directives_have_their_defaults() {
    let config = understood("listen @in\ndnstap @out");
    assert_eq!(
        (config.admin, config.drain),
        (Admin::default(), Duration::from_secs(10))
    );
    assert_eq!(
        AdminAddress::default().address(),
        Some(([127, 0, 0, 1], 9180).into())
    );
    let off = understood("listen @in\ndnstap @out\nadmin off")
        .admin
        .address;
    assert_eq!((off, off.address()), (AdminAddress::Off, None));
}

#[test]
fn a_resolver_has_its_settings() {
    assert_eq!(
        understood("listen @in\ndnstap /s").resolver,
        ResolverSettings::default()
    );
    assert_eq!(
        understood("listen @in\ndnstap /s\nresolver { }").resolver,
        ResolverSettings::default()
    );
    let settings = ResolverSettings {
        name_servers: vec![
            ([10, 96, 0, 10], 53).into(),
            ([192, 0, 2, 1], 5353).into(),
            ([0xfd00, 0, 0, 0, 0, 0, 0, 10], 53).into(),
        ],
        search: vec!["svc.cluster.local".into(), "cluster.local.".into()],
        ndots: Some(5),
        timeout: Duration::from_millis(2500),
    };
    for block in [
        "nameserver 10.96.0.10 192.0.2.1:5353 fd00::a
        search svc.cluster.local cluster.local.
        ndots 5
        timeout 2s500ms",
        "nameserver 10.96.0.10
        nameserver 192.0.2.1:5353
        search svc.cluster.local
        ndots 5
        nameserver [fd00::a]
        search cluster.local.
        timeout 2s500ms",
        "nameserver 10.96.0.10 192.0.2.1:5353 fd00::a search svc.cluster.local cluster.local. ndots 5 timeout 2s500ms",
    ] {
        let loaded = parse(&format!("listen @in\ndnstap /s\nresolver {{\n{block}\n}}"));
        assert!(
            loaded.diagnostics.is_empty(),
            "{}",
            loaded.diagnostics.render(false)
        );
        assert_eq!(loaded.config.expect("no error").resolver, settings);
    }
}

#[test]
fn endpoints_has_three_modes() {
    for (written, mode) in [
        ("", Endpoints::Failover),
        ("endpoints failover", Endpoints::Failover),
        ("endpoints balance name a", Endpoints::Balance),
        ("name a endpoints all", Endpoints::All),
    ] {
        for socket in [
            "tcp://collector.example:6000",
            "tls+srv://_dnstap._tcp.example.",
        ] {
            let (sink, diagnostics) = sink(&format!("dnstap {socket} {{ {written} }}"));
            assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
            assert_eq!(sink.endpoints, mode);
        }
    }
}

#[test]
fn refresh_has_two_values() {
    let (sink, diagnostics) = sink("dnstap tcp://collector.example:6000 { refresh 1s 1h name a }");
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    assert_eq!(
        (sink.refresh.min, sink.refresh.max, &*sink.name),
        (Duration::from_secs(1), Duration::from_hours(1), "a")
    );
}

#[test]
fn write_timeout_and_max_age_are_read() {
    for (written, write_timeout, max_age) in [
        ("write_timeout 1s max_age 1s", 1, Some(1)),
        ("write_timeout 10m", 600, None),
        ("max_age 168h", 30, Some(7 * 24 * 3600)),
    ] {
        let (sink, diagnostics) = sink(&format!("dnstap /s {{ {written} }}"));
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
        assert_eq!(sink.write_timeout, Duration::from_secs(write_timeout));
        assert_eq!(sink.max_age, max_age.map(Duration::from_secs));
    }
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
fn imports_that_double_in_size_reach_a_limit() {
    let mut text = String::from("(s0) { dnstap /s }\n");
    for n in 1..24 {
        let before = n - 1;
        text.extend([format!(
            "(s{n}) {{\nimport s{before}\nimport s{before}\n}}\n"
        )]);
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
        text.extend([format!("(s{n}) {{\nimport s{}\n}}\n", n - 1)]);
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
fn load_checks_that_files_users_and_groups_exist() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("Tapfile");
    let there = folder.path().join("there.pem");
    let made = rcgen::generate_simple_self_signed([]).expect("a certificate");
    fs::write(&there, made.cert.pem()).expect("the folder is ours");
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
    // The same text is valid if the files that it names are not checked.
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
    assert_eq!(
        rendered(folder.path()),
        expected("the path is a directory", "")
    );
    fs::write(&path, b"listen @in\ndnstap \xff").expect("the folder is ours");
    assert_eq!(
        rendered(&path),
        expected(
            "the file is not UTF-8: line 2 has the byte 0xff",
            "/Tapfile"
        )
    );
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).expect("the folder is ours");
    assert_eq!(
        rendered(&path),
        expected("the file is larger than 1024 KiB", "/Tapfile")
    );
    fs::write(&path, "\u{feff}listen @in\r\ndnstap /s\r\n").expect("the folder is ours");
    assert!(config::load(&path, &environment).config.is_some());
}

/// Errors in the content of certificates and keys are reported at the place of the file's path in the configuration.
#[test]
fn load_checks_the_content_of_certificates_and_keys() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: String| fs::write(path(name), text).expect("written");
    for name in ["one", "other"] {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        write(&format!("{name}.crt"), made.cert.pem());
        write(&format!("{name}.key"), made.signing_key.serialize_pem());
    }
    let shown = |name: &str| path(name).display().to_string();
    let tapfile = |key: &str, ca: &str| {
        format!(
            "listen tls://127.0.0.1:0 {{\n    cert {}\n    key {}\n}}\ndnstap tls://collector.example:6443 {{\n    ca {}\n}}\n",
            shown("one.crt"),
            shown(key),
            shown(ca),
        )
    };
    let load = |text: String| {
        write("Tapfile", text);
        config::load(&path("Tapfile"), &|_| None)
    };
    let good = load(tapfile("one.key", "other.crt"));
    assert!(good.config.is_some(), "{}", good.diagnostics.render(false));

    let bad = load(tapfile("other.key", "other.key"));
    assert!(bad.config.is_none());
    let problems: Vec<_> = bad
        .diagnostics
        .iter()
        .map(|problem| {
            let place = bad.diagnostics.position(problem).expect("a place");
            (place.line, problem.message().replace(&shown(""), ""))
        })
        .collect();
    let expected = [
        (
            1,
            "the private key in other.key does not belong to the first certificate in one.crt",
        ),
        (
            5,
            "other.key holds no certificate; expected PEM with -----BEGIN CERTIFICATE-----",
        ),
    ];
    assert_eq!(
        problems,
        expected.map(|(line, text)| (line, text.to_owned()))
    );
}
