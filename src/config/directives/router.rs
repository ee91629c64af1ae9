//! The lines of the router itself: `admin`, `probes`, `ready_when`, `drain`, `unfinished_frames`, `memory`, `latency`
//! and `workers`.

use std::{net::SocketAddr, time::Duration};

use super::{
    super::{
        AdminAddress, Config, ReadyWhen,
        diagnostics::Diagnostic,
        lexer::Token,
        parser::Statement,
        quantity::{Size, Time},
    },
    Findings, bad_address, only_argument, options,
    row::{Given, Row, Value},
};
use crate::net::{AddressError, Host, socket_address};

pub(super) const LINES: &[Row<Config>] = &[
    Row {
        name: "admin",
        value: Value::One("ADDRESS:PORT|off", |config, given, findings| {
            config.admin.address = admin(given.value, findings)?;
            Some(())
        }),
        default: "127.0.0.1:9180 if that is free",
        doc: "the address of probes, metrics, status and log level",
        scope: None,
        describe: |config| match config.admin.address {
            AdminAddress::Default => None,
            AdminAddress::At(address) => Some(served(address, &config.admin.hosts)),
            AdminAddress::Off => Some("off".to_owned()),
        },
    },
    Row {
        name: "probes",
        value: Value::One("ADDRESS:PORT", |config, given, findings| {
            config.admin.probes = Some(address(given.value, findings)?);
            Some(())
        }),
        default: "only admin serves them",
        doc: "a second address, for probes and metrics only",
        scope: None,
        describe: |config| Some(served(config.admin.probes?, &config.admin.probes_hosts)),
    },
    Row {
        name: "ready_when",
        value: Value::One("always|any|all", |config, given, findings| {
            config.admin.ready_when = given.choice(ReadyWhen::ALL, ReadyWhen::label, findings)?;
            Some(())
        }),
        default: "always",
        doc: "the sinks that must be up for `/readyz` to answer 200",
        scope: None,
        describe: |config| Some(config.admin.ready_when.to_string()),
    },
    Row {
        name: "drain",
        value: Value::Time(
            Duration::from_millis(100)..=Duration::from_secs(10 * 60),
            |config, time| config.drain = time,
        ),
        default: "10s",
        doc: "the time limit for the drain, from the signal to the exit",
        scope: None,
        describe: |config| Some(Time(config.drain).to_string()),
    },
    Row {
        name: "unfinished_frames",
        value: Value::Size(1 << 20..=1 << 40, |config, bytes| {
            config.unfinished_frames = bytes;
        }),
        default: "64MiB",
        doc: "the memory limit for frames that have started but not ended",
        scope: None,
        describe: |config| Some(Size::of(config.unfinished_frames).to_string()),
    },
    Row {
        name: "memory",
        value: Value::Size(8 << 20..=1 << 50, |config, bytes| {
            config.memory = Some(bytes);
        }),
        default: "three quarters of the available memory",
        doc: "the memory limit for all frames: queued, in flight and unfinished",
        scope: None,
        describe: |config| {
            let origin = match config.memory {
                Some(_) => "",
                None => ", three quarters of the available memory",
            };
            Some(format!(
                "{}{origin}; the bounds of queues and unfinished frames: {} in all",
                Size::of(config.memory_limit()),
                Size::of(config.sum_of_bounds())
            ))
        },
    },
    Row {
        name: "latency",
        value: Value::Time(
            Duration::ZERO..=Duration::from_millis(10),
            |config, time| config.latency = time,
        ),
        default: "2ms",
        doc: "the longest time for which frames are collected under load; `0s` for never",
        scope: None,
        describe: |config| {
            Some(match config.latency {
                Duration::ZERO => "0s, so each frame leaves immediately".to_owned(),
                latency => Time(latency).to_string(),
            })
        },
    },
    Row {
        name: "workers",
        value: Value::Number(1..=256, |config, workers| config.workers = workers),
        default: "1",
        doc: "the number of threads that move frames",
        scope: None,
        describe: |config| Some(config.workers.to_string()),
    },
];

