//! Tests of dnsdist, which is a load balancer in front of one DNS server.

use std::{fs, process::Command};

use crate::{
    dns::wait_for_answers,
    ingress::Via,
    process::Process,
    scenario,
    server::{FORWARDED, Question, Server, Setting, Tap, Target, Witness},
};

const DNSDIST: Server = Server {
    start,
    stops: false,
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
    ],
};

fn start(setting: &Setting<'_>) -> Process {
    let logger = match setting.target {
        Target::Unix(socket) => format!(r#"newFrameStreamUnixLogger("{}")"#, socket.display()),
        Target::Tcp(address) => format!(r#"newFrameStreamTcpLogger("{address}")"#),
        other => panic!("dnsdist cannot write dnstap to {other:?}"),
    };
    let configuration = format!(
        r#"
setLocal("{dns}")
newServer("{upstream}")
setSecurityPollSuffix("")
taps = {logger}
addAction(AllRule(), DnstapLogAction("dnsdist", taps))
addResponseAction(AllRule(), DnstapLogResponseAction("dnsdist", taps))
"#,
        dns = setting.dns,
        upstream = setting.upstream.address,
    );
    let path = setting.dir.join("dnsdist.conf");
    fs::write(&path, configuration).expect("a file in a directory of our own");
    let mut command = Command::new("/usr/bin/dnsdist");
    command
        .arg("--supervised")
        .arg("--disable-syslog")
        .arg("-C")
        .arg(path);
    let mut process = Process::start(setting.dir, command);
    wait_for_answers(&mut process, setting.dns, "up.forwarded.test");
    process
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly_over_unix() {
    scenario::direct(&DNSDIST, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_reach_a_collector_directly_over_tcp() {
    scenario::direct(&DNSDIST, Via::Tcp);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink_over_unix() {
    scenario::fan_out(&DNSDIST, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink_over_tcp() {
    scenario::fan_out(&DNSDIST, Via::Tcp);
}
