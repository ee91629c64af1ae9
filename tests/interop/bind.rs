//! Tests of BIND 9. It is authoritative for one zone, and forwards the queries for all other names.

use std::{fs, process::Command, time::Duration};

use crate::{
    dns::{ask, wait_for_answers},
    ingress::{Ingress, Via},
    process::{Process, eventually},
    query_batch::QueryBatch,
    scenario::{self, TestBed},
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
        // RESOLVER_QUERY, RESOLVER_RESPONSE. BIND 9.18 uses these types also when it is a
        // forwarder.
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
fn taps_reach_a_collector_directly() {
    scenario::direct(&BIND, Via::Unix);
}

#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn taps_fan_out_to_every_sink() {
    scenario::fan_out(&BIND, Via::Unix);
}

/// named waits for FINISH before it exits. If the reader does not send FINISH, named hangs.
#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn bind_exits_promptly() {
    let test_bed = TestBed::new(Ingress::bare);
    let setting = test_bed.setting();
    let tapfan = test_bed.tapfan("");
    let mut named = start(&setting);
    QueryBatch::send(&BIND, &setting, "first").wait_for(&test_bed.sinks.full);

    let (status, time) = named.terminate();
    assert!(status.success(), "named: {status}");
    assert!(time < Duration::from_secs(3), "named took {time:?} to end");
    tapfan.stop();
    test_bed.sinks.check();
}

/// named sends dnstap with libfstrm, which tries to reconnect every 5 s after a failed write.
#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn bind_reconnects_when_tapfan_restarts() {
    // named does not read from its connection, so it does not see that tapfan drains, and the drain
    // lasts until its deadline.
    const DRAIN: &str = "drain 1s";
    let test_bed = TestBed::new(Ingress::bare);
    let setting = test_bed.setting();
    let full = &test_bed.sinks.full;
    let tapfan = test_bed.tapfan(DRAIN);
    let mut named = start(&setting);
    QueryBatch::send(&BIND, &setting, "first").wait_for(full);
    tapfan.stop();
    let before = full.frames().len();

    let tapfan = test_bed.tapfan(DRAIN);
    eventually("named to connect again", || {
        // named notices the restart of tapfan only when it writes a tap. So these queries are
        // needed, although named loses their taps.
        ask(setting.dns, "again.example.test", 1, false).expect("an answer");
        if full.frames().len() > before {
            Ok(())
        } else {
            Err("no frame came")
        }
    });
    QueryBatch::send(&BIND, &setting, "second").wait_for(full);
    named.terminate();
    tapfan.stop();
    test_bed.sinks.check();
}

/// Sends queries as fast as named answers, but never more at a time than named's dnstap queue can
/// hold. Every tap must arrive, in the order in which named wrote the taps.
#[test]
#[ignore = "needs real DNS servers: tests/interop/install.sh"]
fn every_tap_of_a_burst_of_queries_arrives() {
    const NAMES: usize = 1000;
    const TIMES: usize = 8;
    let test_bed = TestBed::new(|dir| Ingress::new(dir, Via::Unix));
    let setting = test_bed.setting();
    let tapfan = test_bed.tapfan("");
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

    let relay = test_bed
        .ingress
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
    assert_merged(&test_bed.sinks.full.frames(), &sent);
    test_bed.sinks.check();
}
