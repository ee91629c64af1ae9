//! BIND 9: authoritative for one zone, forwards everything else.

use std::{fs, process::Command, time::Duration};

use crate::{
    asked::Asked,
    dns::{ask, wait_for_answers},
    entrance::{Entrance, Via},
    process::{Process, eventually},
    scenario::{self, Stage},
    server::{FORWARDED, LOCAL, Question, Server, Setting, Tap, Target, Witness, ZONE_FILE},
    sinks::assert_merged,
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
        // RESOLVER_QUERY, RESOLVER_RESPONSE: BIND 9.18 uses these types even for a forwarder
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
    fstrm-set-input-queue-size 16384;
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

/// When named exits it waits for FINISH, and hangs if the reader does not send it.
#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn its_end_is_prompt() {
    let stage = Stage::new(Entrance::bare);
    let setting = stage.setting();
    let tapfan = stage.tapfan("");
    let mut named = start(&setting);
    Asked::of(&BIND, &setting, "first").wait_for(&stage.sinks.full);

    let (status, time) = named.terminate();
    assert!(status.success(), "named: {status}");
    assert!(time < Duration::from_secs(3), "named took {time:?} to end");
    tapfan.stop();
    stage.sinks.check();
}

/// libfstrm retries every 5 s once a write has failed.
#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn it_comes_back_when_tapfan_does() {
    // named does not read its back channel, so a drain lasts until its deadline.
    const DRAIN: &str = "drain 1s";
    let stage = Stage::new(Entrance::bare);
    let setting = stage.setting();
    let full = &stage.sinks.full;
    let tapfan = stage.tapfan(DRAIN);
    let mut named = start(&setting);
    Asked::of(&BIND, &setting, "first").wait_for(full);
    tapfan.stop();
    let before = full.frames().len();

    let tapfan = stage.tapfan(DRAIN);
    eventually("named to connect again", || {
        // Taps before the reconnect are lost at named. They are needed all the same: named notices
        // the outage only when it writes.
        ask(setting.dns, "again.example.test", 1, false).expect("an answer");
        if full.frames().len() > before {
            Ok(())
        } else {
            Err("no frame came")
        }
    });
    Asked::of(&BIND, &setting, "second").wait_for(full);
    named.terminate();
    tapfan.stop();
    stage.sinks.check();
}

/// As fast as named answers, but no more than its queue holds: every tap arrives, in the order in
/// which named wrote them.
#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn a_burst_of_queries_arrives_whole() {
    const NAMES: usize = 1000;
    const TIMES: usize = 8;
    let stage = Stage::new(|dir| Entrance::new(dir, Via::Unix));
    let setting = stage.setting();
    let tapfan = stage.tapfan("");
    let mut named = start(&setting);

    let queries = setting.dir.join("queries");
    let lines = (0..NAMES).map(|number| format!("burst{number}.example.test A\n"));
    fs::write(&queries, lines.collect::<String>()).expect("a file in a directory of our own");
    let mut dnsperf = Command::new("/usr/bin/dnsperf");
    dnsperf
        .args(["-s", "127.0.0.1", "-p", &setting.dns.port().to_string()])
        .args(["-n", &TIMES.to_string(), "-l", "30", "-q", "50", "-d"])
        .arg(queries);
    let status = Process::start(setting.dir, dnsperf).wait();
    assert!(status.success(), "dnsperf: {status}");
    named.terminate();

    let relay = stage
        .entrance
        .relay
        .as_ref()
        .expect("a relay on a unix socket");
    let sent = relay.sent();
    let count = sent.iter().map(Vec::len).sum::<usize>();
    assert!(
        count >= 2 * NAMES * TIMES,
        "named wrote {count} frames only"
    );
    tapfan.stop();
    assert_merged(&stage.sinks.full.frames(), &sent);
    stage.sinks.check();
}
