//! Tests of Unbound, which forwards all queries. The tests use each transport and each handshake
//! for dnstap that Unbound supports.

use std::{fs, process::Command};

use crate::{
    dns::wait_for_answers,
    ingress::Via,
    process::Process,
    scenario,
    server::{FORWARDED, Question, Server, Setting, Tap, Target, Witness},
};

const UNBOUND: Server = Server {
    start,
    stops: true,
    questions: &[Question {
        zone: FORWARDED,
        recursion: true,
    }],
    taps: &[
        // CLIENT_QUERY, CLIENT_RESPONSE
        Tap {
            message_type: 5,
            zone: FORWARDED,
            witness: Witness::Client,
        },
        Tap {
            message_type: 6,
            zone: FORWARDED,
            witness: Witness::Client,
        },
        // FORWARDER_QUERY, FORWARDER_RESPONSE
        Tap {
            message_type: 7,
            zone: FORWARDED,
            witness: Witness::Upstream,
        },
        Tap {
            message_type: 8,
            zone: FORWARDED,
            witness: Witness::Upstream,
        },
    ],
};

fn start(setting: &Setting<'_>) -> Process {
    let target = match setting.target {
        Target::Unix(socket) => format!(r#"dnstap-socket-path: "{}""#, socket.display()),
        Target::Tcp(address) => tcp(address.port(), "no"),
        Target::TcpUnidirectional(address) => {
            format!(
                "{}\n    dnstap-bidirectional: no",
                tcp(address.port(), "no")
            )
        }
        Target::Tls(address, ca) => format!(
            "{}\n    dnstap-tls-server-name: \"localhost\"\n    dnstap-tls-cert-bundle: \"{}\"",
            tcp(address.port(), "yes"),
            ca.display(),
        ),
    };
    let configuration = format!(
        r#"
server:
    directory: "{dir}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: 127.0.0.1@{port}
    outgoing-interface: 127.0.0.1
    do-ip6: no
    do-not-query-localhost: no
    module-config: "iterator"
    num-threads: 1
    local-zone: "test." nodefault
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
dnstap:
    dnstap-enable: yes
    {target}
    dnstap-send-identity: yes
    dnstap-send-version: yes
    dnstap-identity: "unbound"
    dnstap-log-client-query-messages: yes
    dnstap-log-client-response-messages: yes
    dnstap-log-forwarder-query-messages: yes
    dnstap-log-forwarder-response-messages: yes
"#,
        dir = setting.dir.display(),
        port = setting.dns.port(),
        upstream = setting.upstream.address.port(),
    );
    let path = setting.dir.join("unbound.conf");
    fs::write(&path, configuration).expect("a file in a directory of our own");
    let mut command = Command::new("/usr/sbin/unbound");
    command.arg("-d").arg("-c").arg(path);
    let mut process = Process::start(setting.dir, command);
    wait_for_answers(&mut process, setting.dns, "up.forwarded.test");
    process
}

fn tcp(port: u16, tls: &str) -> String {
    format!("dnstap-ip: 127.0.0.1@{port}\n    dnstap-tls: {tls}")
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly_over_unix() {
    scenario::direct(&UNBOUND, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly_over_tcp() {
    scenario::direct(&UNBOUND, Via::Tcp);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly_over_unidirectional_tcp() {
    scenario::direct(&UNBOUND, Via::TcpUnidirectional);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly_over_tls() {
    scenario::direct(&UNBOUND, Via::Tls);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink_over_unix() {
    scenario::fan_out(&UNBOUND, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink_over_tcp() {
    scenario::fan_out(&UNBOUND, Via::Tcp);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink_over_unidirectional_tcp() {
    scenario::fan_out(&UNBOUND, Via::TcpUnidirectional);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink_over_tls() {
    scenario::fan_out(&UNBOUND, Via::Tls);
}
