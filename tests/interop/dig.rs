//! Runs `dig`, the DNS client of BIND, over UDP, TCP and TLS.

use std::{net::SocketAddr, path::Path, process::Command};

use crate::process::TIMEOUT;

/// The transport of a DNS query.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Transport<'a> {
    Udp,
    Tcp,
    /// TLS. The path is the certificate of the authority that `dig` must trust.
    Tls(&'a Path),
}

/// The parts of a response that `dig` prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The ID of the query and of its response.
    pub(crate) id: u16,
    /// The name of the response code, for example `NXDOMAIN`.
    pub(crate) status: String,
    /// The data of the records in the answer section.
    pub(crate) records: Vec<String>,
}

/// Sends `server` a query for the IPv4 addresses of `name`. `client` is the source address of the
/// query.
pub(crate) fn dig(
    server: SocketAddr,
    client: SocketAddr,
    transport: Transport<'_>,
    name: &str,
) -> Answer {
    let mut command = Command::new("dig");
    command
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(["-b", &format!("{}#{}", client.ip(), client.port())])
        .args(["+tries=1", &format!("+time={}", TIMEOUT.as_secs())])
        .args(["+noall", "+comments", "+answer", name, "A"]);
    match transport {
        Transport::Udp => {}
        Transport::Tcp => {
            command.arg("+tcp");
        }
        Transport::Tls(ca) => {
            command.arg(format!("+tls-ca={}", ca.display()));
            command.arg("+tls-hostname=localhost");
        }
    }
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("dig: {error}; tests/interop/install.sh installs it"));
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).unwrap_or_else(|| panic!("{transport:?}, {name}: dig printed:\n{text}"))
}

fn parse(text: &str) -> Option<Answer> {
    let header = text.lines().find(|line| line.contains("->>HEADER<<-"))?;
    let value = |label| {
        let (_, rest) = header.split_once(label)?;
        rest.split(',').next().map(str::trim)
    };
    let records = text.lines().filter(|line| !line.starts_with(';'));
    Some(Answer {
        id: value("id:")?.parse().ok()?,
        status: value("status:")?.to_owned(),
        records: records
            .filter_map(|line| line.split_whitespace().nth(4))
            .map(str::to_owned)
            .collect(),
    })
}

#[test]
fn the_output_of_dig_is_read() {
    let text = ";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 4711\n\
        ;; flags: qr rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1\n\n\
        ;; ANSWER SECTION:\nwww.example.test.\t300\tIN\tA\t192.0.2.7\n\n";
    let answer = Answer {
        id: 4711,
        status: "NOERROR".to_owned(),
        records: vec!["192.0.2.7".to_owned()],
    };
    assert_eq!(parse(text), Some(answer));
    assert_eq!(parse(";; no servers could be reached\n"), None);
}
