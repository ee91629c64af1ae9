//! Tests of the `PowerDNS` Recursor, which taps the queries that it sends to the upstream.

use std::{fs, process::Command};

use crate::{
    dns::wait_for_answers,
    ingress::Via,
    process::Process,
    scenario,
    server::{FORWARDED, Question, Server, Setting, Tap, Target, Witness},
};

const RECURSOR: Server = Server {
    start,
    stops: false,
    questions: &[Question {
        zone: FORWARDED,
        recursion: true,
    }],
    taps: &[
        // RESOLVER_QUERY, RESOLVER_RESPONSE
        Tap {
            message_type: 3,
            zone: FORWARDED,
            witness: Witness::Upstream,
        },
        Tap {
            message_type: 4,
            zone: FORWARDED,
            witness: Witness::Upstream,
        },
    ],
};

fn start(setting: &Setting<'_>) -> Process {
    let target = match setting.target {
        Target::Unix(socket) => socket.display().to_string(),
        Target::Tcp(address) => address.to_string(),
        other => panic!("PowerDNS Recursor cannot write dnstap to {other:?}"),
    };
    let write = |name: &str, text: String| {
        fs::write(setting.dir.join(name), text).expect("a file in a directory of our own");
    };
    write(
        "taps.lua",
        format!(
            "dnstapFrameStreamServer({{\"{target}\"}}, {{logQueries=true, logResponses=true}})\n"
        ),
    );
    write(
        "recursor.conf",
        format!(
            "\
daemon=no
disable-syslog=yes
write-pid=no
socket-dir={dir}
local-address=127.0.0.1
local-port={port}
query-local-address=127.0.0.1
forward-zones-recurse=.=127.0.0.1:{upstream}
dnssec=off
qname-minimization=no
security-poll-suffix=
threads=1
lua-config-file={dir}/taps.lua
",
            dir = setting.dir.display(),
            port = setting.dns.port(),
            upstream = setting.upstream.address.port(),
        ),
    );
    let mut command = Command::new("/usr/sbin/pdns_recursor");
    command.arg(format!("--config-dir={}", setting.dir.display()));
    let mut process = Process::start(setting.dir, command);
    wait_for_answers(&mut process, setting.dns, "up.forwarded.test");
    process
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly_over_unix() {
    scenario::direct(&RECURSOR, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly_over_tcp() {
    scenario::direct(&RECURSOR, Via::Tcp);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink_over_unix() {
    scenario::fan_out(&RECURSOR, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink_over_tcp() {
    scenario::fan_out(&RECURSOR, Via::Tcp);
}
