//! BIND 9: authoritative for one zone, forwards the rest.

use std::{fs, process::Command};

use crate::{
    dns::wait_for_answers,
    process::Process,
    scenario::{self, Via},
    server::{FORWARDED, LOCAL, Question, Server, Setting, Tap, Target, Witness, ZONE_FILE},
};

const BIND: Server = Server {
    start,
    stops: true,
    questions: &[
        Question {
            zone: LOCAL,
            recursion: false,
        },
        Question {
            zone: FORWARDED,
            recursion: true,
        },
    ],
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
        // RESOLVER_QUERY, RESOLVER_RESPONSE: what 9.18 calls these, though it asked a forwarder
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
    let Target::Unix(socket) = setting.target else {
        panic!("BIND writes dnstap to unix sockets only");
    };
    let dir = setting.dir.display();
    fs::write(setting.dir.join("zone"), ZONE_FILE).expect("a file in a directory of our own");
    let configuration = format!(
        r#"
options {{
    directory "{dir}";
    pid-file none;
    session-keyfile none;
    lock-file none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    query-source address 127.0.0.1;
    forwarders port {upstream} {{ 127.0.0.1; }};
    forward only;
    dnssec-validation no;
    recursion yes;
    dnstap {{ all; }};
    dnstap-output unix "{socket}";
    dnstap-identity "bind";
    fstrm-set-input-queue-size 4096;
}};
controls {{ }};
zone "example.test" {{ type primary; file "zone"; }};
"#,
        port = setting.dns.port(),
        upstream = setting.upstream.address.port(),
        socket = socket.display(),
    );
    let path = setting.dir.join("named.conf");
    fs::write(&path, configuration).expect("a file in a directory of our own");
    let mut command = Command::new("/usr/sbin/named");
    command.arg("-g").arg("-n").arg("1").arg("-c").arg(path);
    let mut process = Process::start(setting.dir, command);
    wait_for_answers(&mut process, setting.dns, "up.example.test");
    process
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn straight() {
    scenario::straight(&BIND, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn fan_out() {
    scenario::fan_out(&BIND, Via::Unix);
}
