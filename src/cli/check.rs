//! `tapfan check [FILE]`: every problem of a configuration, and what it was understood to mean.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bytes::Bytes;

use super::{BAD_CONFIGURATION, tell};
use crate::{
    config::{
        self, Admin, AdminAddress, Config, Diagnostics, Endpoints, Listen, ListenAddress, Sink,
        quantity::{Size, Time},
    },
    files::{Unanswered, read_in_time},
    net::{ClientTls, Endpoint, Host, ResolverSettings, UnixAddress},
};

/// What `tapfan check` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration to read; ./Tapfile or /etc/tapfan/Tapfile if none is named
    file: Option<PathBuf>,
    /// The same, as `tapfan run` takes it.
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

/// Checks a configuration: problems to stderr, the meaning to stdout; status 2 if there is an error.
pub(crate) fn run(arguments: &CheckArgs) -> ExitCode {
    let path = match choose(arguments.file.as_deref().or(arguments.config.as_deref())) {
        Ok(path) => path,
        Err(error) => {
            tell(format_args!("tapfan: {error}\n"));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let named = path.clone();
    let loaded = read_in_time(move || config::load(&named, &config::process_environment));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            tell(format_args!(
                "tapfan: cannot read {}: {error}\n",
                path.display()
            ));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    tell(format_args!(
        "{}",
        loaded.diagnostics.render(colored_stderr())
    ));
    tell(format_args!(
        "tapfan: {}\n",
        summary(&path, &loaded.diagnostics)
    ));
    let Some(config) = loaded.config else {
        return ExitCode::from(BAD_CONFIGURATION);
    };
    match io::stdout().lock().write_all(describe(&config).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // `tapfan check | head` has seen what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("tapfan: cannot write to stdout: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// No configuration was named, and none found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTapfile {
    #[error(transparent)]
    NotFound(#[from] config::NotFound),
    #[error("no configuration can be looked for: {0}")]
    Unanswered(#[from] Unanswered),
}

/// The configuration named, or else the one that is found; says which on stderr if it had to be looked for.
pub(crate) fn choose(named: Option<&Path>) -> Result<PathBuf, NoTapfile> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let path = read_in_time(config::find)??;
    tell(format_args!("tapfan: reading {}\n", path.display()));
    Ok(path)
}

/// Whether problems may come in colour: stderr is a terminal and <https://no-color.org> is not asked for.
pub(crate) fn colored_stderr() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One line on how a configuration fared.
fn summary(path: &Path, diagnostics: &Diagnostics) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let errors = count(diagnostics.errors(), "error");
    let warnings = count(diagnostics.warnings(), "warning");
    let path = path.display();
    match (diagnostics.has_errors(), diagnostics.warnings()) {
        (true, 0) => format!("{path} has {errors}; nothing would start"),
        (true, _) => format!("{path} has {errors} and {warnings}; nothing would start"),
        (false, 0) => format!("{path} is good"),
        (false, _) => format!("{path} is good, with {warnings}"),
    }
}

/// What a configuration means, every setting with its value, defaults too.
fn describe(config: &Config) -> String {
    let mut sections: Vec<(String, Vec<Row>)> = Vec::new();
    for listen in &config.listeners {
        sections.push((format!("listen {}", listen.name), describe_listener(listen)));
    }
    for sink in &config.sinks {
        sections.push((format!("dnstap {}", sink.name), describe_sink(sink)));
    }
    let Admin {
        address,
        hosts,
        probes,
        probes_hosts,
        ready_when,
    } = &config.admin;
    let admin = match address {
        AdminAddress::Default => format!("{} if that is free", AdminAddress::DEFAULT),
        AdminAddress::At(address) => served(address, hosts),
        AdminAddress::Off => "off".to_owned(),
    };
    let probes = probes.map_or_else(
        || "with admin only".to_owned(),
        |probes| served(&probes, probes_hosts),
    );
    let rest = vec![
        ("admin", admin),
        ("probes", probes),
        ("ready_when", ready_when.word().to_owned()),
        ("drain", Time(config.drain).to_string()),
        ("unfinished_frames", size(config.unfinished_frames)),
        ("memory", describe_memory(config)),
    ];
    sections.push(("router".to_owned(), rest));
    sections.push(("resolver".to_owned(), describe_resolver(&config.resolver)));

    let width = sections
        .iter()
        .flat_map(|(_, rows)| rows)
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (index, (heading, rows)) in sections.iter().enumerate() {
        let gap = if index > 0 { "\n" } else { "" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{gap}{heading}");
        for (name, value) in rows {
            let _ = writeln!(text, "    {name:width$}  {value}");
        }
    }
    text
}

/// The bound of the memory, and the sum of the bounds within it.
fn describe_memory(config: &Config) -> String {
    let bound = size(config.memory_limit());
    let origin = match config.memory {
        Some(_) => "",
        None => ", three quarters of what there is",
    };
    let sum = size(config.sum_of_bounds());
    format!("{bound}{origin}; the bounds of queues and unfinished frames: {sum} in all")
}

/// An address, and the hosts that clients may ask for there.
fn served(address: &SocketAddr, hosts: &[Host]) -> String {
    if hosts.is_empty() {
        return address.to_string();
    }
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    format!("{address}, as {} too", hosts.join(", "))
}

/// A setting and its value.
type Row = (&'static str, String);

fn describe_listener(listen: &Listen) -> Vec<Row> {
    let mut rows = Vec::new();
    match &listen.address {
        ListenAddress::Unix(address, permissions) => {
            rows.push(("address", unix(address)));
            if matches!(address, UnixAddress::Path(_)) {
                let account = |account: &Option<String>| {
                    account
                        .clone()
                        .unwrap_or_else(|| "the process's own".to_owned())
                };
                rows.push(("mode", format!("{:04o}", permissions.mode)));
                rows.push(("owner", account(&permissions.owner)));
                rows.push(("group", account(&permissions.group)));
            }
        }
        ListenAddress::Tcp(address) => rows.push(("address", format!("TCP {address}"))),
        ListenAddress::Tls(address, tls) => {
            rows.push(("address", format!("TLS over TCP {address}")));
            rows.push(("cert", tls.cert.display().to_string()));
            rows.push(("key", tls.key.display().to_string()));
            let client_ca = tls.client_ca.as_ref().map_or_else(
                || "none; clients show no certificate".to_owned(),
                |file| file.display().to_string(),
            );
            rows.push(("client_ca", client_ca));
        }
    }
    rows.push(("max_connections", listen.limits.connections.to_string()));
    rows.push(("max_frame", Size(listen.limits.frame.into()).to_string()));
    rows
}

fn describe_sink(sink: &Sink) -> Vec<Row> {
    let (address, write_buffer) = match &sink.endpoint {
        Endpoint::Unix(address) => (unix(address), "the system's, on a unix socket".to_owned()),
        Endpoint::Tcp(authority) => (format!("TCP {authority}"), size(sink.write_buffer)),
        Endpoint::Tls(authority) => (format!("TLS over TCP {authority}"), size(sink.write_buffer)),
        Endpoint::TcpSrv(name) => (
            format!("TCP by SRV records of {name}"),
            size(sink.write_buffer),
        ),
        Endpoint::TlsSrv(name) => (
            format!("TLS over TCP by SRV records of {name}"),
            size(sink.write_buffer),
        ),
    };
    let messages = if sink.full {
        "kept (full)"
    } else {
        "left out (not full)"
    };
    let edit = |edit: &Option<Bytes>| {
        edit.as_ref().map_or_else(
            || "as sent".to_owned(),
            |text| format!("{:?}", String::from_utf8_lossy(text)),
        )
    };
    let mut rows = vec![
        ("address", address),
        ("messages", messages.to_owned()),
        ("identity", edit(&sink.edits.identity)),
        ("version", edit(&sink.edits.version)),
        ("extra", edit(&sink.edits.extra)),
        ("queue", format!("{} frames", sink.queue.frames)),
        ("queue_bytes", size(sink.queue.bytes)),
        ("writebuffer", write_buffer),
    ];
    let max_age = sink
        .max_age
        .map(|age| format!("{}, give or take a tenth", Time(age)));
    rows.push(("write_timeout", Time(sink.write_timeout).to_string()));
    rows.push(("max_age", max_age.unwrap_or_else(|| "none".to_owned())));
    if sink.endpoint.is_named() {
        if sink.endpoints != Endpoints::default() {
            rows.push(("endpoints", sink.endpoints.to_string()));
        }
        let (min, max) = (Time(sink.refresh.min), Time(sink.refresh.max));
        rows.push(("refresh", format!("at the TTL, from {min} to {max}")));
    }
    if let Some(tls) = &sink.tls {
        rows.extend(describe_tls(tls, &sink.endpoint));
    }
    rows
}

fn describe_resolver(resolver: &ResolverSettings) -> Vec<Row> {
    let list = |items: Vec<String>, none: &str| {
        if items.is_empty() {
            none.to_owned()
        } else {
            items.join(" ")
        }
    };
    let system = resolver.name_servers.is_empty();
    let name_servers = resolver.name_servers.iter().map(ToString::to_string);
    let search = resolver.search.iter().map(ToString::to_string);
    let ndots = match resolver.ndots {
        Some(ndots) => ndots.to_string(),
        None if system => "the system's".to_owned(),
        None => "1".to_owned(),
    };
    vec![
        ("nameserver", list(name_servers.collect(), "the system's")),
        (
            "search",
            list(
                search.collect(),
                if system { "the system's" } else { "nothing" },
            ),
        ),
        ("ndots", ndots),
        ("timeout", Time(resolver.timeout).to_string()),
    ]
}

fn describe_tls(tls: &ClientTls, endpoint: &Endpoint) -> Vec<Row> {
    let authorities = match &tls.ca {
        _ if tls.skip_verify => "NOT VERIFIED (skipverify)".to_owned(),
        Some(file) => file.display().to_string(),
        None => "the platform's".to_owned(),
    };
    let server_name = tls.server_name.clone().unwrap_or_else(|| match endpoint {
        Endpoint::TlsSrv(name) => name.domain().trim_end_matches('.').to_owned(),
        _ => "the host of the address".to_owned(),
    });
    let (cert, key) = tls.client.as_ref().map_or_else(
        || ("none".to_owned(), "none".to_owned()),
        |(cert, key)| (cert.display().to_string(), key.display().to_string()),
    );
    vec![
        ("ca", authorities),
        ("server_name", server_name),
        ("cert", cert),
        ("key", key),
    ]
}

fn unix(address: &UnixAddress) -> String {
    match address {
        UnixAddress::Path(path) => format!("unix socket {}", path.display()),
        UnixAddress::Abstract(name) => format!("abstract unix socket @{name}"),
    }
}

fn size(bytes: usize) -> String {
    Size(u64::try_from(bytes).unwrap_or(u64::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> config::Loaded {
        config::parse("Tapfile".as_ref(), text, &|_| None)
    }

    #[test]
    fn the_table_says_every_setting() {
        let config = loaded(
            r#"listen /run/tapfan/dnstap.sock { group dns }
            listen @in
            listen tcp://0.0.0.0:6000 { max_connections 10 }
            listen tls://[::]:6443 {
                cert tls.crt
                key tls.key
                client_ca clients.crt
            }
            admin 127.0.0.1:9180 { host edge-1.example 192.0.2.7 }
            drain 1m30s
            memory 1GiB
            dnstap /run/collector.sock full
            dnstap tcp://collector.example:6000 {
                identity "edge 1"
                version ""
            }
            dnstap tls://siem.example:6443 full 4 8 {
                name siem
                server_name dns.example
                cert client.crt
                key client.key
            }
            dnstap tls://siem.example:6443 {
                skipverify
                extra "a	b"
            }
            dnstap tls+srv://_dnstap._tcp.collector.example. {
                endpoints balance
                refresh 1s 1m30s
                write_timeout 5s
                max_age 1h
            }
            resolver {
                nameserver 10.96.0.10 [fd00::a]:5353
                search dns-obs.svc.cluster.local svc.cluster.local
                ndots 5
            }"#,
        )
        .config
        .expect("a good configuration");
        insta::assert_snapshot!(describe(&config));
    }

    #[test]
    fn one_line_says_how_it_fared() {
        let said = |text: &str| summary(Path::new("Tapfile"), &loaded(text).diagnostics);
        assert_eq!(said("listen @in\ndnstap /s"), "Tapfile is good");
        assert_eq!(
            said("listen @in\ndnstap /s 2"),
            "Tapfile is good, with 1 warning"
        );
        assert_eq!(said(""), "Tapfile has 2 errors; nothing would start");
        assert_eq!(
            said("listen @in\ndnstap /s {\nidentity {$A}{$B}\nx\n}"),
            "Tapfile has 1 error and 2 warnings; nothing would start"
        );
    }

    #[test]
    fn the_status_tells_good_from_bad() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let status = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("the folder is ours");
            run(&CheckArgs {
                file: Some(file),
                config: None,
            })
        };
        assert_eq!(status("good", "listen @in\ndnstap /s"), ExitCode::SUCCESS);
        assert_eq!(
            status("bad", "listen @in"),
            ExitCode::from(BAD_CONFIGURATION)
        );
        let missing = folder.path().join("missing");
        let arguments = CheckArgs {
            file: Some(missing),
            config: None,
        };
        assert_eq!(run(&arguments), ExitCode::from(BAD_CONFIGURATION));
    }
}
