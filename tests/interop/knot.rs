//! Tests of Knot DNS with its dnstap module `mod-dnstap`. It is authoritative for one zone.

use std::{fs, process::Command};

use crate::{
    dns::wait_for_answers,
    ingress::Via,
    process::Process,
    scenario,
    server::{LOCAL, Question, Server, Setting, Tap, Target, Witness, ZONE_FILE},
};

const KNOT: Server = Server {
    start,
    stops: true,
    questions: &[Question {
        zone: LOCAL,
        recursion: false,
    }],
    taps: &[
        // AUTH_QUERY, AUTH_RESPONSE
        Tap {
            message_type: 1,
            zone: LOCAL,
            witness: Witness::Client,
        },
        Tap {
            message_type: 2,
            zone: LOCAL,
            witness: Witness::Client,
        },
    ],
};

fn start(setting: &Setting<'_>) -> Process {
    let sink = match setting.target {
        Target::Unix(socket) => format!("unix:{}", socket.display()),
        other => panic!("Knot 3.2 cannot write dnstap to {other:?}"),
    };
    let dir = setting.dir.display();
    fs::write(setting.dir.join("example.test.zone"), ZONE_FILE)
        .expect("a file in a directory of our own");
    let configuration = format!(
        r"
server:
    rundir: {dir}
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: {dir}/knot
mod-dnstap:
  - id: taps
    sink: {sink}
    identity: knot
    log-queries: on
    log-responses: on
template:
  - id: default
    storage: {dir}
    global-module: mod-dnstap/taps
zone:
  - domain: example.test
",
        port = setting.dns.port(),
    );
    let path = setting.dir.join("knot.conf");
    fs::write(&path, configuration).expect("a file in a directory of our own");
    let mut command = Command::new("/usr/sbin/knotd");
    command.arg("-c").arg(path);
    let mut process = Process::start(setting.dir, command);
    wait_for_answers(&mut process, setting.dns, "up.example.test");
    process
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly() {
    scenario::direct(&KNOT, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink() {
    scenario::fan_out(&KNOT, Via::Unix);
}