/// The lines that do nothing in a program that taps its own messages.
pub(super) const NOT_FOR_TAPS: &[&str] = &["unfinished_frames", "latency", "workers"];

/// The option of `admin` and `probes`.
pub(super) const HOST: &[Row<Vec<Host>>] = &[Row {
    name: "host",
    value: Value::Several("NAME …", |hosts, given, findings| {
        for value in given.values {
            match value.text.parse::<Host>() {
                Ok(host) if hosts.contains(&host) => findings.report(
                    value
                        .warning("this host is given twice", "again here")
                        .help("remove it"),
                ),
                Ok(host) => hosts.push(host),
                Err(error) => findings.report(bad_host(value, &error)),
            }
        }
        Some(())
    }),
    default: "none",
    doc: "more names and IP addresses by which clients may reach the endpoint",
    scope: None,
    // `check` shows the hosts in the same line as the address.
    describe: |_| None,
}];

/// Returns whether the line with this name has the option [`HOST`].
pub(super) fn takes_hosts(name: &str) -> bool {
    matches!(name, "admin" | "probes")
}

/// Reads one line into `config`. If the line has an error, reports it and returns `None`.
pub(super) fn read(
    row: &Row<Config>,
    statement: &Statement,
    config: &mut Config,
    findings: &mut Findings<'_>,
) -> Option<()> {
    let rows = if takes_hosts(row.name) { HOST } else { &[] };
    let options = options::read(statement, rows, findings);
    let mut hosts = Vec::new();
    options.apply(&mut hosts, None, findings);
    match row.name {
        "admin" => config.admin.hosts = hosts,
        "probes" => config.admin.probes_hosts = hosts,
        _ => {}
    }
    let value = only_argument(statement, &row.usage(), findings)?;
    let given = Given {
        name: &statement.name,
        value,
        values: std::slice::from_ref(value),
        inner: None,
    };
    row.apply(config, &given, findings)?;
    if let (AdminAddress::Off, "admin", Some(host)) =
        (config.admin.address, row.name, options.get("host"))
    {
        findings.report(
            host.name
                .warning("`host` has no effect with `admin off`", "nothing is served")
                .help("remove it, or give `admin` an address"),
        );
    }
    Some(())
}

fn admin(argument: &Token, findings: &mut Findings<'_>) -> Option<AdminAddress> {
    if argument.text == "off" {
        return Some(AdminAddress::Off);
    }
    let address = address(argument, findings)?;
    if !address.ip().is_loopback() {
        findings.report(
            argument
                .warning(
                    "the admin endpoint can be reached from other machines",
                    "this is not a loopback address",
                )
                .note("it has no password; it shows names, addresses and errors, and lets clients set the log level")
                .help("write `admin 127.0.0.1:9180`, and `probes` with this address for probes and metrics"),
        );
    }
    Some(AdminAddress::At(address))
}

fn address(argument: &Token, findings: &mut Findings<'_>) -> Option<SocketAddr> {
    socket_address(&argument.text)
        .map_err(|error| findings.report(bad_address(argument, &error)))
        .ok()
}

fn bad_host(value: &Token, error: &AddressError) -> Diagnostic {
    let text = value.text.as_str();
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split_once('/').map_or(bare, |(host, _)| host);
    let without_port = match bare.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => bare,
    };
    if without_port != text && without_port.parse::<Host>().is_ok() {
        let problem = value.error(
            "`host` takes a name or an IP address, without scheme, port and path",
            "more than a host",
        );
        return value.propose(problem, "write only the host".to_owned(), without_port);
    }
    let problem = value.error(error.to_string(), "a value of `host`");
    problem.help("write a name or an IP address, as in `edge-1.example.net`")
}

/// Describes an address, with the hosts that clients may use to reach it.
fn served(address: SocketAddr, hosts: &[Host]) -> String {
    if hosts.is_empty() {
        return address.to_string();
    }
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    format!("{address}, as {} too", hosts.join(", "))
}
